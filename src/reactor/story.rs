//! What is remembered of a client for its line in the access log. Pure.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::access_log::{DialFailure, Via};
use crate::net;

/// What a line needs that nothing else does; only clients that have one have this.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Where it came in.
    pub(super) listener: Option<SocketAddr>,
    /// Whose PROXY header named it.
    pub(super) proxy: Option<SocketAddr>,
    /// How it got the connection that it ended on.
    pub(super) via: Option<Via>,
    /// When it got that.
    got_at: Option<Instant>,
    /// From its beginning until it was dialled for, or got a warm connection.
    pub(super) wait: Option<Duration>,
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    /// Why the last dial for it came to nothing.
    pub(super) dial: Option<DialFailure>,
    /// Whether it was dialled for twice at once.
    pub(super) is_raced: bool,
    /// Whether it left where something was awaited of it.
    pub(super) has_left: bool,
}

impl Story {
    /// That of a client that came in there, and whose PROXY header was sent by this one.
    pub(super) fn new(listener: Option<SocketAddr>, proxy: Option<SocketAddr>) -> Self {
        Self {
            listener,
            proxy,
            ..Self::default()
        }
    }

    /// It got a connection to a backend, which was dialled for it at this time; none: a warm one.
    pub(super) fn got(&mut self, dialled_at: Option<Instant>, accepted_at: Instant, now: Instant) {
        let begun_at = dialled_at.unwrap_or(now);
        self.via = Some(dialled_at.map_or(Via::Warm, |_| Via::Dialled));
        self.wait = Some(begun_at.saturating_duration_since(accepted_at));
        self.connect = Some(now.saturating_duration_since(begun_at));
        self.got_at = Some(now);
        self.first_byte = None;
    }

    /// Its backend has spoken for the first time.
    pub(super) fn answered(&mut self, now: Instant) {
        self.first_byte = self.got_at.map(|at| now.saturating_duration_since(at));
    }

    /// A dial for it has failed.
    pub(super) fn dial_failed(&mut self, error: &io::Error) {
        self.dial = Some(if net::is_of_our_own(error) {
            DialFailure::Ours
        } else if error.kind() == io::ErrorKind::TimedOut {
            DialFailure::TimedOut
        } else {
            DialFailure::Refused
        });
    }
}
