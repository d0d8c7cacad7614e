//! What is answered: a page, and the bytes that it becomes.
//!
//! Heads are written by `tiny_http`; a body is never copied, for that of a scrape may be large. It must not
//! know who asks for what.

use std::io::IoSlice;

use serde::Serialize;
use tiny_http::{HTTPVersion, Header, Method, Response, StatusCode};

use super::http::request::{After, Request};

const PLAIN_TYPE: &str = "text/plain; charset=utf-8";
const JSON_TYPE: &str = "application/json";

/// An answer, before it becomes bytes.
#[derive(Debug)]
pub struct Page {
    status: u16,
    content_type: &'static str,
    body: Vec<Vec<u8>>,
    headers: Vec<(&'static str, &'static str)>,
    upgrade: Option<&'static str>,
}

impl Page {
    /// A text of this content type, in parts that follow one another.
    #[must_use]
    pub fn typed(content_type: &'static str, body: Vec<String>) -> Self {
        Self {
            status: 200,
            content_type,
            body: body.into_iter().map(String::into_bytes).collect(),
            headers: Vec::new(),
            upgrade: None,
        }
    }

    /// A plain text.
    #[must_use]
    pub fn plain(body: String) -> Self {
        Self::typed(PLAIN_TYPE, vec![body])
    }

    /// A refusal in plain words, for those who read no JSON.
    #[must_use]
    pub fn refusal(status: u16) -> Self {
        let reason = StatusCode(status).default_reason_phrase();
        Self::plain(format!("{status} {reason}\n")).with_status(status)
    }

    /// A value as JSON.
    #[must_use]
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(body) => Self::typed(JSON_TYPE, vec![body + "\n"]).with_status(status),
            Err(error) => {
                // Only maps with keys that are no texts cannot be written, and there are none.
                debug_assert!(false, "{error}");
                Self::refusal(500)
            }
        }
    }

    /// A refusal as JSON: `{"error": "..."}`.
    #[must_use]
    pub fn error(status: u16, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": message }))
    }

    /// The leave to speak another protocol on this connection.
    #[must_use]
    pub fn switching(protocol: &'static str) -> Self {
        let mut page = Self::plain(String::new()).with_status(101);
        page.upgrade = Some(protocol);
        page
    }

    /// The same page with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same page with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same page, which tells that this protocol is spoken on request.
    #[must_use]
    pub fn with_upgrade(mut self, protocol: &'static str) -> Self {
        self.upgrade = Some(protocol);
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.body.concat()
    }

    /// The bytes of the answer.
    pub(super) fn reply(self, manner: &Manner) -> Reply {
        let mut head = Vec::new();
        let length = self.body.iter().map(Vec::len).sum();
        let empty = std::io::empty();
        let mut response = Response::new(StatusCode(self.status), Vec::new(), empty, Some(length), None)
            // Never chunked: the length is known, and every client understands it.
            .with_chunked_threshold(usize::MAX);
        let fixed = [
            ("Content-Type", self.content_type),
            ("Server", "tcp-forwarder"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        for (name, value) in fixed.into_iter().chain(self.headers) {
            if let Ok(header) = Header::from_bytes(name, value) {
                response.add_header(header);
            }
        }
        let is_switch = self.status == 101;
        let upgrade = self.upgrade.filter(|_| is_switch);
        // Writing to memory cannot fail.
        drop(response.raw_print(&mut head, manner.version.clone(), &[], true, upgrade));
        // tiny_http accepts no such header from others; they go after the status line.
        let more = match (manner.after, self.upgrade) {
            _ if is_switch => String::new(),
            (After::Close, None) => "Connection: close\r\n".to_owned(),
            (After::Close, Some(protocol)) => {
                format!("Connection: close, upgrade\r\nUpgrade: {protocol}\r\n")
            }
            (After::KeepAlive, None) => String::new(),
            (After::KeepAlive, Some(protocol)) => format!("Connection: upgrade\r\nUpgrade: {protocol}\r\n"),
        };
        if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
            head.splice(end + 1..=end, more.into_bytes());
        }
        let body = if manner.with_body { self.body } else { Vec::new() };
        Reply::new(head, body)
    }
}

