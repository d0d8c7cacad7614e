//! One direction of a relay through a pipe, without copying.
//!
//! A direction that moves much goes through `splice(2)`: socket to pipe, pipe to socket. Where no pipe can be had
//! ([`pipe`](super::pipe)), or one of the ends is no plain socket, the copying pump does the work.

use std::io::ErrorKind;

use mio::net::TcpStream;

use super::half::{End, Half, Held, Phase, Pumped, Stop};
use super::pipe::{LoadedPipe, PIPE_BYTES, PipeReserve, is_out_of_memory, is_unsupported};

/// Moves bytes of a half that [has use for a pipe](Half::has_use_for_pipe) until something stops it; `None` when it has no pipe
/// and can get none.
pub(super) fn pump(
    reserve: &mut PipeReserve,
    half: &mut Half,
    source: &mut End<'_, &TcpStream>,
    sink: &mut End<'_, &TcpStream>,
    budget: u64,
) -> Option<Pumped> {
    debug_assert!(half.has_use_for_pipe(), "small messages are copied");
    let mut loaded = match std::mem::take(&mut half.held) {
        Held::Pipe(loaded) => loaded,
        Held::Nothing if !source.ready.is_urgent() => {
            let pipe = reserve.take()?;
            LoadedPipe { pipe, held: 0 }
        }
        other @ (Held::Nothing | Held::Bytes(_)) => {
            half.held = other;
            return None;
        }
    };
    let pumped = transfer(&mut loaded, &mut half.phase, source, sink, budget);
    if loaded.held > 0 {
        half.held = Held::Pipe(loaded);
    } else {
        reserve.put(loaded.pipe);
    }
    let Stop::SourceFailed(error) = &pumped.stop else {
        return Some(pumped);
    };
    if is_unsupported(error) {
        // Some sandboxes have no `splice`. Nothing has been read: the copying pump takes over.
        reserve.close();
    } else if is_out_of_memory(error) {
        // Nothing has been read either: copying needs less of the kernel's memory.
        half.streak = 0;
    } else {
        return Some(pumped);
    }
    Some(Pumped {
        moved: pumped.moved,
        stop: Stop::Budget,
    })
}

/// The loop of [`pump`], apart so that the pipe is always put away.
fn transfer(
    loaded: &mut LoadedPipe,
    phase: &mut Phase,
    source: &mut End<'_, &TcpStream>,
    sink: &mut End<'_, &TcpStream>,
    budget: u64,
) -> Pumped {
    let mut moved = 0;
    let stop = loop {
        if loaded.held > 0 {
            if !sink.ready.is_writable() {
                break Stop::Blocked;
            }
            match loaded.pipe.empty(sink.stream, loaded.held) {
                Ok(0) => break Stop::SinkFailed(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    loaded.held -= count.min(loaded.held);
                    moved += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => sink.ready.write_blocked(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Stop::SinkFailed(error),
            }
            continue;
        }
        match phase {
            Phase::Open => {}
            Phase::Ending => break Stop::Finished,
            Phase::Done => break Stop::Blocked,
        }
        if !source.ready.is_readable() || !sink.ready.is_writable() {
            break Stop::Blocked;
        }
        // At the mark of urgent data `splice` blocks for good: on to the copying pump, in the next turn.
        if moved >= budget || source.ready.is_urgent() {
            break Stop::Budget;
        }
        // Under a limit of bandwidth a budget is smaller than a pipe.
        let room = PIPE_BYTES.min(usize::try_from(budget).unwrap_or(PIPE_BYTES));
        match loaded.pipe.fill(source.stream, room) {
            Ok(0) => *phase = Phase::Ending,
            Ok(count) => loaded.held = count,
            // The pipe is empty here, so it is the source that has nothing.
            Err(error) if error.kind() == ErrorKind::WouldBlock => source.ready.read_blocked(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Stop::SourceFailed(error),
        }
    };
    Pumped { moved, stop }
}

#[cfg(test)]
mod tests;
