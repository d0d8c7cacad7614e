//! TLS with clients, of the program as a process: openssl, curl and rustls on one side, plain backends on the other.
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
use std::sync::mpsc::{Receiver, channel};

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned, SupportedProtocolVersion,
    version,
};
use serde_json::{Value, json};
use socket2::SockRef;
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{free_addr, nginx, outcome, programs};
use support::{Forwarder, PATIENCE, patient, wait_for};

type Client = StreamOwned<ClientConnection, TcpStream>;

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(name)
}

fn shown(cert: &str, key: &str) -> Value {
    json!({ "cert": file(cert), "key": file(key) })
}

/// A forwarder whose clients speak TLS as `tls` says.
fn start(tls: &Value, backend: SocketAddr) -> Forwarder {
    let mut changes = json!({ "server": { "tls": shown("server.pem", "server.key") } });
    support::merge(
        &mut changes,
        &json!({ "server": { "tls": tls }, "logging": { "level": "debug" } }),
    );
    Forwarder::start(&changes, &format!("{backend}\n"))
}

/// A client that knows the authority of the tests.
fn known(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    knowing(versions).with_no_client_auth()
}

/// The same, which may show a certificate yet.
fn knowing(versions: &[&'static SupportedProtocolVersion]) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("ca.pem")).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

fn connect(addr: SocketAddr, config: impl Into<Arc<ClientConfig>>) -> Client {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(config.into(), name).unwrap();
    StreamOwned::new(connection, patient(TcpStream::connect(addr).unwrap()))
}

fn ping(client: &mut Client, bytes: &[u8]) {
    let mut reply = vec![0; bytes.len()];
    client.write_all(bytes).unwrap();
    client.read_exact(&mut reply).unwrap();
    assert!(reply == bytes, "the reply is another one");
}

/// What the access log says of TLS.
fn told(forwarder: &Forwarder) -> String {
    let file = forwarder.files().path("access.log");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    wait_for("a line", || read().ends_with('\n'));
    read()
}

#[test]
fn the_access_log_tells_version_name_and_protocol_or_why_there_was_none() {
    let start = || {
        let (cert, key) = (file("server.pem"), file("server.key"));
        let changes = json!({
            "server": { "tls": { "cert": cert, "key": key, "alpn": ["h2"] } },
            "access_log": { "output": "access.log", "fields": ["end", "tls", "sni", "alpn"] },
        });
        Forwarder::start(&changes, &format!("{}\n", Backend::start(b"").addr))
    };
    for (version, name) in [(&version::TLS12, "TLSv1.2"), (&version::TLS13, "TLSv1.3")] {
        let forwarder = start();
        let mut config = known(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = connect(forwarder.addr(), config);
        ping(&mut client, b"hello");
        client.conn.send_close_notify();
        client.flush().unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(
            told(&forwarder),
            format!("end=-- tls={name} sni=localhost alpn=h2\n")
        );
    }
    let forwarder = start();
    let mut client = patient(TcpStream::connect(forwarder.addr()).unwrap());
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _alert = client.read_to_end(&mut Vec::new());
    assert_eq!(told(&forwarder), "end=PR tls=- sni=- alpn=-\n");
}

/// Serves each connection so, on a thread of its own; where they are to come.
fn serve(one: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let one = Arc::new(one);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let one = Arc::clone(&one);
            std::thread::spawn(move || one(&mut stream));
        }
    });
    addr
}

/// How the other side of a backend's connection has ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Finished,
    Reset,
}

/// A backend that sends back what it gets, and tells how each connection has ended; `bye` follows a finish.
struct Backend {
    addr: SocketAddr,
    ends: Receiver<(usize, End)>,
}

impl Backend {
    fn start(bye: &'static [u8]) -> Self {
        let (tell, ends) = channel();
        let addr = serve(move |stream| {
            let (mut room, mut heard) = (vec![0; 64 * 1024], 0);
            let end = loop {
                match stream.read(&mut room) {
                    Ok(0) => break End::Finished,
                    Ok(count) => {
                        heard += count;
                        if stream.write_all(&room[..count]).is_err() {
                            break End::Reset;
                        }
                    }
                    Err(_) => break End::Reset,
                }
            };
            if end == End::Finished {
                let _gone = stream.write_all(bye);
            }
            // Warm connections end, too, unheard.
            if heard > 0 {
                let _over = tell.send((heard, end));
            }
        });
        Self { addr, ends }
    }

    fn end(&self) -> (usize, End) {
        self.ends.recv_timeout(PATIENCE).unwrap()
    }
}

