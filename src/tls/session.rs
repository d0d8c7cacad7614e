//! One connection's keys and records: plaintext on one side, any wire on the other.
//!
//! Owns what is between the two: records that came in part, plaintext that nobody has read yet, ciphertext that the wire
//! did not take yet. Knows no sockets, and of events what [`begin`](Session::begin) is told before each run of a pump:
//! by that short reads and writes of the wire are trusted, so that a session costs no system call more than its wire.
//!
//! What is written is encrypted at once and counts as written once the wire has its ciphertext. Whoever has been told
//! `WouldBlock`, or fewer bytes than were offered, offers the same ones again, as a half does with what is stuck in it.

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion,
    ServerConnection,
};

use super::handshake::{Handshake, News};
use super::origination::Origination;
use super::termination::Termination;
use crate::relay::readiness::Readiness;
use crate::relay::wire::Wire;

#[cfg(test)]
pub(super) mod tests;

/// Plaintext that is encrypted at once: four records.
pub const CHUNK: usize = 64 * 1024;

/// More than a record that came in part yields when the rest of it comes.
const CARRIED: usize = 20 * 1024;

/// The smallest read of the wire that is worth the room of a pump; below that a session reads by itself.
const SMALLEST_READ: usize = 8 * 1024;

/// Ciphertext in a row that yields no plaintext: nobody has so much to say about a session itself.
const MOST_WORDLESS: usize = 256 * 1024;

/// More than a record of 16 KiB, the most that anybody sends, and half a page more than whole pages.
const GAP: usize = 18 * 1024;

/// What a session keeps for reading while it is idle.
const IDLE_BUFFER: usize = 4096;

/// The keys and records of one connection.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// What was read from the wire before there was a session, and is still to be looked at.
    early: Vec<u8>,
    /// Plaintext that has been encrypted and does not count as written yet: it is offered again.
    owed: usize,
    /// Bytes of ciphertext that the wire has taken since something counted as written.
    sent: usize,
    /// Bytes of ciphertext that the wire had taken before it was offered the first plaintext; none before that.
    before_words: Option<u64>,
    /// What it is made of, where it is the client's side: the number of an [`Origination`].
    origin: u64,
    /// What was new when that was last looked for.
    news: News,
    /// What was wrong with the last records, while there was plaintext to be read before them.
    failure: Option<ErrorKind>,
    has_finished: bool,
    knowledge: Knowledge,
}

/// What is known of the wire in one run of a pump.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "two directions, each with what is known and whether to trust it"
)]
struct Knowledge {
    /// Whether a short read tells that it is drained.
    trusts_reads: bool,
    /// Whether a short write tells that it is full.
    trusts_writes: bool,
    is_drained: bool,
    is_full: bool,
    /// Bytes that were read.
    taken: usize,
}

impl Session {
    /// The server's side, at its beginning; `read` is what has been read from the wire before.
    ///
    /// # Errors
    /// When rustls has none to give.
    pub fn accept(termination: &Termination, read: Vec<u8>) -> io::Result<Self> {
        let config = Arc::clone(&termination.config);
        let connection = ServerConnection::new(config).map_err(|error| told(&error))?;
        Ok(Self::of(Connection::Server(connection), read))
    }

    /// The client's side, at its beginning, with the peer at this address.
    ///
    /// # Errors
    /// When rustls has none to give.
    pub fn connect(origination: &Origination, addr: SocketAddr) -> io::Result<Self> {
        let (config, name) = origination.towards(addr);
        Self::client(origination, config, name)
    }

