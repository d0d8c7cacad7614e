//! One relay: a client, a backend, and the two halves between them.
//!
//! Owns what has happened on the connection so far and decides what happens next, from readiness alone; the
//! reactor owns the sockets' registration, the timers and the accounting. The rules for the end of a
//! connection are the truth table of [`close`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

pub mod bandwidth;
pub mod buffer;
pub mod close;
pub mod flight;
pub mod pump;
#[cfg(test)]
mod pump_tests;
mod rescue;
pub mod splice;

use crate::config::Rescue;
use crate::net;
use bandwidth::{Bandwidth, Direction, Throttle};
use close::{Ending, Side};
use flight::{Flight, Recorder};
use pump::{End, Half, Phase, Pumped, Readiness, Scratch, Stop};
use splice::PipeReserve;

/// Bytes that one direction may move before others get their turn.
const TURN_BYTES: u64 = 512 * 1024;

/// A socket and what events told about it.
#[derive(Debug)]
pub struct Peer {
    /// The socket.
    pub stream: TcpStream,
    /// Its readiness.
    pub ready: Readiness,
}

impl Peer {
    fn end(&mut self) -> End<'_, &TcpStream> {
        End {
            stream: &self.stream,
            ready: &mut self.ready,
        }
    }
}

/// One client connection and what becomes of it.
#[derive(Debug)]
pub struct Relay {
    /// The client's socket.
    pub client: Peer,
    /// The client's address.
    pub client_addr: SocketAddr,
    /// Bytes written to the backend.
    pub bytes_to_backend: u64,
    /// Bytes written to the client.
    pub bytes_to_client: u64,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// When a byte was last moved (or it was accepted).
    pub last_activity: Instant,
    /// Whether its backend connection was warm and nothing has been exchanged on it: it may be replaced.
    untouched: bool,
    /// What may be done for a first flight on that connection.
    rescue: Rescue,
    backend_was_reset: bool,
    /// What the client has said to a warm connection, until the backend has answered.
    flight: Option<Box<Flight>>,
    /// Bytes still to be written that have been written, and counted, before.
    replaying: u64,
    to_backend: Half,
    to_client: Half,
    /// Its share in the limits of bandwidth, where there are any.
    throttle: Option<Box<Throttle>>,
}

/// What the reactor is to do with a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Wait for the next event.
    Wait,
    /// There is more to move: give it another turn soon.
    Again,
    /// The warm connection was closed before anything was exchanged on it: take another one.
    Stale,
    /// The warm connection died under the first flight: say it again to another one.
    Rescue,
    /// The backend has finished before it said anything, and may have closed: look again after this time.
    Doubt(Duration),
    /// It is over.
    End(Ending),
}

/// What a reactor lends to the relay whose turn it is.
#[derive(Debug)]
pub struct Tools<'a> {
    /// Room for one read.
    pub scratch: Scratch<'a>,
    /// Pipes for bulk.
    pub pipes: &'a mut PipeReserve,
    /// Limits of bandwidth.
    pub bandwidth: Option<&'a Bandwidth>,
    /// The time of the present turn of the poll loop: the reactor's own.
    pub now: Instant,
    /// The clock at its beginning, which the limits of bandwidth share with all reactors.
    pub clock: Instant,
}

/// Bytes moved in one turn, for the counters.
#[derive(Debug, Default, Clone, Copy)]
pub struct Moved {
    /// Client to backend.
    pub to_backend: u64,
    /// Backend to client.
    pub to_client: u64,
}

impl Relay {
    /// A connection that was just accepted and has no backend yet.
    #[must_use]
    pub fn new(client: TcpStream, client_addr: SocketAddr, now: Instant) -> Self {
        Self {
            client: Peer {
                stream: client,
                ready: Readiness::FRESH,
            },
            client_addr,
            bytes_to_backend: 0,
            bytes_to_client: 0,
            accepted_at: now,
            last_activity: now,
            untouched: false,
            rescue: Rescue::Off,
            backend_was_reset: false,
            flight: None,
            replaying: 0,
            to_backend: Half::default(),
            to_client: Half::default(),
            throttle: None,
        }
    }

