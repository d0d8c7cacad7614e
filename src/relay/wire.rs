//! What a relay asks of a connection, whatever lies beneath: a socket, or something around one.
//!
//! A relay, its halves and its pump know a connection by this only. What a connection lends to its relay is asked
//! of it, each time it matters, and never taken for granted: whether short reads and writes are to be trusted, whether
//! the end of a stream can leave in one packet with the finish, whether bytes can go past the program. A wire that is no
//! plain socket answers no, and is relayed by copying.
//!
//! A wire reads and writes what the relay passes on (plaintext, where the bytes beneath are encrypted), without ever
//! blocking: `WouldBlock` means that an event will tell when to go on. Its readiness is kept beside it
//! ([`Readiness`]) by whoever polls, in the same terms: readable while bytes or the end may
//! be had, writable while bytes are taken.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::readiness::Readiness;
use crate::net;

/// A connection to a client or to a backend.
pub trait Wire: Read + Write {
    /// Whether a short read or write means that the wire is drained or full. If not, it is read or written to until
    /// it would block.
    fn short_io_blocks(&self) -> bool;

    /// A run of reads and writes begins, and these events have come before it. A wire that keeps in mind that what lies
    /// beneath is drained or full forgets that now.
    fn begin(&mut self, _ready: Readiness) {}

    /// Takes in what lies beneath and is none of the relay's, on a wire on which nothing was exchanged; an end that it meets
    /// is told as an event would.
    fn settle(&mut self, _ready: &mut Readiness) {}

    /// Whether it has been closed by its peer, found out without taking a byte from it.
    fn is_dead(&self) -> bool;

    /// Tells its peer that no more bytes come, after all that was written.
    ///
    /// # Errors
    /// `WouldBlock` if that is still to be told once the wire takes it: it is called again then. Any other error means
    /// that the peer is gone, which the next read will tell.
    fn finish(&mut self) -> io::Result<()>;

    /// Whether closing it tells its peer as much as [`finish`](Self::finish), so that nothing need be said before.
    fn ends_by_closing(&self) -> bool {
        true
    }

    /// The error of a wire that has failed, which is told once.
    ///
    /// # Errors
    /// When it cannot be asked for: that counts as its error.
    fn take_error(&self) -> io::Result<Option<io::Error>>;

    /// Whether [`nothing_acknowledged`](Self::nothing_acknowledged) may ever be true.
    fn knows_acknowledged(&self) -> bool;

    /// Whether it is certain that nothing of what was written after so many bytes has reached the peer, not even the
    /// finish. Still known after the wire has failed.
    fn nothing_acknowledged(&self, after: u64) -> bool;

    /// Writes what a finish follows, so that both may leave in one packet: the end of it may wait for
    /// [`finish`](Self::finish) or [`uncork`](Self::uncork).
    ///
    /// # Errors
    /// As [`write`](Write::write).
    fn write_corked(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Lets go what a corked write has kept.
    fn uncork(&mut self);

    /// The socket, if what is written to it is what the peer gets, and nothing lies between: only such wires are
    /// spliced.
    fn as_plain(&self) -> Option<&TcpStream>;
}

impl Wire for TcpStream {
    fn short_io_blocks(&self) -> bool {
        net::SHORT_READ_DRAINS
    }

    fn is_dead(&self) -> bool {
        match self.peek(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Self::take_error(self)
    }

    fn knows_acknowledged(&self) -> bool {
        net::KNOWS_ACKNOWLEDGED
    }

    fn nothing_acknowledged(&self, after: u64) -> bool {
        net::nothing_acknowledged(self, after)
    }

    fn write_corked(&mut self, bytes: &[u8]) -> io::Result<usize> {
        net::write_corked(self, bytes)
    }

    fn uncork(&mut self) {
        net::uncork(self);
    }

    fn as_plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// A wire whose writes are corked.
#[derive(Debug)]
pub(super) struct Corked<'a, W>(pub(super) &'a mut W);

impl<W: Wire> Write for Corked<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_corked(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.uncork();
        Ok(())
    }
}
