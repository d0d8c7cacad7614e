//! What is told of candidates: by one connect, and by a row of the score board.
//!
//! Plain values; they know nothing of who makes or who reads them.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::service::id::{Candidate, ServiceId};

/// What one connect to a candidate told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Whom it was about.
    pub candidate: Candidate,
    /// How it went.
    pub outcome: Outcome,
    /// Who made the connect.
    pub source: Source,
    /// When it began.
    pub began_at: Instant,
    /// When it ended.
    pub at: Instant,
}

/// What is reported to the scorer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Report {
    /// A connect ended.
    Sample(Sample),
    /// Initial probing of a service is over; all its samples were reported before.
    Swept(ServiceId),
}

/// How a connect went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was established after this long.
    Success(Duration),
    /// The far end refused or reset it: a failure, but an answer too.
    Refused,
    /// This machine, or a router on the way, knows no way to the network of the candidate.
    NoRoute,
    /// Nothing came back in time, or the host cannot be reached.
    Failure,
}

impl Outcome {
    /// What a connect that ended with this error tells.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        if matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
        ) {
            Self::Refused
        } else if matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown
        ) {
            Self::NoRoute
        } else {
            Self::Failure
        }
    }

    /// How long a connect took that was established.
    #[must_use]
    pub fn latency(self) -> Option<Duration> {
        match self {
            Self::Success(latency) => Some(latency),
            Self::Refused | Self::NoRoute | Self::Failure => None,
        }
    }

    /// Whether the connect was established.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.latency().is_some()
    }

    /// Whether anything came back from the far end, so that the way there and back is sound.
    #[must_use]
    pub fn is_answer(self) -> bool {
        match self {
            Self::Success(_) | Self::Refused => true,
            Self::NoRoute | Self::Failure => false,
        }
    }

    /// In words, for the log.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Success(_) => "success",
            Self::Refused => "refused",
            Self::NoRoute => "no route",
            Self::Failure => "failure",
        }
    }
}

/// Who made a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A probe.
    Probe,
    /// A dial for a client or for a pool.
    Dial,
}

/// A candidate of which something is known: one row of a service's score board, as probing sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Touched {
    /// Whom it is about; the service is the board's.
    pub addr: SocketAddr,
    /// When its last sample ended, whatever its outcome and source.
    pub last_sample_at: Instant,
    /// Its score at that time; 0 to the sum of the maximum scores.
    pub score: f64,
    /// Whether that sample was a success.
    pub answers: bool,
}

/// A candidate with what it is ranked by: one row of a service's score board, as the selector sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rated {
    /// Whom it is about; the service is the board's.
    pub addr: SocketAddr,
    /// Its score; 0 to the sum of the maximum scores.
    pub score: f64,
    /// Its mean connect time; `None` if no connect ever succeeded.
    pub latency: Option<Duration>,
}

impl Rated {
    /// A candidate of which nothing is known.
    #[must_use]
    pub fn unknown(addr: SocketAddr) -> Self {
        Self {
            addr,
            score: 0.0,
            latency: None,
        }
    }
}
