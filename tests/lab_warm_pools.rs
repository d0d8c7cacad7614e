//! What a warm pool is worth to a client whose backend is 50 ms away: one round trip instead of two.
//!
//! The first is a benchmark, so it runs only when asked: `cargo test --release --test lab_warm_pools -- --ignored`. It
//! prints one JSON object a line. `HAProxy` and `nginx` are measured beside it where they are installed.
//! Needs root, `/dev/net/tun` and iproute2, and says so where it skips itself.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod lab;

#[cfg(feature = "tls")]
use std::io::{self, Read, Write};
#[cfg(feature = "tls")]
use std::net::TcpListener;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use lab::{Forwarder, LISTEN, Lab, Link, Load, LoadReport, Program, Responder, Service, comes_true, say};
use tempfile::TempDir;

const HTTP: u16 = 80;
const PER_SECOND: u32 = 100;
/// A reply within this took one round trip of 50 ms; two are 100 ms.
const ONE_ROUND_TRIP: Duration = Duration::from_millis(75);
const SCALING: Duration = Duration::from_secs(1);

const CONFIG: &str = r#"
server: { listen_addr: "127.0.0.1:1234" }
metrics: { listen_addr: "127.0.0.1:9099" }
remotes:
  provider: { type: "file", file: { path: "./ip_list.txt" } }
  selector: { active_set_size: 1 }
pools:
  strategy: { type: "dynamic" }
"#;

fn backend() -> SocketAddr {
    SocketAddr::new(lab::server(50), HTTP)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn measure(lab: &Lab, target: SocketAddr, per_second: u32, seconds: u64) -> LoadReport {
    let load = Load {
        target,
        per_second,
        duration: Duration::from_secs(seconds),
        hold: Duration::ZERO,
        patience: Duration::from_secs(3),
    };
    load.run(lab.client()).unwrap()
}

fn tell(who: &str, what: &str, report: &LoadReport) {
    let mut line = report.json();
    line["who"] = who.into();
    line["what"] = what.into();
    line["one_round_trip_per_mille"] = report.per_mille_within(ONE_ROUND_TRIP).into();
    say(&line.to_string());
}

/// Starts another proxy in the client namespace, if it is installed, and waits until it serves.
fn other(lab: &Lab, program: &str, arguments: &[&str], at: SocketAddr) -> Option<Program> {
    let Some(found) = lab::find(program) else {
        say(&format!("{program} is not installed, so it is not measured"));
        return None;
    };
    let started = Program::start(lab.client().command(found).args(arguments)).unwrap();
    let serves = || lab.client().run(|| TcpStream::connect(at).is_ok()).unwrap();
    assert!(comes_true(Duration::from_secs(5), serves), "{}", started.output());
    Some(started)
}

fn haproxy(lab: &Lab, folder: &Path) -> Option<Program> {
    let file = folder.join("haproxy.cfg");
    let text = format!(
        "global\n nbthread 1\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 3s\n timeout client 1m\n \
         timeout server 1m\nlisten lab\n bind {}\n server one {}\n",
        local(2001),
        backend()
    );
    std::fs::write(&file, text).unwrap();
    other(
        lab,
        "haproxy",
        &["-db", "-f", file.to_str().unwrap()],
        local(2001),
    )
}

fn nginx(lab: &Lab, folder: &Path) -> Option<Program> {
    let file = folder.join("nginx.conf");
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let load_module = if Path::new(module).exists() {
        format!("load_module {module};\n")
    } else {
        String::new()
    };
    let text = format!(
        "{load_module}daemon off;\nuser root;\nworker_processes 1;\nerror_log stderr;\npid {};\n\
         events {{ worker_connections 4096; }}\nstream {{ server {{ listen {}; proxy_pass {}; }} }}\n",
        folder.join("nginx.pid").display(),
        local(2002),
        backend()
    );
    std::fs::write(&file, text).unwrap();
    other(
        lab,
        "nginx",
        &["-e", "stderr", "-c", file.to_str().unwrap()],
        local(2002),
    )
}

#[test]
#[ignore = "a benchmark of half a minute; see the module's text"]
fn a_warm_pool_saves_a_round_trip() {
    let Some(lab) = lab::open("a_warm_pool_saves_a_round_trip") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(HTTP, Service::Http)]).unwrap();
    lab.links().set(backend().ip(), Link::millis(50));
    let folder = TempDir::new().unwrap();
    if let Some(_running) = haproxy(&lab, folder.path()) {
        tell("haproxy", "steady", &measure(&lab, local(2001), PER_SECOND, 5));
    }
    if let Some(_running) = nginx(&lab, folder.path()) {
        tell("nginx", "steady", &measure(&lab, local(2002), PER_SECOND, 5));
    }
    tell("nobody", "direct", &measure(&lab, backend(), PER_SECOND, 5));

    let mut forwarder = Forwarder::start(&lab, CONFIG, &format!("{}\n", backend())).unwrap();
    let listening = forwarder.wait_until_listening(&lab, Duration::from_secs(5));
    assert!(listening, "{}", forwarder.program().output());
    tell(
        "forwarder",
        "finding its size",
        &measure(&lab, LISTEN, PER_SECOND, 5),
    );
    let steady = measure(&lab, LISTEN, PER_SECOND, 10);
    tell("forwarder", "steady", &steady);
    let burst = measure(&lab, LISTEN, 3 * PER_SECOND, 8);
    tell("forwarder", "burst", &burst);
    let adapted = burst.between(3 * SCALING, 8 * SCALING);
    tell("forwarder", "burst after three scaling intervals", &adapted);
    assert!(steady.per_mille_within(ONE_ROUND_TRIP) >= 950);
    assert!(adapted.per_mille_within(ONE_ROUND_TRIP) >= 950);
}