#[test]
fn bytes_pass_in_both_versions_and_each_end_is_passed_on() {
    let backend = Backend::start(b"bye");
    let forwarder = start(&json!({}), backend.addr);
    for version in BOTH {
        let mut client = connect(forwarder.addr(), known(&[version]));
        ping(&mut client, b"hello");
        ping(&mut client, &vec![7; 3_000_000]);
        // The client has said its last, and hears the backend out.
        client.conn.send_close_notify();
        client.conn.complete_io(&mut client.sock).unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("an end that was said");
        assert_eq!(rest, b"bye");
        assert_eq!(backend.end(), (3_000_005, End::Finished), "{version:?}");
    }
    assert_eq!(forwarder.metric("tls_handshakes_total{result=\"full\"}"), 2.0);
    wait_for("both ends", || {
        forwarder.metric("connections_closed_total{reason=\"finished\"}") == 2.0
    });
}

#[test]
fn a_stream_that_is_cut_off_is_a_reset_to_the_backend_and_a_reset_stays_one() {
    let backend = Backend::start(b"");
    let forwarder = start(&json!({}), backend.addr);
    for version in BOTH {
        let mut client = connect(forwarder.addr(), known(&[version]));
        ping(&mut client, b"hello");
        client.sock.shutdown(Shutdown::Both).unwrap();
        assert_eq!(
            backend.end(),
            (5, End::Reset),
            "{version:?}: without close_notify"
        );

        let mut client = connect(forwarder.addr(), known(&[version]));
        ping(&mut client, b"again");
        SockRef::from(&client.sock)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(client);
        assert_eq!(backend.end(), (5, End::Reset), "{version:?}: reset");
    }
    wait_for("four ends", || {
        forwarder.metric("connections_closed_total{reason=\"client_reset\"}") == 4.0
    });
}

#[test]
fn what_is_cut_in_the_middle_is_never_an_end_that_was_said() {
    // Each says a part of its answer, and waits for the rest of the question.
    let addr = serve(|stream| {
        let mut room = [0; 16];
        if stream.read(&mut room).is_ok() && stream.write_all(b"part").is_ok() {
            while matches!(stream.read(&mut room), Ok(1..)) {}
        }
    });
    let server = json!({ "tls": shown("server.pem", "server.key"), "idle_timeout": "1s" });
    let forwarder = Forwarder::start(&json!({ "server": server }), &format!("{addr}\n"));
    for version in BOTH {
        for is_cut_by_client in [true, false] {
            let mut client = connect(forwarder.addr(), known(&[version]));
            client.write_all(b"question").unwrap();
            let mut reply = [0; 4];
            client.read_exact(&mut reply).unwrap();
            if is_cut_by_client {
                client.sock.shutdown(Shutdown::Write).unwrap();
            }
            let end = client.read(&mut reply).expect_err("no end was said");
            assert!(
                matches!(end.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
                "{version:?}, cut by the client: {is_cut_by_client}: {end}"
            );
        }
    }
    assert_eq!(
        forwarder.metric("connections_closed_total{reason=\"idle_timeout\"}"),
        2.0
    );
}

#[test]
fn what_a_backend_ends_is_said_and_what_it_cuts_off_is_not() {
    let addr = serve(|stream| {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() || stream.write_all(b"answer").is_err() {
            return;
        }
        // What is unread makes the close a reset.
        let is_cut_off = byte == *b"r";
        if is_cut_off {
            SockRef::from(&*stream)
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
        }
    });
    let forwarder = start(&json!({}), addr);
    for version in BOTH {
        let mut client = connect(forwarder.addr(), known(&[version]));
        client.write_all(b"f").unwrap();
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).expect("an end that was said");
        assert_eq!(reply, b"answer");

        let mut client = connect(forwarder.addr(), known(&[version]));
        client.write_all(b"r").unwrap();
        let mut reply = [0; 6];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"answer");
        let end = client.read(&mut reply).expect_err("no end was said");
        assert!(
            matches!(end.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
            "{version:?}: {end}"
        );
    }
}

