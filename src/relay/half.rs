//! One direction of a relay: its two ends, what it holds, and how far it has come.
//!
//! Owns the state of a half. Moves nothing itself: that is what [`pump`](super::pump) and
//! [`splice`](super::splice) do.
//!
//! Invariants: what is held is never empty; a half that is done holds nothing.

use std::io;

use super::buffer::Buffer;
use super::pipe::LoadedPipe;
use super::readiness::Readiness;

/// A pump that moves less than this has met a pause: small messages are never spliced.
const PAUSE_BYTES: u64 = 16 * 1024;

/// Bytes moved without a pause after which a direction counts as bulk.
const BULK_STREAK: u32 = 256 * 1024;

/// One end of a half: a stream and what is known of its readiness.
#[derive(Debug)]
pub struct End<'a, S> {
    /// The stream.
    pub stream: S,
    /// Its readiness.
    pub ready: &'a mut Readiness,
    /// Whether a short read or write means that the stream is drained or full.
    pub short_io_blocks: bool,
}

/// One direction of a relay.
///
/// ```text
/// Open --(source ends)--> Ending --(all written, FIN passed on)--> Done
/// Open, Ending --(source or sink fails)--> Done
/// ```
#[derive(Debug, Default)]
pub struct Half {
    /// What is between source and sink.
    pub(super) held: Held,
    pub(super) phase: Phase,
    /// Bytes moved lately without a pause; decides about splicing.
    pub(super) streak: u32,
}

/// Where a half holds bytes that the sink did not take yet.
#[derive(Debug, Default)]
pub enum Held {
    /// Nothing is held.
    #[default]
    Nothing,
    /// Bytes that were copied.
    Bytes(Buffer),
    /// Bytes in a pipe; never so where the system has no `splice`.
    Pipe(LoadedPipe),
}

/// How far a half has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Bytes may flow.
    #[default]
    Open,
    /// The source has ended; what is held is still to be written.
    Ending,
    /// Nothing moves any more.
    Done,
}

impl Half {
    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether bytes are stuck in it.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    /// Whether it can read on.
    #[must_use]
    pub fn wants_more(&self, source: Readiness, sink: Readiness) -> bool {
        self.phase == Phase::Open && source.is_readable() && sink.is_writable()
    }

    /// Takes note of what one pump moved; [`is_bulk`](Self::is_bulk) looks at it.
    pub(super) fn note_moved(&mut self, moved: u64) {
        self.streak = if moved < PAUSE_BYTES {
            self.streak / 2
        } else {
            self.streak
                .saturating_add(u32::try_from(moved).unwrap_or(u32::MAX))
        };
    }

    /// Whether the direction has lately moved enough to be worth a pipe.
    pub(super) fn is_bulk(&self) -> bool {
        self.streak >= BULK_STREAK
    }

    /// Whether a pipe would move its bytes: one does already, or it is open, bulk, and holds no copied bytes, which go first.
    pub(super) fn has_use_for_pipe(&self) -> bool {
        match self.held {
            Held::Nothing => self.is_bulk() && self.phase == Phase::Open,
            Held::Bytes(_) => false,
            Held::Pipe(_) => true,
        }
    }

    /// Holds the half to what this file says of it, in a debug build.
    pub(super) fn check(&self) {
        match &self.held {
            Held::Nothing => {}
            Held::Bytes(buffer) => debug_assert!(!buffer.unwritten().is_empty(), "bytes are held, but none"),
            Held::Pipe(loaded) => debug_assert!(loaded.held > 0, "a pipe is held, but it is empty"),
        }
        debug_assert!(
            self.phase != Phase::Done || !self.is_stuck(),
            "a half that is done holds nothing"
        );
    }

    /// Ends the half: the FIN has been passed on, or there is nobody left to write to.
    pub fn finish(&mut self) {
        self.phase = Phase::Done;
        self.held = Held::Nothing;
    }
}

/// Why a pump stopped.
#[derive(Debug)]
pub enum Stop {
    /// The source is drained or the sink is full; an event will tell when to go on.
    Blocked,
    /// The byte budget is used up; there may be more to move at once.
    Budget,
    /// The source has ended and all of it is written: pass the FIN on, then [`Half::finish`].
    Finished,
    /// Reading failed; all that was read before is written or held.
    SourceFailed(io::Error),
    /// Writing failed; what is held is lost.
    SinkFailed(io::Error),
}

/// What a pump did.
#[derive(Debug)]
pub struct Pumped {
    /// Bytes written to the sink.
    pub moved: u64,
    /// Why it stopped.
    pub stop: Stop,
}
