//! A TCP socket in memory, with the rules of Linux that a relay may come to feel.
//!
//! Both ends of a connection are one of these; the world carries segments between them. What it keeps to:
//!
//! - Bytes count as acknowledged once the other kernel has them; a send buffer holds them until then.
//! - A socket that was closed answers bytes with a reset; one that is closed with bytes unread resets at once.
//! - A reset drops what was not sent. What had come in stays to be read, then the error is told once: `EPIPE` where the
//!   other side had finished and we had not, `ECONNRESET` otherwise. After a finish reads yield the end, never the error.
//! - Readiness is told by edges, with all that is true then; or, on systems of the other kind, once, and again after
//!   a call that would have blocked. Only the first kind keeps the promise of short reads and writes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

use tcp_forwarder::relay::readiness::{Closure, Readiness};

/// What travels between two sockets.
#[derive(Debug)]
pub(super) enum Segment {
    Bytes(Vec<u8>),
    Urgent(u8),
    Fin,
    Reset,
    Ack { arrived: u64, fin: bool, limit: u64 },
}

/// How a system tells of readiness.
#[derive(Debug)]
pub(super) enum Habit {
    /// At each edge; a short read or write means drained or full.
    Edges,
    /// Once, until a call would have blocked; reads and writes are cut short and interrupted as chance will have it.
    Rearmed(fastrand::Rng),
}

/// How far a finish has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fin {
    No,
    Queued,
    Sent,
    Acked,
}

/// Bounds of a socket, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) receive: u64,
    pub(super) send: u64,
    pub(super) segment: u64,
}

/// What a poll tells of a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    readable: bool,
    writable: bool,
    urgent: bool,
    pub(super) closure: Closure,
}

impl Told {
    /// Notes it, as a reactor does.
    pub(super) fn apply(self, ready: &mut Readiness) {
        if self.readable {
            ready.set_readable();
        }
        if self.writable {
            ready.set_writable();
        }
        if self.urgent {
            ready.set_urgent();
        }
        ready.set_closure(self.closure);
    }

    pub(super) fn is_readable(self) -> bool {
        self.readable
    }
}

/// One end of a connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "so has the kernel's")]
pub(super) struct Socket {
    pub(super) room: Room,
    habit: Habit,
    inbox: VecDeque<u8>,
    /// Bytes that came in, and those of them that were read.
    pub(super) arrived: u64,
    pub(super) taken: u64,
    /// Where an urgent byte stands: no read goes across.
    mark: Option<u64>,
    pub(super) has_fin_arrived: bool,
    /// Whether a read has told of it.
    pub(super) is_end_taken: bool,
    unsent: VecDeque<u8>,
    is_corked: bool,
    /// Bytes that were written, sent, acknowledged, and that the other side has room for.
    pub(super) written: u64,
    sent: u64,
    pub(super) acked: u64,
    pub(super) limit: u64,
    /// Which byte to be written is urgent.
    pub(super) urgent_at: Option<u64>,
    pub(super) fin: Fin,
    /// An error that is still to be told.
    error: Option<ErrorKind>,
    /// What ended the connection in both directions, if anything did.
    pub(super) failure: Option<ErrorKind>,
    /// The program has no hold of it any more.
    pub(super) is_closed: bool,
    is_reset_due: bool,
    is_ack_due: bool,
    has_edge: bool,
    fell_short: bool,
    is_read_armed: bool,
    is_write_armed: bool,
}

impl Socket {
    /// One end of a connection that stands; the other one has room for `limit` bytes.
    pub(super) fn new(room: Room, habit: Habit, limit: u64) -> Self {
        Self {
            room,
            habit,
            inbox: VecDeque::new(),
            arrived: 0,
            taken: 0,
            mark: None,
            has_fin_arrived: false,
            is_end_taken: false,
            unsent: VecDeque::new(),
            is_corked: false,
            written: 0,
            sent: 0,
            acked: 0,
            limit,
            urgent_at: None,
            fin: Fin::No,
            error: None,
            failure: None,
            is_closed: false,
            is_reset_due: false,
            is_ack_due: false,
            has_edge: false,
            fell_short: false,
            is_read_armed: true,
            is_write_armed: true,
        }
    }

    /// Whether short reads and writes mean something.
    pub(super) fn keeps_short_io_promise(&self) -> bool {
        matches!(self.habit, Habit::Edges)
    }

