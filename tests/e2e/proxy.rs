//! The PROXY protocol: whom the client is, as a proxy before us says, and what a backend is told of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tcp_forwarder::config::{ProxyAccept, ProxySend, Spec};

use crate::rig::{Rig, TestBackend, connect};
use crate::support::{Forwarder, PATIENCE, patient, ping, sum, wait_for};

const CLIENT: &str = "203.0.113.7:51234";
const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.2 51234 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The same as `LINE`, in binary, with fields behind it.
fn binary(fields: &[u8]) -> Vec<u8> {
    let addresses = [203, 0, 113, 7, 198, 51, 100, 2, 0xc8, 0x22, 1, 0xbb];
    let length = u16::try_from(addresses.len() + fields.len()).unwrap();
    [
        SIGNATURE,
        &[0x21, 0x11],
        &length.to_be_bytes(),
        &addresses,
        fields,
    ]
    .concat()
}

/// A backend that reads a line, tells it, and sends back what follows.
struct Told {
    addr: SocketAddr,
    lines: Receiver<String>,
}

impl Told {
    fn start() -> Self {
        Self::greeting(b"")
    }

    /// The same, which says something once it has the line.
    fn greeting(greeting: &'static [u8]) -> Self {
        let (tell, lines): (Sender<String>, _) = channel();
        let tell = Mutex::new(tell);
        let backend = TestBackend::start(move |mut stream| {
            let mut line = Vec::new();
            let mut byte = [0];
            while !line.ends_with(b"\n") {
                match stream.read(&mut byte) {
                    Ok(1) => line.extend(byte),
                    Ok(_) | Err(_) => return,
                }
            }
            let line = String::from_utf8(line).unwrap();
            // A test that has ended listens no more.
            let _heard = tell.lock().unwrap_or_else(PoisonError::into_inner).send(line);
            let mut buffer = vec![0; 64 * 1024];
            if stream.write_all(greeting).is_err() {
                return;
            }
            while let Ok(count) = stream.read(&mut buffer) {
                if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        });
        Self {
            addr: backend.addr,
            lines,
        }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }
}

/// A forwarder that believes this machine, and tells its backend by lines.
fn start(server: &Value, backend: SocketAddr) -> Forwarder {
    let proxy = json!({ "accept": "any", "from": "127.0.0.0/8", "send": "v1" });
    let mut changes = json!({
        "server": { "proxy_protocol": proxy, "handshake_timeout": "10s" },
        "logging": { "level": "debug" },
    });
    crate::support::merge(&mut changes, &json!({ "server": server }));
    Forwarder::start(&changes, &format!("{backend}\n"))
}

fn says(forwarder: &Forwarder, bytes: &[u8]) -> TcpStream {
    let mut client = forwarder.connect();
    client.write_all(bytes).unwrap();
    client
}

/// Whether a connection has been reset.
fn is_reset(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => {
            assert_eq!(count, 0, "it got an answer");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            true
        }
    }
}

fn failures(forwarder: &Forwarder, reason: &str) -> f64 {
    forwarder.metric(&format!("handshake_failures_total{{reason=\"{reason}\"}}"))
}

fn closed(forwarder: &Forwarder, reason: &str) -> f64 {
    forwarder.metric(&format!("connections_closed_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_client_is_whom_its_header_names() {
    let backend = Told::start();
    let forwarder = start(&json!({}), backend.addr);
    for header in [LINE.to_vec(), binary(&[])] {
        // Alone, with the request in one packet, and byte by byte.
        let mut alone = says(&forwarder, &header);
        ping(&mut alone, b"hello");
        let mut together = says(&forwarder, &[&header[..], b"together"].concat());
        let mut reply = [0; 8];
        together.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"together");
        let mut slow = forwarder.connect();
        slow.set_nodelay(true).unwrap();
        for byte in header {
            slow.write_all(&[byte]).unwrap();
        }
        ping(&mut slow, b"slow");
        for _ in 0..3 {
            assert_eq!(backend.next().as_bytes(), LINE);
        }
    }
    let said = forwarder.scrape();
    assert_eq!(sum(&said, "proxy_connections_total{client=\"named\"}"), 6.0);
    wait_for("the log", || {
        forwarder.log().contains(&format!("client={CLIENT}")) || forwarder.log().contains(CLIENT)
    });
}

#[test]
fn a_finish_right_behind_the_header_is_passed_on() {
    let backend = Told::start();
    let forwarder = start(&json!({}), backend.addr);
    let mut client = says(&forwarder, &[LINE, b"last words"].concat());
    client.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"last words");
}

