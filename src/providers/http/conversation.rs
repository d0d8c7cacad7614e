//! One request and its answer over a stream that does not block.
//!
//! ```text
//! Connecting ──(https)──► Securing ──► Asking ──(an answer, or none)──► the end
//!      └──────(http)──────────────────────▲
//! ```
//!
//! Owns the stream; does not know for how long it is waited for, nor what becomes of the answer.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;

use super::answer::{Answer, Fault, Outcome};
use crate::net::{self, ConnectState};
use crate::relay::readiness::Readiness;
use crate::relay::wire::Wire;
use crate::tls::{Channel, Handshake, Origination, Session};

/// What is to be asked of one server.
#[derive(Debug, Clone)]
pub(super) struct Words {
    /// The request.
    pub(super) request: Vec<u8>,
    /// Whether it asks whether the list has changed.
    pub(super) is_conditional: bool,
    /// How TLS is spoken, and the name that the certificate must have.
    pub(super) tls: Option<(Arc<Origination>, String)>,
}

/// How a conversation stands.
#[derive(Debug)]
pub(super) enum Progress {
    /// It goes on with the next event.
    Waits,
    /// The server has answered.
    Answered(Outcome),
    /// It has come to nothing.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection came to be.
    Connect(io::Error),
    /// Both sides do not agree on TLS.
    Tls(io::Error),
    /// The connection failed.
    Io(io::Error),
    /// What came is no answer.
    Answer(Fault),
}

impl fmt::Display for Failure {
    /// Behind the name of the server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot be reached: {error}"),
            Self::Tls(error) if error.kind() == ErrorKind::UnexpectedEof => {
                f.write_str("closes during the TLS handshake")
            }
            Self::Tls(error) => write!(f, "and TLS: {error}"),
            Self::Io(error) if error.kind() == ErrorKind::UnexpectedEof => write!(f, "{}", Fault::Cut),
            Self::Io(error) => write!(f, "cuts the connection: {error}"),
            Self::Answer(fault) => write!(f, "{fault}"),
        }
    }
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Conversation {
    channel: Channel<TcpStream>,
    addr: SocketAddr,
    stage: Stage,
    words: Words,
    /// Bytes of the request that were handed over.
    said: usize,
    answer: Answer,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Securing,
    Asking,
}

impl Conversation {
    /// A conversation over a stream that is being connected.
    pub(super) fn new(stream: TcpStream, addr: SocketAddr, words: Words) -> Self {
        Self {
            channel: stream.into(),
            addr,
            stage: Stage::Connecting,
            answer: Answer::new(words.is_conditional),
            words,
            said: 0,
        }
    }

    /// The stream, to be registered.
    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        self.channel.wire_mut()
    }

    /// Whether there is no connection yet.
    pub(super) fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn go_on(&mut self, buffer: &mut [u8]) -> Progress {
        match self.try_on(buffer) {
            Ok(None) => Progress::Waits,
            Ok(Some(outcome)) => Progress::Answered(outcome),
            Err(failure) => Progress::Failed(failure),
        }
    }

    fn try_on(&mut self, buffer: &mut [u8]) -> Result<Option<Outcome>, Failure> {
        if self.stage == Stage::Connecting {
            match net::connect_state(self.channel.wire()) {
                ConnectState::Pending => return Ok(None),
                ConnectState::Failed(error) => return Err(Failure::Connect(error)),
                ConnectState::Established => {}
            }
            self.stage = match &self.words.tls {
                None => Stage::Asking,
                Some((origination, name)) => {
                    let session = Session::connect_by_name(origination, self.addr, name);
                    self.channel.secure(session.map_err(Failure::Tls)?);
                    Stage::Securing
                }
            };
        }
        let ready = Readiness::ANYTHING;
        self.channel.begin(ready);
        if self.stage == Stage::Securing {
            match self.channel.handshake(ready).map_err(Failure::Tls)? {
                Handshake::Blocked => return Ok(None),
                Handshake::Done { .. } => self.stage = Stage::Asking,
            }
        }
        self.say().map_err(Failure::Io)?;
        self.hear(buffer)
    }

    /// Says what the stream takes of the request.
    fn say(&mut self) -> io::Result<()> {
        while let Some(rest) = self
            .words
            .request
            .get(self.said..)
            .filter(|rest| !rest.is_empty())
        {
            match self.channel.write(rest) {
                Ok(count) => self.said += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Who has closed may have said why before.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hear(&mut self, buffer: &mut [u8]) -> Result<Option<Outcome>, Failure> {
        loop {
            let count = match self.channel.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(Failure::Io(error)),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                return self.answer.end().map(Some).map_err(Failure::Answer);
            }
            if let Some(outcome) = self.answer.feed(bytes).map_err(Failure::Answer)? {
                return Ok(Some(outcome));
            }
        }
    }
}
