//! One probe that is to be made, and what became of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::scorer::sample::Sample;
use crate::service::id::Candidate;

/// A probe that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// To whom.
    pub candidate: Candidate,
    /// It fails after so long.
    pub timeout: Duration,
    /// What it is made for.
    pub errand: Errand,
    /// The port that it connects to; 0: the candidate's own.
    pub port: u16,
    /// Whether it asks for more than a connect, of a service that has something to ask.
    pub asks: bool,
}

impl Probe {
    /// Where it connects to.
    #[must_use]
    pub fn to(&self) -> SocketAddr {
        match self.port {
            0 => self.candidate.addr,
            port => SocketAddr::new(self.candidate.addr.ip(), port),
        }
    }
}

/// What a probe is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Initial probing.
    Sweep,
    /// A round.
    Round {
        /// When it was to begin.
        at: Instant,
    },
    /// To learn of our own link.
    Sentinel,
}

/// What became of a probe; each has one ending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ending {
    /// It ended.
    Ended(Sample),
    /// It could not begin, for want of descriptors or memory: says nothing of the candidate, which is to be asked
    /// later.
    PutOff(Probe),
    /// It could not begin, for want of a local port towards this candidate, or of what it is to leave from, or of a place at it,
    /// which takes only so many connections: that says nothing of it, nor of others. It has its turn in a later round; those behind it need not wait for that.
    LeftOut(Probe),
}
