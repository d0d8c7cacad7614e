//! The first flight: what a client said before its backend said anything, kept to be said again.
//!
//! A warm connection may have been closed by its backend while the client's first bytes were on their way to
//! it. They are kept (up to [`MOST_BYTES`]) until the backend's first byte comes; should the connection turn
//! out dead before that, [`Flight::decide`] says whether another one may be given the same bytes. Pure: what
//! the sockets tell about the end is read elsewhere (`rescue.rs`).
//!
//! What `safe` lets through cannot have been acted upon:
//!
//! - **Nothing was sent.** No byte of ours ever left this machine for that backend.
//! - **The backend closed first.** A FIN carries the acknowledgement of all that the peer's kernel had received
//!   when it was sent. None of our bytes acknowledged, and the answer to them a reset: they met a socket that
//!   nobody reads from any more. A backend that finishes and reads on acknowledges what it gets, so a finish
//!   alone is waited upon ([`Decision::Wait`]). Left over: a backend that finishes before it was asked, reads on,
//!   acts on what it reads though it can never answer, and resets the connection within the time that its
//!   kernel delays an acknowledgement (Linux delays none before it has itself sent data).
//! - **The flight is a lone TLS `ClientHello`.** It asks for nothing but keys, and a backend that died over it
//!   has not answered, so the client takes part in one handshake only: the one of the backend that answers,
//!   which is bound to this `ClientHello` by the transcript. Early data (0-RTT) *is* a request and comes in
//!   records after the `ClientHello`: a flight that has them is not lone. One that offers early data and whose
//!   data has not come yet is; the data then goes to one backend only. A server that remembers the
//!   `ClientHello`s of 0-RTT (RFC 8446, section 8.2) refuses early data after one it knows, and the client
//!   sends it again after the handshake.
//!
//! A reset without a FIN before it tells nothing: the backend may have read all and crashed over it before
//! the acknowledgement went out.

use std::io::{self, Read};
use std::time::Instant;

use crate::config::Rescue;

#[cfg(test)]
mod tests;

/// The longest flight that is kept.
pub const MOST_BYTES: usize = 16 * 1024;

/// What a client has said to a backend that has not said anything.
#[derive(Debug, Default)]
pub struct Flight {
    bytes: Vec<u8>,
    /// Whether the client has finished after these bytes.
    is_finished: bool,
    /// Whether any of it has been handed to the kernel for the backend, the finish included.
    pub(super) is_sent: bool,
    /// Whether a write failed because the backend had finished, and then reset.
    pub(super) is_broken: bool,
    /// Since when the backend's finish may turn out to be a close.
    pub(super) doubtful_since: Option<Instant>,
}

/// How a connection ended on which the backend never said a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The backend has finished; it may still read.
    Finished,
    /// The same, without the word by which ends are said over TLS: no answer at all.
    CutOff,
    /// It finished, and then answered what it got with a reset.
    FinishedThenReset,
    /// It reset the connection, or the network failed.
    Reset,
}

/// What becomes of a flight after the death of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Another connection gets it.
    Rescue,
    /// A reset or an acknowledgement will tell.
    Wait,
    /// It is lost; the client is told what happened.
    Accept,
}

/// Whether a flight is a TLS `ClientHello` and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// A whole one, and nothing behind it.
    Lone,
    /// The beginning of one.
    Part,
    /// Anything else, or more than that.
    No,
}

impl Flight {
    /// Takes note of what one read yielded (nothing: the client has finished); false if the flight is too long
    /// to be kept now.
    pub fn keep(&mut self, read: &[u8]) -> bool {
        self.is_finished |= read.is_empty();
        let fits = self.bytes.len() + read.len() <= MOST_BYTES;
        if fits {
            self.bytes.reserve_exact(read.len());
            self.bytes.extend_from_slice(read);
        }
        fits
    }

