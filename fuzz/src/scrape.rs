//! The admin port itself: connections with any bytes, against what its parser says of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tcp_forwarder::admin::http::{After, Body, Expects, MAX_BODY_BYTES, Parsed, Request, bind, parse};
use tcp_forwarder::admin::{AdminLoop, Desk, Site};
use tcp_forwarder::base::clock;
use tcp_forwarder::metrics::{Exporter, Sources};
use tcp_forwarder::service::Hub;

use super::choices::Choices;

/// Longest wait for the port.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that the port surely reads before it closes, so that no reset takes an answer away.
const ONE_READ: usize = 2048;

/// Sends bytes in one or two pieces, and reads what comes back.
pub fn run(data: &[u8]) {
    static PORT: OnceLock<Port> = OnceLock::new();
    let mut choices = Choices::new(data);
    let Some(cut) = choices.word() else {
        return;
    };
    let bytes = choices.rest();
    if bytes.len() > ONE_READ {
        return;
    }
    let port = PORT.get_or_init(Port::start);
    let before = port.bad_requests();
    let expected = Expected::of(bytes);
    let answers = port.exchange(bytes, usize::from(cut) % (bytes.len() + 1));
    let statuses = statuses(&answers, &expected);
    assert_eq!(
        statuses.len(),
        expected.requests.len(),
        "{}",
        String::from_utf8_lossy(&answers)
    );
    for (status, (expected, _)) in statuses.iter().zip(&expected.requests) {
        assert_eq!(status, expected);
    }
    if !expected.goes_on {
        assert_eq!(port.bad_requests() - before, expected.bad);
    }
}

/// What bytes on one connection must lead to.
struct Expected {
    /// The status of each answer, and whether it has a body.
    requests: Vec<(u16, bool)>,
    /// Requests that are counted as bad.
    bad: u64,
    /// What follows is known to others, or depends on when bytes come.
    goes_on: bool,
}

/// The status of a request over TCP to a port without a token, but for that of `/api/v1/status`.
fn status_of(request: &Request) -> u16 {
    let is_get = ["GET", "HEAD"].contains(&request.method.as_str());
    match request.path.as_str() {
        "/" | "/metrics" if is_get => 200,
        "/api/v1/reload" | "/api/v1/takeover" if request.method.as_str() == "POST" => 403,
        "/" | "/metrics" | "/api/v1/reload" | "/api/v1/takeover" => 405,
        _ => 404,
    }
}

impl Expected {
    fn of(mut bytes: &[u8]) -> Self {
        let mut expected = Self {
            requests: Vec::new(),
            bad: 0,
            goes_on: false,
        };
        loop {
            match parse(bytes) {
                Parsed::Complete(request) => {
                    bytes = bytes.get(request.head_bytes..).unwrap_or_default();
                    let Some(behind) = expected.serve(&request, bytes) else {
                        return expected;
                    };
                    bytes = behind;
                }
                Parsed::Refused(status) => {
                    expected.answer(status, true);
                    return expected;
                }
                Parsed::Incomplete if bytes.is_empty() => return expected,
                Parsed::Incomplete | Parsed::Garbage => {
                    expected.bad += 1;
                    return expected;
                }
            }
        }
    }

    /// What a request leads to, and the bytes behind its body; `None` if nothing follows it.
    fn serve<'a>(&mut self, request: &Request, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let has_body = request.method.as_str() != "HEAD";
        let length = match request.body {
            Body::Length(length) if length <= MAX_BODY_BYTES => length,
            Body::Length(_) => return self.last(413, has_body),
            Body::Encoded => return self.last(411, has_body),
        };
        if request.path == "/api/v1/status" {
            self.goes_on = true;
            return None;
        }
        let status = status_of(request);
        match request.expects {
            Expects::Unknown => return self.last(417, has_body),
            Expects::Continue if length > 0 && bytes.is_empty() && status >= 400 => {
                return self.last(status, has_body);
            }
            // Whether the port sees the body before it asks for it is a matter of time.
            Expects::Continue if length > 0 => {
                self.goes_on = true;
                return None;
            }
            Expects::Continue | Expects::Nothing => {}
        }
        let Some(behind) = bytes.get(length..) else {
            self.bad += 1;
            return None;
        };
        if request.after == After::Close {
            return self.last(status, has_body);
        }
        self.answer(status, has_body);
        Some(behind)
    }

    fn last<'a>(&mut self, status: u16, has_body: bool) -> Option<&'a [u8]> {
        self.answer(status, has_body);
        None
    }

    fn answer(&mut self, status: u16, has_body: bool) {
        self.requests.push((status, has_body));
        self.bad += u64::from(status >= 400);
    }
}