    /// Whether there is nothing left to be read.
    pub(super) fn is_drained(&self) -> bool {
        self.inbox.is_empty()
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted()?;
        if self.inbox.is_empty() {
            self.is_end_taken |= self.has_fin_arrived;
            return self.read_nothing();
        }
        let mut count = buffer.len().min(self.inbox.len());
        if let Some(ahead) = self
            .mark
            .and_then(|mark| mark.checked_sub(self.taken))
            .filter(|ahead| *ahead > 0)
        {
            count = count.min(usize::try_from(ahead).unwrap_or(count));
        }
        if let Habit::Rearmed(rng) = &mut self.habit {
            count = rng.usize(1..=count);
        }
        self.inbox.read_exact(&mut buffer[..count])?;
        self.taken += count as u64;
        self.is_ack_due = true;
        Ok(count)
    }

    /// What a read of an empty socket tells.
    fn read_nothing(&mut self) -> io::Result<usize> {
        if self.has_fin_arrived {
            return Ok(0);
        }
        match self.error.take() {
            Some(kind) => Err(kind.into()),
            None if self.failure.is_some() => Ok(0),
            None => Err(self.would_block()),
        }
    }

    /// Whether a look at the next byte finds the end, or a failure, which is told by that.
    pub(super) fn is_dead(&mut self) -> bool {
        self.inbox.is_empty()
            && self
                .read_nothing()
                .map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |_| true)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupted()?;
        if let Some(kind) = self.error.take() {
            return Err(kind.into());
        }
        if self.failure.is_some() || self.fin != Fin::No {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let free = usize::try_from(self.free()).unwrap_or(usize::MAX);
        if free == 0 {
            self.fell_short = true;
            return Err(self.would_block());
        }
        let mut count = bytes.len().min(free);
        if let Habit::Rearmed(rng) = &mut self.habit {
            count = rng.usize(1..=count);
        }
        self.fell_short |= count < bytes.len();
        self.unsent.extend(&bytes[..count]);
        self.written += count as u64;
        self.is_corked = false;
        Ok(count)
    }

    /// A write whose end waits for more, a finish, or [`uncork`](Self::uncork). No time lets it go: whoever forgets it is
    /// found out.
    pub(super) fn write_corked(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.write(bytes)?;
        self.is_corked = true;
        Ok(count)
    }

    pub(super) fn uncork(&mut self) {
        self.is_corked = false;
    }

    /// Finishes, after what was written.
    pub(super) fn finish(&mut self) {
        if self.fin == Fin::No && self.failure.is_none() {
            self.fin = Fin::Queued;
        }
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take().map(io::Error::from)
    }

    pub(super) fn is_nothing_acked(&self) -> bool {
        self.acked == 0 && self.fin != Fin::Acked
    }

    /// The program lets go of it.
    pub(super) fn close(&mut self) {
        if self.inbox.is_empty() {
            self.finish();
            self.is_closed = true;
        } else {
            self.reset();
        }
    }

    /// The program lets go of it by a reset.
    pub(super) fn reset(&mut self) {
        self.is_closed = true;
        if self.failure.is_none() {
            self.is_reset_due = true;
            self.fail(ErrorKind::ConnectionAborted);
        }
    }

    /// Takes what the connection brings.
    pub(super) fn on(&mut self, segment: Segment) {
        if self.failure.is_some()
            || (self.is_closed && matches!(segment, Segment::Bytes(_) | Segment::Urgent(_)))
        {
            // Nobody is at home; whoever speaks learns that, but no reset answers a reset.
            if !matches!(segment, Segment::Reset | Segment::Ack { .. }) {
                self.is_reset_due = true;
                self.fail(ErrorKind::ConnectionAborted);
            }
            return;
        }
        match segment {
            Segment::Bytes(bytes) => self.arrive(&bytes),
            Segment::Urgent(byte) => {
                self.mark = Some(self.arrived);
                self.arrive(&[byte]);
            }
            Segment::Fin => {
                self.has_fin_arrived = true;
                self.is_ack_due = true;
                self.has_edge = true;
            }
            Segment::Reset if self.has_fin_arrived && self.fin == Fin::Acked => {}
            Segment::Reset => {
                let is_half_open = self.has_fin_arrived && self.fin == Fin::No;
                self.fail_told(if is_half_open {
                    ErrorKind::BrokenPipe
                } else {
                    ErrorKind::ConnectionReset
                });
            }
            Segment::Ack { arrived, fin, limit } => {
                self.acked = self.acked.max(arrived);
                self.limit = self.limit.max(limit);
                if fin {
                    self.fin = Fin::Acked;
                }
                if self.fell_short && self.has_room() {
                    self.fell_short = false;
                    self.has_edge = true;
                }
            }
        }
    }

