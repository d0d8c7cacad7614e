//! What is answered: a page, and the bytes that it becomes.
//!
//! Heads are written by `tiny_http`; a body is never copied, for that of a scrape may be large. It must not
//! know who asks for what.

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
    body: Vec<u8>,
    headers: Vec<(&'static str, &'static str)>,
    upgrade: Option<&'static str>,
}

impl Page {
    /// A text of this content type.
    #[must_use]
    pub fn typed(content_type: &'static str, body: String) -> Self {
        Self {
            status: 200,
            content_type,
            body: body.into_bytes(),
            headers: Vec::new(),
            upgrade: None,
        }
    }

    /// A plain text.
    #[must_use]
    pub fn plain(body: String) -> Self {
        Self::typed(PLAIN_TYPE, body)
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
            Ok(body) => Self::typed(JSON_TYPE, body + "\n").with_status(status),
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
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The bytes of the answer.
    pub(super) fn reply(self, manner: &Manner) -> Reply {
        let mut head = Vec::new();
        let length = self.body.len();
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
        Reply {
            head,
            body: if manner.with_body { self.body } else { Vec::new() },
        }
    }
}

/// How a request wants its answer.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    version: HTTPVersion,
    with_body: bool,
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

/// An answer as bytes.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// The word for a client that waits for leave to send its body.
    pub(super) fn go_on() -> Self {
        Self {
            head: b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
            body: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What is left of both parts after so many bytes.
    pub(super) fn left(&self, written: usize) -> (&[u8], &[u8]) {
        let head = self.head.get(written..).unwrap_or_default();
        let of_body = written.saturating_sub(self.head.len());
        (head, self.body.get(of_body..).unwrap_or_default())
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
        String::from_utf8([reply.head, reply.body].concat()).expect("text")
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
    fn what_is_left_of_both_parts() {
        let reply = Reply {
            head: b"ab".to_vec(),
            body: b"cde".to_vec(),
        };
        let left = |written| {
            let (head, body) = reply.left(written);
            [head, body].concat()
        };
        for written in 0..=reply.len() {
            assert_eq!(left(written), b"abcde"[written..], "{written}");
        }
    }
}