#[test]
fn much_behind_the_header_arrives_whole() {
    let backend = Told::start();
    let forwarder = start(&json!({}), backend.addr);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut client = forwarder.connect();
    let mut writer = client.try_clone().unwrap();
    let sent = [LINE, &bytes].concat();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    writing.join().unwrap();
    assert!(
        reply == bytes,
        "{} bytes came back of {}",
        reply.len(),
        bytes.len()
    );
    assert_eq!(backend.next().as_bytes(), LINE);
    let counted = "bytes_transferred_total{direction=\"to_backend\"}";
    wait_for("the count", || forwarder.metric(counted) == 3_000_000.0);
}

#[test]
fn who_speaks_for_nobody_is_served_as_itself() {
    let backend = Told::start();
    let forwarder = start(&json!({}), backend.addr);
    let unspecified = [SIGNATURE, &[0x21, 0, 0, 0]].concat();
    let local = [SIGNATURE, &[0x20, 0x11, 0, 3], b"???"].concat();
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), local, unspecified] {
        let mut client = says(&forwarder, &header);
        ping(&mut client, b"hello");
        let (from, to) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let line = format!(
            "PROXY TCP4 {} {} {} {}\r\n",
            from.ip(),
            to.ip(),
            from.port(),
            to.port()
        );
        assert_eq!(backend.next(), line);
    }
    assert_eq!(forwarder.metric("proxy_connections_total{client=\"local\"}"), 3.0);
}

#[test]
fn who_is_not_believed_is_a_client_itself() {
    let backend = Told::start();
    let from = json!({ "proxy_protocol": { "from": ["192.0.2.0/24", "::1"] } });
    let forwarder = start(&from, backend.addr);
    // What looks like a header is said to the backend, behind ours.
    let mut client = forwarder.connect();
    ping(&mut client, LINE);
    let (from, to) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let line = format!(
        "PROXY TCP4 {} {} {} {}\r\n",
        from.ip(),
        to.ip(),
        from.port(),
        to.port()
    );
    assert_eq!(backend.next(), line);
    assert_eq!(
        forwarder.metric("proxy_connections_total{client=\"direct\"}"),
        1.0
    );
    assert_eq!(forwarder.metric("handshake_failures_total"), 0.0);
}

#[test]
fn what_is_no_header_gets_nothing() {
    let backend = Told::start();
    let forwarder = start(&json!({}), backend.addr);
    let mut lying = binary(&[1, 0, 9, b'h']);
    lying[15] = 16;
    let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    let no_line = [b"PROXY UNKNOWN ", &[b'x'; 107][..]].concat();
    let garbage: Vec<u8> = (0..64).map(|i| 255 - i).collect();
    let mixed = b"PROXY TCP4 2001:db8::1 198.51.100.2 1 2\r\n".to_vec();
    let no_room = [SIGNATURE, &[0x21, 0x21, 0, 12], &[1; 12]].concat();
    let cases = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no_proxy_header"),
        (garbage, "no_proxy_header"),
        (mixed, "proxy_malformed"),
        (no_room, "proxy_malformed"),
        (lying, "proxy_malformed"),
        (huge, "proxy_too_long"),
        (no_line, "proxy_too_long"),
        (binary(&[3, 0, 4, 1, 2, 3, 4]), "proxy_checksum"),
    ];
    for (bytes, reason) in &cases {
        let before = failures(&forwarder, reason);
        assert!(is_reset(says(&forwarder, bytes)), "{reason}");
        let mut slow = forwarder.connect();
        slow.set_nodelay(true).unwrap();
        // What comes after the byte that tells meets a reset, of which either a write hears or the read.
        let said = bytes.iter().try_for_each(|byte| slow.write_all(&[*byte]));
        assert!(said.is_err() || is_reset(slow), "{reason}");
        wait_for(reason, || failures(&forwarder, reason) == before + 2.0);
    }
    let all = 2.0 * f64::from(u8::try_from(cases.len()).unwrap());
    wait_for("all are closed", || closed(&forwarder, "handshake_failed") == all);
    assert_eq!(
        forwarder.metric("lb_requests_total"),
        0.0,
        "no backend was bothered"
    );
    assert_eq!(
        forwarder.log().matches("clients get no backend").count(),
        1,
        "one burst"
    );
}

