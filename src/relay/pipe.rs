//! Pipes of the kernel, through which one direction moves without copying (Linux and Android).
//!
//! A pipe comes from the reserve of a reactor and goes back as soon as it is empty, so only halves with bytes in
//! flight hold one. Knows no halves and takes no turns. Where the system has no `splice`, no pipe is ever to be had.

/// Whether this system has `splice`.
pub const AVAILABLE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Bytes that a pipe is asked to hold; what the kernel grants may be less (`pipe-user-pages-soft`). More
/// would cost fewer calls, but by the time the peer copies them they are out of the processor's cache: with
/// 1 MiB both ends together spent more than the proxy saved.
pub(super) const PIPE_BYTES: usize = 512 * 1024;

pub use system::PipeReserve;
pub(super) use system::{Pipe, is_out_of_memory, is_unsupported};

/// A pipe with bytes in it.
#[derive(Debug)]
pub struct LoadedPipe {
    pub(super) pipe: Pipe,
    pub(super) held: usize,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::sync::Arc;

    use mio::net::TcpStream;
    use rustix::fd::OwnedFd;
    use rustix::io::Errno;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

    use super::PIPE_BYTES;

    const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

    /// A pipe that holds less than this is worth nothing: Linux's usual size.
    const FEWEST_PIPE_BYTES: usize = 64 * 1024;

    /// Bulk turns without an attempt to make a pipe after one was refused.
    const REFUSED_TURNS: u32 = 1000;

    /// A pipe, of one reserve.
    #[derive(Debug)]
    pub(in crate::relay) struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
        /// Counts the pipe as one of its reserve for as long as it lives, wherever that is.
        _counted: Arc<()>,
    }

    impl Pipe {
        /// Takes up to so many bytes from a socket; 0 at its end.
        #[inline]
        pub(in crate::relay) fn fill(&self, source: &TcpStream, bytes: usize) -> io::Result<usize> {
            Ok(splice(source, None, &self.write, None, bytes, FLAGS)?)
        }

        /// Gives up to so many bytes to a socket.
        #[inline]
        pub(in crate::relay) fn empty(&self, sink: &TcpStream, bytes: usize) -> io::Result<usize> {
            Ok(splice(&self.read, None, sink, None, bytes, FLAGS)?)
        }
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

        /// An empty pipe, if one can be had.
        pub(in crate::relay) fn take(&mut self) -> Option<Pipe> {
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

        /// Takes back an empty pipe.
        pub(in crate::relay) fn put(&mut self, pipe: Pipe) {
            self.idle.push(pipe);
        }

        /// Never has a pipe again.
        pub(in crate::relay) fn close(&mut self) {
            self.most = 0;
            self.idle.clear();
        }
    }

    /// Whether the kernel had no memory for it.
    pub(in crate::relay) fn is_out_of_memory(error: &io::Error) -> bool {
        Errno::from_io_error(error).is_some_and(|errno| [Errno::NOMEM, Errno::NOBUFS].contains(&errno))
    }

    /// Whether the system does not know or not permit `splice` between these: no peer can cause that.
    pub(in crate::relay) fn is_unsupported(error: &io::Error) -> bool {
        const UNSUPPORTED: [Errno; 4] = [Errno::INVAL, Errno::NOSYS, Errno::PERM, Errno::OPNOTSUPP];
        Errno::from_io_error(error).is_some_and(|errno| UNSUPPORTED.contains(&errno))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;

    use mio::net::TcpStream;

    /// Never made on this system.
    #[derive(Debug)]
    pub(in crate::relay) enum Pipe {}

    impl Pipe {
        pub(in crate::relay) fn fill(&self, _: &TcpStream, _: usize) -> io::Result<usize> {
            match *self {}
        }

        pub(in crate::relay) fn empty(&self, _: &TcpStream, _: usize) -> io::Result<usize> {
            match *self {}
        }
    }

    /// Has no pipes on this system.
    #[derive(Debug)]
    pub struct PipeReserve {
        idle: Vec<Pipe>,
    }

    impl PipeReserve {
        /// A reserve that has none, however many may be had: this system has no `splice`.
        #[must_use]
        pub fn of(_most: usize) -> Self {
            Self { idle: Vec::new() }
        }

        /// Always `None`: the copying pump does the work.
        pub(in crate::relay) fn take(&mut self) -> Option<Pipe> {
            self.idle.pop()
        }

        pub(in crate::relay) fn put(&mut self, pipe: Pipe) {
            self.idle.push(pipe);
        }

        pub(in crate::relay) fn close(&mut self) {
            self.idle.clear();
        }
    }

    pub(in crate::relay) fn is_out_of_memory(_: &io::Error) -> bool {
        false
    }

    pub(in crate::relay) fn is_unsupported(_: &io::Error) -> bool {
        false
    }
}
