//! TLS with backends, of the program as a process: rustls, openssl, nginx and `HAProxy` behind, plain clients before.
//!
//! A test whose programs are not installed skips itself and says so.

#![cfg(all(unix, feature = "tls"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline, and metrics count in whole numbers"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version};
use serde_json::{Value, json};
use socket2::SockRef;
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, free_addr, nginx, outcome, programs};
use support::{Forwarder, patient, wait_for};

type Stream = StreamOwned<ServerConnection, TcpStream>;

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(name)
}

fn shows(name: &str, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(file(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap()
}

/// A backend that speaks TLS.
struct Backend {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// Serves each connection once its handshake is done; `serve` is told how many there were before.
    fn start(config: ServerConfig, serve: impl Fn(usize, &mut Stream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (config, serve, count) = (Arc::new(config), Arc::new(serve), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                // What is held back for an acknowledgement goes with a reset.
                stream.set_nodelay(true).unwrap();
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(session, patient(stream));
                let (serve, count) = (Arc::clone(&serve), Arc::clone(&count));
                std::thread::spawn(move || {
                    while stream.conn.is_handshaking() {
                        if stream.conn.complete_io(&mut stream.sock).is_err() {
                            return;
                        }
                    }
                    stream.sock.set_read_timeout(None).unwrap();
                    serve(count.fetch_add(1, Ordering::SeqCst), &mut stream);
                });
            }
        });
        Self { addr, connections }
    }

    /// Sends back what it gets, and says `bye` and its end once it has heard an end.
    fn echo(config: ServerConfig) -> Self {
        Self::start(config, |_, stream| {
            if echo(stream) {
                let _gone = stream.write_all(b"bye");
                finish(stream);
            }
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn list(&self) -> String {
        format!("{}\n", self.addr)
    }
}

/// Sends back what comes; true once its end was said.
fn echo(stream: &mut Stream) -> bool {
    let mut room = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return true,
            Ok(count) if stream.write_all(&room[..count]).is_ok() => {}
            Ok(_) | Err(_) => return false,
        }
    }
}

/// Says the end, and what is beneath finishes.
fn finish(stream: &mut Stream) {
    stream.conn.send_close_notify();
    let _gone = stream.conn.write_tls(&mut stream.sock);
    let _gone = stream.sock.shutdown(Shutdown::Write);
}

/// Settings of a service that speaks TLS to backends as `tls` says, and keeps two warm connections.
fn settings(tls: &Value) -> Value {
    let mut changes = json!({
        "remotes": { "tls": { "enabled": true, "ca": file("ca.pem") } },
        "pools": { "strategy": { "type": "static", "static": { "size_per_remote": 2 } } },
        "logging": { "level": "debug" },
    });
    support::merge(&mut changes, &json!({ "remotes": { "tls": tls } }));
    changes
}

fn start(tls: &Value, list: &str) -> Forwarder {
    Forwarder::start(&settings(tls), list)
}

/// Waits until so many connections are warm.
fn warm(forwarder: &Forwarder, count: f64) {
    wait_for("warm connections", || {
        forwarder.metric("pool_available_connections") == count
    });
}

/// What comes until the end, which must be a good one.
fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("an end that was said");
    rest
}

#[test]
fn bytes_pass_in_both_versions_on_warm_connections_and_each_end_is_passed_on() {
    for version in BOTH {
        let backend = Backend::echo(shows("server", &[version]));
        let forwarder = start(&json!({}), &backend.list());
        warm(&forwarder, 2.0);
        for turn in 0..3 {
            let mut client = forwarder.connect();
            support::ping(&mut client, b"hello");
            support::ping(&mut client, &vec![turn; 100_000]);
            // A client that reads only once it has said it all.
            let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
            let mut writer = client.try_clone().unwrap();
            let sent = bytes.clone();
            let writing = std::thread::spawn(move || {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let heard = rest(&mut client);
            writing.join().unwrap();
            assert!(heard == [&bytes[..], b"bye"].concat(), "{version:?}");
            warm(&forwarder, 2.0);
        }
        assert_eq!(forwarder.metric("pool_hits_total"), 3.0, "{version:?}");
        wait_for("the ends", || {
            forwarder.metric("connections_closed_total{reason=\"finished\"}") == 3.0
        });
        let shaken =
            |result| forwarder.metric(&format!("backend_tls_handshakes_total{{result=\"{result}\"}}"));
        assert!(
            shaken("full") >= 1.0 && shaken("resumed") >= 1.0,
            "{version:?}: keys are taken up"
        );
        assert_eq!(shaken("failed"), 0.0);
    }
}

#[test]
fn tickets_do_not_make_warm_connections_stale_and_ends_do() {
    let mut config = shows("server", &[&version::TLS13]);
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    config.send_tls13_tickets = 8;
    // The first three say their end, or just go, once they are told to.
    let told = Arc::new(AtomicUsize::new(0));
    let end = Arc::clone(&told);
    let backend = Backend::start(config, move |number, stream| {
        while number < 2 && end.load(Ordering::SeqCst) == 0 {
            support::pause(Duration::from_millis(5));
        }
        match number {
            0 => {
                // An end that is said, and a connection that stays.
                stream.conn.send_close_notify();
                let _gone = stream.conn.write_tls(&mut stream.sock);
                let _over = stream.sock.read(&mut [0; 100]);
                let _over = stream.sock.read(&mut [0; 100]);
            }
            1 => {}
            _ => {
                let _over = echo(stream);
            }
        }
    });
    let forwarder = start(&json!({}), &backend.list());
    warm(&forwarder, 2.0);
    assert_eq!(backend.connections(), 2);
    told.store(1, Ordering::SeqCst);
    wait_for("new ones in their place", || backend.connections() == 4);
    warm(&forwarder, 2.0);
    for _ in 0..4 {
        support::ping(&mut forwarder.connect(), b"hello");
        warm(&forwarder, 2.0);
    }
    assert_eq!(forwarder.metric("pool_hits_total"), 4.0);
    assert_eq!(forwarder.metric("rescued_connections_total"), 0.0);
}

#[test]
fn what_a_backend_says_first_waits_for_a_client() {
    let backend = Backend::start(shows("server", &BOTH), |_, stream| {
        let _gone = stream.write_all(b"220 ready\r\n");
        let _over = echo(stream);
    });
    let forwarder = start(&json!({}), &backend.list());
    warm(&forwarder, 2.0);
    for _ in 0..2 {
        let mut client = forwarder.connect();
        let mut greeting = [0; 11];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
        support::ping(&mut client, b"HELO");
        warm(&forwarder, 2.0);
    }
    assert_eq!(forwarder.metric("pool_hits_total"), 2.0);
}

#[test]
fn a_stream_that_is_cut_off_is_a_reset_to_the_client_and_one_that_ends_is_not() {
    let backend = Backend::start(shows("server", &BOTH), |_, stream| {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() || stream.write_all(b"answer").is_err() {
            return;
        }
        match byte[0] {
            b'f' => finish(stream),
            b'r' => SockRef::from(&stream.sock)
                .set_linger(Some(Duration::ZERO))
                .unwrap(),
            // Finishes beneath without a word.
            _ => stream.sock.shutdown(Shutdown::Write).unwrap(),
        }
        if byte[0] != b'r' {
            let _over = stream.sock.read(&mut [0; 100]);
        }
    });
    let forwarder = start(&json!({}), &backend.list());
    let ask = |byte: &[u8]| {
        let mut client = forwarder.connect();
        client.write_all(byte).unwrap();
        let mut reply = [0; 6];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"answer");
        client.read(&mut reply)
    };
    assert_eq!(ask(b"f").expect("an end"), 0);
    for cut in [b"r", b"c"] {
        let end = ask(cut).expect_err("no end was said");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }
    wait_for("their reasons", || {
        forwarder.metric("connections_closed_total{reason=\"backend_reset\"}") == 2.0
    });
}

#[test]
fn a_backend_is_told_of_no_end_when_the_relay_is_cut_in_the_middle() {
    let (tell, ends) = std::sync::mpsc::channel();
    // Its own stream is cut off, and it reads on.
    let backend = Backend::start(shows("server", &BOTH), move |_, stream| {
        let mut room = [0; 5];
        if stream.read_exact(&mut room).is_ok() {
            stream.sock.shutdown(Shutdown::Write).unwrap();
            let _over = tell.send(stream.read(&mut room).map_err(|error| error.kind()));
        }
    });
    let forwarder = start(&json!({}), &backend.list());
    warm(&forwarder, 2.0);
    let mut client = forwarder.connect();
    client.write_all(b"hello").unwrap();
    let end = client.read(&mut [0]).expect_err("a cut is a reset");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    let heard = ends.recv_timeout(support::PATIENCE).unwrap();
    assert_eq!(
        heard,
        Err(ErrorKind::UnexpectedEof),
        "the client has not finished"
    );
}

#[test]
fn backends_that_are_not_who_they_should_be_serve_nobody() {
    for (name, tls, words) in [
        (
            "server",
            json!({ "sni": "other.example" }),
            "not valid for name \"other.example\"",
        ),
        ("wild", json!({}), "not valid for name \"127.0.0.1\""),
        (
            "server",
            json!({ "ca": file("lone.pem") }),
            "nobody vouches for it who is believed",
        ),
        ("lone", json!({}), "its certificate is refused"),
        ("expired", json!({ "sni": "localhost" }), "certificate expired"),
        (
            "early",
            json!({ "sni": "localhost" }),
            "certificate not valid yet",
        ),
        (
            "unchained",
            json!({ "sni": "chained.example.org" }),
            "nobody vouches for it",
        ),
    ] {
        let backend = Backend::echo({
            let name = if name == "unchained" { "chained" } else { name };
            let mut config = shows(name, &BOTH);
            if name == "chained" {
                let chain = CertificateDer::pem_file_iter(file("unchained.pem")).unwrap();
                let key = PrivateKeyDer::from_pem_file(file("chained.key")).unwrap();
                let builder = ServerConfig::builder_with_provider(Arc::clone(config.crypto_provider()));
                let builder = builder
                    .with_protocol_versions(&BOTH)
                    .unwrap()
                    .with_no_client_auth();
                config = builder
                    .with_single_cert(chain.map(Result::unwrap).collect(), key)
                    .unwrap();
            }
            config
        });
        let forwarder = start(&tls, &backend.list());
        let mut client = forwarder.connect();
        client.write_all(b"hello").unwrap();
        let mut heard = Vec::new();
        let _end = client.read_to_end(&mut heard);
        assert!(heard.is_empty(), "{name}: {heard:?}");
        forwarder.logs("no TLS with a backend: ");
        assert!(forwarder.log().contains(words), "{name}: {}", forwarder.log());
        assert!(forwarder.metric("backend_tls_handshakes_total{result=\"failed\"}") >= 1.0);
        assert!(forwarder.metric("errors_total{kind=\"dial\"}") >= 1.0);
        assert_eq!(forwarder.metric("pool_available_connections"), 0.0);
        assert_eq!(
            forwarder.log().matches("WARN").count(),
            1,
            "it is said once: {}",
            forwarder.log()
        );
    }
}

#[test]
fn each_service_says_once_what_is_wrong_with_its_backends() {
    let backend = Backend::echo(shows("server", &BOTH));
    let services = ["one", "two"].map(|name| {
        let tls = json!({ "sni": format!("{name}.example") });
        (
            name,
            json!({ "listen_addr": "127.0.0.1:0", "remotes": { "tls": tls } }),
        )
    });
    let mut all = support::settings(&settings(&json!({})));
    all["server"].as_object_mut().unwrap().remove("listen_addr");
    all["services"] = services
        .into_iter()
        .map(|(name, one)| (name.to_owned(), one))
        .collect();
    let files = support::Files::new(&all, &backend.list());
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command);
    for name in ["one", "two"] {
        forwarder.logs(&format!("not valid for name \"{name}.example\""));
    }
    let log = forwarder.log();
    assert_eq!(log.matches("no TLS with a backend").count(), 2, "{log}");
}

#[test]
fn backends_that_nobody_vouches_for_serve_where_that_is_allowed_and_it_is_said() {
    for name in ["lone", "expired"] {
        let backend = Backend::echo(shows(name, &BOTH));
        let forwarder = start(&json!({ "verify": false, "ca": "" }), &backend.list());
        support::ping(&mut forwarder.connect(), b"hello");
        forwarder.logs("remotes.tls.verify is false");
    }
}

#[test]
fn backends_that_do_not_speak_tls_or_say_nothing_fail_dials() {
    let plain = support::echo_on(Ipv4Addr::LOCALHOST);
    let forwarder = start(&json!({}), &format!("{plain}\n"));
    let mut client = forwarder.connect();
    assert!(client.read_to_end(&mut Vec::new()).is_err() || client.read(&mut [0]).unwrap() == 0);
    forwarder.logs("no TLS with a backend: ");

    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut changes = settings(&json!({}));
    support::merge(
        &mut changes,
        &json!({ "pools": { "common": { "dial_timeout": "200ms", "dial_attempts": 1 } } }),
    );
    let list = format!("{}\n", silent.local_addr().unwrap());
    let forwarder = Forwarder::start(&changes, &list);
    let mut client = forwarder.connect();
    assert!(client.read_to_end(&mut Vec::new()).is_err() || client.read(&mut [0]).unwrap() == 0);
    forwarder.logs("no TLS with a backend: it is not done in time");
    assert!(forwarder.metric("errors_total{kind=\"dial_timeout\"}") >= 1.0);
}

#[test]
fn the_name_and_the_protocols_are_those_of_the_configuration() {
    let mut config = shows("wild", &BOTH);
    config.alpn_protocols = vec![b"h2".to_vec(), b"smtp".to_vec()];
    let backend = Backend::start(config, |_, stream| {
        let name = stream.conn.server_name().unwrap_or("none").to_owned();
        let protocol = String::from_utf8(stream.conn.alpn_protocol().unwrap_or(b"none").to_vec()).unwrap();
        let _gone = stream.write_all(format!("{name} {protocol}").as_bytes());
        finish(stream);
        let _over = stream.sock.read(&mut [0; 100]);
    });
    for (alpn, expected) in [
        (json!([]), "a.example.org none"),
        (json!(["x", "smtp"]), "a.example.org smtp"),
    ] {
        let mut changes = settings(&json!({ "sni": "a.example.org", "alpn": alpn }));
        // It says its end at once: each client gets a dial of its own.
        support::merge(
            &mut changes,
            &json!({ "pools": { "strategy": { "type": "off" } } }),
        );
        let forwarder = Forwarder::start(&changes, &backend.list());
        assert_eq!(
            String::from_utf8(rest(&mut forwarder.connect())).unwrap(),
            expected
        );
    }
}

#[test]
fn a_reload_and_a_renewed_file_change_who_is_believed() {
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::copy(file("ca.pem"), &ca).unwrap();
    let backend = Backend::echo(shows("server", &BOTH));
    let forwarder = start(&json!({ "ca": ca }), &backend.list());
    warm(&forwarder, 2.0);
    let mut old = forwarder.connect();
    support::ping(&mut old, b"before");
    warm(&forwarder, 2.0);
    // Garbage changes nothing.
    std::fs::write(&ca, "garbage").unwrap();
    wait_for("an error", || {
        forwarder.metric("errors_total{kind=\"certificate\"}") > 0.0
    });
    support::ping(&mut forwarder.connect(), b"the last good one stays");
    // Another authority: what is warm was made under the old one.
    std::fs::copy(file("lone.pem"), &ca).unwrap();
    forwarder.logs("certificates have changed");
    forwarder.logs("no TLS with a backend: its certificate is refused");
    warm(&forwarder, 0.0);
    let mut refused = forwarder.connect();
    let mut heard = Vec::new();
    let _end = refused.read_to_end(&mut heard);
    assert!(heard.is_empty());
    support::ping(&mut old, b"a session goes on as it began");
    // A reload back to the first one.
    let files = forwarder.files();
    let settings = support::settings(&settings(&json!({ "ca": file("ca.pem") })));
    std::fs::write(files.path("config.yaml"), settings.to_string()).unwrap();
    forwarder.signal(rustix::process::Signal::HUP);
    warm(&forwarder, 2.0);
    support::ping(&mut forwarder.connect(), b"after");
}

/// A client that speaks TLS with the forwarder.
fn secure(socket: TcpStream) -> StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("ca.pem")).unwrap())
        .unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&BOTH)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, socket)
}