    /// Whether one direction has finished and the other has not.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        (self.to_backend.phase() == Phase::Done) != (self.to_client.phase() == Phase::Done)
    }

    /// Moves what can be moved in both directions, and says how the relay stands then.
    pub fn drive(&mut self, backend: &mut Peer, tools: &mut Tools<'_>) -> (Moved, Verdict) {
        let mut moved = Moved::default();
        if self.untouched {
            if self.is_stale(backend) {
                return (moved, Verdict::Stale);
            }
            self.begin_flight();
        }
        let mut again = false;
        let up = match tools.bandwidth {
            None => self.upload(backend, tools, TURN_BYTES),
            Some(limits) => self.run_limited(Direction::ToBackend, backend, limits, tools),
        };
        moved.to_backend = up.moved;
        // What a limit of bandwidth holds back will be read.
        let is_up_blocked = matches!(up.stop, Stop::Blocked) && !self.is_paused();
        if let Some(ending) = self.after_upload(up.stop, backend, &mut again) {
            self.account(&mut moved, tools.now);
            return (moved, Verdict::End(ending));
        }
        let down = match tools.bandwidth {
            None => self.run(Direction::ToClient, backend, tools, TURN_BYTES),
            Some(limits) => self.run_limited(Direction::ToClient, backend, limits, tools),
        };
        moved.to_client = down.moved;
        if self.flight.is_some()
            && let Some(verdict) = self.judge(&down, backend, tools.now)
        {
            self.account(&mut moved, tools.now);
            return (moved, verdict);
        }
        let ending = self
            .after_download(down.stop, &mut again)
            .or_else(|| self.after_failure(backend, is_up_blocked));
        self.account(&mut moved, tools.now);
        let verdict = match ending {
            Some(ending) => Verdict::End(ending),
            None if again => Verdict::Again,
            None => Verdict::Wait,
        };
        (moved, verdict)
    }

    /// Whether a warm connection on which nothing was exchanged has been closed by the backend: its close was
    /// seen (whatever it said before was not meant for this client), or is found right before the client's
    /// first bytes go.
    fn is_stale(&self, backend: &Peer) -> bool {
        backend.ready.is_read_closed() || (self.has_more_to_say() && is_dead(&backend.stream))
    }

    fn upload(&mut self, backend: &mut Peer, tools: &mut Tools<'_>, budget: u64) -> Pumped {
        if self.flight.is_none() {
            return self.run(Direction::ToBackend, backend, tools, budget);
        }
        let mut source = End {
            stream: Recorder {
                source: &self.client.stream,
                flight: &mut self.flight,
            },
            ready: &mut self.client.ready,
        };
        let mut sink = backend.end();
        let half = &mut self.to_backend;
        let mut scratch = tools.scratch.at_most(budget);
        let up = pump::pump(half, &mut source, &mut sink, &mut scratch, budget);
        half.note_moved(up.moved);
        self.note_upload(&up);
        up
    }

    /// Runs one direction. A finish that is met is passed on at once, unless it ends the relay: what is written
    /// before it may wait for it, and leave in one packet with it.
    fn run(&mut self, way: Direction, backend: &mut Peer, tools: &mut Tools<'_>, budget: u64) -> Pumped {
        let client = &mut self.client;
        let (half, other, source, sink) = match way {
            Direction::ToBackend => (&mut self.to_backend, &self.to_client, client, backend),
            Direction::ToClient => (&mut self.to_client, &self.to_backend, backend, client),
        };
        let is_finish_passed = other.phase() != Phase::Done && !self.backend_was_reset;
        let is_ending = is_finish_passed && source.ready.has_finished();
        let (mut source, mut sink) = (source.end(), sink.end());
        let pumped = tools.pipes.pump(half, &mut source, &mut sink, budget);
        let pumped = pumped.unwrap_or_else(|| {
            let mut scratch = tools.scratch.at_most(budget);
            if is_ending {
                pump_corked(half, &mut source, &mut sink, &mut scratch, budget)
            } else {
                pump::pump(half, &mut source, &mut sink, &mut scratch, budget)
            }
        });
        if pumped.moved > 0 {
            half.note_moved(pumped.moved);
        }
        pumped
    }

    /// Does the accounts of one turn, and takes off what was counted before.
    fn account(&mut self, moved: &mut Moved, now: Instant) {
        if moved.to_backend + moved.to_client > 0 {
            self.last_activity = now;
            self.untouched = false;
            let replayed = self.replaying.min(moved.to_backend);
            self.replaying -= replayed;
            moved.to_backend -= replayed;
            self.bytes_to_backend += moved.to_backend;
            self.bytes_to_client += moved.to_client;
        }
    }

    fn after_upload(&mut self, stop: Stop, backend: &Peer, again: &mut bool) -> Option<Ending> {
        match stop {
            Stop::Blocked => None,
            Stop::Budget => {
                *again = true;
                None
            }
            Stop::Finished => {
                self.to_backend.finish();
                self.untouched = false;
                if self.to_client.phase() == Phase::Done {
                    return Some(Ending::FINISHED);
                }
                close::pass_fin(&backend.stream);
                None
            }
            Stop::SourceFailed(error) => Some(self.failed(Side::Client, &error)),
            // The backend is well and waits for more, for ever if it is not told.
            Stop::SinkFailed(error) if net::is_exhausted(&error) => Some(Ending::OUT_OF_MEMORY),
            Stop::SinkFailed(error) => {
                // The backend takes nothing any more, but what it said before is still to be delivered. An
                // end of its stream after a reset is no end: the error was used up by the failed write.
                self.to_backend.finish();
                self.untouched = false;
                self.backend_was_reset |= error.kind() != std::io::ErrorKind::BrokenPipe;
                (self.to_client.phase() == Phase::Done).then(|| self.failed(Side::Backend, &error))
            }
        }
    }

    fn after_download(&mut self, stop: Stop, again: &mut bool) -> Option<Ending> {
        match stop {
            Stop::Blocked => None,
            Stop::Budget => {
                *again = true;
                None
            }
            Stop::Finished if self.backend_was_reset => Some(Ending::RESET_BY_BACKEND),
            Stop::Finished => {
                self.to_client.finish();
                if self.to_backend.phase() == Phase::Done {
                    return Some(Ending::FINISHED);
                }
                close::pass_fin(&self.client.stream);
                None
            }
            Stop::SourceFailed(error) => Some(self.failed(Side::Backend, &error)),
            Stop::SinkFailed(error) => Some(self.failed(Side::Client, &error)),
        }
    }

    /// The end after a side that has failed and will never be read again to find that out: a client whose
    /// half is done or stuck, a backend whose half is done (its stuck bytes are its last ones, and wanted).
    fn after_failure(&self, backend: &Peer, is_up_blocked: bool) -> Option<Ending> {
        let client = is_up_blocked.then(|| failure(&self.client)).flatten();
        if let Some(error) = client {
            return Some(self.failed(Side::Client, &error));
        }
        let is_heard_out = self.to_client.phase() == Phase::Done;
        let error = is_heard_out.then(|| failure(backend)).flatten()?;
        Some(self.failed(Side::Backend, &error))
    }

    /// The end after the failure of a side: a reset for the other one, unless it has had the finish already.
    fn failed(&self, side: Side, error: &std::io::Error) -> Ending {
        if net::is_exhausted(error) {
            return Ending::OUT_OF_MEMORY;
        }
        let half = match side {
            Side::Client => &self.to_backend,
            Side::Backend => &self.to_client,
        };
        let ending = Ending::reset_by(side, error);
        match half.phase() {
            Phase::Open | Phase::Ending => ending,
            Phase::Done => Ending::quiet(ending.reason),
        }
    }
}

/// The error of a connection of which an event said that it has failed.
fn failure(peer: &Peer) -> Option<std::io::Error> {
    if !peer.ready.has_failed() {
        return None;
    }
    match peer.stream.take_error() {
        Ok(error) => error,
        Err(error) => Some(error),
    }
}

/// Whether a connection has been closed by its peer, without taking a byte from it.
pub fn is_dead(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Pumps what is left of a source that has finished; its end leaves with the finish, which the caller passes on.
fn pump_corked(
    half: &mut Half,
    source: &mut End<'_, &TcpStream>,
    sink: &mut End<'_, &TcpStream>,
    scratch: &mut Scratch<'_>,
    budget: u64,
) -> Pumped {
    let stream = net::Corked(sink.stream);
    let ready = &mut *sink.ready;
    let pumped = pump::pump(half, source, &mut End { stream, ready }, scratch, budget);
    if pumped.moved > 0 && !matches!(pumped.stop, Stop::Finished) {
        net::uncork(sink.stream);
    }
    pumped
}
