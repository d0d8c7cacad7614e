//! The side of the new process: asks for the sockets, and says when it could serve.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket};

use super::channel::Channel;
use super::error::HandoverError;
use super::protocol::{
    Entry, FromNew, FromOld, MAX_SOCKETS, OfferLine, Predecessor, Ready, UPGRADE, VERSION, decode, version,
};
use crate::base::clock;

/// Time for the old process to answer and to send all of its sockets.
const OFFER_PATIENCE: Duration = Duration::from_secs(30);

/// Time for the old process to stop accepting.
const YOURS_PATIENCE: Duration = Duration::from_secs(10);

/// Longest line of an HTTP answer, and most of them.
const MAX_HEAD_LINE_BYTES: usize = 4096;
const MAX_HEAD_LINES: usize = 64;

/// A socket that was handed over.
#[derive(Debug)]
pub struct TakenSocket {
    /// What it is.
    pub entry: Entry,
    /// The socket, which the old process still uses.
    pub socket: Socket,
}

/// What an old process has handed over, as long as nobody minds: it serves until [`Claim::ready`].
#[derive(Debug)]
pub struct Taken {
    /// The old process.
    pub pid: u32,
    /// Which build of the program it is.
    pub build: String,
    /// Its sockets.
    pub sockets: Vec<TakenSocket>,
    /// What makes them ours.
    pub claim: Claim,
}

/// The connection to the old process. Dropping it leaves everything to that.
#[derive(Debug)]
pub struct Claim {
    channel: Channel,
}

/// Asks the process behind the control socket at `path` for its sockets.
///
/// # Errors
/// When there is none, it declines, or what it sends is not what it should be.
pub fn take(path: &Path) -> Result<Taken, HandoverError> {
    let stream = UnixStream::connect(path).map_err(|source| HandoverError::Unreachable {
        path: path.to_owned(),
        source,
    })?;
    let until = clock::now() + OFFER_PATIENCE;
    let mut channel = Channel::new(stream)?;
    let request = format!(
        "POST /api/v1/takeover HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\nContent-Length: 0\r\n\r\n"
    );
    channel.send(request.as_bytes(), &[], until)?;
    upgraded(&mut channel, until)?;
    receive(channel, until)
}

/// Reads the offer and its descriptors.
pub(super) fn receive(mut channel: Channel, until: Instant) -> Result<Taken, HandoverError> {
    let offer = offer(&mut channel, until)?;
    let announced = offer.sockets.len();
    if announced > MAX_SOCKETS {
        return Err(HandoverError::Descriptors {
            announced,
            came: MAX_SOCKETS,
        });
    }
    let mut told = 0;
    while told < announced {
        told += descriptors(&mut channel, until)?;
        let came = channel.descriptors().len();
        if told > came || told > announced {
            return Err(HandoverError::Descriptors { announced, came });
        }
    }
    let descriptors = std::mem::take(channel.descriptors());
    if descriptors.len() != announced {
        let came = descriptors.len();
        return Err(HandoverError::Descriptors { announced, came });
    }
    let sockets = offer.sockets.into_iter().zip(descriptors).map(checked);
    Ok(Taken {
        pid: offer.pid,
        build: offer.build,
        sockets: sockets.collect::<Result<_, _>>()?,
        claim: Claim { channel },
    })
}

fn offer(channel: &mut Channel, until: Instant) -> Result<OfferLine, HandoverError> {
    const AWAITED: &str = "an offer of sockets";
    let line = channel.line(AWAITED, until)?;
    if let Some(version) = version(&line)
        && version != VERSION
    {
        return Err(HandoverError::Version(version));
    }
    match said(&line, AWAITED)? {
        FromOld::Offer(offer) => Ok(offer),
        FromOld::Refused(why) => Err(HandoverError::Refused(why)),
        FromOld::Descriptors(_) | FromOld::Yours => Err(out_of_turn(AWAITED)),
    }
}

/// How many descriptors come with the next message.
fn descriptors(channel: &mut Channel, until: Instant) -> Result<usize, HandoverError> {
    const AWAITED: &str = "the sockets that were offered";
    match said(&channel.line(AWAITED, until)?, AWAITED)? {
        FromOld::Descriptors(count) if count > 0 => Ok(count),
        FromOld::Refused(why) => Err(HandoverError::Refused(why)),
        FromOld::Offer(_) | FromOld::Yours | FromOld::Descriptors(_) => Err(out_of_turn(AWAITED)),
    }
}

/// A descriptor that is what the offer says.
fn checked((entry, descriptor): (Entry, OwnedFd)) -> Result<TakenSocket, HandoverError> {
    let socket = Socket::from(descriptor);
    let addr = socket.local_addr();
    let is_as_told = match &entry {
        Entry::Listener { addr: told, .. } | Entry::Metrics { addr: told } => {
            addr.is_ok_and(|addr| addr.as_socket() == Some(*told))
        }
        // Its name is the one that it was bound with, which need not be that of its file.
        Entry::Control { .. } => addr.is_ok_and(|addr| addr.domain() == Domain::UNIX),
    };
    if is_as_told {
        return Ok(TakenSocket { entry, socket });
    }
    Err(HandoverError::Garbage {
        awaited: "the sockets that were offered",
        why: format!("a descriptor that is not {entry:?}"),
    })
}

