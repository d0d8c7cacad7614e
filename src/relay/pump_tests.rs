//! The pump under every short read, short write, `WouldBlock`, interruption and failure that a script holds.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use proptest::prelude::*;

use super::half::{End, Half, Phase, Pumped, Stop};
use super::pump::pump;
use super::readiness::{Closure, Readiness};

/// What the next read or write does.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Moves up to this many bytes.
    Move(usize),
    Block,
    Interrupt,
    Fail,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..40_usize).prop_map(Act::Move),
        2 => Just(Act::Block),
        1 => Just(Act::Interrupt),
    ]
}

fn failing_act() -> impl Strategy<Value = Act> {
    prop_oneof![20 => act(), 1 => Just(Act::Fail)]
}

fn io_result(act: Act, offered: usize) -> io::Result<usize> {
    match act {
        Act::Move(count) => Ok(count.min(offered)),
        Act::Block => Err(ErrorKind::WouldBlock.into()),
        Act::Interrupt => Err(ErrorKind::Interrupted.into()),
        Act::Fail => Err(ErrorKind::ConnectionReset.into()),
    }
}

/// Hands out its bytes as the script says; blocks when the script is over.
struct ScriptedSource {
    bytes: Vec<u8>,
    given: usize,
    script: VecDeque<Act>,
}

