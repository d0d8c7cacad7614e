//! One direction of a relay, by copying: written once, used twice.
//!
//! Moves bytes from a non-blocking source to a non-blocking sink until one of them blocks, the source ends,
//! something fails, or the byte budget is used up. Owns the half's state; knows no sockets (any `Read` and
//! `Write` will do), no clock and no events but the [`Readiness`] that they left behind.
//!
//! Invariants: bytes leave in the order they came, none twice, none lost; nothing is read while bytes are
//! stuck, so a half never holds more than one scratch buffer; `Finished` is said only once all is written.

use std::io::{self, ErrorKind, Read, Write};

use super::buffer::Buffer;
use super::splice::LoadedPipe;

/// What events told about one socket, and I/O has not used up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    readable: bool,
    writable: bool,
    urgent: bool,
    closure: Closure,
}

/// What events told about the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closure {
    /// Nothing yet.
    Open,
    /// The peer has finished, or worse.
    Finished,
    /// The connection is gone in both directions: reset, or timed out.
    Failed,
}

impl Readiness {
    /// A fresh connection: writable until a write says otherwise, silent so far.
    pub const FRESH: Self = Self {
        readable: false,
        writable: true,
        urgent: false,
        closure: Closure::Open,
    };

    /// A read may yield something.
    pub fn set_readable(&mut self) {
        self.readable = true;
    }

    /// A write may take something.
    pub fn set_writable(&mut self) {
        self.writable = true;
    }

    /// The peer has finished or reset: read on to the end, no further event will come.
    pub fn set_closure(&mut self, closure: Closure) {
        self.closure = self.closure.max(closure);
        self.readable |= self.is_read_closed();
    }

    /// Urgent data has come: from now on a read may stop short at its mark.
    pub fn set_urgent(&mut self) {
        self.urgent = true;
    }

    /// Whether urgent data has ever come.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self.urgent
    }

    /// Whether a read may yield something.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.readable
    }

    /// Whether a write may take something.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.writable
    }

    /// Whether the peer is known to have finished or reset.
    #[must_use]
    pub fn is_read_closed(self) -> bool {
        self.closure > Closure::Open
    }

    /// Whether the peer is known to have finished, and nothing worse.
    #[must_use]
    pub fn has_finished(self) -> bool {
        self.closure == Closure::Finished
    }

    /// Whether the connection is known to be gone in both directions.
    #[must_use]
    pub fn has_failed(self) -> bool {
        self.closure == Closure::Failed
    }

    /// The socket is drained.
    pub fn read_blocked(&mut self) {
        self.readable = false;
    }

    /// The socket is full.
    pub fn write_blocked(&mut self) {
        self.writable = false;
    }
}

/// One end of a half: a stream and what is known of its readiness.
#[derive(Debug)]
pub struct End<'a, S> {
    /// The stream.
    pub stream: S,
    /// Its readiness.
    pub ready: &'a mut Readiness,
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

/// What a pump may use: the reactor's scratch buffer and the platform's promise about short reads.
#[derive(Debug)]
pub struct Scratch<'a> {
    /// Room for one read.
    pub bytes: &'a mut [u8],
    /// Whether a short read or write means that the socket is drained or full
    /// ([`net::SHORT_READ_DRAINS`](crate::net::SHORT_READ_DRAINS)).
    pub short_io_blocks: bool,
}

impl Scratch<'_> {
    /// The part of it that a budget asks for: under a limit of bandwidth that is less than the whole.
    pub fn at_most(&mut self, budget: u64) -> Scratch<'_> {
        let room = usize::try_from(budget).unwrap_or(usize::MAX);
        let room = room.clamp(1, self.bytes.len().max(1));
        Scratch {
            bytes: self.bytes.get_mut(..room).unwrap_or_default(),
            short_io_blocks: self.short_io_blocks,
        }
    }
}

/// Moves bytes until something stops it; at most `budget` plus one scratch buffer.
pub fn pump<R: Read, W: Write>(
    half: &mut Half,
    source: &mut End<'_, R>,
    sink: &mut End<'_, W>,
    scratch: &mut Scratch<'_>,
    budget: u64,
) -> Pumped {
    let mut moved = 0;
    let stop = loop {
        if let Held::Bytes(buffer) = &mut half.held {
            if !sink.ready.is_writable() {
                break Stop::Blocked;
            }
            match write_some(buffer.unwritten(), sink, scratch.short_io_blocks) {
                Ok(written) => {
                    moved += written as u64;
                    buffer.consume(written);
                    if buffer.unwritten().is_empty() {
                        half.held = Held::Nothing;
                    }
                    continue;
                }
                Err(error) => break Stop::SinkFailed(error),
            }
        }
        match half.phase {
            Phase::Open => {}
            Phase::Ending => break Stop::Finished,
            Phase::Done => break Stop::Blocked,
        }
        if !source.ready.is_readable() || !sink.ready.is_writable() {
            break Stop::Blocked;
        }
        if moved >= budget {
            break Stop::Budget;
        }
        match source.stream.read(scratch.bytes) {
            Ok(0) => half.phase = Phase::Ending,
            Ok(count) => {
                let short = count < scratch.bytes.len();
                let may_go_on = source.ready.is_read_closed() || source.ready.is_urgent();
                if short && scratch.short_io_blocks && !may_go_on {
                    source.ready.read_blocked();
                }
                let bytes = scratch.bytes.get(..count).unwrap_or_default();
                match write_some(bytes, sink, scratch.short_io_blocks) {
                    Ok(written) => {
                        moved += written as u64;
                        let rest = bytes.get(written..).unwrap_or_default();
                        if !rest.is_empty() {
                            half.held = Held::Bytes(Buffer::holding(rest));
                        }
                    }
                    Err(error) => break Stop::SinkFailed(error),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => source.ready.read_blocked(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Stop::SourceFailed(error),
        }
    };
    Pumped { moved, stop }
}

/// Writes as much as the sink takes, and clears its readiness when that is not all.
fn write_some<W: Write>(bytes: &[u8], sink: &mut End<'_, W>, short_io_blocks: bool) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match sink.stream.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                written += count;
                if count < rest.len() && short_io_blocks {
                    sink.ready.write_blocked();
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                sink.ready.write_blocked();
                break;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