/// How a request wants its answer.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    version: HTTPVersion,
    pub(super) with_body: bool,
    pub(super) after: After,
}

impl Manner {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            version: request.version.clone(),
            with_body: request.method != Method::Head,
            after: request.after,
        }
    }

    /// For bytes of which no more is known than that they are HTTP.
    pub(super) fn of_the_unknown() -> Self {
        Self {
            version: HTTPVersion(1, 1),
            with_body: true,
            after: After::Close,
        }
    }
}

/// An answer as bytes, in parts that follow one another.
#[derive(Debug)]
pub(super) struct Reply {
    parts: Vec<Vec<u8>>,
    length: usize,
}

impl Reply {
    fn new(head: Vec<u8>, body: Vec<Vec<u8>>) -> Self {
        let mut parts = body;
        parts.insert(0, head);
        let length = parts.iter().map(Vec::len).sum();
        Self { parts, length }
    }

    /// The beginning of a stream of events, which has no length and ends with its connection.
    pub(super) fn event_stream() -> Self {
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\
            Server: tcp-forwarder\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n";
        Self::new(head.to_vec(), Vec::new())
    }

    /// A part of a stream that has begun.
    pub(super) fn part(text: String) -> Self {
        Self::new(text.into_bytes(), Vec::new())
    }

    /// The word for a client that waits for leave to send its body.
    pub(super) fn go_on() -> Self {
        Self::new(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The next slices after so many bytes; those that do not fit come later.
    pub(super) fn left<'a>(&'a self, mut written: usize, slices: &mut [IoSlice<'a>]) {
        let mut free = slices.iter_mut();
        for part in &self.parts {
            match part.get(written..) {
                Some(left) if !left.is_empty() => match free.next() {
                    Some(slice) => *slice = IoSlice::new(left),
                    None => return,
                },
                Some(_) | None => {}
            }
            written = written.saturating_sub(part.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: Page, after: After) -> String {
        let manner = Manner {
            after,
            ..Manner::of_the_unknown()
        };
        let reply = page.reply(&manner);
        String::from_utf8(reply.parts.concat()).expect("text")
    }

    #[test]
    fn every_answer_forbids_guesses_and_keeping() {
        let answer = text(Page::error(404, "no \"such\" path"), After::Close);
        assert!(
            answer.starts_with("HTTP/1.1 404 Not Found\r\nConnection: close\r\n"),
            "{answer}"
        );
        for line in [
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
            "Content-Type: application/json",
            "Content-Length: 29",
        ] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line}: {answer}");
        }
        assert!(
            answer.ends_with("\r\n\r\n{\"error\":\"no \\\"such\\\" path\"}\n"),
            "{answer}"
        );
    }

    #[test]
    fn a_switch_has_no_length() {
        let answer = text(Page::switching("a/1"), After::Close);
        assert!(
            answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\r\nConnection: upgrade\r\nUpgrade: a/1\r\n"),
            "{answer}"
        );
        assert!(!answer.contains("Content-Length"), "{answer}");
        let offer = text(Page::error(426, "x").with_upgrade("a/1"), After::Close);
        assert!(
            offer.contains("\r\nConnection: close, upgrade\r\nUpgrade: a/1\r\n"),
            "{offer}"
        );
    }

    #[test]
    fn what_is_left_of_all_parts() {
        let reply = Reply::new(b"ab".to_vec(), vec![b"cde".to_vec(), Vec::new(), b"f".to_vec()]);
        let left = |written, room: usize| {
            let mut slices = vec![IoSlice::new(&[]); room];
            reply.left(written, &mut slices);
            slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>()
        };
        for written in 0..=reply.len() {
            assert_eq!(left(written, 9), b"abcdef"[written..], "{written}");
        }
        assert_eq!(left(1, 1), b"b");
        assert_eq!(left(1, 2), b"bcde");
    }
}