    /// The same with a peer that must have this name, or this address, whatever the settings name.
    ///
    /// # Errors
    /// When that is neither, and when rustls has none to give.
    pub fn connect_by_name(origination: &Origination, addr: SocketAddr, name: &str) -> io::Result<Self> {
        let (config, _) = origination.towards(addr);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| ErrorKind::InvalidInput)?;
        Self::client(origination, config, name)
    }

    fn client(
        origination: &Origination,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let connection = ClientConnection::new(config, name).map_err(|error| told(&error))?;
        Ok(Self {
            origin: origination.id(),
            ..Self::of(Connection::Client(connection), Vec::new())
        })
    }

    /// Whether it is made of this.
    #[must_use]
    pub fn is_of(&self, origination: &Origination) -> bool {
        self.origin == origination.id()
    }

    fn of(connection: Connection, read: Vec<u8>) -> Self {
        Self {
            connection,
            early: read,
            owed: 0,
            sent: 0,
            before_words: None,
            origin: 0,
            news: News::Nothing,
            failure: None,
            has_finished: false,
            knowledge: Knowledge::default(),
        }
    }

    /// The version, once it is agreed upon: `TLSv1.2` or `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        let is_new = self.connection.protocol_version()? == ProtocolVersion::TLSv1_3;
        Some(if is_new { "TLSv1.3" } else { "TLSv1.2" })
    }

    /// The name that the client has asked for.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match &self.connection {
            Connection::Server(server) => server.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// Whether the peer has shown a certificate, which was good then.
    #[must_use]
    pub fn has_certificate_of_peer(&self) -> bool {
        self.connection
            .peer_certificates()
            .is_some_and(|chain| !chain.is_empty())
    }

    /// Whether it has taken up the keys of an earlier one.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The protocol behind it, if both sides have agreed on one.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// A run of reads and writes begins; these events have come before it.
    pub fn begin<W: Wire>(&mut self, wire: &W, ready: Readiness) {
        let is_trusted = wire.short_io_blocks();
        self.knowledge = Knowledge {
            // After the end of a stream no event comes any more that would say that there is more of it.
            trusts_reads: is_trusted && !ready.is_read_closed() && !ready.is_urgent(),
            trusts_writes: is_trusted,
            is_drained: false,
            is_full: false,
            taken: 0,
        };
    }

    /// Goes on with the handshake as far as it goes.
    ///
    /// # Errors
    /// When the wire fails or ends, and when the peer says what it must not: then it has been told so.
    pub fn handshake<W: Wire>(&mut self, wire: &mut W) -> io::Result<Handshake> {
        loop {
            match self.send(wire) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Ok(()) | Err(_) => {}
            }
            if !self.connection.is_handshaking() {
                return Ok(Handshake::Done {
                    is_resumed: self.is_resumed(),
                    is_readable: !self.knowledge.is_drained || self.has_news(),
                });
            }
            match self.receive(wire) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.process(wire)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Handshake::Blocked),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a read would yield anything, without a look at the wire.
    fn has_news(&mut self) -> bool {
        match self.connection.reader().fill_buf() {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Takes in what is no plaintext, tickets above all, up to the first plaintext; nothing was exchanged so far.
    pub(super) fn absorb<W: Wire>(&mut self, wire: &mut W) -> News {
        self.news = self.look(wire);
        self.news
    }

    fn look<W: Wire>(&mut self, wire: &mut W) -> News {
        let before = self.knowledge.taken;
        while self.knowledge.taken - before < MOST_WORDLESS {
            match self.connection.reader().fill_buf() {
                Ok([]) => return News::End,
                Ok(_) => return News::Words,
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.failure.is_none() => {}
                Err(_) => return News::End,
            }
            match self.receive(wire) {
                Ok(_) => self.note(wire),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return News::Nothing,
                Err(_) => return News::End,
            }
        }
        // Whoever says so much and nothing is no backend.
        News::End
    }

    /// What was new when that was last looked for.
    pub(super) fn news(&self) -> News {
        self.news
    }

    /// Bytes of ciphertext that the wire had taken before the first plaintext, if it was offered any; they are known where
    /// it is the client's side, which has sent all that its wire has.
    pub(super) fn before_words(&self) -> Option<u64> {
        match self.connection {
            Connection::Client(_) => Some(self.before_words.unwrap_or(self.sent as u64)),
            Connection::Server(_) => None,
        }
    }

    /// Reads plaintext. 0 is the end of the stream, as the peer has said it.
    ///
    /// # Errors
    /// `WouldBlock` until more comes; `UnexpectedEof` where the stream ends without a word; what the wire fails with; and
    /// `InvalidData` when the peer says what it must not, or `ConnectionAborted` when it says that we have.
    pub fn read<W: Wire>(&mut self, wire: &mut W, room: &mut [u8]) -> io::Result<usize> {
        let before = self.knowledge.taken;
        while self.knowledge.taken - before < MOST_WORDLESS {
            match self.connection.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            if let Some(kind) = self.failure {
                return Err(kind.into());
            }
            if room.len() >= CARRIED + SMALLEST_READ && self.early.is_empty() {
                let filled = self.read_at_once(wire, room)?;
                if filled > 0 {
                    return Ok(filled);
                }
            } else {
                self.receive(wire)?;
                self.note(wire);
            }
        }
        let flood = "it goes on and on about the session itself";
        Err(io::Error::new(ErrorKind::InvalidData, flood))
    }

    /// Reads as much from the wire as there is room for, into the room itself: plaintext is shorter than the ciphertext
    /// that has been taken out of the room before, but for what was carried over.
    fn read_at_once<W: Wire>(&mut self, wire: &mut W, room: &mut [u8]) -> io::Result<usize> {
        let got = self
            .inlet(wire)
            .read(room.get_mut(CARRIED..).unwrap_or_default())?;
        if got == 0 {
            self.connection.read_tls(&mut io::empty())?;
            return Ok(0);
        }
        let (mut filled, mut taken, end) = (0, CARRIED, CARRIED + got);
        while taken < end && self.failure.is_none() {
            let mut rest = room.get(taken..end).unwrap_or_default();
            let offered = rest.len();
            self.connection.read_tls(&mut rest)?;
            let accepted = offered - rest.len();
            taken += accepted;
            {
                let _gap = gap();
                self.note(wire);
            }
            let space = room.get_mut(filled..taken).unwrap_or_default();
            // An end of the stream is told by the next read.
            filled += self.connection.reader().read(space).unwrap_or(0);
            if accepted == 0 {
                // Nothing counts after the end.
                break;
            }
        }
        if got > IDLE_BUFFER {
            self.give_back();
        }
        Ok(filled)
    }

    /// Gives back the memory that large records needed, unless one has come in part.
    fn give_back(&mut self) {
        // The buffer is fitted to what is in it before anything is read.
        drop(self.connection.read_tls(&mut Silence));
    }

    fn inlet<'a, W: Wire>(&'a mut self, wire: &'a mut W) -> Inlet<'a, W> {
        Inlet {
            wire,
            knowledge: &mut self.knowledge,
        }
    }

    /// Reads from the wire into the session's own buffer.
    fn receive<W: Wire>(&mut self, wire: &mut W) -> io::Result<usize> {
        if !self.early.is_empty() {
            let mut rest = self.early.as_slice();
            let count = self.connection.read_tls(&mut rest)?;
            self.early.drain(..count);
            if self.early.is_empty() {
                self.early = Vec::new();
            }
            return Ok(count);
        }
        let knowledge = &mut self.knowledge;
        self.connection.read_tls(&mut Inlet { wire, knowledge })
    }

    /// Looks at what has been received; what is wrong with it is told once what came before has been read.
    fn note<W: Wire>(&mut self, wire: &mut W) {
        if let Err(error) = self.process(wire) {
            self.failure = Some(error.kind());
        }
    }

    /// Looks at what has been received.
    fn process<W: Wire>(&mut self, wire: &mut W) -> io::Result<()> {
        let processed = self.connection.process_new_packets();
        if processed.is_err() || self.owed == 0 {
            // It may have something to say about that, and words to follow may never come. The peer may be gone.
            drop(self.send(wire));
        }
        processed.map(drop).map_err(|error| told(&error))
    }

    /// Writes plaintext; see the module's documentation for what is offered again.
    ///
    /// # Errors
    /// `WouldBlock` while the wire takes no more; what it fails with.
    pub fn write<W: Wire>(&mut self, wire: &mut W, bytes: &[u8]) -> io::Result<usize> {
        if self.owed == 0 {
            self.send(wire)?;
            let chunk = bytes.get(..CHUNK).unwrap_or(bytes);
            self.before_words.get_or_insert(self.sent as u64);
            self.owed = self.connection.writer().write(chunk)?;
            self.sent = 0;
        }
        debug_assert!(self.owed <= bytes.len(), "what was offered is offered again");
        let counted = match self.send(wire) {
            Ok(()) => self.owed,
            // The last byte counts once nothing waits any more.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match self.sent.min(self.owed.saturating_sub(1)) {
                    0 => return Err(error),
                    some => some,
                }
            }
            Err(error) => return Err(error),
        };
        self.owed -= counted;
        self.sent = 0;
        Ok(counted.min(bytes.len()))
    }

    /// Tells the peer that no more bytes come, after all that was written.
    ///
    /// # Errors
    /// `WouldBlock` while the wire does not take that; what it fails with.
    pub fn finish<W: Wire>(&mut self, wire: &mut W) -> io::Result<()> {
        self.connection.send_close_notify();
        self.send(wire)?;
        self.has_finished = true;
        Ok(())
    }

    /// Whether the peer has been told that no more bytes come.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.has_finished
    }

    /// Hands the wire all ciphertext that waits.
    fn send<W: Wire>(&mut self, wire: &mut W) -> io::Result<()> {
        while self.connection.wants_write() {
            let knowledge = &mut self.knowledge;
            match self.connection.write_tls(&mut Outlet { wire, knowledge }) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a session's error is to whoever reads.
fn told(error: &rustls::Error) -> io::Error {
    let kind = if matches!(error, rustls::Error::AlertReceived(_)) {
        ErrorKind::ConnectionAborted
    } else {
        ErrorKind::InvalidData
    };
    io::Error::new(kind, in_words(error))
}

/// What an error is to people.
fn in_words(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return error.to_string();
    };
    if matches!(problem, CertificateError::UnknownIssuer) {
        "its certificate is refused: nobody vouches for it who is believed".to_owned()
    } else {
        format!("its certificate is refused: {problem}")
    }
}

/// A wire that is read by what is known of it.
struct Inlet<'a, W> {
    wire: &'a mut W,
    knowledge: &'a mut Knowledge,
}

