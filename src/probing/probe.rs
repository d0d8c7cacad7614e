//! One connect that is to be made, and what became of it.

use std::time::{Duration, Instant};

use crate::scorer::sample::Sample;
use crate::service::id::Candidate;

/// A connect that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// To whom.
    pub candidate: Candidate,
    /// It fails after so long.
    pub timeout: Duration,
    /// What it is made for.
    pub errand: Errand,
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
    /// The connect ended.
    Ended(Sample),
    /// It could not begin, for want of descriptors or memory: says nothing of the candidate, which is to be asked
    /// later.
    PutOff(Probe),
    /// It could not begin, for want of a local port towards this candidate: that says nothing of it, nor of others. It
    /// has its turn in a later round; those behind it need not wait for that.
    LeftOut(Probe),
}