#[test]
fn who_does_not_speak_tls_or_nothing_at_all_gets_no_backend() {
    let backend = Backend::start(b"");
    let mut changes =
        json!({ "server": { "handshake_timeout": "300ms", "tls": shown("server.pem", "server.key") } });
    support::merge(&mut changes, &json!({ "logging": { "level": "debug" } }));
    let forwarder = Forwarder::start(&changes, &format!("{}\n", backend.addr));
    let mut plain = forwarder.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut alert = Vec::new();
    let _end = plain.read_to_end(&mut alert);
    assert_eq!(alert.first(), Some(&21), "an alert: {alert:?}");

    let mut silent = forwarder.connect();
    let end = silent.read(&mut [0]).expect_err("cut at its deadline");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);

    let mut slow = forwarder.connect();
    slow.write_all(&[22, 3, 1, 1]).unwrap();
    let end = slow.read(&mut [0]).expect_err("cut at its deadline");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        forwarder.metric("connections_closed_total{reason=\"handshake_timeout\"}"),
        2.0
    );
    assert_eq!(
        forwarder.metric("connections_closed_total{reason=\"handshake_failed\"}"),
        1.0
    );
    assert_eq!(forwarder.metric("handshake_failures_total{reason=\"tls\"}"), 1.0);
    assert_eq!(forwarder.metric("tls_handshakes_total{result=\"failed\"}"), 3.0);
    let mut good = connect(forwarder.addr(), known(&BOTH));
    ping(&mut good, b"still served");
}

