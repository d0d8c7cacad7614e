//! The admin port from outside: scrapes, refusals, garbage, floods, orders, and who may do what.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tcp_forwarder::admin::http::{self, CONTROL_CONNECTIONS, MAX_CONNECTIONS, STACK_BYTES};
use tcp_forwarder::admin::{AdminHandle, AdminLoop, Desk, Errand, Site};
use tcp_forwarder::backend::{ActiveSet, Backend};
use tcp_forwarder::base::clock;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{ServiceName, Spec};
use tcp_forwarder::metrics::{Exporter, Sources};
use tcp_forwarder::selector::decide::Footing;
use tcp_forwarder::service::{Directory, Hub, Live, Service};

const PATIENCE: Duration = Duration::from_secs(20);

struct Port {
    addr: SocketAddr,
    bad_requests: Arc<AtomicU64>,
    admin: AdminHandle,
    errands: Mutex<Receiver<Errand>>,
    thread: Option<JoinHandle<()>>,
}

/// A port over this many backends that has nothing open, and its counter.
fn closed_port(backends: u16) -> (AdminLoop, AdminHandle, Receiver<Errand>, Arc<AtomicU64>) {
    let now = clock::now();
    let hub = Arc::new(Hub::new(1, now));
    let spec = Arc::new(Spec::default());
    let list = Arc::new(CandidateSet::parse("127.0.0.2", 80).unwrap());
    let live = Arc::new(Live::new(list, &spec.remotes.scoring, &hub.bells));
    let addrs = (0..backends).map(|i| SocketAddr::from(([127, 0, 0, 2], 80 + i)));
    live.active.publish(Arc::new(ActiveSet::new(
        addrs.map(|addr| Arc::new(Backend::new(addr, now, 1))).collect(),
        Footing::Good,
    )));
    let service = Service::new(ServiceName::default_service(), spec, live, now);
    hub.directory.replace(|empty| {
        Some(Arc::new(Directory {
            services: vec![Arc::new(service)],
            ..Directory::empty(empty.limits)
        }))
    });
    let bad_requests = Arc::new(AtomicU64::new(0));
    let exporter = Exporter::new(Sources {
        hub: Arc::clone(&hub),
        bad_requests: Arc::clone(&bad_requests),
    })
    .unwrap();
    let (desk, errands) = Desk::new(Arc::clone(&hub.bells.worker));
    let (port, admin) = AdminLoop::new(Site::new(exporter, Arc::clone(&bad_requests), hub, desk)).unwrap();
    (port, admin, errands, bad_requests)
}

fn open_metrics(admin: &AdminHandle) -> SocketAddr {
    let (listener, addr) = http::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    admin.open_metrics(listener, "/metrics".to_owned());
    addr
}

impl Port {
    /// A port over one backend; its thread has this name.
    fn start(name: &str) -> Self {
        Self::over(1, name)
    }

    fn over(backends: u16, name: &str) -> Self {
        let (port, admin, errands, bad_requests) = closed_port(backends);
        let addr = open_metrics(&admin);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || port.run().unwrap())
            .unwrap();
        Self {
            addr,
            bad_requests,
            admin,
            errands: Mutex::new(errands),
            thread: Some(thread),
        }
    }

    fn next_errand(&self) -> Errand {
        self.errands.lock().unwrap().recv_timeout(PATIENCE).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes on a connection of their own and reads all that comes back until it closes.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            // Bytes that were not even read: a reset is as good as an end.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("neither answered nor closed: {error}"),
        }
        String::from_utf8(answer).unwrap()
    }

    fn get(&self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn bad_requests(&self) -> u64 {
        self.bad_requests.load(Ordering::Relaxed)
    }

    fn assert_serves(&self) {
        let answer = self.get("/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\ntcp_forwarder_uptime_seconds "), "{answer}");
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.admin.stop();
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
    }
}