impl Claim {
    /// Waits until the old process ends the connection, which it does once it has heard us; if we were too slow, it has
    /// taken its word back and serves.
    fn not_taken_back(mut self) -> Result<(), HandoverError> {
        const AWAITED: &str = "the end of the connection";
        // A time of its own: whoever was stopped for long is the one who has to look.
        let until = clock::now() + YOURS_PATIENCE;
        match self.channel.line(AWAITED, until) {
            // It has heard us, or is gone; or it hangs, which does not make the sockets its own again.
            Err(_) => Ok(()),
            Ok(line) => match said(&line, AWAITED)? {
                FromOld::Refused(why) => Err(HandoverError::Refused(why)),
                FromOld::Yours | FromOld::Offer(_) | FromOld::Descriptors(_) => Err(out_of_turn(AWAITED)),
            },
        }
    }

    /// Tells the old process that this one could serve, having taken these listen addresses; returns once it has stopped
    /// accepting on them, or is gone, so that they are served here from now on.
    ///
    /// # Errors
    /// When the old process keeps its sockets, says something else, or nothing.
    pub fn ready(mut self, taken: Vec<SocketAddr>) -> Result<Predecessor, HandoverError> {
        const AWAITED: &str = "its word that the sockets are ours";
        let until = clock::now() + YOURS_PATIENCE;
        let ready = FromNew::Ready(Ready {
            pid: std::process::id(),
            taken,
        });
        match self.channel.say(&ready, &[], until) {
            // It has ended meanwhile; if it lives, it has said before that it keeps its sockets.
            Ok(()) | Err(HandoverError::Closed { .. }) => {}
            Err(error) => return Err(error),
        }
        let line = match self.channel.line(AWAITED, until) {
            Ok(line) => line,
            // It is gone, and what it had is here.
            Err(HandoverError::Closed { .. }) => return Ok(Predecessor::Gone),
            Err(error) => return Err(error),
        };
        match said(&line, AWAITED)? {
            FromOld::Yours => {
                // It may be gone by now: the sockets are ours then too.
                drop(self.channel.say(&FromNew::Mine, &[], until));
                self.not_taken_back()?;
                Ok(Predecessor::Yielded)
            }
            FromOld::Refused(why) => Err(HandoverError::Refused(why)),
            FromOld::Offer(_) | FromOld::Descriptors(_) => Err(out_of_turn(AWAITED)),
        }
    }
}

fn said(line: &[u8], awaited: &'static str) -> Result<FromOld, HandoverError> {
    decode(line).map_err(|why| HandoverError::Garbage { awaited, why })
}

fn out_of_turn(awaited: &'static str) -> HandoverError {
    HandoverError::Garbage {
        awaited,
        why: "something that does not belong here".to_owned(),
    }
}

/// Reads the head of the answer; anything but 101 is an error that says what the old process said.
fn upgraded(channel: &mut Channel, until: Instant) -> Result<(), HandoverError> {
    const AWAITED: &str = "an answer of HTTP";
    let mut line = || channel.line_up_to(MAX_HEAD_LINE_BYTES, AWAITED, until);
    let first = line()?;
    let status = status(&first).ok_or_else(|| HandoverError::Garbage {
        awaited: AWAITED,
        why: "no status line".to_owned(),
    })?;
    let is_empty = |line: &[u8]| line.is_empty() || line == b"\r";
    let mut body_bytes = None;
    for _ in 0..MAX_HEAD_LINES {
        let field = line()?;
        if is_empty(&field) {
            return if status == 101 {
                Ok(())
            } else {
                Err(declined(channel, status, body_bytes, until))
            };
        }
        body_bytes = body_bytes.or_else(|| content_length(&field));
    }
    Err(HandoverError::Garbage {
        awaited: AWAITED,
        why: "a head without an end".to_owned(),
    })
}

/// `HTTP/1.1 101 Switching Protocols`: 101.
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|word| word.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

fn content_length(field: &[u8]) -> Option<usize> {
    let (name, value) = std::str::from_utf8(field).ok()?.split_once(':')?;
    let value = value.trim().parse().ok()?;
    name.eq_ignore_ascii_case("content-length").then_some(value)
}

/// What the body of an answer says, if it comes.
fn declined(channel: &mut Channel, status: u16, body_bytes: Option<usize>, until: Instant) -> HandoverError {
    let length = body_bytes.unwrap_or(0).min(MAX_HEAD_LINE_BYTES);
    let body = channel.bytes(length, until).unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let why = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|value| message(&value).map(str::to_owned))
        .unwrap_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let why = if why.is_empty() {
        "it did not say why".to_owned()
    } else {
        why
    };
    HandoverError::Declined { status, why }
}

/// The text in an object that describes an error: `error`, `message`, or one in the other.
fn message(value: &serde_json::Value) -> Option<&str> {
    ["error", "message"].into_iter().find_map(|key| {
        let inner = value.get(key)?;
        inner.as_str().or_else(|| message(inner))
    })
}
