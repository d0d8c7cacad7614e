//! What a candidate is asked beyond a connect, and whether its answer is right. Pure.
//!
//! A [`Plan`] is made once of what is configured; a [`Reading`] follows one answer, byte by byte as it comes. It must not
//! know sockets, deadlines, or what becomes of a candidate.
//!
//! Invariants, whatever comes: at most [`LONGEST_ANSWER`] bytes of an answer are looked at, each a bounded number of
//! times; once there is a verdict, no more is read.

mod chunks;
mod http;
mod verdict;

use std::net::SocketAddr;

use regex_lite::Regex;

pub use verdict::Verdict;

use crate::config::{Check, CheckKind, ProxySend, Spec};
use crate::preface::proxy::{self, Facts};

/// Bytes of an answer that are looked at.
pub const LONGEST_ANSWER: usize = 64 * 1024;

/// What is asked, and what is a right answer.
#[derive(Debug)]
pub struct Plan {
    /// What is said before anything else; empty: nothing.
    introduction: Vec<u8>,
    kind: Kind,
}

/// How it is asked.
#[derive(Debug)]
enum Kind {
    /// A request by HTTP.
    Http(Box<http::Request>),
    /// Bytes, and bytes.
    SendExpect {
        /// What is said; empty: nothing.
        send: Vec<u8>,
        /// What the answer must contain; empty: anything.
        expect: Vec<u8>,
    },
}

impl Plan {
    /// The plan of a configuration; none if nothing is asked.
    #[must_use]
    pub fn of(check: &Check) -> Option<Self> {
        let kind = match check.kind {
            CheckKind::Connect => return None,
            CheckKind::Http => {
                // Checked with the configuration; what does not compile selects nobody.
                let select = (!check.select.header.is_empty()).then(|| {
                    (
                        check.select.header.clone(),
                        Regex::new(&check.select.pattern).ok(),
                    )
                });
                Kind::Http(Box::new(http::Request::new(check.http.clone(), select)))
            }
            CheckKind::SendExpect => Kind::SendExpect {
                send: check.send.bytes(),
                expect: check.expect.bytes(),
            },
        };
        Some(Self {
            introduction: Vec::new(),
            kind,
        })
    }

    /// The plan for the backends of a service: where they are told who a client is, they are told that this is none.
    #[must_use]
    pub fn of_spec(spec: &Spec) -> Option<Self> {
        let check = &spec.remotes.probing.check;
        let mut plan = Self::of(check)?;
        plan.introduction = proxy::compose(Self::header(spec), None, &Facts::default());
        Some(plan)
    }

    /// Whether two specs ask the same.
    #[must_use]
    pub fn is_same(a: &Spec, b: &Spec) -> bool {
        a.remotes.probing.check == b.remotes.probing.check && Self::header(a) == Self::header(b)
    }

    /// The PROXY header that comes before a question. A port of its own has a server of its own.
    fn header(spec: &Spec) -> ProxySend {
        match spec.remotes.probing.check.port {
            0 => spec.server.proxy_protocol.send,
            _ => ProxySend::Off,
        }
    }

    /// What is said to a candidate first.
    #[must_use]
    pub fn question(&self, addr: SocketAddr) -> Vec<u8> {
        let mut question = self.introduction.clone();
        match &self.kind {
            Kind::Http(request) => question.extend(request.text(addr).into_bytes()),
            Kind::SendExpect { send, .. } => question.extend(send),
        }
        question
    }
}

/// One answer while it is read.
#[derive(Debug, Default)]
pub struct Reading {
    read: usize,
    /// What is kept of it: the head, or the end of what was looked through.
    kept: Vec<u8>,
    body: Option<http::Body>,
}

impl Reading {
    /// Takes in the next bytes.
    pub fn feed(&mut self, plan: &Plan, bytes: &[u8]) -> Verdict {
        let room = LONGEST_ANSWER - self.read;
        let bytes = &bytes[..bytes.len().min(room)];
        self.read += bytes.len();
        let verdict = match &plan.kind {
            Kind::Http(request) => self.feed_http(request, bytes),
            Kind::SendExpect { expect, .. } => self.look_for(expect, bytes),
        };
        if verdict == Verdict::Open && self.read == LONGEST_ANSWER {
            return Verdict::Wrong("what is expected is not in its first 64 KiB");
        }
        verdict
    }

    /// The answer has ended.
    #[must_use]
    pub fn end(&self, plan: &Plan) -> Verdict {
        match (&self.body, &plan.kind) {
            (_, _) if self.read == 0 => Verdict::Wrong("it ends without a word"),
            (Some(_), Kind::Http(_)) => Verdict::Wrong("the body is another one"),
            (None, Kind::Http(_)) => Verdict::Wrong("the head has no end"),
            (_, Kind::SendExpect { .. }) => Verdict::Wrong("what is expected does not come"),
        }
    }

    /// Looks for bytes in what comes and the end of what came before.
    fn look_for(&mut self, wanted: &[u8], bytes: &[u8]) -> Verdict {
        if bytes.is_empty() {
            return Verdict::Open;
        }
        self.kept.extend_from_slice(bytes);
        if contains(&self.kept, wanted) {
            return Verdict::Right;
        }
        let overlap = wanted.len().saturating_sub(1);
        self.kept.drain(..self.kept.len().saturating_sub(overlap));
        Verdict::Open
    }

    fn feed_http(&mut self, request: &http::Request, bytes: &[u8]) -> Verdict {
        if self.body.is_none() {
            let looked_at = self.kept.len();
            self.kept.extend_from_slice(bytes);
            return self.read_heads(request, looked_at);
        }
        self.feed_body(request, bytes)
    }

    /// Reads heads until one is final; those before it announce it only.
    fn read_heads(&mut self, request: &http::Request, mut looked_at: usize) -> Verdict {
        loop {
            let Some(end) = http::end_of_head(&self.kept, looked_at) else {
                return Verdict::Open;
            };
            let rest = self.kept.split_off(end);
            let head = std::mem::replace(&mut self.kept, rest);
            match request.judge_head(&head) {
                http::Judged::Interim => looked_at = 0,
                http::Judged::Done(verdict) => return verdict,
                http::Judged::Body(body) => {
                    self.body = Some(body);
                    let rest = std::mem::take(&mut self.kept);
                    return self.feed_body(request, &rest);
                }
            }
        }
    }

    fn feed_body(&mut self, request: &http::Request, bytes: &[u8]) -> Verdict {
        let Some(mut body) = self.body.take() else {
            debug_assert!(false, "the head was read");
            return Verdict::Open;
        };
        let mut text = Vec::new();
        let state = body.decode(bytes, &mut text);
        self.body = Some(body);
        match (self.look_for(request.wanted(), &text), state) {
            (Verdict::Open, http::State::Over) => Verdict::Wrong("the body is another one"),
            (Verdict::Open, http::State::Broken) => Verdict::Wrong("the body is broken"),
            (verdict, _) => verdict,
        }
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests;
