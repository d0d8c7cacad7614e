//! What a backend is told before the first bytes of a client.
//!
//! It leaves in one write with what the client has said by then, and alone if that is nothing: the backend may be the one
//! that speaks first. It counts as nothing that was exchanged, so a connection that dies under it alone may be replaced;
//! whoever takes its place is told again.
//!
//! Invariant: no byte of the client goes before its last byte.

use std::io::{ErrorKind, Read};

use super::buffer::Buffer;
use super::flight::{Flight, Recorder};
use super::half::{Half, Held, Phase, Pumped, Stop};
use super::peer::Peer;
use super::wire::Wire;

/// What a backend is told before the first bytes of a client, and how much of it is through.
#[derive(Debug)]
pub(super) struct Introduction {
    bytes: Box<[u8]>,
    written: usize,
}

/// Between whom a client is introduced.
pub(super) struct Parties<'a, W> {
    pub(super) half: &'a mut Half,
    pub(super) client: &'a mut Peer<W>,
    pub(super) backend: &'a mut Peer<W>,
    pub(super) flight: &'a mut Option<Box<Flight>>,
    /// Bytes of the client that may go along.
    pub(super) most_words: usize,
}

impl Introduction {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            written: 0,
        }
    }

    /// Whether some of it is still to be said.
    pub(super) fn is_pending(&self) -> bool {
        self.written < self.bytes.len()
    }

    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Says what is left of it, and behind it what the client has said, as far as it may go along. What was
    /// moved is of the client alone.
    pub(super) fn say<W: Wire>(&mut self, parties: &mut Parties<'_, W>, scratch: &mut [u8]) -> Pumped {
        let mut moved = 0;
        parties.backend.stream.begin(parties.backend.ready);
        while self.is_pending() && parties.backend.ready.is_writable() {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            let Some(place) = scratch.get_mut(..rest.len()) else {
                debug_assert!(false, "there is room for an introduction");
                break;
            };
            place.copy_from_slice(rest);
            let mut filled = rest.len();
            match parties.words(scratch.get_mut(filled..).unwrap_or_default()) {
                Ok(count) => filled += count,
                Err(error) => {
                    let stop = Stop::SourceFailed(error);
                    return Pumped { moved, stop };
                }
            }
            let all = scratch.get(..filled).unwrap_or_default();
            match parties.backend.stream.write(all) {
                Ok(0) => {
                    return Pumped {
                        moved,
                        stop: Stop::SinkFailed(ErrorKind::WriteZero.into()),
                    };
                }
                Ok(count) => {
                    if count < filled && parties.backend.stream.short_io_blocks() {
                        parties.backend.ready.write_blocked();
                    }
                    let told = count.min(rest.len());
                    moved += parties.said(count - told);
                    self.written += told;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => parties.backend.ready.write_blocked(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Pumped {
                        moved,
                        stop: Stop::SinkFailed(error),
                    };
                }
            }
        }
        Pumped {
            moved,
            stop: Stop::Blocked,
        }
    }
}

impl<W: Wire> Parties<'_, W> {
    /// Puts what the client has said into `room`, as far as it fits; what was read is held until it is written.
    fn words(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let most = self.most_words.min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        if room.is_empty() {
            return Ok(0);
        }
        if !self.half.is_stuck() && self.half.phase() == Phase::Open && self.client.ready.is_readable() {
            self.read(room)?;
        }
        let Held::Bytes(buffer) = &self.half.held else {
            return Ok(0);
        };
        let words = buffer.unwritten();
        let words = words.get(..room.len()).unwrap_or(words);
        if let Some(place) = room.get_mut(..words.len()) {
            place.copy_from_slice(words);
        }
        Ok(words.len())
    }

    /// Reads once from the client.
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<()> {
        self.client.stream.begin(self.client.ready);
        let mut source = Recorder {
            source: &mut self.client.stream,
            flight: self.flight,
        };
        match source.read(room) {
            Ok(0) => self.half.phase = Phase::Ending,
            Ok(count) => {
                let may_go_on = self.client.ready.is_read_closed() || self.client.ready.is_urgent();
                if count < room.len() && self.client.stream.short_io_blocks() && !may_go_on {
                    self.client.ready.read_blocked();
                }
                self.half.held = Held::Bytes(Buffer::holding(room.get(..count).unwrap_or_default()));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.client.ready.read_blocked(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes note that so many bytes of the client were written.
    fn said(&mut self, count: usize) -> u64 {
        if let Held::Bytes(buffer) = &mut self.half.held {
            buffer.consume(count);
            if buffer.unwritten().is_empty() {
                self.half.held = Held::Nothing;
            }
        }
        count as u64
    }
}