impl<W: Wire> Read for Inlet<'_, W> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.knowledge.is_drained {
            return Err(ErrorKind::WouldBlock.into());
        }
        let outcome = self.wire.read(room);
        self.knowledge.taken += outcome.as_ref().map_or(0, |count| *count);
        self.knowledge.is_drained = match &outcome {
            Ok(count) => *count < room.len() && self.knowledge.trusts_reads,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        outcome
    }
}

/// A wire that is written to by what is known of it.
struct Outlet<'a, W> {
    wire: &'a mut W,
    knowledge: &'a mut Knowledge,
}

impl<W: Wire> Outlet<'_, W> {
    fn note(&mut self, outcome: io::Result<usize>, offered: usize) -> io::Result<usize> {
        self.knowledge.is_full = match &outcome {
            Ok(count) => *count < offered && self.knowledge.trusts_writes,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        outcome
    }
}

impl<W: Wire> Write for Outlet<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.knowledge.is_full {
            return Err(ErrorKind::WouldBlock.into());
        }
        let offered = parts.iter().map(|part| part.len()).sum();
        let outcome = self.wire.write_vectored(parts);
        self.note(outcome, offered)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is decrypted out of the memory right behind what it is decrypted in, by taking that for the while.
///
/// rustls copies the plaintext of a record into memory of its own, and glibc gives it what follows the ciphertext: 32,784
/// bytes further, which is 11 bytes, modulo a page, from where the plaintext is. Where a copy goes 1 to 31 bytes ahead of its
/// source, modulo a page, processors of AMD move 3 bytes in a nanosecond by the instruction that glibc copies with
/// (`rep movsb`), not 90, and a third of the time of a long upload went there. With this between the two, half a page is. It is
/// larger than a record, so that no smaller hole elsewhere is taken for it; nothing is ever written to it.
fn gap() -> Vec<u8> {
    if cfg!(target_env = "gnu") {
        std::hint::black_box(Vec::with_capacity(GAP))
    } else {
        Vec::new()
    }
}

/// Has nothing now.
struct Silence;

impl Read for Silence {
    fn read(&mut self, _room: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}