/// A backend that is told who the client is hears that with the first bytes, or before them: it costs no round trip.
#[test]
fn a_header_for_the_backend_costs_no_round_trip() {
    let Some(lab) = lab::open("a_header_for_the_backend_costs_no_round_trip") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(HTTP, Service::Http)]).unwrap();
    lab.links().set(backend().ip(), Link::millis(50));
    // The responder takes the line for the first one of the request.
    let config = CONFIG.replace("server: {", "server: { proxy_protocol: { send: v1 },");
    let mut forwarder = Forwarder::start(&lab, &config, &format!("{}\n", backend())).unwrap();
    let listening = forwarder.wait_until_listening(&lab, Duration::from_secs(5));
    assert!(listening, "{}", forwarder.program().output());
    tell(
        "forwarder",
        "finding its size",
        &measure(&lab, LISTEN, PER_SECOND, 2),
    );
    let steady = measure(&lab, LISTEN, PER_SECOND, 3);
    tell("forwarder", "told of its clients", &steady);
    assert!(steady.per_mille_within(ONE_ROUND_TRIP) >= 950);
}

/// Answers HTTP behind TLS, with a thread for each connection, for as long as the test runs.
#[cfg(feature = "tls")]
fn answer_by_tls(at: SocketAddr) -> io::Result<()> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let file = |name| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/certificates")
            .join(name)
    };
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind(at)?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
            std::thread::spawn(move || {
                socket.set_nodelay(true).unwrap();
                let mut stream = rustls::StreamOwned::new(session, socket);
                let (mut asked, mut byte) = (Vec::new(), [0]);
                while !asked.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut byte) {
                        Ok(1..) => asked.extend(byte),
                        Ok(0) | Err(_) => return,
                    }
                }
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                // The client hangs up.
                let _end = stream.read(&mut byte);
            });
        }
    });
    Ok(())
}

/// A warm connection is warm to the last round trip of its handshake: dialled for a client, it would take three.
#[cfg(feature = "tls")]
#[test]
fn tls_with_the_backend_costs_no_round_trip() {
    let Some(lab) = lab::open("tls_with_the_backend_costs_no_round_trip") else {
        return;
    };
    let at = backend();
    lab.server().run(|| answer_by_tls(at)).unwrap().unwrap();
    lab.links().set(at.ip(), Link::millis(50));
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates/ca.pem");
    let tls = format!("remotes:\n  tls: {{ enabled: true, sni: localhost, ca: {authority:?} }}\n");
    // More than are ever missing: how a pool finds its size is not what this is about.
    let pool = "type: \"static\", static: { size_per_remote: 64 }";
    let config = CONFIG
        .replace("remotes:\n", &tls)
        .replace("type: \"dynamic\"", pool);
    let mut forwarder = Forwarder::start(&lab, &config, &format!("{at}\n")).unwrap();
    let listening = forwarder.wait_until_listening(&lab, Duration::from_secs(5));
    assert!(listening, "{}", forwarder.program().output());
    let load = |seconds| measure(&lab, LISTEN, PER_SECOND, seconds);
    tell("forwarder", "filling its pool", &load(1));
    let steady = load(2);
    tell("forwarder", "tls to the backend", &steady);
    assert!(steady.per_mille_within(ONE_ROUND_TRIP) >= 800);
}
