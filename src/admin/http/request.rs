//! The head of an HTTP/1 request, read out of whatever bytes a stranger sends. Pure.
//!
//! Says how long the body is that follows, and reads none of it. What a request claims about itself (who
//! sends it, from where) is handed on as it stands: what that permits is decided elsewhere. A header that
//! decides something and stands there twice is refused, for two readers could believe one each. Header lines
//! are read by `tiny_http`'s parser.

use tiny_http::{HTTPVersion, Header, Method};

use crate::base::http_parts::is_token;

/// The most bytes a head may have; more is refused.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a head, as far as one can tell.
    Incomplete,
    /// No HTTP/1 at all.
    Garbage,
    /// HTTP, but not to be served: answer with this status and close.
    Refused(u16),
    /// A whole head.
    Complete(Request),
}

/// A request as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path of the target, without query.
    pub path: String,
    /// The query of the target, without the question mark; empty if there is none.
    pub query: String,
    /// The version: 1.0 or a later 1.x.
    pub version: HTTPVersion,
    /// What happens to the connection after the answer.
    pub after: After,
    /// Bytes of the head, up to and with the empty line.
    pub head_bytes: usize,
    /// What follows the head.
    pub body: Body,
    /// Whether the client waits for a word before it sends the body.
    pub expects: Expects,
    /// What the request says of itself.
    pub claims: Box<Claims>,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// This many bytes; [`usize::MAX`] for any number above it.
    Length(usize),
    /// A transfer coding, which is not read.
    Encoded,
}

/// What a client expects before it sends its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    /// Nothing: the body follows.
    Nothing,
    /// `100 Continue`, or a refusal.
    Continue,
    /// Something that is not known here.
    Unknown,
}

/// Headers by which others decide; each but `Accept` stands in the head once at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// `Host`.
    pub host: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<String>,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `Accept`: all lists of it as one, as they may be read (RFC 9110, 5.3); empty without any.
    pub accept: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Last-Event-ID`: what a follower of events has seen.
    pub last_event: Option<String>,
    /// `Upgrade`, where `Connection` names it too.
    pub upgrade: Option<String>,
}

/// What happens to a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It closes.
    Close,
}

/// Reads a head from the beginning of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    // A robust server ignores empty lines before the request (RFC 9112, 2.2).
    let blank = bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let rest = bytes.get(blank..).unwrap_or_default();
    let is_full = bytes.len() >= MAX_HEAD_BYTES;
    let Some((line, after_line)) = split_line(rest) else {
        return match is_full {
            _ if !rest.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r')) => Parsed::Garbage,
            true => Parsed::Refused(414),
            false => Parsed::Incomplete,
        };
    };
    let Some(RequestLine {
        method,
        target,
        version: (major, minor),
    }) = request_line(line)
    else {
        return Parsed::Garbage;
    };
    let mut headers = Vec::new();
    let mut left = after_line;
    loop {
        let Some((line, next)) = split_line(left) else {
            return if is_full {
                Parsed::Refused(431)
            } else {
                Parsed::Incomplete
            };
        };
        left = next;
        if line.is_empty() {
            break;
        }
        // An obsolete fold (a line that begins with a blank) is no header, and to be refused (RFC 9112, 5.2).
        let text = std::str::from_utf8(line).ok();
        match text.and_then(|line| line.parse::<Header>().ok()) {
            Some(header) => headers.push(header),
            None => return Parsed::Refused(400),
        }
    }
    if major != 1 {
        return Parsed::Refused(505);
    }
    let headers = Headers(headers);
    let version = HTTPVersion(major, minor);
    let (Ok(body), Ok(claims)) = (headers.body(), headers.claims()) else {
        return Parsed::Refused(400);
    };
    Parsed::Complete(Request {
        method,
        path: path_of(target).to_owned(),
        query: query_of(target).to_owned(),
        after: headers.after(&version),
        head_bytes: bytes.len() - left.len(),
        body,
        expects: headers.expects(&version),
        claims: Box::new(claims),
        version,
    })
}

/// The first line without its end, and what follows; `None` if there is no whole line.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

struct RequestLine<'a> {
    method: Method,
    target: &'a str,
    version: (u8, u8),
}

fn request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let line = std::str::from_utf8(line).ok()?;
    if !line.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let mut parts = line.split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || target.is_empty() || !is_token(method) {
        return None;
    }
    let version = match version.strip_prefix("HTTP/")?.as_bytes() {
        [major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => (major - b'0', minor - b'0'),
        _ => return None,
    };
    Some(RequestLine {
        method: method.parse().ok()?,
        target,
        version,
    })
}

/// The path of a target in origin form (`/path?query`) or absolute form (`http://host/path?query`).
fn path_of(target: &str) -> &str {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"),
        None => target,
    };
    target.split(['?', '#']).next().unwrap_or(target)
}