#[test]
fn another_version_is_refused() {
    let backend = Told::start();
    for (accept, bytes) in [("v1", binary(&[])), ("v2", LINE.to_vec())] {
        let forwarder = start(&json!({ "proxy_protocol": { "accept": accept } }), backend.addr);
        assert!(is_reset(says(&forwarder, &bytes)));
        wait_for("the count", || failures(&forwarder, "proxy_version") == 1.0);
    }
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for_longer() {
    let backend = Told::start();
    let forwarder = start(&json!({ "handshake_timeout": "200ms" }), backend.addr);
    for part in [&b""[..], b"PROXY TCP4 203.0.113.7", &binary(&[])[..20]] {
        assert!(is_reset(says(&forwarder, part)));
    }
    wait_for("the count", || closed(&forwarder, "handshake_timeout") == 3.0);
    assert_eq!(forwarder.metric("active_connections"), 0.0);
    // Who is through is not held to that any more.
    let mut client = says(&forwarder, LINE);
    crate::support::pause(std::time::Duration::from_millis(400));
    ping(&mut client, b"still here");
}

#[test]
fn who_only_looks_whether_we_are_there_is_no_failure_of_note() {
    let backend = Told::start();
    let forwarder = start(&json!({}), backend.addr);
    let mut looks = forwarder.connect();
    looks.shutdown(Shutdown::Write).unwrap();
    assert_eq!(looks.read(&mut [0]).unwrap(), 0, "it gets a proper end");
    wait_for("the count", || failures(&forwarder, "left") == 1.0);
    assert!(!forwarder.log().contains("clients get no backend"));
}

#[test]
fn limits_hold_for_the_client_that_is_named() {
    let backend = Told::start();
    let limits = json!({ "deny": "198.51.100.0/24", "max_connections_per_ip": 2 });
    let forwarder = start(&limits, backend.addr);
    let of = |ip: &str| format!("PROXY TCP4 {ip} 192.0.2.1 1 2\r\n");
    assert!(is_reset(says(&forwarder, of("198.51.100.9").as_bytes())));
    wait_for("the refusal", || {
        forwarder.metric("connections_rejected_total{reason=\"denied\"}") == 1.0
            && closed(&forwarder, "refused") == 1.0
    });
    let mut all = Vec::new();
    for _ in 0..2 {
        for ip in ["203.0.113.1", "203.0.113.2"] {
            let mut client = says(&forwarder, of(ip).as_bytes());
            ping(&mut client, b"hello");
            all.push(client);
        }
    }
    assert!(
        is_reset(says(&forwarder, of("203.0.113.1").as_bytes())),
        "two of each"
    );
    drop(all);
    wait_for("they have left", || forwarder.metric("active_connections") == 0.0);
    ping(&mut says(&forwarder, of("203.0.113.1").as_bytes()), b"again");
}

#[test]
fn a_mapped_address_is_that_of_ipv4() {
    let backend = Told::start();
    let forwarder = start(&json!({ "deny": "203.0.113.0/24" }), backend.addr);
    let line = b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.2 1 2\r\n";
    assert!(is_reset(says(&forwarder, line)));
    let line = b"PROXY TCP6 ::ffff:203.0.114.7 ::ffff:198.51.100.2 1 2\r\n";
    ping(&mut says(&forwarder, line), b"hello");
    assert_eq!(backend.next(), "PROXY TCP4 203.0.114.7 198.51.100.2 1 2\r\n");
}

#[test]
fn a_backend_that_speaks_first_is_told_first() {
    for pool in [
        json!({ "type": "off" }),
        json!({ "type": "static", "static": { "size_per_remote": 2 } }),
    ] {
        let backend = Told::greeting(b"220 welcome\r\n");
        let changes = json!({
            "server": { "proxy_protocol": { "send": "v1" } },
            "pools": { "strategy": pool },
        });
        let forwarder = Forwarder::start(&changes, &format!("{}\n", backend.addr));
        let mut client = patient(TcpStream::connect(forwarder.addr()).unwrap());
        let mut greeting = [0; 13];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 welcome\r\n");
        let port = client.local_addr().unwrap().port();
        assert!(backend.next().contains(&format!(" {port} ")));
        ping(&mut client, b"and now the client");
        let sent = forwarder.metric("bytes_transferred_total{direction=\"to_backend\"}");
        assert_eq!(sent, 18.0, "a header is none of the client's bytes");
    }
}

#[test]
fn facts_are_passed_on() {
    let (tell, heard) = channel();
    let tell = Mutex::new(tell);
    let backend = TestBackend::start(move |mut stream| {
        let mut head = [0; 16];
        if stream.read_exact(&mut head).is_err() {
            return;
        }
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
        stream.read_exact(&mut rest).unwrap();
        let _heard = tell.lock().unwrap().send([&head[..], &rest].concat());
    });
    let forwarder = start(&json!({ "proxy_protocol": { "send": "v2" } }), backend.addr);
    let facts = [
        &[1, 0, 2][..],
        b"h2",
        &[2, 0, 11],
        b"example.org",
        &[0x20, 0, 15, 1, 0, 0, 0, 0, 0x21, 0, 7],
        b"TLSv1.3",
    ];
    let client = says(&forwarder, &binary(&facts.concat()));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), binary(&facts.concat()));
    drop(client);
}

