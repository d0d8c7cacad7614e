//! What a candidate is asked beyond a connect, and whether its answer is right. Pure.
//!
//! A [`Plan`] is made once of what is configured; a [`Reading`] follows one answer, byte by byte as it comes. It must not
//! know sockets, deadlines, or what becomes of a candidate.
//!
//! Invariants, whatever comes: at most [`LONGEST_ANSWER`] bytes of an answer are looked at, each a bounded number of
//! times; once there is a verdict, no more is read.

mod http;
mod verdict;

use std::net::SocketAddr;
use std::sync::Arc;

use regex_lite::Regex;

pub use verdict::Verdict;

use crate::base::http_parts::end_of_head;
use crate::config::{Check, CheckKind, ProxySend, Spec};
use crate::preface::proxy::{self, Facts};
use crate::service::Service;
use crate::tls::Origination;

/// Bytes of an answer that are looked at.
pub const LONGEST_ANSWER: usize = 64 * 1024;

/// What is asked, and what is a right answer.
#[derive(Debug)]
pub struct Plan {
    /// What is said before anything else, TLS included; empty: nothing.
    introduction: Vec<u8>,
    /// How TLS is spoken, if it is.
    origination: Option<Arc<Origination>>,
    kind: Kind,
}

/// How it is asked.
#[derive(Debug)]
enum Kind {
    /// Nothing but the handshake.
    Tls,
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
            CheckKind::Tls => Kind::Tls,
            CheckKind::Http | CheckKind::Https => {
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
            origination: None,
            kind,
        })
    }

    /// The plan for the backends of a service.
    #[must_use]
    pub fn of_service(service: &Service) -> Option<Self> {
        let mut plan = Self::of_spec(&service.spec)?;
        plan.origination.clone_from(&service.tls.of_checks);
        Some(plan)
    }

    /// The same without TLS: where backends are told who a client is, they are told that this is none.
    fn of_spec(spec: &Spec) -> Option<Self> {
        let mut plan = Self::of(&spec.remotes.probing.check)?;
        plan.introduction = proxy::compose(Self::header(spec), None, &Facts::default());
        Some(plan)
    }

    /// Whether two services ask the same.
    #[must_use]
    pub fn is_same(one: &Service, other: &Service) -> bool {
        one.tls.asks_alike(&other.tls) && Self::says_the_same(&one.spec, &other.spec)
    }

    fn says_the_same(a: &Spec, b: &Spec) -> bool {
        a.remotes.probing.check == b.remotes.probing.check && Self::header(a) == Self::header(b)
    }

    /// The PROXY header that comes before a question. A port of its own has a server of its own.
    fn header(spec: &Spec) -> ProxySend {
        match spec.remotes.probing.check.port {
            0 => spec.server.proxy_protocol.send,
            _ => ProxySend::Off,
        }
    }

    /// How TLS is spoken, if it is.
    #[must_use]
    pub fn origination(&self) -> Option<&Arc<Origination>> {
        self.origination.as_ref()
    }

    /// Whether a handshake is all that is asked for.
    #[must_use]
    pub fn is_for_handshake(&self) -> bool {
        matches!(self.kind, Kind::Tls)
    }

    /// What is said to a candidate first, before TLS too.
    #[must_use]
    pub fn introduction(&self) -> Vec<u8> {
        self.introduction.clone()
    }

    /// What is said behind that.
    #[must_use]
    pub fn question(&self, addr: SocketAddr) -> Vec<u8> {
        match &self.kind {
            Kind::Tls => Vec::new(),
            Kind::Http(request) => request.text(addr).into_bytes(),
            Kind::SendExpect { send, .. } => send.clone(),
        }
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
            Kind::Tls => Verdict::Right,
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
            (_, Kind::Tls | Kind::SendExpect { .. }) => Verdict::Wrong("what is expected does not come"),
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
            let Some(end) = end_of_head(&self.kept, looked_at) else {
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
