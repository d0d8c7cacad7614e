//! The pump between two sockets of this file's own, which tell of edges as edge-triggered polling does.
//!
//! A socket tells once that it may be read: when bytes, an urgent byte or the end come in. It tells that it
//! may be written to when it has room again after a write fell short. Nothing else wakes the half, so a byte
//! that the pump leaves lying although it was told is a byte that never arrives, and is found at the end.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};

use tcp_forwarder::relay::half::{End, Half, Phase, Pumped, Stop};
use tcp_forwarder::relay::pump::pump;
use tcp_forwarder::relay::readiness::{Closure, Readiness};

use super::choices::Choices;

/// Moves bytes in pieces, with pauses, interruptions and failures in between.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(form) = choices.byte() else {
        return;
    };
    let moved = Cell::new(0);
    let mut world = World {
        half: Half::default(),
        source: Source {
            arrived: 0,
            read: 0,
            mark: None,
            ended: false,
            interruptions: 0,
            failed: false,
            written: &moved,
        },
        sink: Sink {
            written: &moved,
            room: 0,
            fell_short: false,
            interruptions: 0,
            failed: false,
        },
        source_ready: Readiness::FRESH,
        sink_ready: Readiness::FRESH,
        scratch: vec![0; 1 + usize::from(form >> 3)],
        // A reactor trusts short reads and writes on some systems, and reads on until it would block on others.
        short_io_blocks: form & 1 == 0,
        moved: 0,
        is_over: false,
    };
    if form & 2 == 0 {
        world.sink.room = 8;
    }
    while !world.is_over && world.step(&mut choices).is_some() {}
    world.end();
}

/// The byte at a place of the stream.
fn byte_at(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap_or(0)
}

struct Source<'w> {
    /// Bytes that came in so far.
    arrived: usize,
    /// Of them, those read.
    read: usize,
    /// A place that no read goes across, as that of an urgent byte.
    mark: Option<usize>,
    ended: bool,
    interruptions: u8,
    failed: bool,
    /// What the sink took.
    written: &'w Cell<usize>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert_eq!(
            self.written.get(),
            self.read,
            "nothing is read while bytes are stuck"
        );
        assert!(!buffer.is_empty());
        if self.interruptions > 0 {
            self.interruptions -= 1;
            return Err(ErrorKind::Interrupted.into());
        }
        if self.read == self.arrived {
            return match (self.failed, self.ended) {
                (true, _) => Err(ErrorKind::ConnectionReset.into()),
                (false, true) => Ok(0),
                (false, false) => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let end = match self.mark {
            Some(mark) if mark > self.read => mark.min(self.arrived),
            _ => self.arrived,
        };
        let count = buffer.len().min(end - self.read);
        for (offset, byte) in buffer.iter_mut().take(count).enumerate() {
            *byte = byte_at(self.read + offset);
        }
        self.read += count;
        Ok(count)
    }
}

struct Sink<'w> {
    written: &'w Cell<usize>,
    room: usize,
    /// A write was refused or cut short, so room will be told.
    fell_short: bool,
    interruptions: u8,
    failed: bool,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty(), "a write of nothing would look like a failure");
        if self.interruptions > 0 {
            self.interruptions -= 1;
            return Err(ErrorKind::Interrupted.into());
        }
        if self.failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(self.room);
        self.fell_short |= count < bytes.len();
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        for (offset, byte) in bytes.iter().take(count).enumerate() {
            assert_eq!(*byte, byte_at(self.written.get() + offset), "in order");
        }
        self.room -= count;
        self.written.set(self.written.get() + count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct World<'w> {
    half: Half,
    source: Source<'w>,
    sink: Sink<'w>,
    source_ready: Readiness,
    sink_ready: Readiness,
    scratch: Vec<u8>,
    short_io_blocks: bool,
    moved: u64,
    is_over: bool,
}

