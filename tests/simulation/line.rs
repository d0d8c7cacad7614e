//! A connection in memory, as the relay at this end of it knows it: what its peer has said and nobody has read yet, and how
//! the peer has ended.
//!
//! Bytes are counted, not kept: what arrives whole is `tests/relay_simulation`'s affair.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use tcp_forwarder::relay::Peer;
use tcp_forwarder::relay::readiness::{Closure, Readiness};
use tcp_forwarder::relay::wire::Wire;

/// How a peer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It has said its last, and listens.
    Finished,
    /// It has closed: what is said to it comes back as a reset.
    Closed,
    /// It has reset the connection.
    Reset,
}

#[derive(Debug, Default)]
pub(crate) struct Line {
    unread: usize,
    end: Option<End>,
    /// Whether an error was told.
    is_told: Cell<bool>,
}

impl Line {
    fn broken(&self) -> io::Error {
        self.is_told.set(true);
        ErrorKind::ConnectionReset.into()
    }
}

/// A side of a relay on which nothing has happened.
pub(crate) fn fresh() -> Peer<Line> {
    Peer {
        stream: Line::default(),
        ready: Readiness::FRESH,
    }
}

/// The peer speaks.
pub(crate) fn say(peer: &mut Peer<Line>, bytes: usize) {
    if peer.stream.end.is_none() {
        peer.stream.unread += bytes;
        peer.ready.set_readable();
    }
}

/// The peer ends.
pub(crate) fn end(peer: &mut Peer<Line>, end: End) {
    let line = &mut peer.stream;
    if line.end != Some(End::Reset) {
        line.end = Some(end);
    }
    hear(peer);
}

/// What the poll has to tell of it; whether that is news.
pub(crate) fn hear(peer: &mut Peer<Line>) -> bool {
    let before = peer.ready;
    match peer.stream.end {
        None => {}
        Some(End::Finished | End::Closed) => peer.ready.set_closure(Closure::Finished),
        Some(End::Reset) => {
            peer.stream.unread = 0;
            peer.ready.set_closure(Closure::Failed);
        }
    }
    peer.ready.has_failed() && !before.has_failed()
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.end {
            Some(End::Reset) => Err(self.broken()),
            None if self.unread == 0 => Err(ErrorKind::WouldBlock.into()),
            None | Some(End::Finished | End::Closed) => {
                let count = self.unread.min(buffer.len());
                self.unread -= count;
                Ok(count)
            }
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.end {
            Some(End::Reset) => return Err(self.broken()),
            Some(End::Closed) => self.end = Some(End::Reset),
            None | Some(End::Finished) => {}
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Line {
    fn short_io_blocks(&self) -> bool {
        true
    }

    fn is_dead(&self) -> bool {
        self.unread == 0 && self.end.is_some()
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        let is_news = self.end == Some(End::Reset) && !self.is_told.get();
        Ok(is_news.then(|| self.broken()))
    }

    fn knows_acknowledged(&self) -> bool {
        true
    }

    fn nothing_acknowledged(&self, _: u64) -> bool {
        false
    }

    fn write_corked(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn uncork(&mut self) {}

    fn as_plain(&self) -> Option<&TcpStream> {
        None
    }
}
