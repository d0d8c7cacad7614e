//! One side of a relay: its wire, and what events told of it.

use std::io::Error;

use mio::net::TcpStream;

use super::half::End;
use super::readiness::Readiness;
use super::wire::Wire;

/// A wire and what events told about it.
#[derive(Debug)]
pub struct Peer<W = TcpStream> {
    /// The wire.
    pub stream: W,
    /// Its readiness.
    pub ready: Readiness,
}

impl<W: Wire> Peer<W> {
    /// Takes in what is none of the relay's, while nothing was exchanged.
    pub fn settle(&mut self) {
        self.stream.settle(&mut self.ready);
    }

    /// Whether its connection has been closed from the other side, without taking a byte from it.
    pub fn is_dead(&self) -> bool {
        self.stream.is_dead()
    }

    /// Tells the other side that it is closed, where closing alone does not say so; as far as the wire takes that now.
    pub fn take_leave(&mut self) {
        if !self.stream.ends_by_closing() {
            self.stream.begin(self.ready);
            drop(self.stream.finish());
        }
    }

    /// The end of a half that it is.
    pub(super) fn end(&mut self) -> End<'_, &mut W> {
        let short_io_blocks = self.stream.short_io_blocks();
        self.stream.begin(self.ready);
        End {
            stream: &mut self.stream,
            ready: &mut self.ready,
            short_io_blocks,
        }
    }

    /// The same, if bytes can go to or from it past the program.
    pub(super) fn plain_end(&mut self) -> Option<End<'_, &TcpStream>> {
        let short_io_blocks = self.stream.short_io_blocks();
        Some(End {
            stream: self.stream.as_plain()?,
            ready: &mut self.ready,
            short_io_blocks,
        })
    }

    /// The error of a connection of which an event said that it has failed.
    pub(super) fn failure(&self) -> Option<Error> {
        if !self.ready.has_failed() {
            return None;
        }
        match self.stream.take_error() {
            Ok(error) => error,
            Err(error) => Some(error),
        }
    }
}