impl World<'_> {
    /// One thing that happens to a socket, or one turn.
    fn step(&mut self, choices: &mut Choices<'_>) -> Option<()> {
        let operation = choices.byte()?;
        let count = usize::from(operation >> 3);
        match operation & 7 {
            0 => self.arrive(1 + count),
            1 => self.arrive(8 * (1 + count)),
            2 => self.make_room(1 + count),
            3 => self.make_room(16 * (1 + count)),
            4 => self.turn(u64::MAX),
            5 => self.turn(1 + count as u64),
            6 => match operation >> 3 & 7 {
                0..=2 => self.finish_source(),
                3 | 4 if !self.source.ended => {
                    self.arrive(1);
                    self.source.mark = Some(self.source.arrived - 1);
                    self.source_ready.set_urgent();
                }
                3 | 4 => {}
                5 => self.source.interruptions = 2,
                6 => self.sink.interruptions = 2,
                // Told to be writable, and is not: polls may do that.
                _ => self.sink_ready.set_writable(),
            },
            _ => match operation >> 3 & 7 {
                0 => {
                    self.source.ended = true;
                    self.source.failed = true;
                    self.source_ready.set_closure(Closure::Failed);
                }
                1 => self.sink.failed = true,
                // Told to be readable, and is not.
                2 => self.source_ready.set_readable(),
                _ => self.turn(choices.byte()?.into()),
            },
        }
        Some(())
    }

    fn arrive(&mut self, count: usize) {
        if !self.source.ended {
            self.source.arrived += count;
            self.source_ready.set_readable();
        }
    }

    fn finish_source(&mut self) {
        self.source.ended = true;
        self.source_ready.set_closure(Closure::Finished);
    }

    fn make_room(&mut self, count: usize) {
        self.sink.room += count;
        if std::mem::take(&mut self.sink.fell_short) {
            self.sink_ready.set_writable();
        }
    }

    fn turn(&mut self, budget: u64) {
        if self.is_over {
            return;
        }
        let Pumped { moved, stop } = pump(
            &mut self.half,
            &mut End {
                stream: &mut self.source,
                ready: &mut self.source_ready,
                short_io_blocks: self.short_io_blocks,
            },
            &mut End {
                stream: &mut self.sink,
                ready: &mut self.sink_ready,
                short_io_blocks: self.short_io_blocks,
            },
            &mut self.scratch,
            budget,
        );
        self.moved += moved;
        let scratch = self.scratch.len() as u64;
        assert!(
            moved <= budget.saturating_add(2 * scratch),
            "{moved} moved of {budget}"
        );
        let (read, written) = (self.source.read, self.sink.written.get());
        match stop {
            Stop::SinkFailed(error) => {
                assert!(self.sink.failed && error.kind() == ErrorKind::BrokenPipe);
                self.is_over = true;
            }
            Stop::SourceFailed(error) => {
                assert!(self.source.failed && error.kind() == ErrorKind::ConnectionReset);
                assert_eq!(
                    written, self.source.arrived,
                    "what came before a failure is passed on"
                );
                self.is_over = true;
            }
            Stop::Finished => {
                assert!(self.source.ended && !self.source.failed);
                assert_eq!(written, self.source.arrived, "the end comes last");
                assert_eq!(self.half.phase(), Phase::Ending);
                self.half.finish();
                assert_eq!(self.half.phase(), Phase::Done);
                self.is_over = true;
            }
            Stop::Blocked => {
                let waits_for_sink = !self.sink_ready.is_writable();
                assert!(
                    waits_for_sink || !self.source_ready.is_readable(),
                    "it waits for something"
                );
                assert!(!waits_for_sink || self.sink.fell_short, "room will be told");
            }
            Stop::Budget => assert!(moved >= budget),
        }
        if self.is_over {
            return;
        }
        assert_eq!(self.moved, written as u64, "what is counted is what was written");
        assert!(
            read - written <= self.scratch.len(),
            "no more is held than one read brought"
        );
        assert_eq!(
            self.half.is_stuck(),
            read > written,
            "what was read and not written is held"
        );
    }

    /// The source ends, the sink takes all, and whoever was told of anything gets turns: all must have arrived.
    fn end(&mut self) {
        self.make_room(self.source.arrived - self.sink.written.get());
        self.turn(u64::MAX);
        assert!(
            self.is_over || self.sink.written.get() == self.source.arrived,
            "with room, nothing stays behind"
        );
        self.finish_source();
        self.turn(u64::MAX);
        assert!(self.is_over, "with its end told, the half ends");
    }
}
