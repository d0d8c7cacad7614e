//! What is told of candidates: by one connect, and by a row of the score board.
//!
//! Plain values; they know nothing of who makes or who reads them.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::search::Leaf;
use crate::service::id::{Candidate, ServiceId};

/// What one connect to a candidate told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Whom it was about.
    pub candidate: Candidate,
    /// How it went.
    pub outcome: Outcome,
    /// What was heard on the connection, if something was to be.
    pub heard: Heard,
    /// Who made the connect.
    pub source: Source,
    /// When it began.
    pub began_at: Instant,
    /// When it ended.
    pub at: Instant,
}

/// What a check heard after its connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing was to be: a connect alone.
    NotAsked,
    /// An answer as it should be; its first byte came so long after the question.
    Answer(Duration),
    /// None in time, or a wrong one, for this reason.
    Wrong(&'static str),
}

/// A backend that did not serve a client, or a connection that it closed at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unserved {
    /// Who it was.
    pub candidate: Candidate,
    /// What happened.
    pub how: Wordless,
    /// When the client spoke; for [`Wordless::ClosedEarly`], when the connection was established.
    pub asked_at: Instant,
    /// When it was known.
    pub at: Instant,
}

/// What clients got of one backend since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Served {
    /// Clients that got a first byte.
    pub clients: u32,
    /// The mean time from a client's last word to that, of those that spoke first.
    pub first_byte: Option<Duration>,
    /// The mean rate of directions that moved much, in bytes a second.
    pub rate: Option<f64>,
}

/// How a backend left a connection without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wordless {
    /// It finished or reset the connection after the client had spoken.
    Ended,
    /// It has been silent for too long since the client spoke.
    Silent,
    /// It closed the connection within `passive.early_close`, before anybody had said anything.
    ClosedEarly,
}

impl Wordless {
    /// In words, for the log.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ended => "ended without a word",
            Self::Silent => "silent",
            Self::ClosedEarly => "closed at once",
        }
    }
}

/// What is reported to the scorer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Report {
    /// A connect ended.
    Sample(Sample),
    /// A client was not served.
    Unserved(Unserved),
    /// Initial probing of a service is over; all its samples were reported before.
    Swept(ServiceId),
    /// Candidates of a service no longer answer as they did: what was reported before may have become untrue.
    Doubted(ServiceId),
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
    /// Another process of the fleet, whatever it was.
    Peer,
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
    /// The mean of the latency that is scored; `None` if it was never measured.
    pub latency: Option<Duration>,
    /// Connects that succeeded and are believed; saturates at 65,535.
    pub successes: u16,
    /// Whether it is what the candidate is like now, as far as is known: what is recalled, or in doubt since, is not.
    pub is_fresh: bool,
}

impl Touched {
    /// The same as the search remembers it.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        Leaf {
            addr: self.addr,
            latency: self.latency.map_or(1.0, |latency| latency.as_secs_f64()),
            answers: f32::from(self.successes),
            failures: if self.answers { 0.0 } else { 1.0 },
        }
    }

    /// Whether it has ever answered.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.answers || self.successes > 0
    }
}

/// What a candidate is not trusted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It fails clients.
    Clients,
    /// It answers checks wrongly.
    Checks,
    /// It does both.
    Both,
}

/// A candidate with what it is ranked by: one row of a service's score board, as the selector sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rated {
    /// Whom it is about; the service is the board's.
    pub addr: SocketAddr,
    /// Its score; 0 to the sum of the maximum scores.
    pub score: f64,
    /// The mean of the latency that is scored; `None` if it was never measured.
    pub latency: Option<Duration>,
    /// Why its connects are not believed, if they are not, see [`trust`](super::trust); such a one does not pass, whatever
    /// its score.
    pub distrust: Option<Distrust>,
    /// Connects that succeeded and are believed; saturates at 65,535.
    pub successes: u16,
}

impl Rated {
    /// A candidate of which nothing is known.
    #[must_use]
    pub fn unknown(addr: SocketAddr) -> Self {
        Self {
            addr,
            score: 0.0,
            latency: None,
            distrust: None,
            successes: 0,
        }
    }

    /// Whether its connects are believed.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.distrust.is_none()
    }
}