#[test]
fn tls_before_and_behind_together() {
    let backend = Backend::echo(shows("server", &BOTH));
    let mut changes = settings(&json!({}));
    let shown = json!({ "server": { "tls": { "cert": file("server.pem"), "key": file("server.key") } } });
    support::merge(&mut changes, &shown);
    let forwarder = Forwarder::start(&changes, &backend.list());
    let mut client = secure(forwarder.connect());
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 241) as u8).collect();
    for _ in 0..3 {
        let mut reply = vec![0; bytes.len()];
        for (sent, heard) in bytes.chunks(50_000).zip(reply.chunks_mut(50_000)) {
            client.write_all(sent).unwrap();
            client.read_exact(heard).unwrap();
        }
        assert!(reply == bytes);
    }
    client.conn.send_close_notify();
    client.conn.complete_io(&mut client.sock).unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).expect("an end that was said");
    assert_eq!(heard, b"bye");
}

#[test]
fn a_first_flight_that_meets_a_dead_connection_goes_to_another_one() {
    // The first two are closed under whoever speaks to them: by their end and a reset, as servers do that time out.
    let backend = Backend::start(shows("server", &BOTH), |number, stream| {
        if number < 2 {
            // Stops reading: what comes is acknowledged by nobody's program, and answered by a reset.
            let mut byte = [0];
            let _peeked = stream.sock.peek(&mut byte);
            SockRef::from(&stream.sock)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            return;
        }
        let _over = echo(stream);
    });
    let mut changes = settings(&json!({}));
    support::merge(&mut changes, &json!({ "pools": { "rescue": "always" } }));
    let forwarder = Forwarder::start(&changes, &format!("{}\n", backend.addr));
    warm(&forwarder, 2.0);
    support::ping(&mut forwarder.connect(), b"hello");
    assert_eq!(forwarder.metric("rescued_connections_total"), 1.0);
}

