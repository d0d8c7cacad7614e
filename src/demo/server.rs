//! One small HTTP backend: its role, its listener, and the connections to it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};

use crate::admin::http::{After, Body, Parsed, Request, parse};

/// What a backend is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Its name, which it answers with.
    pub name: &'static str,
    /// Time from a request to its answer.
    pub delay: Duration,
    /// When it is there.
    pub presence: Presence,
}

/// When a backend is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Always.
    Always,
    /// By turns: first up, then down.
    Turns {
        /// How long it is up.
        up: Duration,
        /// How long it is down.
        down: Duration,
    },
    /// Never; connects are refused.
    Never,
}

impl Role {
    /// A backend that is always there.
    #[must_use]
    pub const fn steady(name: &'static str, delay: Duration) -> Self {
        Self {
            name,
            delay,
            presence: Presence::Always,
        }
    }

    /// A backend that is up and down by turns.
    #[must_use]
    pub const fn unsteady(name: &'static str, delay: Duration, up: Duration, down: Duration) -> Self {
        Self {
            name,
            delay,
            presence: Presence::Turns { up, down },
        }
    }

    /// A backend that is never there.
    #[must_use]
    pub const fn dead(name: &'static str) -> Self {
        Self {
            name,
            delay: Duration::ZERO,
            presence: Presence::Never,
        }
    }
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) role: Role,
    pub(super) addr: SocketAddr,
    pub(super) listener: Option<TcpListener>,
    /// When it goes down or comes back.
    pub(super) turns_at: Option<Instant>,
}

impl Server {
    pub(super) fn start(role: Role, host: u8, now: Instant) -> io::Result<Self> {
        let own = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
        let listener = bind(own).or_else(|_| bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
        Ok(Self {
            role,
            addr: listener.local_addr()?,
            listener: (role.presence != Presence::Never).then_some(listener),
            turns_at: match role.presence {
                Presence::Turns { up, .. } => Some(now + up),
                Presence::Always | Presence::Never => None,
            },
        })
    }

    fn reply(&self, request: &Request) -> Vec<u8> {
        let body = format!("hello from {} at {}\n", self.role.name, self.addr);
        let connection = match after(request) {
            After::KeepAlive => "",
            After::Close => "Connection: close\r\n",
        };
        let length = body.len();
        let body = if request.method == tiny_http::Method::Head {
            ""
        } else {
            &body
        };
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{connection}\r\n{body}")
            .into_bytes()
    }
}

/// A body is not read here, so a request that has one is the last of its connection.
fn after(request: &Request) -> After {
    match request.body {
        Body::Length(0) => request.after,
        Body::Length(_) | Body::Encoded => After::Close,
    }
}

pub(super) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener))
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) server: usize,
    pub(super) received: Vec<u8>,
    pub(super) phase: Phase,
}

/// Reading -> Thinking -> Replying -> Reading or closed.
#[derive(Debug)]
pub(super) enum Phase {
    Reading,
    /// The answer is held back until its time.
    Thinking {
        until: Instant,
        reply: Vec<u8>,
        after: After,
    },
    Replying {
        reply: Vec<u8>,
        written: usize,
        after: After,
    },
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Ends,
}

impl Client {
    /// Does all that socket and time allow.
    pub(super) fn advance(&mut self, server: &Server, now: Instant) -> Fate {
        loop {
            match &mut self.phase {
                Phase::Reading => match parse(&self.received) {
                    Parsed::Complete(request) => {
                        self.received.drain(..request.head_bytes);
                        self.phase = Phase::Thinking {
                            until: now + server.role.delay,
                            reply: server.reply(&request),
                            after: after(&request),
                        };
                    }
                    Parsed::Incomplete => {
                        let mut chunk = [0; 2048];
                        match self.stream.read(&mut chunk) {
                            Ok(0) => return Fate::Ends,
                            Ok(count) => self
                                .received
                                .extend_from_slice(chunk.get(..count).unwrap_or_default()),
                            Err(error) if error.kind() == ErrorKind::Interrupted => {}
                            Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Stays,
                            Err(_) => return Fate::Ends,
                        }
                    }
                    Parsed::Garbage | Parsed::Refused(_) => return Fate::Ends,
                },
                Phase::Thinking { until, .. } if *until > now => return Fate::Stays,
                Phase::Thinking { reply, after, .. } => {
                    self.phase = Phase::Replying {
                        reply: std::mem::take(reply),
                        written: 0,
                        after: *after,
                    };
                }
                Phase::Replying {
                    reply,
                    written,
                    after,
                } => match self.stream.write(reply.get(*written..).unwrap_or_default()) {
                    Ok(count) => {
                        *written += count;
                        if *written < reply.len() {
                            continue;
                        }
                        if *after == After::Close {
                            return Fate::Ends;
                        }
                        self.phase = Phase::Reading;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Stays,
                    Err(_) => return Fate::Ends,
                },
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Reading) && self.received.is_empty()
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Thinking { until, .. } => Some(until),
            Phase::Reading | Phase::Replying { .. } => None,
        }
    }
}