/// The statuses of answers one after the other, as far as something is expected of them; each must be as long as
/// it says.
fn statuses(mut answers: &[u8], expected: &Expected) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut requests = expected.requests.iter();
    while !answers.is_empty() && (!expected.goes_on || statuses.len() < expected.requests.len()) {
        let end = answers.windows(4).position(|four| four == b"\r\n\r\n");
        assert!(end.is_some(), "an answer has a head");
        let (head, behind) = answers.split_at(end.unwrap_or_default() + 4);
        let head = String::from_utf8_lossy(head);
        let status = head.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5));
        let status = status.and_then(|status| status.parse().ok());
        assert!(status.is_some(), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .and_then(|length| length.parse::<usize>().ok());
        assert!(length.is_some(), "{head}");
        let has_body = requests.next().is_none_or(|(_, has_body)| *has_body);
        let body = if has_body { length.unwrap_or_default() } else { 0 };
        assert!(body <= behind.len(), "{head}");
        answers = behind.get(body..).unwrap_or_default();
        statuses.push(status.unwrap_or_default());
    }
    statuses
}

/// A port that lasts as long as the process.
struct Port {
    addr: SocketAddr,
    bad_requests: Arc<AtomicU64>,
    /// Connections so far. Each comes from an address of its own, so that closed ones do not use up the ports.
    connections: AtomicU32,
}

impl Port {
    fn start() -> Self {
        Self::try_start().unwrap_or_else(|error| {
            assert_eq!(error.to_string(), "", "the port cannot be opened");
            std::process::abort()
        })
    }

    fn try_start() -> Result<Self, Box<dyn std::error::Error>> {
        let hub = Arc::new(Hub::new(1, clock::now()));
        let bad_requests = Arc::new(AtomicU64::new(0));
        let exporter = Exporter::new(Sources {
            hub: Arc::clone(&hub),
            bad_requests: Arc::clone(&bad_requests),
        })?;
        let (desk, _) = Desk::new(Arc::clone(&hub.bells.worker));
        let (port, admin) = AdminLoop::new(Site::new(exporter, Arc::clone(&bad_requests), hub, desk))?;
        let (listener, addr) = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        admin.open_metrics(listener, "/metrics".to_owned());
        std::thread::spawn(move || port.run());
        Ok(Self {
            addr,
            bad_requests,
            connections: AtomicU32::new(0),
        })
    }

    fn bad_requests(&self) -> u64 {
        self.bad_requests.load(Ordering::Relaxed)
    }

    fn exchange(&self, bytes: &[u8], cut: usize) -> Vec<u8> {
        let mut answers = Vec::new();
        if let Err(error) = self.try_exchange(bytes, cut, &mut answers) {
            // The port may close before it has read what it does not want to know.
            let is_close = [
                ErrorKind::ConnectionReset,
                ErrorKind::BrokenPipe,
                ErrorKind::NotConnected,
            ];
            assert!(
                is_close.contains(&error.kind()),
                "neither answered nor closed: {error}"
            );
        }
        answers
    }

    fn try_exchange(&self, bytes: &[u8], cut: usize, answers: &mut Vec<u8>) -> std::io::Result<()> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let from = Ipv4Addr::from_bits(0x7f10_0000 | number >> 8 & 0xf_ffff);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&self.addr.into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        let (first, second) = bytes.split_at(cut);
        stream.write_all(first)?;
        let sent = stream
            .write_all(second)
            .and_then(|()| stream.shutdown(Shutdown::Write));
        let read = stream.read_to_end(answers);
        sent.and(read.map(drop))
    }
}