/// Head and body of one response of a connection that goes on; the length is in the head.
fn read_response(stream: &mut impl Read) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn pages_and_refusals() {
    let port = Port::start("pages");
    let scrape = port.get("/metrics?name=x");
    assert!(
        scrape.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"),
        "{scrape}"
    );
    assert!(
        scrape.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{scrape}"
    );
    assert!(scrape.contains("\r\nServer: tcp-forwarder\r\n"), "{scrape}");
    assert!(scrape.ends_with('\n'));
    let front = port.get("/");
    assert!(
        front.contains("\r\nContent-Security-Policy: default-src 'none'; "),
        "{front}"
    );
    assert!(front.ends_with("</html>\n"), "{front}");
    assert_eq!(port.bad_requests(), 0);

    assert!(port.get("/metric").starts_with("HTTP/1.1 404 Not Found\r\n"));
    let refused =
        port.exchange(b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    assert!(
        refused.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
        "{refused}"
    );
    assert!(refused.contains("\r\nAllow: GET, HEAD\r\n"), "{refused}");
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(port.exchange(long.as_bytes()).starts_with("HTTP/1.1 431 "));
    let bad_header = port.exchange(b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n");
    assert!(
        bad_header.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{bad_header}"
    );
    assert!(
        port.exchange(b"GET /metrics HTTP/2.0\r\n\r\n")
            .starts_with("HTTP/1.1 505 ")
    );
    assert_eq!(port.bad_requests(), 5);
    let old = port.exchange(b"GET /metrics HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
}

#[test]
fn head_is_get_without_the_body() {
    let port = Port::start("head");
    let head = port.exchange(b"HEAD /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .unwrap();
    assert!(length.parse::<usize>().unwrap() > 1000, "{head}");
}

#[test]
fn garbage_is_closed_and_counted_without_an_answer() {
    let port = Port::start("garbage");
    let cases: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET /metrics\r\n",
    ];
    for (i, bytes) in (1..).zip(cases) {
        assert_eq!(port.exchange(bytes), "", "{bytes:?}");
        assert_eq!(port.bad_requests(), i, "{bytes:?}");
    }
    let mut rng = fastrand::Rng::with_seed(0xba5e);
    for _ in 0..200 {
        let mut bytes: Vec<u8> = (0..rng.usize(1..5000)).map(|_| rng.u8(..)).collect();
        // With a line end there is no doubt left; without, it may wait for more until its time is over.
        bytes.extend_from_slice(b"\x01\r\n");
        let mut stream = port.connect();
        drop(stream.write_all(&bytes));
        drop(stream.read(&mut [0; 100]));
    }
    port.assert_serves();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let port = Port::start("pipelined");
    let mut stream = port.connect();
    let paths = ["/", "/metrics", "/none"];
    for i in 0..60 {
        let request = format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", paths[i % 3]);
        stream.write_all(request.as_bytes()).unwrap();
    }
    for i in 0..60 {
        let (head, body) = read_response(&mut stream);
        let (status, words) = [
            ("200", "</html>\n"),
            ("200", "tcp_forwarder_build_info{"),
            ("404", "404 Not Found\n"),
        ][i % 3];
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{i}: {head}");
        assert!(body.contains(words), "{i}: {body}");
    }
}

#[test]
fn a_request_in_single_bytes_and_a_half_close_are_served() {
    let port = Port::start("trickle");
    let mut stream = port.connect();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("</html>\n"), "{answer}");
}

#[test]
fn concurrent_scrapes_are_all_served() {
    let port = Port::start("concurrent");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| port.assert_serves()));
        }
    });
    assert_eq!(port.bad_requests(), 0);
}

/// Threads of this process with this name: the port's own and whatever it would start, for a thread
/// inherits the name of the one that started it.
fn threads_named(name: &str) -> Option<usize> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    Some(names.filter(|comm| comm.trim_end() == name).count())
}

#[test]
fn a_thousand_silent_or_slow_connections_keep_nobody_out() {
    assert!(
        tcp_forwarder::net::raise_descriptor_limit() >= 1500,
        "the hard limit of descriptors is too low for this test"
    );
    let port = Port::start("thousand");
    let mut flood = Vec::new();
    for i in 0..1000 {
        let mut stream = port.connect();
        if i % 2 == 0 {
            // May fail: the port is free to have closed it already.
            drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: "));
        }
        flood.push(stream);
        if i % 250 == 249 {
            port.assert_serves();
        }
    }
    match threads_named("thousand") {
        Some(threads) => assert_eq!(threads, 1),
        None => println!("SKIPPED in part: no /proc, threads are not counted"),
    }
    // All but the bound were closed by the port; its own connections are the only others.
    let give_up = clock::now() + PATIENCE;
    loop {
        let open = flood.iter().filter(|stream| is_open(stream)).count();
        if open < MAX_CONNECTIONS {
            break;
        }
        assert!(clock::now() < give_up, "{open} connections are open");
        std::thread::yield_now();
    }
    port.assert_serves();
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0]) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn readers_that_never_read_are_no_harm() {
    let port = Port::start("deaf");
    let request = "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".repeat(200);
    let _deaf: Vec<_> = (0..2 * MAX_CONNECTIONS)
        .map(|_| {
            let stream = port.connect();
            stream.set_nonblocking(true).unwrap();
            drop((&stream).write(request.as_bytes()));
            stream
        })
        .collect();
    port.assert_serves();
}

