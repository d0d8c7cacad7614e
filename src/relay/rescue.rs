//! The end of a first flight, as the wires tell it: answered, lost, or to be said again elsewhere.
//!
//! Asks a wire only after a failure. What it knows of Linux, and the tests hold it to: a reset that meets a
//! socket whose peer had finished leaves `EPIPE` there, or `ECONNRESET` if we had finished as well, and reads
//! go on to yield the end of the stream; any other reset makes the next read or write fail with `ECONNRESET`;
//! and what was acknowledged can still be asked for after either.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::flight::{Death, Decision, Flight};
use super::half::{Half, Held, Phase, Pumped, Stop};
use super::peer::Peer;
use super::wire::Wire;
use crate::config::Rescue;

/// First pause before the kernel is asked again what the backend acknowledged; doubles with the time passed.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// How long a finish is kept from the client at most: a reset or an acknowledgement takes one round trip, or a
/// retransmission more.
const LONGEST_DOUBT: Duration = Duration::from_secs(5);

/// How a connection ended on which the backend had not said a byte, as its wire tells it.
#[derive(Debug)]
pub(super) struct LastWords {
    death: Death,
    /// The error that was behind it. It has been taken off the wire, so nobody else will hear of it.
    error: Option<Error>,
}

/// What becomes of a flight.
#[derive(Debug)]
pub(super) enum Fate {
    /// Another connection gets it.
    Rescued,
    /// Look again after this time.
    InDoubt(Duration),
    /// It is lost, and the error that was taken off the wire.
    Lost(Option<Error>),
}

/// The flight of a client that is about to speak through this half: what a connection that turned out stale did not
/// take. None if that is too long to be kept.
pub(super) fn begin(half: &Half) -> Option<Box<Flight>> {
    let mut flight = Flight::default();
    if let Held::Bytes(buffer) = &half.held
        && !flight.keep(buffer.unwritten())
    {
        return None;
    }
    if half.phase() == Phase::Ending {
        flight.keep(&[]);
    }
    Some(Box::new(flight))
}

/// The half that says a flight again.
pub(super) fn say_again(flight: &Flight) -> Half {
    let mut half = Half::default();
    if flight.is_finished() {
        half.phase = Phase::Ending;
    }
    if !flight.bytes().is_empty() {
        half.held = Held::Bytes(Buffer::holding(flight.bytes()));
    }
    half
}

/// Takes note of what was sent of a flight.
pub(super) fn note_upload(flight: &mut Flight, up: &Pumped) {
    flight.is_sent |= up.moved > 0;
    match &up.stop {
        Stop::Finished => flight.is_sent = true,
        Stop::SinkFailed(error) => flight.is_broken = error.kind() == ErrorKind::BrokenPipe,
        Stop::Blocked | Stop::Budget | Stop::SourceFailed(_) => {}
    }
}

/// How the connection under a flight ended, if it has, by what a read met.
pub(super) fn last_words<W: Wire>(down: &Stop, flight: &Flight, backend: &Peer<W>) -> Option<LastWords> {
    match down {
        Stop::Blocked | Stop::Budget | Stop::SinkFailed(_) => None,
        // An end without a word, where ends are said: there is a finish beneath it all the same.
        Stop::SourceFailed(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Some(after_finish(flight, backend, Death::CutOff))
        }
        Stop::SourceFailed(_) => Some(LastWords::RESET),
        Stop::Finished => Some(after_finish(flight, backend, Death::Finished)),
    }
}

impl LastWords {
    /// A reset, of which the relay has heard.
    pub(super) const RESET: Self = Self {
        death: Death::Reset,
        error: None,
    };
}

/// What the end of a backend's stream was, if nothing was behind it than this, and the error that was.
fn after_finish<W: Wire>(flight: &Flight, backend: &Peer<W>, alone: Death) -> LastWords {
    if flight.is_broken {
        return LastWords {
            death: Death::FinishedThenReset,
            error: None,
        };
    }
    let error = backend.failure();
    let death = match error.as_ref().map(Error::kind) {
        None => alone,
        Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Death::FinishedThenReset,
        Some(_) => Death::Reset,
    };
    LastWords { death, error }
}

/// What becomes of a flight whose connection has ended.
pub(super) fn fate(
    flight: &mut Flight,
    rescue: Rescue,
    end: LastWords,
    is_unheard: impl FnOnce() -> bool,
    now: Instant,
) -> Fate {
    match flight.decide(rescue, end.death, is_unheard) {
        Decision::Rescue => return Fate::Rescued,
        Decision::Wait => {
            let since = *flight.doubtful_since.get_or_insert(now);
            let passed = now.saturating_duration_since(since);
            if passed < LONGEST_DOUBT {
                return Fate::InDoubt(passed.max(FIRST_LOOK));
            }
        }
        Decision::Accept => {}
    }
    Fate::Lost(end.error)
}
