//! One direction of a relay through a pipe, without copying (Linux and Android).
//!
//! A direction that moves much goes through `splice(2)`: socket to pipe, pipe to socket. Pipes come from a
//! small reserve of the reactor and go back as soon as they are empty, so only halves with bytes in flight
//! hold one. Where the system has no `splice`, or no pipe can be had, the copying pump does the work.

use mio::net::TcpStream;

use super::pump::{End, Half, Pumped};

/// A pump that moves less than this has met a pause: small messages are never spliced.
const PAUSE_BYTES: u64 = 16 * 1024;

impl Half {
    /// Takes note of what one pump moved; the reserve of pipes looks at it.
    pub(super) fn note_moved(&mut self, moved: u64) {
        self.streak = if moved < PAUSE_BYTES {
            self.streak / 2
        } else {
            self.streak
                .saturating_add(u32::try_from(moved).unwrap_or(u32::MAX))
        };
    }
}

pub use system::{LoadedPipe, PipeReserve};

/// Whether this system has `splice`.
pub const AVAILABLE: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use super::{End, Half, Pumped, TcpStream};
    use crate::relay::pump::{Held, Phase, Stop};
    use std::io;
    use std::sync::Arc;

    use rustix::fd::OwnedFd;
    use rustix::io::Errno;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

    /// Bytes moved without a pause after which a direction counts as bulk.
    const BULK_STREAK: u32 = 256 * 1024;

    /// Bytes that a pipe is asked to hold; what the kernel grants may be less (`pipe-user-pages-soft`). More
    /// would cost fewer calls, but by the time the peer copies them they are out of the processor's cache: with
    /// 1 MiB both ends together spent more than the proxy saved.
    const PIPE_BYTES: usize = 512 * 1024;

    /// A pipe that holds less than this is worth nothing: Linux's usual size.
    const FEWEST_PIPE_BYTES: usize = 64 * 1024;

    /// Bulk turns without an attempt to make a pipe after one was refused.
    const REFUSED_TURNS: u32 = 1000;

    impl Half {
        /// Whether the direction has lately moved enough to be worth a pipe.
        fn is_bulk(&self) -> bool {
            self.streak >= BULK_STREAK
        }
    }

    #[derive(Debug)]
    struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
        /// Counts the pipe as one of its reserve for as long as it lives, wherever that is.
        _counted: Arc<()>,
    }

    /// A pipe with bytes in it.
    #[derive(Debug)]
    pub struct LoadedPipe {
        pipe: Pipe,
        held: usize,
    }

    /// The empty pipes of one reactor.
    #[derive(Debug)]
    pub struct PipeReserve {
        idle: Vec<Pipe>,
        /// Held once here and once by each pipe.
        count: Arc<()>,
        most: usize,
        /// Turns left until a refused pipe is asked for again.
        refused: u32,
    }

    impl PipeReserve {
        /// A reserve of up to `most` pipes at once, empty or loaded; they are made when they are first wanted.
        /// A reader that stalls keeps its loaded pipe (two descriptors and up to [`PIPE_BYTES`] of the kernel's
        /// memory), so they should be few.
        #[must_use]
        pub fn of(most: usize) -> Self {
            Self {
                idle: Vec::new(),
                count: Arc::new(()),
                most,
                refused: 0,
            }
        }

        fn take(&mut self) -> Option<Pipe> {
            if let Some(pipe) = self.idle.pop() {
                return Some(pipe);
            }
            if self.refused > 0 || Arc::strong_count(&self.count) > self.most {
                self.refused = self.refused.saturating_sub(1);
                return None;
            }
            let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
                self.refused = REFUSED_TURNS;
                return None;
            };
            // Refused when the user's pages of pipes are used up. The usual size still works; but it may have two
            // pages only by then, and copying moves more at a time.
            if fcntl_setpipe_size(&write, PIPE_BYTES).is_err()
                && fcntl_getpipe_size(&write).map_or(true, |bytes| bytes < FEWEST_PIPE_BYTES)
            {
                self.refused = REFUSED_TURNS;
                return None;
            }
            Some(Pipe {
                read,
                write,
                _counted: Arc::clone(&self.count),
            })
        }

        /// Moves bytes until something stops it; `None` when the half has no pipe and can get none, or holds
        /// copied bytes that must go first.
        pub fn pump(
            &mut self,
            half: &mut Half,
            source: &mut End<'_, &TcpStream>,
            sink: &mut End<'_, &TcpStream>,
            budget: u64,
        ) -> Option<Pumped> {
            let (pipe, mut held) = match std::mem::take(&mut half.held) {
                Held::Pipe(loaded) => (loaded.pipe, loaded.held),
                Held::Nothing if half.phase == Phase::Open && half.is_bulk() && !source.ready.is_urgent() => {
                    (self.take()?, 0)
                }
                other @ (Held::Nothing | Held::Bytes(_)) => {
                    half.held = other;
                    return None;
                }
            };
            let mut moved = 0;
            let stop = transfer(
                &pipe,
                &mut held,
                &mut half.phase,
                source,
                sink,
                &mut moved,
                budget,
            );
            if held > 0 {
                half.held = Held::Pipe(LoadedPipe { pipe, held });
            } else {
                self.idle.push(pipe);
            }
            if let Stop::SourceFailed(error) = &stop
                && is_unsupported(error)
            {
                // Some sandboxes have no `splice`. Nothing has been read: the copying pump takes over.
                self.most = 0;
                self.idle.clear();
                return Some(Pumped {
                    moved,
                    stop: Stop::Budget,
                });
            }
            if let Stop::SourceFailed(error) = &stop
                && is_out_of_memory(error)
            {
                // Nothing has been read either: copying needs less of the kernel's memory.
                half.streak = 0;
                return Some(Pumped {
                    moved,
                    stop: Stop::Budget,
                });
            }
            Some(Pumped { moved, stop })
        }
    }

    /// Whether the kernel had no memory for it.
    fn is_out_of_memory(error: &io::Error) -> bool {
        Errno::from_io_error(error).is_some_and(|errno| [Errno::NOMEM, Errno::NOBUFS].contains(&errno))
    }

    /// Whether the system does not know or not permit `splice` between these: no peer can cause that.
    fn is_unsupported(error: &io::Error) -> bool {
        const UNSUPPORTED: [Errno; 4] = [Errno::INVAL, Errno::NOSYS, Errno::PERM, Errno::OPNOTSUPP];
        Errno::from_io_error(error).is_some_and(|errno| UNSUPPORTED.contains(&errno))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the loop of `pump`, apart so that the pipe is always put away"
    )]
    fn transfer(
        pipe: &Pipe,
        held: &mut usize,
        phase: &mut Phase,
        source: &mut End<'_, &TcpStream>,
        sink: &mut End<'_, &TcpStream>,
        moved: &mut u64,
        budget: u64,
    ) -> Stop {
        const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
        loop {
            if *held > 0 {
                if !sink.ready.is_writable() {
                    return Stop::Blocked;
                }
                match splice(&pipe.read, None, sink.stream, None, *held, FLAGS) {
                    Ok(0) => return Stop::SinkFailed(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        *held -= count.min(*held);
                        *moved += count as u64;
                    }
                    Err(Errno::AGAIN) => sink.ready.write_blocked(),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Stop::SinkFailed(errno.into()),
                }
                continue;
            }
            match phase {
                Phase::Open => {}
                Phase::Ending => return Stop::Finished,
                Phase::Done => return Stop::Blocked,
            }
            if !source.ready.is_readable() || !sink.ready.is_writable() {
                return Stop::Blocked;
            }
            // At the mark of urgent data `splice` blocks for good: on to the copying pump, in the next turn.
            if *moved >= budget || source.ready.is_urgent() {
                return Stop::Budget;
            }
            // Under a limit of bandwidth a budget is smaller than a pipe.
            let room = PIPE_BYTES.min(usize::try_from(budget).unwrap_or(PIPE_BYTES));
            match splice(source.stream, None, &pipe.write, None, room, FLAGS) {
                Ok(0) => *phase = Phase::Ending,
                Ok(count) => *held = count,
                // The pipe is empty here, so it is the source that has nothing.
                Err(Errno::AGAIN) => source.ready.read_blocked(),
                Err(Errno::INTR) => {}
                Err(errno) => return Stop::SourceFailed(errno.into()),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::relay::pump::Readiness;

        #[test]
        fn where_splice_is_refused_the_reserve_gives_way_to_copying() {
            // No directory can be spliced from, as no socket can in some sandboxes.
            let directory = std::fs::File::open("/").expect("a directory");
            let source = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(directory)));
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let addr = listener.local_addr().expect("an address");
            let sink = TcpStream::from_std(std::net::TcpStream::connect(addr).expect("a connection"));
            let (mut readable, mut writable) = (Readiness::FRESH, Readiness::FRESH);
            readable.set_readable();
            let mut half = Half {
                streak: u32::MAX,
                ..Half::default()
            };
            let mut reserve = PipeReserve::of(4);
            let mut pump = || {
                let mut source = End {
                    stream: &source,
                    ready: &mut readable,
                };
                let mut sink = End {
                    stream: &sink,
                    ready: &mut writable,
                };
                reserve.pump(&mut half, &mut source, &mut sink, 1)
            };
            let first = pump().expect("a pipe was to be had");
            assert!(
                matches!(first.stop, Stop::Budget),
                "another turn, not an end: {first:?}"
            );
            assert!(pump().is_none(), "the copying pump does the work from now on");
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use super::{End, Half, Pumped, TcpStream};

    /// Never made on this system.
    #[derive(Debug)]
    pub enum LoadedPipe {}

    /// Has no pipes on this system.
    #[derive(Debug)]
    pub struct PipeReserve;

    impl PipeReserve {
        /// A reserve that has none, however many may be had: this system has no `splice`.
        #[must_use]
        pub fn of(_most: usize) -> Self {
            Self
        }

        /// Always `None`: the copying pump does the work.
        pub fn pump(
            &mut self,
            _: &mut Half,
            _: &mut End<'_, &TcpStream>,
            _: &mut End<'_, &TcpStream>,
            _: u64,
        ) -> Option<Pumped> {
            None
        }
    }
}