#[test]
fn renewed_files_are_taken_up_and_garbage_is_not() {
    let folder = TempDir::new().unwrap();
    let put = |cert: &str, key: &str| {
        std::fs::copy(file(key), folder.path().join("a.key")).unwrap();
        std::fs::copy(file(cert), folder.path().join("a.pem")).unwrap();
    };
    put("server.pem", "server.key");
    let backend = Backend::start(b"");
    let changes = json!({
        "server": { "tls": { "cert": folder.path().join("a.pem"), "key": folder.path().join("a.key") } },
    });
    let forwarder = Forwarder::start(&changes, &format!("{}\n", backend.addr));
    let names = || -> Option<Vec<u8>> {
        let mut client = connect(forwarder.addr(), known(&BOTH));
        let _refused = client.conn.complete_io(&mut client.sock);
        client.conn.peer_certificates().map(|chain| chain[0].to_vec())
    };
    let server = CertificateDer::from_pem_file(file("server.pem"))
        .unwrap()
        .to_vec();
    let mut old = connect(forwarder.addr(), known(&BOTH));
    ping(&mut old, b"before");
    assert_eq!(names(), Some(server.clone()));
    let errors = || forwarder.metric("errors_total{kind=\"certificate\"}");
    std::fs::write(folder.path().join("a.pem"), "garbage").unwrap();
    wait_for("an error", || errors() > 0.0);
    forwarder.logs("the last good ones stay: ");
    forwarder.logs("no certificate in it");
    assert_eq!(names(), Some(server), "the old one stays");
    put("expired.pem", "expired.key");
    let expired = CertificateDer::from_pem_file(file("expired.pem"))
        .unwrap()
        .to_vec();
    wait_for("the new certificate", || {
        let mut roots = known(&BOTH);
        roots.dangerous().set_certificate_verifier(Arc::new(Anybody));
        let mut client = connect(forwarder.addr(), roots);
        client.conn.complete_io(&mut client.sock).unwrap();
        client.conn.peer_certificates().unwrap()[0].to_vec() == expired
    });
    forwarder.logs("the certificate has expired");
    ping(&mut old, b"a session goes on as it began");
    let expiry = forwarder.metric(&format!(
        "tls_certificate_expiry_timestamp_seconds{{certificate=\"{}\"}}",
        folder.path().join("a.pem").display()
    ));
    assert_eq!(expiry, 1_577_836_800.0);
    for told in [
        &forwarder.api("status")["services"][0],
        &forwarder.api("services/default"),
    ] {
        let certificate = &told["certificates"][0];
        assert_eq!(certificate["expires"], "2020-01-01T00:00:00Z", "{told}");
        assert!(certificate["expires_in_seconds"].as_i64() < Some(0));
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[test]
fn files_that_are_wrong_stop_a_start_and_a_reload_and_check_says_so() {
    let backend = Backend::start(b"");
    let settings = |cert: &str, key: &str| {
        let changes = json!({ "server": { "tls": shown(cert, key) } });
        support::settings(&changes)
    };
    for (cert, key, words) in [
        (
            "server.pem",
            "wild.key",
            "the key does not match the certificate in ",
        ),
        ("server.pem", "encrypted.key", "its key is encrypted"),
        ("server.key", "server.key", "no certificate in it"),
    ] {
        let files = support::Files::new(&settings(cert, key), &format!("{}\n", backend.addr));
        for command in [None, Some("check")] {
            let mut program = support::program();
            program
                .args(command)
                .arg("--config")
                .arg(files.path("config.yaml"));
            let output = outcome(&mut program, b"");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(words), "{said}");
        }
    }
    let forwarder = start(&json!({}), backend.addr);
    let wrong = settings("server.pem", "wild.key").to_string();
    std::fs::write(forwarder.files().path("config.yaml"), wrong).unwrap();
    forwarder.signal(rustix::process::Signal::HUP);
    wait_for("a refusal", || {
        forwarder.metric("config_reloads_total{result=\"failure\"}") == 1.0
    });
    forwarder.logs("the key does not match");
    let mut client = connect(forwarder.addr(), known(&BOTH));
    ping(&mut client, b"as before");
}

/// What `openssl s_client` says with these arguments: all of it, and whether it was content.
fn s_client(program: &Path, addr: SocketAddr, arguments: &[&str], input: &[u8]) -> (bool, String) {
    let mut command = Command::new("timeout");
    command
        .arg("20")
        .arg(program)
        .args(["s_client", "-connect", &addr.to_string()]);
    command.arg("-CAfile").arg(file("ca.pem")).args(arguments);
    let output = outcome(&mut command, input);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn openssl_speaks_both_versions_and_takes_up_its_keys() {
    let Some([openssl]) = programs("openssl_speaks_both_versions_and_takes_up_its_keys", ["openssl"]) else {
        return;
    };
    let backend = Backend::start(b"");
    let forwarder = start(&json!({ "alpn": ["h2", "http/1.1"] }), backend.addr);
    let folder = TempDir::new().unwrap();
    let session = folder.path().join("session").display().to_string();
    for (version, says) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let common = [
            version,
            "-servername",
            "localhost",
            "-verify_return_error",
            "-alpn",
            "http/1.1",
        ];
        let first = [&common[..], &["-sess_out", &session]].concat();
        let said = s_client_says(&openssl, forwarder.addr(), &first, "marco");
        assert!(said.contains(says) && said.contains("New, "), "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
        let again = [&common[..], &["-sess_in", &session]].concat();
        let said = s_client_says(&openssl, forwarder.addr(), &again, "polo");
        assert!(said.contains("Reused, "), "{version}: {said}");
    }
    let (is_good, said) = s_client(&openssl, forwarder.addr(), &["-alpn", "smtp"], b"Q\n");
    assert!(!is_good && said.contains("no application protocol"), "{said}");
    let strict = start(
        &json!({ "min_version": "1.3", "session_tickets": false }),
        backend.addr,
    );
    let (is_good, said) = s_client(&openssl, strict.addr(), &["-tls1_2"], b"Q\n");
    assert!(!is_good && said.contains("protocol version"), "{said}");
    let first = ["-tls1_3", "-sess_out", &session];
    assert!(
        !s_client(&openssl, strict.addr(), &first, b"Q\n")
            .1
            .contains("New Session Ticket")
    );
    assert!(forwarder.metric("tls_handshakes_total{result=\"resumed\"}") >= 2.0);
}

#[test]
fn clients_show_certificates_where_they_must_or_may() {
    let Some([openssl]) = programs("clients_show_certificates_where_they_must_or_may", ["openssl"]) else {
        return;
    };
    let backend = Backend::start(b"");
    let of = |name: &str| {
        (
            file(&format!("{name}.pem")).display().to_string(),
            file(&format!("{name}.key")).display().to_string(),
        )
    };
    let (good, bad) = (of("client"), of("lone"));
    let good = ["-cert", &good.0, "-key", &good.1];
    let bad = ["-cert", &bad.0, "-key", &bad.1];
    for (auth, without, with_bad) in [("required", false, false), ("optional", true, false)] {
        let tls = json!({ "client_auth": auth, "client_ca": file("ca.pem") });
        let forwarder = start(&tls, backend.addr);
        for version in ["-tls1_2", "-tls1_3"] {
            let served = |arguments: &[&str]| {
                // An answer tells; in TLS 1.3 the client's handshake is over before its certificate is looked at.
                let arguments = [arguments, &[version, "-quiet", "-no_ign_eof"]].concat();
                s_client_says(&openssl, forwarder.addr(), &arguments, "marco").contains("marco")
            };
            assert!(served(&good), "{auth} {version}: a good one");
            assert_eq!(served(&[]), without, "{auth} {version}: none");
            assert_eq!(served(&bad), with_bad, "{auth} {version}: nobody vouches for it");
        }
    }
}

/// What a header of version 2 says of a client's TLS and certificate: the first byte of `PP2_TYPE_SSL`.
fn told_of_certificate(stream: &mut TcpStream) -> u8 {
    let mut head = [0; 16];
    stream.read_exact(&mut head).unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
    stream.read_exact(&mut rest).unwrap();
    // Behind two addresses of IPv4 and two ports.
    let mut values = &rest[12..];
    while values[0] != 0x20 {
        values = &values[3 + usize::from(u16::from_be_bytes([values[1], values[2]]))..];
    }
    values[3]
}

#[test]
fn backends_are_told_whether_a_certificate_was_shown_on_this_connection() {
    let addr = serve(|stream| {
        let told = told_of_certificate(stream);
        let _gone = stream.write_all(&[told]);
    });
    let mut tls = shown("server.pem", "server.key");
    support::merge(
        &mut tls,
        &json!({ "client_auth": "optional", "client_ca": file("ca.pem") }),
    );
    let server = json!({ "tls": tls, "proxy_protocol": { "send": "v2" } });
    let forwarder = Forwarder::start(&json!({ "server": server }), &format!("{addr}\n"));
    for version in BOTH {
        let chain = vec![CertificateDer::from_pem_file(file("client.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("client.key")).unwrap();
        let showing = Arc::new(knowing(&[version]).with_client_auth_cert(chain, key).unwrap());
        let said = |config: &Arc<ClientConfig>| {
            let mut client = connect(forwarder.addr(), Arc::clone(config));
            let mut told = [0];
            client.write_all(b"hello").unwrap();
            client.read_exact(&mut told).unwrap();
            told[0]
        };
        assert_eq!(said(&showing), 1 | 2 | 4, "{version:?}: shown here");
        assert_eq!(
            said(&showing),
            1 | 4,
            "{version:?}: shown before, and the keys taken up"
        );
        assert_eq!(said(&Arc::new(known(&[version]))), 1, "{version:?}: none");
    }
    assert_eq!(forwarder.metric("tls_handshakes_total{result=\"resumed\"}"), 2.0);
}

/// Says `word` through `openssl s_client`, waits for it to come back, and ends: what openssl has said.
fn s_client_says(program: &Path, addr: SocketAddr, arguments: &[&str], word: &str) -> String {
    let mut command = Command::new("timeout");
    let addr = addr.to_string();
    command
        .arg("20")
        .arg(program)
        .args(["s_client", "-connect", &addr]);
    command.arg("-CAfile").arg(file("ca.pem")).args(arguments);
    let (input, output) = (std::process::Stdio::piped(), std::process::Stdio::piped());
    let mut child = command.stdin(input).stdout(output).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let _gone = input.write_all(format!("{word}\n").as_bytes());
    let mut output = child.stdout.take().unwrap();
    let (mut said, mut byte) = (Vec::new(), [0]);
    // What makes tickets has been heard before an answer has.
    while !said.ends_with(word.as_bytes()) && matches!(output.read(&mut byte), Ok(1)) {
        said.extend(byte);
    }
    let _gone = input.write_all(b"\nQ\n");
    drop(input);
    let _end = output.read_to_end(&mut said);
    child.wait().unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn curl_gets_pages_of_nginx_by_http_1_and_2() {
    let test = "curl_gets_pages_of_nginx_by_http_1_and_2";
    let Some([curl, program]) = programs(test, ["curl", "nginx"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(13);
    let big = folder.path().join("big");
    std::fs::write(&big, vec![b'x'; 5_000_000]).unwrap();
    let http = format!("server {{ listen {addr}; root {}; }}", folder.path().display());
    let server = nginx(&program, addr, &http, folder.path());
    let forwarder = start(&json!({ "alpn": ["http/1.1"] }), server.addr);
    let port = forwarder.addr().port();
    let mut command = Command::new(&curl);
    command
        .args(["-sS", "--max-time", "20", "--http1.1", "--cacert"])
        .arg(file("ca.pem"));
    command.args(["--resolve", &format!("www.example.org:{port}:127.0.0.1")]);
    command.arg(format!("https://www.example.org:{port}/big"));
    assert_eq!(outcome(&mut command, b"").stdout.len(), 5_000_000);
    // A backend that speaks HTTP/2 in clear text.
    let addr = free_addr(14);
    let http = format!("server {{ listen {addr} http2; location / {{ return 200 $server_protocol; }} }}");
    let server = nginx(&program, addr, &http, folder.path());
    let forwarder = start(&json!({ "alpn": ["h2"] }), server.addr);
    let mut command = Command::new(&curl);
    command
        .args(["-sS", "--max-time", "20", "--http2", "--cacert"])
        .arg(file("ca.pem"));
    command.arg(format!("https://localhost:{}/", forwarder.addr().port()));
    let output = outcome(&mut command, b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "HTTP/2.0", "{output:?}");
}
