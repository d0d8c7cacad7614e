//! The end of a first flight, as the sockets tell it: answered, lost, or to be said again elsewhere.
//!
//! Asks the kernel only after a failure. What it knows of Linux, and the tests hold it to: a reset that meets a
//! socket whose peer had finished leaves `EPIPE` there, or `ECONNRESET` if we had finished as well, and reads
//! go on to yield the end of the stream; any other reset makes the next read or write fail with `ECONNRESET`;
//! and what was acknowledged can still be asked for after either.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::close::Side;
use super::flight::{Death, Decision, Flight};
use super::pump::{Half, Held, Phase, Pumped, Stop};
use super::{Peer, Relay, Verdict, failure};
use crate::config::Rescue;
use crate::net;

#[cfg(test)]
mod tests;

/// First pause before the kernel is asked again what the backend acknowledged; doubles with the time passed.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// How long a finish is kept from the client at most: a reset or an acknowledgement takes one round trip, or a
/// retransmission more.
const LONGEST_DOUBT: Duration = Duration::from_secs(5);

impl Relay {
    /// A warm connection is there; nothing has been exchanged on it.
    pub fn begin_on_warm(&mut self, rescue: Rescue) {
        self.untouched = true;
        self.rescue = rescue;
    }

    /// Forgets the connection that turned out stale, on which nothing was exchanged.
    pub fn forget_stale(&mut self) {
        self.untouched = false;
        self.flight = None;
    }

    /// Forgets the connection that died under the first flight; what comes after it gets the same bytes.
    pub fn say_again(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        self.replaying = self.bytes_to_backend;
        self.untouched = false;
        self.backend_was_reset = false;
        self.to_client = Half::default();
        self.to_backend = Half::default();
        if flight.is_finished() {
            self.to_backend.phase = Phase::Ending;
        }
        if !flight.bytes().is_empty() {
            self.to_backend.held = Held::Bytes(Buffer::holding(flight.bytes()));
        }
    }

    /// Whether there is something for the next connection to a backend already.
    #[must_use]
    pub fn has_more_to_say(&self) -> bool {
        self.to_backend.is_stuck()
            || self.to_backend.phase() == Phase::Ending
            || self.client.ready.is_readable()
    }

    /// Whether the backend has finished and may turn out to have closed: look again when that time comes.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|flight| flight.doubtful_since.is_some())
    }

    /// Begins to keep what the client is about to say to a warm connection.
    pub(super) fn begin_flight(&mut self) {
        if self.rescue == Rescue::Off || self.flight.is_some() || !self.has_more_to_say() {
            return;
        }
        let mut flight = Flight::default();
        // What a connection that turned out stale did not take.
        if let Held::Bytes(buffer) = &self.to_backend.held
            && !flight.keep(buffer.unwritten())
        {
            return;
        }
        if self.to_backend.phase() == Phase::Ending {
            flight.keep(&[]);
        }
        self.flight = Some(Box::new(flight));
    }

    /// Takes note of what was sent of a flight that is being kept.
    pub(super) fn note_upload(&mut self, up: &Pumped) {
        let Some(flight) = &mut self.flight else { return };
        flight.is_sent |= up.moved > 0;
        match &up.stop {
            Stop::Finished => flight.is_sent = true,
            Stop::SinkFailed(error) => flight.is_broken = error.kind() == ErrorKind::BrokenPipe,
            Stop::Blocked | Stop::Budget | Stop::SourceFailed(_) => {}
        }
        if !flight.has_hope(self.rescue, net::KNOWS_ACKNOWLEDGED) {
            self.flight = None;
        }
    }

    /// What follows for a flight that is being kept from what was, or was not, heard from the backend. `None`:
    /// what would follow without a flight.
    pub(super) fn judge(&mut self, down: &Pumped, backend: &Peer, now: Instant) -> Option<Verdict> {
        let is_answered = down.moved > 0 || self.to_client.is_stuck();
        if is_answered || self.client.ready.has_failed() {
            self.flight = None;
            return None;
        }
        let flight = self.flight.as_mut()?;
        let (death, error) = match &down.stop {
            Stop::Blocked | Stop::Budget | Stop::SinkFailed(_) => return None,
            Stop::SourceFailed(_) => (Death::Reset, None),
            // The reset was heard of by a write, and is no news to a read.
            Stop::Finished if self.backend_was_reset => (Death::Reset, None),
            Stop::Finished => after_finish(flight, backend),
        };
        let is_unheard = || net::nothing_acknowledged(&backend.stream);
        match flight.decide(self.rescue, death, is_unheard) {
            Decision::Rescue => return Some(Verdict::Rescue),
            Decision::Wait => {
                let since = *flight.doubtful_since.get_or_insert(now);
                let passed = now.saturating_duration_since(since);
                if passed < LONGEST_DOUBT {
                    return Some(Verdict::Doubt(passed.max(FIRST_LOOK)));
                }
            }
            Decision::Accept => {}
        }
        self.flight = None;
        // It has been taken off the socket, so nobody else will hear of it.
        let error = error?;
        self.to_client.finish();
        Some(Verdict::End(self.failed(Side::Backend, &error)))
    }
}

/// What the end of a backend's stream was, and the error that was behind it.
fn after_finish(flight: &Flight, backend: &Peer) -> (Death, Option<Error>) {
    if flight.is_broken {
        return (Death::FinishedThenReset, None);
    }
    match failure(backend) {
        None => (Death::Finished, None),
        Some(error) => {
            let is_reset = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
            let death = if is_reset {
                Death::FinishedThenReset
            } else {
                Death::Reset
            };
            (death, Some(error))
        }
    }
}