impl Read for ScriptedSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.len() - self.given;
        let act = self.script.pop_front().unwrap_or(Act::Block);
        let count = io_result(act, buffer.len())?.min(left);
        buffer[..count].copy_from_slice(&self.bytes[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

struct ScriptedSink {
    bytes: Vec<u8>,
    script: VecDeque<Act>,
}

impl Write for ScriptedSink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let act = self.script.pop_front().unwrap_or(Act::Block);
        let count = io_result(act, buffer.len())?;
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct World {
    half: Half,
    source: ScriptedSource,
    sink: ScriptedSink,
    source_ready: Readiness,
    sink_ready: Readiness,
    scratch: Vec<u8>,
}

impl World {
    fn new(len: usize, reads: Vec<Act>, writes: Vec<Act>, scratch: usize) -> Self {
        let bytes = (0..len).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
        Self {
            half: Half::default(),
            source: ScriptedSource {
                bytes,
                given: 0,
                script: reads.into(),
            },
            sink: ScriptedSink {
                bytes: Vec::new(),
                script: writes.into(),
            },
            source_ready: Readiness::FRESH,
            sink_ready: Readiness::FRESH,
            scratch: vec![0; scratch],
        }
    }

    /// One event: everything is ready again, as after an edge.
    fn turn(&mut self, short_io_blocks: bool, budget: u64) -> Pumped {
        self.source_ready.set_closure(Closure::Finished);
        self.sink_ready.set_writable();
        self.pump(short_io_blocks, budget)
    }

    fn pump(&mut self, short_io_blocks: bool, budget: u64) -> Pumped {
        let mut source = End {
            stream: &mut self.source,
            ready: &mut self.source_ready,
            short_io_blocks,
        };
        let mut sink = End {
            stream: &mut self.sink,
            ready: &mut self.sink_ready,
            short_io_blocks,
        };
        pump(&mut self.half, &mut source, &mut sink, &mut self.scratch, budget)
    }

    fn is_prefix(&self) -> bool {
        self.source.bytes.starts_with(&self.sink.bytes)
    }
}

proptest! {
    /// Whatever the peers do short of failing, every byte arrives once and in order, and the end only after
    /// the last byte.
    #[test]
    fn every_byte_arrives(
        len in 0..2000_usize,
        reads in prop::collection::vec(act(), 0..60),
        writes in prop::collection::vec(act(), 0..60),
        scratch in 1..64_usize,
        short_io_blocks: bool,
        budget in 1..500_u64,
    ) {
        let mut world = World::new(len, reads, writes, scratch);
        let mut moved = 0;
        // The scripts end; after them both peers take and give whatever is asked.
        for turn in 0..10_000 {
            if world.source.script.is_empty() && turn > 100 {
                world.source.script.push_back(Act::Move(usize::MAX));
            }
            if world.sink.script.is_empty() && turn > 100 {
                world.sink.script.push_back(Act::Move(usize::MAX));
            }
            let pumped = world.turn(short_io_blocks, budget);
            moved += pumped.moved;
            prop_assert!(world.is_prefix());
            prop_assert_eq!(moved, world.sink.bytes.len() as u64);
            prop_assert!(pumped.moved <= budget + 2 * scratch as u64);
            match pumped.stop {
                Stop::Blocked | Stop::Budget => {}
                Stop::Finished => {
                    prop_assert_eq!(world.sink.bytes.len(), len, "the end is passed on last");
                    world.half.finish();
                    return Ok(());
                }
                Stop::SourceFailed(error) | Stop::SinkFailed(error) => {
                    return Err(TestCaseError::fail(format!("nothing failed, and yet: {error}")));
                }
            }
        }
        prop_assert!(false, "it never came to its end");
    }

    /// A failure is told on the side where it happened, and nothing is written out of order before it.
    #[test]
    fn failures_are_told_on_their_side(
        reads in prop::collection::vec(failing_act(), 0..80),
        writes in prop::collection::vec(failing_act(), 0..80),
        scratch in 1..64_usize,
        short_io_blocks: bool,
    ) {
        let mut world = World::new(100_000, reads, writes, scratch);
        for _ in 0..200 {
            let reads_left = world.source.script.len();
            let pumped = world.turn(short_io_blocks, u64::MAX);
            prop_assert!(world.is_prefix());
            match pumped.stop {
                Stop::SourceFailed(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    prop_assert!(world.source.script.len() < reads_left);
                    prop_assert!(!world.half.is_stuck(), "all that was read before is written");
                    return Ok(());
                }
                Stop::SinkFailed(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    return Ok(());
                }
                Stop::Blocked | Stop::Budget | Stop::Finished => {}
            }
        }
    }
}

#[test]
fn a_short_read_spares_the_read_that_would_block() {
    let mut world = World::new(100, vec![Act::Move(10), Act::Fail], vec![Act::Move(64)], 64);
    world.source_ready.set_readable();
    let pumped = world.pump(true, u64::MAX);
    assert!(matches!(pumped.stop, Stop::Blocked), "{pumped:?}");
    assert_eq!(pumped.moved, 10);
    assert!(!world.source_ready.is_readable());
    assert_eq!(world.source.script.len(), 1, "the second read was not made");
}

#[test]
fn after_a_close_a_short_read_is_followed_to_the_end() {
    let mut world = World::new(10, vec![Act::Move(64), Act::Move(64)], vec![Act::Move(64)], 64);
    world.source_ready.set_closure(Closure::Finished);
    assert!(matches!(world.pump(true, u64::MAX).stop, Stop::Finished));
    assert_eq!(world.half.phase(), Phase::Ending);
}

#[test]
fn nothing_is_read_while_bytes_are_stuck() {
    let mut world = World::new(100, vec![Act::Move(50), Act::Move(50)], vec![Act::Move(20)], 50);
    assert!(matches!(world.turn(true, u64::MAX).stop, Stop::Blocked));
    assert!(world.half.is_stuck());
    assert_eq!(world.source.given, 50);
    world.source_ready.set_readable();
    assert!(matches!(world.pump(true, u64::MAX).stop, Stop::Blocked));
    assert_eq!(
        world.source.given, 50,
        "the sink has not said that it is writable"
    );
}

#[test]
fn a_sink_that_takes_nothing_is_a_failure() {
    struct Never;
    impl Write for Never {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut ready = (Readiness::FRESH, Readiness::FRESH);
    ready.0.set_readable();
    let mut source = End {
        stream: &b"abc"[..],
        ready: &mut ready.0,
        short_io_blocks: true,
    };
    let mut sink = End {
        stream: Never,
        ready: &mut ready.1,
        short_io_blocks: true,
    };
    let pumped = pump(&mut Half::default(), &mut source, &mut sink, &mut [0; 8], 100);
    assert!(matches!(pumped.stop, Stop::SinkFailed(error) if error.kind() == ErrorKind::WriteZero));
}
