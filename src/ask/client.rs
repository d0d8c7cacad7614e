//! One request and its answer by HTTP, over a Unix socket or TCP.
//!
//! A connection each; all of it within a time, the answer within [`MOST_BODY`]. What comes is held to be a
//! stranger's: who listens there need not be this program.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::door::Door;
use crate::base::clock;

/// The longest head and body of an answer. A thousand services come to half a megabyte.
const MOST_HEAD: usize = 16 << 10;
const MOST_BODY: usize = 32 << 20;
const HEADERS: usize = 64;

/// Asks a process.
#[derive(Debug)]
pub struct Client {
    doors: Vec<Door>,
    patience: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nobody is behind any of the doors.
    Nobody(Vec<(Door, io::Error)>),
    /// What came from there is no answer, or none in time.
    NoAnswer(Door, io::Error),
    /// The process does not do it: an HTTP status, and why.
    Refused(u16, String),
    /// It answers otherwise than is expected.
    Misunderstood(String),
    /// The question cannot be asked like this.
    Misuse(String),
    /// The terminal is gone, or does not take what it is sent.
    Terminal(io::Error),
}

impl Client {
    /// Asks at the first of these doors behind which somebody is; each question has so much time, from its first byte to the
    /// last one of its answer.
    #[must_use]
    pub fn new(doors: Vec<Door>, patience: Duration) -> Self {
        Self { doors, patience }
    }

    /// Looks at something below `/api/v1/`; the body of the answer, which is JSON.
    ///
    /// # Errors
    /// When there is no answer, or the process refuses.
    pub fn look(&self, path: &str) -> Result<String, Failure> {
        self.ask("GET", path)
    }

    /// Changes something below `/api/v1/`.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn change(&self, path: &str) -> Result<String, Failure> {
        self.ask("POST", path)
    }

    fn ask(&self, method: &str, path: &str) -> Result<String, Failure> {
        let until = clock::now() + self.patience;
        let mut closed = Vec::new();
        for door in &self.doors {
            match connect(door, until) {
                Ok(socket) => {
                    let answer = exchange(socket, &request(method, path, door), until);
                    let (status, body) = answer.map_err(|error| Failure::NoAnswer(door.clone(), error))?;
                    return match status {
                        200..=299 => Ok(body),
                        _ => Err(Failure::Refused(status, why(&body))),
                    };
                }
                Err(error) => closed.push((door.clone(), error)),
            }
        }
        Err(Failure::Nobody(closed))
    }
}

fn connect(door: &Door, until: Instant) -> io::Result<Socket> {
    match door {
        Door::Socket(path) => connect_local(path, until),
        Door::Port(url, _) => {
            let mut last = None;
            for addr in url.authority().to_socket_addrs()? {
                match connect_port(addr, until) {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
        }
    }
}

fn connect_local(path: &Path, until: Instant) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Whoever listens and does not accept makes a connect wait, too.
    socket.set_write_timeout(Some(left(until)?))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

fn connect_port(addr: SocketAddr, until: Instant) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.connect_timeout(&addr.into(), left(until)?)?;
    Ok(socket)
}

/// The time that is left.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(clock::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn request(method: &str, path: &str, door: &Door) -> String {
    let (host, token) = match door {
        Door::Socket(_) => ("localhost", None),
        Door::Port(url, token) => (url.authority(), token.as_ref()),
    };
    let token = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {}\r\n", token.0)
    });
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tcp-forwarder/{version}\r\n{token}\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

/// Status and body.
fn exchange(mut socket: Socket, request: &str, until: Instant) -> io::Result<(u16, String)> {
    socket.set_write_timeout(Some(left(until)?))?;
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let (status, length) = loop {
        if let Some((head, status, length)) = head(&bytes)? {
            bytes.drain(..head);
            break (status, length);
        }
        if bytes.len() > MOST_HEAD {
            return Err(io::Error::other("the head of the answer is too long"));
        }
        if more(&mut socket, &mut bytes, until)? == 0 {
            return Err(io::Error::other("the connection ended before an answer came"));
        }
    };
    while bytes.len() < length {
        if more(&mut socket, &mut bytes, until)? == 0 {
            return Err(io::Error::other("the connection ended within the answer"));
        }
    }
    bytes.truncate(length);
    let body = String::from_utf8(bytes).map_err(|_| io::Error::other("the answer is no text"))?;
    Ok((status, body))
}

