//! A request by HTTP, and what is a right answer to it. Pure.

use std::net::SocketAddr;

use regex_lite::Regex;

use super::verdict::Verdict;
use crate::base::http_parts::{Chunks, values};
use crate::config::{HttpCheck, Method};

/// Headers of an answer.
const MOST_HEADERS: usize = 128;

/// What is asked, and what is a right answer.
#[derive(Debug)]
pub(super) struct Request {
    check: HttpCheck,
    /// The header that `expect_header` names, and what its value must contain.
    header: Option<(String, String)>,
    /// The header that tells candidates apart, and what its value must match.
    select: Option<(String, Option<Regex>)>,
}

/// What a head says.
#[derive(Debug)]
pub(super) enum Judged {
    /// Another one follows.
    Interim,
    /// All there is to know.
    Done(Verdict),
    /// It is right so far, and the body is to be looked at.
    Body(Body),
}

/// A body while it is read.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes are to come.
    Counted(u64),
    /// It is in chunks.
    Chunked(Chunks),
    /// It ends with the connection.
    ToTheEnd,
}

/// How a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// More may come.
    Open,
    /// It was all.
    Over,
    /// It is none.
    Broken,
}

impl Request {
    /// A request; `select` is a header and what its value must match.
    #[must_use]
    pub(super) fn new(check: HttpCheck, select: Option<(String, Option<Regex>)>) -> Self {
        let expected = check.expect_header.clone();
        let header = (!expected.is_empty()).then(|| match expected.split_once(':') {
            Some((name, value)) => (name.trim().to_owned(), value.trim().to_owned()),
            None => (expected.trim().to_owned(), String::new()),
        });
        Self {
            check,
            header,
            select,
        }
    }

    /// The request as it is sent.
    pub(super) fn text(&self, addr: SocketAddr) -> String {
        let host = match self.check.host.as_str() {
            "" => addr.to_string(),
            host => host.to_owned(),
        };
        let (method, path) = (self.check.method.name(), &self.check.path);
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tcp-forwarder/{version}\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        )
    }

    /// What the body must contain; empty: anything.
    pub(super) fn wanted(&self) -> &[u8] {
        self.check.expect_body.as_bytes()
    }

    /// Judges a head, with its empty line.
    pub(super) fn judge_head(&self, head: &[u8]) -> Judged {
        let wrong = |why| Judged::Done(Verdict::Wrong(why));
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(_)) = answer.parse(head) else {
            return wrong("it is no answer by HTTP");
        };
        let status = answer.code.unwrap_or_default();
        if (100..200).contains(&status) && status != 101 {
            return Judged::Interim;
        }
        let is_right = |range: &crate::config::Statuses| (range.from..=range.to).contains(&status);
        if !self.check.expect_status.iter().any(is_right) {
            return wrong("the status is another one");
        }
        if let Some((name, text)) = &self.header
            && !values(answer.headers, name).any(|value| value.contains(text.as_str()))
        {
            return wrong("the header is another one");
        }
        if let Some((name, pattern)) = &self.select {
            let matches = |value: String| pattern.as_ref().is_some_and(|pattern| pattern.is_match(&value));
            if !values(answer.headers, name).any(matches) {
                return wrong("it is not selected");
            }
        }
        if self.check.method == Method::Head || self.check.expect_body.is_empty() {
            return Judged::Done(Verdict::Right);
        }
        body(answer.headers, status).map_or_else(|| wrong("the body is another one"), Judged::Body)
    }
}

/// The body that follows a head (RFC 9112, section 6.3); none if there is none.
fn body(headers: &[httparse::Header<'_>], status: u16) -> Option<Body> {
    if status == 204 || status == 304 {
        return None;
    }
    let is_chunked = |value: String| value.to_ascii_lowercase().trim_end().ends_with("chunked");
    if values(headers, "transfer-encoding").any(is_chunked) {
        return Some(Body::Chunked(Chunks::default()));
    }
    let length = values(headers, "content-length").next();
    match length.map(|length| length.trim().parse()) {
        Some(Ok(0) | Err(_)) => None,
        Some(Ok(length)) => Some(Body::Counted(length)),
        None => Some(Body::ToTheEnd),
    }
}

impl Body {
    /// Decodes the next bytes, and adds what they say to `text`.
    pub(super) fn decode(&mut self, bytes: &[u8], text: &mut Vec<u8>) -> State {
        match self {
            Self::ToTheEnd => {
                text.extend_from_slice(bytes);
                State::Open
            }
            Self::Counted(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                text.extend_from_slice(&bytes[..count]);
                *left -= count as u64;
                if *left == 0 { State::Over } else { State::Open }
            }
            Self::Chunked(chunks) => {
                chunks.decode(bytes, text);
                match chunks {
                    Chunks::Size(_) | Chunks::Data(_) | Chunks::Gap(_) => State::Open,
                    Chunks::Over => State::Over,
                    Chunks::Broken => State::Broken,
                }
            }
        }
    }
}