    fn arrive(&mut self, bytes: &[u8]) {
        self.inbox.extend(bytes);
        self.arrived += bytes.len() as u64;
        self.is_ack_due = true;
        self.has_edge = true;
    }

    /// The connection ends in both directions, and its program is to be told.
    pub(super) fn fail_told(&mut self, kind: ErrorKind) {
        if self.failure.is_none() {
            self.error = Some(kind);
            self.has_edge = true;
            self.fail(kind);
        }
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.failure.get_or_insert(kind);
        self.unsent.clear();
    }

    /// What it has to send now.
    pub(super) fn emit(&mut self) -> Vec<Segment> {
        let mut segments = Vec::new();
        if std::mem::take(&mut self.is_reset_due) {
            segments.push(Segment::Reset);
        }
        if self.failure.is_some() {
            return segments;
        }
        if std::mem::take(&mut self.is_ack_due) {
            segments.push(Segment::Ack {
                arrived: self.arrived,
                fin: self.has_fin_arrived,
                limit: self.taken + self.room.receive,
            });
        }
        while let Some(segment) = self.next_bytes() {
            segments.push(segment);
        }
        if self.fin == Fin::Queued && self.unsent.is_empty() {
            self.fin = Fin::Sent;
            segments.push(Segment::Fin);
        }
        segments
    }

    fn next_bytes(&mut self) -> Option<Segment> {
        let left = self.unsent.len() as u64;
        let mut count = left.min(self.limit - self.sent).min(self.room.segment);
        let keeps = self.is_corked && self.fin == Fin::No && count < self.room.segment;
        if count == 0 || keeps && count == left {
            return None;
        }
        let ahead = self.urgent_at.and_then(|at| at.checked_sub(self.sent));
        if let Some(ahead) = ahead {
            count = count.min(ahead.max(1));
        }
        self.sent += count;
        let count = usize::try_from(count).unwrap_or_default();
        let mut bytes = vec![0; count];
        self.unsent.read_exact(&mut bytes).ok()?;
        Some(match (ahead, bytes.first()) {
            (Some(0), Some(byte)) => Segment::Urgent(*byte),
            _ => Segment::Bytes(bytes),
        })
    }

    fn free(&self) -> u64 {
        self.room.send.saturating_sub(self.written - self.acked)
    }

    /// Whether a poll calls it writable: with a third of its buffer free.
    fn has_room(&self) -> bool {
        self.failure.is_some() || self.free() * 3 >= self.room.send
    }

    fn has_something(&self) -> bool {
        !self.inbox.is_empty() || self.has_fin_arrived || self.failure.is_some()
    }

    fn interrupted(&mut self) -> io::Result<()> {
        let is_interrupted = match &mut self.habit {
            Habit::Rearmed(rng) => rng.u8(..) < 8,
            Habit::Edges => false,
        };
        if is_interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        Ok(())
    }

    fn would_block(&mut self) -> io::Error {
        self.is_read_armed = true;
        self.is_write_armed = true;
        ErrorKind::WouldBlock.into()
    }

    /// Whether a poll would tell anything.
    pub(super) fn has_news(&self) -> bool {
        !self.is_closed
            && match self.habit {
                Habit::Edges => self.has_edge,
                Habit::Rearmed(_) => {
                    self.is_read_armed && self.has_something() || self.is_write_armed && self.has_room()
                }
            }
    }

    /// What a poll tells; once.
    pub(super) fn poll(&mut self) -> Option<Told> {
        if !self.has_news() {
            return None;
        }
        self.has_edge = false;
        let (mut readable, mut writable) = (self.has_something(), self.has_room());
        if let Habit::Rearmed(_) = self.habit {
            (readable, writable) = (readable && self.is_read_armed, writable && self.is_write_armed);
            self.is_read_armed &= !readable;
            self.is_write_armed &= !writable;
        }
        let closure = if self.error.is_some() {
            Closure::Failed
        } else if self.has_fin_arrived || self.failure.is_some() {
            Closure::Finished
        } else {
            Closure::Open
        };
        Some(Told {
            readable,
            writable,
            urgent: self.mark.is_some(),
            closure,
        })
    }
}
