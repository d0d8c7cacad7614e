//! Samples become scores.
//!
//! Owns the score board; its thread is the board's only writer. It must not know sockets: samples come in
//! through the [`SampleInbox`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub mod inbox;

pub use inbox::SampleInbox;

/// What one connect to a candidate told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Whom it was about.
    pub addr: SocketAddr,
    /// How it went.
    pub outcome: Outcome,
    /// Who made the connect.
    pub source: Source,
    /// When it ended.
    pub at: Instant,
}

/// How a connect went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was established after this long.
    Success(Duration),
    /// Refused, unreachable or timed out.
    Failure,
}

/// Who made a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A probe.
    Probe,
    /// A dial for a client or for a pool.
    Dial,
}

/// A candidate of which something is known: one row of the score board, as probing sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Touched {
    /// Whom it is about.
    pub addr: SocketAddr,
    /// When its last sample ended, whatever its outcome and source.
    pub last_sample_at: Instant,
    /// Its score at that time; 0 to the sum of the maximum scores.
    pub score: f64,
}