/// Readers that ask for a large scrape and take none of it.
const DEAF: usize = 18;

#[test]
fn a_large_scrape_goes_at_the_pace_of_its_reader() {
    let port = Port::over(1800, "large");
    let request = b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n";
    let begun = clock::now();
    // Some never read. Together they want more than the port and their sockets keep (64 MiB, and by Linux's default
    // limits up to 4 MiB each), so the first of them are closed.
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut stream = port.connect();
        stream.write_all(request).unwrap();
        // The first bytes are there: the whole text is.
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        deaf.push(stream);
    }
    // One reads in pieces, while others are served.
    let mut slow = port.connect();
    slow.write_all(request).unwrap();
    let mut piece = vec![0; 256 * 1024];
    slow.read_exact(&mut piece).unwrap();
    let (_, whole) = {
        let mut quick = port.connect();
        quick.write_all(request).unwrap();
        read_response(&mut quick)
    };
    println!("{} bytes, {:?}", whole.len(), clock::now() - begun);
    assert!(whole.len() > 8_000_000, "{}", whole.len());
    assert!(whole.ends_with('\n'));
    let mut read = piece.len();
    while read < whole.len() {
        let count = slow.read(&mut piece).unwrap();
        assert_ne!(count, 0, "closed after {read} of {} bytes", whole.len());
        read += count;
    }
    let closed = deaf.iter().filter(|stream| ends(stream)).count();
    assert!((1..DEAF).contains(&closed), "{closed} of {DEAF} were closed");
}