fn more(socket: &mut Socket, bytes: &mut Vec<u8>, until: Instant) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    loop {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.read(&mut buffer) {
            Ok(count) => {
                bytes.extend(buffer.iter().take(count));
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What a system says at the end of a read's time differs.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Length of the head, status, and length of the body, once the head is there.
fn head(bytes: &[u8]) -> io::Result<Option<(usize, u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(bytes)
        .map_err(|_| io::Error::other("no answer by HTTP"))?;
    let httparse::Status::Complete(head) = parsed else {
        return Ok(None);
    };
    // This program always says how long an answer is.
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("an answer without its length"))?;
    if length > MOST_BODY {
        return Err(io::Error::other("the answer is too long"));
    }
    Ok(response.code.map(|code| (head, code, length)))
}

/// Why the process refuses, as it says itself.
fn why(body: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    let told: Option<Refusal> = serde_json::from_str(body).ok();
    told.map_or_else(|| body.trim().to_owned(), |told| told.error)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(closed) if closed.is_empty() => f.write_str(
                "the configuration names neither server.control_socket nor a metrics port that is known; \
                 --socket or --url says where the process is",
            ),
            Self::Nobody(closed) => {
                f.write_str("no process is reached")?;
                for (door, error) in closed {
                    write!(f, "; {door}: {error}")?;
                }
                Ok(())
            }
            Self::NoAnswer(door, error) => write!(f, "{door}: {error}"),
            Self::Refused(status, why) => write!(f, "refused: {} ({status})", why.escape_debug()),
            Self::Terminal(error) => write!(f, "the terminal: {error}"),
            Self::Misunderstood(why) | Self::Misuse(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::door::{Token, Url};
    use std::net::TcpListener;
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// What becomes of a question to somebody who answers like this; and what was asked.
    fn from(answer: Vec<u8>) -> (Result<String, Failure>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("a request");
            drop(stream.write_all(&answer));
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let door = Door::Port(Url::from(addr), Some(Token("hush".to_owned())));
        let answer = Client::new(vec![door], PATIENCE).look("status");
        (answer, server.join().expect("no panic"))
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn an_answer_is_its_body() {
        let (answered, request) = from(answer("200 OK", "{}"));
        assert_eq!(answered.expect("an answer"), "{}");
        assert!(request.starts_with("GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:"));
        assert!(
            request.contains("\r\nAuthorization: Bearer hush\r\n"),
            "{request}"
        );
        let long = "x".repeat(100_000);
        assert_eq!(from(answer("200 OK", &long)).0.expect("an answer"), long);
    }

    #[test]
    fn a_refusal_says_why_and_cannot_play_with_the_terminal() {
        let (refused, _) = from(answer("409 Conflict", r#"{"error":"it is \u001b[2J the last"}"#));
        let refused = refused.expect_err("refused").to_string();
        assert_eq!(refused, r"refused: it is \u{1b}[2J the last (409)");
        let (refused, _) = from(answer("404 Not Found", "not here\n"));
        assert!(matches!(refused, Err(Failure::Refused(404, why)) if why == "not here"));
    }

    #[test]
    fn what_is_no_answer_is_a_failure_in_words() {
        for (bytes, why) in [
            (b"SSH-2.0-x\r\n".to_vec(), "no answer by HTTP"),
            (Vec::new(), "ended before"),
            (answer("200 OK", "{}")[..39].to_vec(), "ended within"),
            (b"HTTP/1.1 200 OK\r\n\r\n{}".to_vec(), "without its length"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
                "too long",
            ),
            (vec![b'a'; 100_000], "HTTP"),
            (
                answer("200 OK", "{}")
                    .into_iter()
                    .map(|byte| if byte == b'{' { 0xff } else { byte })
                    .collect(),
                "no text",
            ),
        ] {
            let (failed, _) = from(bytes);
            assert!(matches!(failed, Err(Failure::NoAnswer(..))), "{why}: {failed:?}");
            let text = failed.expect_err(why).to_string();
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn the_next_door_is_tried_where_nobody_is_and_all_are_named_at_the_end() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = free.local_addr().expect("an address");
        drop(free);
        let doors = vec![
            Door::Socket("/nowhere/at/all".into()),
            Door::Port(addr.into(), None),
        ];
        let failed = Client::new(doors, PATIENCE).look("status").expect_err("nobody");
        let text = failed.to_string();
        assert!(
            text.contains("/nowhere/at/all: ") && text.contains(&addr.to_string()),
            "{text}"
        );
        assert!(
            Client::new(Vec::new(), PATIENCE)
                .look("status")
                .expect_err("nobody")
                .to_string()
                .contains("--socket")
        );
    }
}
