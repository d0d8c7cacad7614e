//! A wire with a session around it, or none: what a relay of the reactor reads and writes.
//!
//! Without a session it is its wire, and plain: such channels are spliced, and copied as if there was no TLS.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::handshake::News;
use super::{Handshake, Session};
use crate::relay::readiness::Closure;
use crate::relay::readiness::Readiness;
use crate::relay::wire::Wire;

/// A wire, encrypted or not.
#[derive(Debug)]
pub struct Channel<W = TcpStream> {
    wire: W,
    session: Option<Box<Session>>,
}

impl<W> From<W> for Channel<W> {
    fn from(wire: W) -> Self {
        Self { wire, session: None }
    }
}

impl<W> Channel<W> {
    /// The wire beneath.
    pub fn wire(&self) -> &W {
        &self.wire
    }

    /// The wire beneath, to be registered or watched; what is read from it or written to it is missed by the session.
    pub fn wire_mut(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Encrypts what is read and written from now on.
    pub fn secure(&mut self, session: Session) {
        debug_assert!(self.session.is_none(), "it is encrypted already");
        self.session = Some(Box::new(session));
    }

    /// Its session, if it has one.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }
}

impl<W: Wire> Channel<W> {
    /// Goes on with the handshake of its session as far as it goes; these events have come.
    ///
    /// # Errors
    /// When the wire fails or ends, or the peer says what it must not; and where there is no session.
    pub fn handshake(&mut self, ready: Readiness) -> io::Result<Handshake> {
        let Some(session) = &mut self.session else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        session.begin(&self.wire, ready);
        session.handshake(&mut self.wire)
    }
}

impl<W: Wire> Read for Channel<W> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.wire.read(room),
            Some(session) => session.read(&mut self.wire, room),
        }
    }
}

impl<W: Wire> Write for Channel<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.wire.write(bytes),
            Some(session) => session.write(&mut self.wire, bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

impl<W: Wire> Wire for Channel<W> {
    fn short_io_blocks(&self) -> bool {
        self.session.is_none() && self.wire.short_io_blocks()
    }

    fn begin(&mut self, ready: Readiness) {
        if let Some(session) = &mut self.session {
            session.begin(&self.wire, ready);
        }
    }

    fn settle(&mut self, ready: &mut Readiness) {
        let Some(session) = self.session.as_mut().filter(|_| ready.is_readable()) else {
            return;
        };
        session.begin(&self.wire, *ready);
        match session.absorb(&mut self.wire) {
            News::Nothing => ready.read_blocked(),
            News::Words => {}
            News::End => ready.set_closure(Closure::Finished),
        }
    }

    fn is_dead(&self) -> bool {
        match self
            .session
            .as_ref()
            .map_or(News::Nothing, |session| session.news())
        {
            News::Nothing => self.wire.is_dead(),
            News::Words => false,
            News::End => true,
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.finish(&mut self.wire)?;
        }
        self.wire.finish()
    }

    fn ends_by_closing(&self) -> bool {
        let is_said = self.session.as_ref().is_none_or(|session| session.has_finished());
        is_said && self.wire.ends_by_closing()
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.wire.take_error()
    }

    fn knows_acknowledged(&self) -> bool {
        let is_known = |session: &Session| session.before_words().is_some();
        self.session.as_deref().is_none_or(is_known) && self.wire.knows_acknowledged()
    }

    fn nothing_acknowledged(&self, after: u64) -> bool {
        // The peer has acknowledged a handshake.
        let before = self
            .session
            .as_ref()
            .map_or(Some(0), |session| session.before_words());
        before.is_some_and(|before| self.wire.nothing_acknowledged(before + after))
    }

    fn write_corked(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.wire.write_corked(bytes),
            Some(session) => session.write(&mut self.wire, bytes),
        }
    }

    fn uncork(&mut self) {
        if self.session.is_none() {
            self.wire.uncork();
        }
    }

    fn as_plain(&self) -> Option<&TcpStream> {
        match self.session {
            None => self.wire.as_plain(),
            Some(_) => None,
        }
    }
}