#[test]
fn a_limit_of_bandwidth_keeps_no_header_back() {
    let backend = Told::start();
    let limit = json!({ "bandwidth": { "per_connection": "1MiB" } });
    let forwarder = start(&limit, backend.addr);
    let mut client = says(&forwarder, LINE);
    for _ in 0..3 {
        ping(&mut client, &vec![7; 60_000]);
    }
    assert_eq!(backend.next().as_bytes(), LINE);
}

#[test]
fn a_server_that_speaks_first_is_heard_behind_a_header_alone() {
    let backend = Told::greeting(b"220 welcome\r\n");
    let forwarder = start(&json!({}), backend.addr);
    let mut client = says(&forwarder, LINE);
    let mut greeting = [0; 13];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 welcome\r\n");
    assert_eq!(backend.next().as_bytes(), LINE);
}

/// Two thousand that say half a header keep nobody out, cost little, and are gone at the deadline.
#[test]
fn half_open_ones_keep_nobody_out() {
    const MANY: u16 = 2000;
    let backend = Told::start();
    let settings = json!({ "handshake_timeout": "3s", "reactors": 1 });
    let forwarder = start(&settings, backend.addr);
    ping(&mut says(&forwarder, LINE), b"before");
    let before = forwarder.resident_kb();
    let half: Vec<TcpStream> = (0..MANY).map(|_| says(&forwarder, &LINE[..20])).collect();
    wait_for("all are here", || {
        forwarder.metric("active_connections") >= f64::from(MANY)
    });
    for _ in 0..20 {
        ping(&mut says(&forwarder, LINE), b"meanwhile");
    }
    let grown = forwarder.resident_kb().saturating_sub(before);
    assert!(grown < 2 * u64::from(MANY), "{grown} kB for {MANY}");
    wait_for("they are cut", || {
        closed(&forwarder, "handshake_timeout") == f64::from(MANY)
    });
    for stream in half {
        assert!(is_reset(stream));
    }
}

#[test]
fn who_comes_after_a_change_is_held_to_it_and_nobody_else() {
    let backend = Told::start();
    let mut spec = Spec::default();
    spec.server.proxy_protocol.send = ProxySend::V1;
    let rig = Rig::start(&spec, &[backend.addr], 1);
    let change = |spec: &Spec| {
        let service = rig.service.under(Arc::new(spec.clone()), Instant::now());
        rig.succeed(&Arc::new(service));
    };
    let mut first = rig.connect();
    ping(&mut first, b"hello");
    backend.next();
    // From now on headers are awaited.
    let mut believing = spec.clone();
    believing.server.proxy_protocol.accept = ProxyAccept::V1;
    believing.server.proxy_protocol.from = vec!["127.0.0.0/8".parse().unwrap()];
    change(&believing);
    ping(&mut first, b"still here");
    let mut named = connect(rig.addr);
    named.write_all(&[LINE, b"named"].concat()).unwrap();
    named.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(backend.next().as_bytes(), LINE);
    let mut nobody = connect(rig.addr);
    nobody.write_all(b"hello").unwrap();
    assert!(is_reset(nobody));
    // And no more; but whoever has begun to say one ends under the spec that it came under.
    let mut begun = connect(rig.addr);
    begun.write_all(&LINE[..9]).unwrap();
    wait_for("it is here", || rig.clients() == 3);
    change(&spec);
    let mut direct = connect(rig.addr);
    ping(&mut direct, LINE);
    assert!(backend.next().starts_with("PROXY TCP4 127."));
    begun.write_all(&[&LINE[9..], b"begun"].concat()).unwrap();
    begun.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(backend.next().as_bytes(), LINE);
    for client in [&mut first, &mut named] {
        ping(client, b"still here");
    }
}