#[test]
fn a_backend_that_is_cut_off_has_not_answered_a_client_that_has_finished() {
    // The first of them reads the whole question, and goes without a word.
    let backend = Backend::start(shows("server", &BOTH), |number, stream| {
        let mut question = Vec::new();
        let _end = stream.read_to_end(&mut question);
        if number > 0 {
            stream.write_all(&question).unwrap();
            finish(stream);
        }
    });
    let mut changes = settings(&json!({}));
    let one = json!({
        "server": { "reactors": 1 },
        "pools": { "rescue": "always", "strategy": { "static": { "size_per_remote": 1 } } },
    });
    support::merge(&mut changes, &one);
    let forwarder = Forwarder::start(&changes, &backend.list());
    warm(&forwarder, 1.0);
    let mut client = forwarder.connect();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"hello");
    assert_eq!(forwarder.metric("rescued_connections_total"), 1.0);
}

#[cfg(target_os = "linux")]
trait Client: Read + Write {}

#[cfg(target_os = "linux")]
impl<T: Read + Write> Client for T {}

/// How the only warm connection dies under a client's first bytes.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// Its end is said, and it is closed, while they are on their way.
    Ended,
    /// It is closed without a word while they are on their way.
    Closed,
    /// It is reset once they were read.
    ReadThenReset,
}