/// Whether a stream ends once what has come is read.
fn ends(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut sink = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        match stream.read(&mut sink) {
            // More than socket buffers hold: it goes on while it is read.
            Ok(count) if count > 0 && read < 16 << 20 => read += count,
            Ok(count) => return count == 0,
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn a_stop_is_prompt_and_closes_everything() {
    let mut port = Port::start("stop");
    let mut idle = port.connect();
    idle.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_response(&mut idle);
    let begun = clock::now();
    port.admin.stop();
    port.thread.take().unwrap().join().unwrap();
    assert!(clock::now() - begun < Duration::from_secs(2));
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    assert!(TcpStream::connect(port.addr).is_err());
}

#[test]
fn a_port_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = http::bind(taken.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn bodies_are_read_and_what_follows_is_the_next_request() {
    let port = Port::start("bodies");
    let mut stream = port.connect();
    let body = "GET / HTTP/1.1\r\n\r\n".repeat(4000);
    let mut requests = String::new();
    for length in [0, 1, 20, 2048, 2049, 60_000] {
        let body = &body[..length];
        write!(
            requests,
            "POST /none HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        requests += "GET / HTTP/1.1\r\n\r\n";
    }
    // In pieces of any size, from another thread, so that nobody waits for the other's buffers.
    let mut writer = stream.try_clone().unwrap();
    let feeding = std::thread::spawn(move || {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut left = requests.as_bytes();
        while !left.is_empty() {
            let (now, later) = left.split_at(rng.usize(1..=left.len().min(5000)));
            writer.write_all(now).unwrap();
            left = later;
        }
    });
    for i in 0..12 {
        let (head, _) = read_response(&mut stream);
        let status = if i % 2 == 0 { "404" } else { "200" };
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{i}: {head}");
    }
    feeding.join().unwrap();
    for (lines, status) in [
        ("Content-Length: 65537", 413),
        ("Transfer-Encoding: chunked", 411),
        ("Content-Length: 5, 6", 400),
        ("Expect: magic", 417),
    ] {
        let answer = port.exchange(format!("POST /none HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
}

#[test]
fn the_port_moves_closes_and_opens_while_it_runs() {
    let mut port = Port::start("moves");
    let mut kept = port.connect();
    kept.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_response(&mut kept);
    let (listener, second) = http::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    port.admin.open_metrics(listener, "/other".to_owned());
    let first = std::mem::replace(&mut port.addr, second);
    assert!(port.get("/other").starts_with("HTTP/1.1 200 "));
    assert!(port.get("/metrics").starts_with("HTTP/1.1 404 "));
    assert!(TcpStream::connect(first).is_err(), "the first listener is gone");
    kept.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let (head, _) = read_response(&mut kept);
    assert!(
        head.contains("\r\nConnection: close\r\n"),
        "the last answer: {head}"
    );

    port.admin.set_path("/metrics".to_owned());
    port.admin.close_metrics();
    let give_up = clock::now() + PATIENCE;
    while TcpStream::connect(second).is_ok() {
        assert!(clock::now() < give_up, "it stays open");
        std::thread::yield_now();
    }
    port.addr = open_metrics(&port.admin);
    port.assert_serves();
}

#[test]
fn a_stop_without_a_door_and_before_the_start_is_heard() {
    let (port, admin, _errands, _) = closed_port(1);
    admin.stop();
    port.run().unwrap();
    // Orders to nobody are lost, and hold up nobody.
    for _ in 0..200 {
        admin.close_metrics();
    }
}

#[test]
fn an_order_outlives_who_gave_it() {
    for _ in 0..50 {
        let (port, admin, _errands, _) = closed_port(1);
        let addr = open_metrics(&admin);
        let last = admin.clone();
        drop(admin);
        let thread = std::thread::spawn(move || port.run());
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        read_response(&mut stream);
        last.stop();
        drop(last);
        let give_up = clock::now() + PATIENCE;
        while !thread.is_finished() {
            assert!(clock::now() < give_up, "the last order was lost");
            std::thread::yield_now();
        }
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn over_tcp_only_the_token_writes() {
    let port = Port::start("token");
    let reload = |lines: &str| {
        port.exchange(
            format!("POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n")
                .as_bytes(),
        )
    };
    let answer = reload("Authorization: Bearer secret\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 "), "no token is set: {answer}");
    port.admin.set_token(Some("secret".to_owned()));
    // Orders are carried out before what comes after them.
    let answer = reload("Authorization: Bearer Secret\r\n");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("\r\nWWW-Authenticate: Bearer"), "{answer}");
    let answer = reload("Authorization: Bearer secret\r\nOrigin: http://evil.example\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("{\"error\":"), "{answer}");
    let answer =
        port.exchange(b"GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(
        port.errands.lock().unwrap().try_recv().is_err(),
        "nothing was asked for"
    );

    std::thread::scope(|scope| {
        let asked = scope.spawn(|| reload("Authorization: Bearer secret\r\n"));
        let Errand::Reload(Some(ticket)) = port.next_errand() else {
            panic!("a reload was asked for");
        };
        // Meanwhile others are served.
        port.assert_serves();
        port.admin
            .deliver(ticket, tcp_forwarder::admin::Page::error(422, "line 3"));
        let answer = asked.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
        assert!(answer.ends_with("{\"error\":\"line 3\"}\n"), "{answer}");
    });
}

#[test]
fn status_is_json() {
    let port = Port::start("status");
    let request = b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let mut stream = port.connect();
    stream.write_all(request).unwrap();
    let (head, body) = read_response(&mut stream);
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
    assert!(head.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{head}");
    assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}

#[cfg(unix)]
mod control {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    struct Socket {
        port: Port,
        path: PathBuf,
        _folder: tempfile::TempDir,
    }

    impl Socket {
        fn start(name: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control");
            let port = Port::start(name);
            port.admin
                .open_control(mio::net::UnixListener::bind(&path).unwrap());
            Self {
                port,
                path,
                _folder: folder,
            }
        }

        fn connect(&self) -> UnixStream {
            let stream = UnixStream::connect(&self.path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            stream
        }

        fn ask(&self, request: &str) -> (String, String) {
            let mut stream = self.connect();
            stream.write_all(request.as_bytes()).unwrap();
            read_response(&mut stream)
        }
    }

    #[test]
    fn whoever_can_open_it_may_do_everything() {
        let socket = Socket::start("socket");
        let (head, body) = socket.ask("GET /metrics HTTP/1.1\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(body.contains("\ntcp_forwarder_uptime_seconds "));
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| socket.ask("POST /api/v1/reload HTTP/1.1\r\nHost: any.name\r\n\r\n"));
            let Errand::Reload(Some(ticket)) = socket.port.next_errand() else {
                panic!("a reload was asked for");
            };
            let page = tcp_forwarder::admin::Page::json(200, &"done");
            socket.port.admin.deliver(ticket, page);
            let (head, body) = asked.join().unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body, "\"done\"\n");
        });
        let (head, _) = socket.ask("POST /api/v1/reload HTTP/1.1\r\nOrigin: http://a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    }

    #[test]
    fn a_takeover_loses_no_byte_on_its_way() {
        let mut socket = Socket::start("takeover");
        let mut new = socket.connect();
        let request = "POST /api/v1/takeover HTTP/1.1\r\nConnection: Upgrade\r\n\
                       Upgrade: tcp-forwarder-takeover/1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        // More than one read brings, so that some of it is read ahead and some is not.
        let words: Vec<u8> = (0..5000u32).flat_map(u32::to_le_bytes).collect();
        new.write_all(request.as_bytes()).unwrap();
        new.write_all(&words).unwrap();
        let Errand::Takeover(mut guest) = socket.port.next_errand() else {
            panic!("a takeover was asked for");
        };
        let mut heard = guest.read_ahead;
        let mut rest = vec![0; words.len() - heard.len()];
        guest.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        guest.stream.read_exact(&mut rest).unwrap();
        heard.extend_from_slice(&rest);
        assert_eq!(heard, words);
        // The loop has let go of it: its end is no end of the connection.
        socket.port.admin.stop();
        socket.port.thread.take().unwrap().join().unwrap();
        guest.stream.write_all(b"yours").unwrap();
        drop(guest.stream);
        let mut answer = String::new();
        new.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\nyours"), "{answer}");
    }

    #[test]
    fn an_unknown_takeover_and_one_over_tcp_are_refused() {
        let socket = Socket::start("unknown");
        let request = "POST /api/v1/takeover HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\
                       Connection: Upgrade\r\nUpgrade: tcp-forwarder-takeover/";
        let (head, body) = socket.ask(&format!("{request}2\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
        assert!(
            head.contains("\r\nUpgrade: tcp-forwarder-takeover/1\r\n"),
            "{head}"
        );
        assert!(body.starts_with("{\"error\":"), "{body}");
        socket.port.admin.set_token(Some("t".to_owned()));
        let answer = socket.port.exchange(format!("{request}1\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }

    #[test]
    fn scrapers_lock_no_operator_out_nor_the_other_way_round() {
        let socket = Socket::start("full");
        let _scrapers: Vec<_> = (0..=MAX_CONNECTIONS)
            .map(|_| {
                let mut stream = socket.port.connect();
                stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
                stream
            })
            .collect();
        let mut operators: Vec<_> = (0..CONTROL_CONNECTIONS).map(|_| socket.connect()).collect();
        for operator in &mut operators {
            operator
                .write_all(b"GET /api/v1/status HTTP/1.1\r\n\r\n")
                .unwrap();
            let (head, _) = read_response(operator);
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        }
        socket.port.assert_serves();
        for operator in &mut operators {
            operator
                .write_all(b"GET /api/v1/status HTTP/1.1\r\n\r\n")
                .unwrap();
            read_response(operator);
        }
    }

    #[test]
    fn a_closed_socket_leaves_the_port_alone() {
        let socket = Socket::start("closed");
        socket.ask("GET / HTTP/1.1\r\n\r\n");
        socket.port.admin.close_control();
        socket.port.assert_serves();
        assert!(UnixStream::connect(&socket.path).is_err());
        std::fs::remove_file(&socket.path).unwrap();
        socket
            .port
            .admin
            .open_control(mio::net::UnixListener::bind(&socket.path).unwrap());
        socket.ask("GET / HTTP/1.1\r\n\r\n");
    }
}