/// The query of a target.
fn query_of(target: &str) -> &str {
    let target = target.split('#').next().unwrap_or(target);
    target.split_once('?').map_or("", |(_, query)| query)
}

/// A header that two readers could understand in two ways.
struct Ambiguous;

/// The header lines of one head.
struct Headers(Vec<Header>);

impl Headers {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let named = move |header: &&Header| header.field.equiv(name);
        self.0.iter().filter(named).map(|header| header.value.as_str())
    }

    /// The options of `Connection`.
    fn options(&self) -> impl Iterator<Item = &str> {
        self.values("Connection")
            .flat_map(|value| value.split(','))
            .map(str::trim)
    }

    fn after(&self, version: &HTTPVersion) -> After {
        let ends =
            |option: &str| option.eq_ignore_ascii_case("close") || option.eq_ignore_ascii_case("upgrade");
        if version.1 == 0 || self.options().any(ends) {
            After::Close
        } else {
            After::KeepAlive
        }
    }

    /// Lengths that are none, or that disagree, are refused (RFC 9112, 6.3).
    fn body(&self) -> Result<Body, Ambiguous> {
        let mut length = None;
        for value in self.values("Content-Length").flat_map(|value| value.split(',')) {
            let digits = value.trim();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Ambiguous);
            }
            let bytes = digits.parse().unwrap_or(usize::MAX);
            if length.is_some_and(|before| before != bytes) {
                return Err(Ambiguous);
            }
            length = Some(bytes);
        }
        let is_encoded = self.values("Transfer-Encoding").next().is_some();
        Ok(match length {
            _ if is_encoded => Body::Encoded,
            length => Body::Length(length.unwrap_or(0)),
        })
    }

    fn expects(&self, version: &HTTPVersion) -> Expects {
        match self.values("Expect").next() {
            // An HTTP/1.0 client does not know what it says (RFC 9110, 10.1.1).
            Some(_) if version.1 == 0 => Expects::Nothing,
            None => Expects::Nothing,
            Some(value) if value.eq_ignore_ascii_case("100-continue") => Expects::Continue,
            Some(_) => Expects::Unknown,
        }
    }

    fn claims(&self) -> Result<Claims, Ambiguous> {
        let is_upgrade = |option: &str| option.eq_ignore_ascii_case("upgrade");
        let upgrade = self.only("Upgrade")?;
        Ok(Claims {
            host: self.only("Host")?,
            origin: self.only("Origin")?,
            fetch_site: self.only("Sec-Fetch-Site")?,
            authorization: self.only("Authorization")?,
            accept: self.values("Accept").collect::<Vec<_>>().join(","),
            content_type: self.only("Content-Type")?,
            last_event: self.only("Last-Event-ID")?,
            upgrade: upgrade.filter(|_| self.options().any(is_upgrade)),
        })
    }

    /// The one value of a header, if it has any.
    fn only(&self, name: &'static str) -> Result<Option<String>, Ambiguous> {
        let mut values = self.values(name);
        let value = values.next().map(str::to_owned);
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Ambiguous),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    fn complete(text: &str) -> Request {
        let parsed = parse(text.as_bytes());
        if let Parsed::Complete(request) = parsed {
            return request;
        }
        panic!("{text:?} is {parsed:?}");
    }

    #[test]
    fn a_scrape_is_understood() {
        let text = "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        let request = complete(&format!("{text}GET /next"));
        assert_eq!(request.method, Method::Get);
        assert_eq!(
            (request.path.as_str(), request.query.as_str()),
            ("/metrics", "x=1")
        );
        assert_eq!(request.version, HTTPVersion(1, 1));
        assert_eq!(request.after, After::KeepAlive);
        assert_eq!(request.head_bytes, text.len());
    }

    #[test]
    fn forms_of_the_target_and_of_line_ends() {
        assert_eq!(complete("\r\nHEAD /m HTTP/1.0\n\n").path, "/m");
        assert_eq!(complete("GET http://host:9/m?q HTTP/1.1\r\n\r\n").path, "/m");
        assert_eq!(complete("GET http://host HTTP/1.1\r\n\r\n").path, "/");
    }

    #[test]
    fn what_ends_the_connection() {
        for head in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: Close\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: te, close\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        ] {
            assert_eq!(complete(head).after, After::Close, "{head:?}");
        }
    }

    #[test]
    fn the_length_of_a_body() {
        for (lines, body) in [
            ("", Body::Length(0)),
            ("Content-Length: 0\r\n", Body::Length(0)),
            ("content-length: 3\r\nContent-Length: 3, 3\r\n", Body::Length(3)),
            (
                "Content-Length: 99999999999999999999999\r\n",
                Body::Length(usize::MAX),
            ),
            ("Transfer-Encoding: chunked\r\n", Body::Encoded),
            ("Content-Length: 3\r\nTransfer-Encoding: gzip\r\n", Body::Encoded),
        ] {
            let request = complete(&format!("POST / HTTP/1.1\r\n{lines}\r\nabc"));
            assert_eq!(request.body, body, "{lines:?}");
            assert_eq!(request.after, After::KeepAlive, "{lines:?}");
        }
    }

    #[test]
    fn what_a_request_says_of_itself() {
        let request = complete(
            "POST / HTTP/1.1\r\nHost: a:1\r\nOrigin: http://b\r\nSec-Fetch-Site: none\r\nExpect: 100-Continue\r\n\
             Authorization: Bearer x\r\nAccept: a/b;q=1\r\naccept: c/d\r\nContent-Type: text/x\r\nLast-Event-ID: 7\r\nConnection: keep-alive, Upgrade\r\nUpgrade: y/1\r\n\r\n",
        );
        assert_eq!(request.expects, Expects::Continue);
        let some = |text: &str| Some(text.to_owned());
        let claims = Claims {
            host: some("a:1"),
            origin: some("http://b"),
            fetch_site: some("none"),
            authorization: some("Bearer x"),
            accept: "a/b;q=1,c/d".to_owned(),
            content_type: some("text/x"),
            last_event: some("7"),
            upgrade: some("y/1"),
        };
        assert_eq!(*request.claims, claims);
        let without = complete("POST / HTTP/1.1\r\nUpgrade: y/1\r\nExpect: gold\r\n\r\n");
        assert_eq!(*without.claims, Claims::default());
        assert_eq!(without.expects, Expects::Unknown);
        assert_eq!(
            complete("POST / HTTP/1.0\r\nExpect: gold\r\n\r\n").expects,
            Expects::Nothing
        );
    }

    #[test]
    fn what_is_no_http() {
        let cases: [&[u8]; 9] = [
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"hello\r\n",
            b"GET /\r\n",
            b"GET / HTTP/x.y\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"(GET) / HTTP/1.1\r\n",
            b"GET /\x80 HTTP/1.1\r\n",
            b"*1\r\n$4\r\nPING\r\n",
        ];
        for bytes in cases {
            assert_eq!(parse(bytes), Parsed::Garbage, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        let long_line = format!("GET /{} HTTP/1.1", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(parse(long_line.as_bytes()), Parsed::Refused(414));
        let long_head = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(parse(long_head.as_bytes()), Parsed::Refused(431));
        for line in ["no colon", " folded: x", "a b: c", "x: \u{e9}"] {
            let head = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
            assert_eq!(parse(head.as_bytes()), Parsed::Refused(400), "{line}");
        }
        for lines in [
            "Content-Length: -1",
            "Content-Length: +1",
            "Content-Length:",
            "Content-Length: 1, 2",
            "Content-Length: 1\r\nContent-Length: 2",
            "Host: a\r\nHost: a",
            "Origin: a\r\nOrigin: b",
            "Authorization: a\r\nAuthorization: b",
        ] {
            let head = format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
            assert_eq!(parse(head.as_bytes()), Parsed::Refused(400), "{lines}");
        }
        assert_eq!(parse(b"PRI * HTTP/2.0\r\n\r\n"), Parsed::Refused(505));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Parsed::Complete(request) = parse(&bytes) {
                prop_assert!(request.head_bytes <= bytes.len());
            }
        }

        #[test]
        fn a_head_is_the_same_however_it_arrives(
            path in "/[a-z]{0,12}",
            headers in proptest::collection::vec(("X[A-Za-z-]{1,9}", "[ -~]{0,20}"), 0..6),
        ) {
            let mut head = format!("GET {path} HTTP/1.1\r\n");
            for (name, value) in &headers {
                write!(head, "{name}: {value}\r\n").expect("a string takes everything");
            }
            head.push_str("\r\n");
            for end in 0..head.len() {
                prop_assert_eq!(parse(&head.as_bytes()[..end]), Parsed::Incomplete);
            }
            let request = complete(&head);
            prop_assert_eq!(request.path, path);
            prop_assert_eq!(request.head_bytes, head.len());
        }
    }
}