/// A backend whose first connection dies so once it is told to; the others are served.
#[cfg(target_os = "linux")]
fn mortal(config: ServerConfig, death: Death, is_due: &Arc<AtomicBool>) -> Backend {
    use rustix::fd::AsFd;
    use socket2::SockFilter;

    let is_due = Arc::clone(is_due);
    Backend::start(config, move |number, stream| {
        if number > 0 {
            let _over = echo(stream);
            return;
        }
        if death == Death::ReadThenReset {
            stream.read_exact(&mut [0; 5]).unwrap();
            SockRef::from(&stream.sock)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            return;
        }
        // What comes is dropped, as if it was late: "keep no byte of it", in the language of packet filters.
        let socket = stream.sock.as_fd().try_clone_to_owned().unwrap();
        let socket = SockRef::from(&socket);
        socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
        while !is_due.load(Ordering::SeqCst) {
            support::pause(Duration::from_millis(5));
        }
        if death == Death::Ended {
            stream.conn.send_close_notify();
            stream.conn.write_tls(&mut stream.sock).unwrap();
        }
        socket.detach_filter().unwrap();
    })
}

/// What can tell that nobody has read a flight counts bytes of records, from behind a handshake.
#[cfg(target_os = "linux")]
#[test]
fn only_a_first_flight_that_nobody_has_read_is_said_again_where_that_is_to_be_safe() {
    for death in [Death::Ended, Death::Closed, Death::ReadThenReset] {
        for (version, is_secure) in [(BOTH[0], false), (BOTH[1], false), (BOTH[1], true)] {
            let is_due = Arc::new(AtomicBool::new(false));
            let backend = mortal(shows("server", &[version]), death, &is_due);
            let mut changes = settings(&json!({}));
            let one = json!({
                "server": { "reactors": 1 },
                "pools": { "strategy": { "static": { "size_per_remote": 1 } } },
            });
            support::merge(&mut changes, &one);
            if is_secure {
                let tls = json!({ "cert": file("server.pem"), "key": file("server.key") });
                support::merge(&mut changes, &json!({ "server": { "tls": tls } }));
            }
            let forwarder = Forwarder::start(&changes, &backend.list());
            warm(&forwarder, 1.0);
            let socket = forwarder.connect();
            let mut reply = [0; 5];
            let mut play = |client: &mut dyn Client| {
                client.write_all(b"hello").unwrap();
                wait_for("it was written to the backend", || {
                    forwarder.metric("bytes_transferred_total{direction=\"to_backend\"}") == 5.0
                });
                is_due.store(true, Ordering::SeqCst);
                client.read_exact(&mut reply)
            };
            let heard = if is_secure {
                play(&mut secure(socket))
            } else {
                play(&mut { socket })
            };
            let is_rescued = death != Death::ReadThenReset;
            assert_eq!(heard.is_ok(), is_rescued, "{death:?} {version:?} {is_secure}");
            assert_eq!(
                forwarder.metric("rescued_connections_total"),
                f64::from(u8::from(is_rescued))
            );
        }
    }
}