    /// Whether any death of the connection would still let [`decide`](Self::decide) say anything but
    /// [`Decision::Accept`], on a system that tells what was acknowledged or does not.
    #[must_use]
    pub fn has_hope(&self, rescue: Rescue, knows_acknowledged: bool) -> bool {
        match rescue {
            Rescue::Off => false,
            Rescue::Safe => knows_acknowledged || !self.is_sent || hello(&self.bytes) != Hello::No,
            Rescue::Always => true,
        }
    }

    /// What is to become of it. `is_unheard` is asked only if it matters: whether the backend's kernel has
    /// certainly acknowledged nothing of what was sent.
    pub fn decide(&self, rescue: Rescue, death: Death, is_unheard: impl FnOnce() -> bool) -> Decision {
        // A backend that finishes after its client has ended an exchange in which only one side speaks.
        let may_be_an_answer = death == Death::Finished && self.is_finished;
        match rescue {
            Rescue::Off => return Decision::Accept,
            Rescue::Always if !may_be_an_answer => return Decision::Rescue,
            Rescue::Safe | Rescue::Always => {}
        }
        if !self.is_sent || hello(&self.bytes) == Hello::Lone {
            return Decision::Rescue;
        }
        if death == Death::Reset || !is_unheard() {
            Decision::Accept
        } else if matches!(death, Death::Finished | Death::CutOff) {
            Decision::Wait
        } else {
            Decision::Rescue
        }
    }

    /// Whether the client has finished after these bytes.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Holds the flight to what this file says of it, in a debug build.
    pub(super) fn check(&self) {
        debug_assert!(
            self.bytes.len() <= MOST_BYTES,
            "a flight is kept only while it is short"
        );
    }

    /// The bytes, to be said again.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Looks whether `flight` is a `ClientHello`: records of type handshake whose contents, put together, are one
/// message of type `client_hello`, which ends where the last record ends (RFC 8446, sections 4 and 5.1). Only
/// the frames are looked at, not what the message says.
#[must_use]
pub fn hello(flight: &[u8]) -> Hello {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    const MAJOR_VERSION: u8 = 3;
    const MOST_IN_RECORD: usize = 1 << 14;

    let mut header = Vec::with_capacity(4);
    let mut contents: usize = 0;
    let mut rest = flight;
    let expected = |header: &[u8]| match *header {
        [_, high, middle, low] => {
            Some(4 + usize::from(low) + (usize::from(middle) << 8) + (usize::from(high) << 16))
        }
        _ => None,
    };
    while !rest.is_empty() {
        if expected(&header).is_some_and(|whole| contents >= whole) {
            return Hello::No;
        }
        let frame = rest.get(..5).unwrap_or(rest);
        let is_wrong = |place: usize, value: u8| frame.get(place).is_some_and(|byte| *byte != value);
        if is_wrong(0, HANDSHAKE) || is_wrong(1, MAJOR_VERSION) {
            return Hello::No;
        }
        let [_, _, _, high, low] = *frame else {
            return Hello::Part;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MOST_IN_RECORD {
            return Hello::No;
        }
        rest = rest.get(5..).unwrap_or_default();
        let content = rest.get(..length).unwrap_or(rest);
        header.extend(content.iter().take(4 - header.len()));
        if header.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Hello::No;
        }
        contents += length;
        if expected(&header).is_some_and(|whole| contents > whole) {
            return Hello::No;
        }
        if content.len() < length {
            return Hello::Part;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    match expected(&header) {
        Some(whole) if contents == whole => Hello::Lone,
        Some(_) | None => Hello::Part,
    }
}

/// A source that keeps what is read from it in a flight, as long as that is not too long.
#[derive(Debug)]
pub struct Recorder<'a, R> {
    /// Where bytes come from.
    pub source: R,
    /// Where they are kept; emptied when they are too many.
    pub flight: &'a mut Option<Box<Flight>>,
}

impl<R: Read> Read for Recorder<'_, R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(room)?;
        let read = room.get(..count).unwrap_or_default();
        if !self.flight.as_mut().is_some_and(|flight| flight.keep(read)) {
            *self.flight = None;
        }
        Ok(count)
    }
}
