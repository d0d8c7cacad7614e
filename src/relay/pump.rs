//! One direction of a relay, by copying: written once, used twice.
//!
//! Moves bytes from a non-blocking source to a non-blocking sink until one of them blocks, the source ends,
//! something fails, or the byte budget is used up. Knows no sockets (any `Read` and `Write` will do), no clock and
//! no events but the [`Readiness`](super::readiness::Readiness) that they left behind.
//!
//! Invariants: bytes leave in the order they came, none twice, none lost; nothing is read while bytes are
//! stuck, so a half never holds more than one scratch buffer; `Finished` is said only once all is written.

use std::io::{self, ErrorKind, Read, Write};

use super::buffer::Buffer;
use super::half::{End, Half, Held, Phase, Pumped, Stop};

/// The part of a scratch buffer that a budget asks for: under a limit of bandwidth that is less than the whole.
pub(super) fn at_most(scratch: &mut [u8], budget: u64) -> &mut [u8] {
    let room = usize::try_from(budget).unwrap_or(usize::MAX);
    let room = room.clamp(1, scratch.len().max(1));
    scratch.get_mut(..room).unwrap_or_default()
}

/// Moves bytes until something stops it; at most `budget` plus one read, for which there is `scratch`.
pub fn pump<R: Read, W: Write>(
    half: &mut Half,
    source: &mut End<'_, R>,
    sink: &mut End<'_, W>,
    scratch: &mut [u8],
    budget: u64,
) -> Pumped {
    let mut moved = 0;
    let stop = loop {
        if let Held::Bytes(buffer) = &mut half.held {
            if !sink.ready.is_writable() {
                break Stop::Blocked;
            }
            match write_some(buffer.unwritten(), sink) {
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
        match source.stream.read(scratch) {
            Ok(0) => half.phase = Phase::Ending,
            Ok(count) => {
                let short = count < scratch.len();
                let may_go_on = source.ready.is_read_closed() || source.ready.is_urgent();
                if short && source.short_io_blocks && !may_go_on {
                    source.ready.read_blocked();
                }
                let bytes = scratch.get(..count).unwrap_or_default();
                match write_some(bytes, sink) {
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
fn write_some<W: Write>(bytes: &[u8], sink: &mut End<'_, W>) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match sink.stream.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                written += count;
                if count < rest.len() && sink.short_io_blocks {
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