fn checks(check: &Value) -> Value {
    json!({
        "remotes": { "probing": { "interval": "200ms", "check": check } },
        "logging": { "level": "debug" },
    })
}

#[test]
fn checks_by_handshake_and_by_https_tell_good_ones_from_bad_ones() {
    let good = Backend::start(shows("server", &BOTH), |_, stream| {
        let mut heard = Vec::new();
        let mut byte = [0];
        while !heard.ends_with(b"\r\n\r\n") {
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            heard.extend(byte);
        }
        let is_right = heard.starts_with(b"HEAD /up ") && stream.conn.server_name() == Some("localhost");
        let status = if is_right { "200 OK" } else { "404 Not Found" };
        let _gone = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
        finish(stream);
    });
    let plain = support::echo_on(Ipv4Addr::LOCALHOST);
    let expired = Backend::echo(shows("expired", &BOTH));
    let answers = |forwarder: &Forwarder, result: &str| {
        forwarder.metric(&format!("checks_total{{result=\"{result}\"}}"))
    };
    let tls = json!({ "sni": "localhost", "ca": file("ca.pem") });
    for (kind, http) in [("tls", json!({})), ("https", json!({ "path": "/up" }))] {
        let check = json!({ "type": kind, "tls": tls, "http": http });
        let forwarder = Forwarder::start(&checks(&check), &good.list());
        wait_for("right answers", || answers(&forwarder, "right") > 1.0);
        assert_eq!(answers(&forwarder, "wrong"), 0.0, "{kind}");
        for list in [format!("{plain}\n"), expired.list()] {
            let forwarder = Forwarder::start(&checks(&check), &list);
            wait_for("wrong answers", || answers(&forwarder, "wrong") > 1.0);
            assert_eq!(answers(&forwarder, "right"), 0.0, "{kind}");
        }
        let any = json!({ "type": kind, "tls": { "sni": "localhost", "verify": false }, "http": http });
        let forwarder = Forwarder::start(&checks(&any), &good.list());
        wait_for("right answers of anybody", || answers(&forwarder, "right") > 1.0);
    }
    let wrong = json!({ "type": "https", "tls": tls, "http": { "path": "/down" } });
    let forwarder = Forwarder::start(&checks(&wrong), &good.list());
    wait_for("wrong answers", || answers(&forwarder, "wrong") > 1.0);
    forwarder.logs("the status is another one");
}

#[test]
fn openssl_behind_serves_in_both_versions() {
    let Some([openssl]) = programs("openssl_behind_serves_in_both_versions", ["openssl"]) else {
        return;
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let folder = TempDir::new().unwrap();
        let addr = free_addr(15);
        let mut command = Command::new(&openssl);
        command.args(["s_server", "-www", version, "-accept", &addr.to_string()]);
        command
            .arg("-cert")
            .arg(file("server.pem"))
            .arg("-key")
            .arg(file("server.key"));
        let server = Server::start(command, addr, folder.path());
        // It serves one connection at a time.
        let mut changes = settings(&json!({ "sni": "www.example.org" }));
        support::merge(
            &mut changes,
            &json!({ "pools": { "strategy": { "type": "off" } } }),
        );
        let forwarder = Forwarder::start(&changes, &server.list());
        let mut client = forwarder.connect();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut page = Vec::new();
        // It ends without a word in TLS, which is a reset.
        let _end = client.read_to_end(&mut page);
        let page = String::from_utf8_lossy(&page).into_owned();
        let shown = if version == "-tls1_2" {
            "TLSv1.2"
        } else {
            "TLSv1.3"
        };
        assert!(page.contains("200 ok") && page.contains(shown), "{page}");
    }
}

#[test]
fn nginx_and_haproxy_behind_serve_large_files_on_warm_connections() {
    let test = "nginx_and_haproxy_behind_serve_large_files_on_warm_connections";
    let Some([program, haproxy, curl]) = programs(test, ["nginx", "haproxy", "curl"]) else {
        return;
    };
    let (folder, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let addr = free_addr(16);
    let big: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 249) as u8).collect();
    std::fs::write(folder.path().join("big"), &big).unwrap();
    let (cert, key) = (file("server.pem"), file("server.key"));
    let http = format!(
        "server {{ listen {addr} ssl; root {}; ssl_certificate {}; ssl_certificate_key {}; }}",
        folder.path().display(),
        cert.display(),
        key.display()
    );
    let behind = nginx(&program, addr, &http, folder.path());
    // HAProxy takes both from one file.
    let both = [std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap()].concat();
    std::fs::write(place.path().join("both.pem"), both).unwrap();
    let front = free_addr(17);
    let sections = format!(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 20s\n timeout server 20s\n timeout connect 5s\n\
         frontend f\n bind {front} ssl crt {}\n default_backend b\n\
         backend b\n server s {addr} ssl verify none\n",
        place.path().join("both.pem").display()
    );
    std::fs::write(place.path().join("haproxy.cfg"), sections).unwrap();
    let mut command = Command::new(&haproxy);
    command.arg("-db").arg("-f").arg(place.path().join("haproxy.cfg"));
    let before = Server::start(command, front, place.path());
    for server in [&behind, &before] {
        let forwarder = start(
            &json!({ "sni": "localhost", "alpn": ["http/1.1"] }),
            &server.list(),
        );
        warm(&forwarder, 2.0);
        for _ in 0..3 {
            let mut command = Command::new(&curl);
            let url = format!("http://{}/big", forwarder.addr());
            command.args(["-sS", "--max-time", "20", &url]);
            assert!(outcome(&mut command, b"").stdout == big);
            warm(&forwarder, 2.0);
        }
        assert_eq!(forwarder.metric("pool_hits_total"), 3.0);
    }
}
