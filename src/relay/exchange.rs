//! One relay: a client, a backend, and the two halves between them.
//!
//! Owns what has happened on the connection so far and decides what happens next, from readiness alone; the
//! reactor owns the sockets' registration, the timers and the accounting. Knows its connections as [`Wire`]s only. The
//! rules for the end of a connection are the truth table of [`close`](super::close).
//!
//! Invariants: those that `check` names; a debug build holds each turn to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::bandwidth::{Bandwidth, Direction, Throttle};
use super::buffer::Buffer;
use super::bulk::Stretch;
use super::close::{Ending, Side};
use super::course::{Course, Ended, Met, Step};
use super::flight::{Flight, Recorder};
use super::half::{End, Half, Held, Phase, Pumped, Stop};
use super::introduction::{Introduction, Parties};
use super::peer::Peer;
use super::pipe::PipeReserve;
use super::pump::{at_most, pump};
use super::readiness::Readiness;
use super::rescue::{self, Fate, LastWords};
use super::splice;
use super::wire::{Corked, Wire};
use crate::config::Rescue;
use crate::net;

/// Bytes that one direction may move before others get their turn.
const TURN_BYTES: u64 = 512 * 1024;

/// Nothing moves until the timer comes.
const PAUSED: Pumped = Pumped {
    moved: 0,
    stop: Stop::Blocked,
};

/// One client connection and what becomes of it.
#[derive(Debug)]
pub struct Relay<W = TcpStream> {
    /// The client's side.
    pub client: Peer<W>,
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
    /// Who has spoken, as far as the present backend is judged by that.
    pub course: Course,
    /// What is new about that since it was last taken.
    pub step: Option<Step>,
    /// The present stretch of what it moves, where that is measured.
    pub stretch: Option<Box<Stretch>>,
    /// Whether nothing has been exchanged on its connection to the backend, which may be replaced then.
    untouched: Untouched,
    /// What may be done for a first flight on that connection.
    rescue: Rescue,
    /// The end that follows once the last bytes of a backend are delivered that takes nothing any more.
    lost_backend: Option<Ending>,
    /// What the present backend is told before the first bytes of the client, if anything is.
    introduction: Option<Box<Introduction>>,
    /// What the client has said to a warm connection, until the backend has answered.
    flight: Option<Box<Flight>>,
    /// Bytes still to be written that have been written, and counted, before.
    replaying: u64,
    to_backend: Half,
    to_client: Half,
    /// Its share in the limits of bandwidth, where there are any.
    throttle: Option<Box<Throttle>>,
}

/// Whether a connection to a backend may still be replaced by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Untouched {
    /// Something has been exchanged on it.
    No,
    /// It was warm: what its backend said on it, and its end, may be old.
    Warm,
    /// It was dialled for this client: what its backend says is said to the client, its end alone is nothing.
    Fresh,
    /// The same, but no other one may take its place: its backend is still to be told who the client is.
    Final,
}

/// Whether another connection may take the place of a dialled one that its backend closes before anybody has spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaceable {
    /// It may.
    Yes,
    /// No attempt is left.
    No,
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
    pub scratch: &'a mut [u8],
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

impl<W: Wire> Relay<W> {
    /// A connection that was just accepted and has no backend yet.
    #[must_use]
    pub fn new(client: W, client_addr: SocketAddr, now: Instant) -> Self {
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
            course: Course::Quiet,
            step: None,
            stretch: None,
            untouched: Untouched::No,
            rescue: Rescue::Off,
            lost_backend: None,
            introduction: None,
            flight: None,
            replaying: 0,
            to_backend: Half::default(),
            to_client: Half::default(),
            throttle: None,
        }
    }

    /// Takes up what its client has said before it had a backend.
    pub fn take_up(&mut self, bytes: &[u8]) {
        debug_assert!(!self.to_backend.is_stuck(), "nothing was said before that");
        if !bytes.is_empty() {
            self.to_backend.held = Held::Bytes(Buffer::holding(bytes));
        }
    }

    /// A warm connection is there; nothing has been exchanged on it.
    pub fn begin_on_warm(&mut self, rescue: Rescue) {
        self.untouched = Untouched::Warm;
        self.course = Course::Quiet;
        self.rescue = rescue;
    }

    /// A connection that was dialled for it is there.
    pub fn begin_on_dialled(&mut self, replaceable: Replaceable) {
        self.untouched = match replaceable {
            Replaceable::Yes => Untouched::Fresh,
            Replaceable::No => Untouched::No,
        };
        self.course = Course::Quiet;
    }

    /// Has the backend, whose connection has just begun, told this before the first bytes of its client.
    pub fn introduce(&mut self, bytes: Vec<u8>) {
        if self.untouched == Untouched::No {
            self.untouched = Untouched::Final;
        }
        // What it has said by now leaves with that, whether an event has told of it or not.
        self.client.ready.set_readable();
        self.introduction = Some(Box::new(Introduction::of(bytes)));
    }

    /// Whether it is on a warm connection on which nothing has been exchanged.
    #[must_use]
    pub fn is_on_warm(&self) -> bool {
        self.untouched == Untouched::Warm
    }

    /// Forgets the connection that turned out stale, on which nothing was exchanged.
    pub fn forget_stale(&mut self) {
        self.untouched = Untouched::No;
        self.flight = None;
    }

    /// Forgets the connection that died under the first flight; what comes after it gets the same bytes.
    pub fn say_again(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        self.replaying = self.bytes_to_backend;
        self.untouched = Untouched::No;
        self.lost_backend = None;
        self.to_client = Half::default();
        self.to_backend = rescue::say_again(&flight);
    }

    /// Whether there is something for the connection to a backend already.
    #[must_use]
    pub fn has_more_to_say(&self) -> bool {
        self.has_words() || self.is_to_be_introduced()
    }

    fn is_to_be_introduced(&self) -> bool {
        self.introduction.as_ref().is_some_and(|one| one.is_pending())
    }

    /// Whether the client has said something that no backend has taken yet.
    fn has_words(&self) -> bool {
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

    /// When a half that is paused by a limit may go on, the earlier one; none while neither is.
    #[must_use]
    pub fn resumes_at(&self) -> Option<Instant> {
        self.throttle.as_ref()?.resumes_at()
    }

    /// Whether a limit holds back a half.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.resumes_at().is_some()
    }

    /// Whether the backend is what bytes to it, and to the client, wait for: not a client that sends or takes none.
    #[must_use]
    pub fn awaits_backend(&self) -> [bool; 2] {
        [self.to_backend.is_stuck(), !self.to_client.is_stuck()]
    }

    /// Gives back what it has reserved, at its end.
    pub fn give_back(&mut self, bandwidth: &Bandwidth) {
        if let Some(throttle) = self.throttle.take() {
            throttle.give_back(bandwidth);
        }
    }

    /// Whether one direction has finished and the other has not.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        (self.to_backend.phase() == Phase::Done) != (self.to_client.phase() == Phase::Done)
    }

    /// Whether the client has said all that it will, or has gone: nobody can tell which.
    #[must_use]
    pub fn has_client_finished(&self) -> bool {
        self.to_backend.phase() != Phase::Open
    }

    /// Whether the client has all that the backend will ever say.
    #[must_use]
    pub fn has_backend_finished(&self) -> bool {
        self.to_client.phase() == Phase::Done
    }

    /// Since when its client waits for the backend's first word, as far as anybody can tell; none once it has finished
    /// (it may have gone), once it was told of as overdue, and while it is we who hold bytes back.
    #[must_use]
    pub fn waits_since(&self) -> Option<Instant> {
        let asked_at = self.course.asked_at()?;
        let is_known_to = !self.course.is_overdue() && !self.is_paused() && !self.has_client_finished();
        is_known_to.then_some(asked_at)
    }

    /// Moves what can be moved in both directions, and says how the relay stands then.
    pub fn drive(&mut self, backend: &mut Peer<W>, tools: &mut Tools<'_>) -> (Moved, Verdict) {
        let (moved, verdict) = self.turn(backend, tools);
        if cfg!(debug_assertions) {
            self.check(tools);
            self.check_verdict(backend, verdict, tools.clock);
        }
        (moved, verdict)
    }

    fn turn(&mut self, backend: &mut Peer<W>, tools: &mut Tools<'_>) -> (Moved, Verdict) {
        let mut moved = Moved::default();
        let mut introduced = None;
        if self.untouched != Untouched::No {
            backend.settle();
            if self.is_stale(backend, tools.clock) {
                return (moved, Verdict::Stale);
            }
            self.begin_flight();
            introduced = self.say_introduction(backend, tools, &mut moved);
        }
        let mut again = false;
        // Most turns come after the first answer, and are no matter for it.
        // A write that failed tells nothing of its client.
        let is_client_open = self.to_backend.phase() == Phase::Open || self.lost_backend.is_some();
        let was_open = self.course.is_open() && is_client_open;
        let up = match (introduced, tools.bandwidth) {
            (None, None) => self.upload(backend, tools, TURN_BYTES),
            (None, Some(limits)) => self.run_limited(Direction::ToBackend, backend, limits, tools),
            (Some(up), _) => up,
        };
        moved.to_backend += up.moved;
        let client_goes_on = was_open && !matches!(up.stop, Stop::Finished | Stop::SourceFailed(_));
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
        if self.course.is_open() {
            self.advance_course(&moved, &down.stop, client_goes_on, tools.now);
        }
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
    /// first bytes go. While a limit holds those back nobody looks: where polling is not by edges, a look asks for the next
    /// event, which would bring the next look at once.
    fn is_stale(&self, backend: &Peer<W>, clock: Instant) -> bool {
        match self.untouched {
            Untouched::Fresh => return backend.ready.is_read_closed() && backend.is_dead(),
            Untouched::Final => return false,
            Untouched::Warm | Untouched::No => {}
        }
        let throttle = self.throttle.as_ref();
        let is_held_back = || throttle.is_some_and(|one| one.is_paused_at(Direction::ToBackend, clock));
        backend.ready.is_read_closed() || (self.has_more_to_say() && !is_held_back() && backend.is_dead())
    }

    /// Tells the backend who its client is, with what that has said by then: not more, where a limit holds. None if the
    /// upload may begin behind it.
    #[cold]
    #[inline(never)]
    fn introduce_now(
        &mut self,
        mut introduction: Box<Introduction>,
        backend: &mut Peer<W>,
        tools: &mut Tools<'_>,
        moved: &mut Moved,
    ) -> Option<Pumped> {
        let mut parties = Parties {
            half: &mut self.to_backend,
            client: &mut self.client,
            backend,
            flight: &mut self.flight,
            most_words: tools.bandwidth.map_or(usize::MAX, |_| 0),
        };
        let up = introduction.say(&mut parties, tools.scratch);
        let is_pending = introduction.is_pending();
        self.introduction = Some(introduction);
        if self.flight.is_some() {
            self.note_upload(&up, backend);
        }
        if is_pending || !matches!(up.stop, Stop::Blocked) {
            return Some(up);
        }
        if self.untouched == Untouched::Final {
            self.untouched = Untouched::No;
        }
        moved.to_backend = up.moved;
        None
    }

    /// The same, if there is something to tell.
    fn say_introduction(
        &mut self,
        backend: &mut Peer<W>,
        tools: &mut Tools<'_>,
        moved: &mut Moved,
    ) -> Option<Pumped> {
        let introduction = self.introduction.take_if(|one| one.is_pending())?;
        self.introduce_now(introduction, backend, tools, moved)
    }

    fn upload(&mut self, backend: &mut Peer<W>, tools: &mut Tools<'_>, budget: u64) -> Pumped {
        if self.flight.is_none() {
            return self.run(Direction::ToBackend, backend, tools, budget);
        }
        let source = self.client.end();
        let mut source = End {
            stream: Recorder {
                source: source.stream,
                flight: &mut self.flight,
            },
            ready: source.ready,
            short_io_blocks: source.short_io_blocks,
        };
        let half = &mut self.to_backend;
        let scratch = at_most(tools.scratch, budget);
        let up = pump(half, &mut source, &mut backend.end(), scratch, budget);
        half.note_moved(up.moved);
        self.note_upload(&up, backend);
        up
    }

    /// Runs one direction. A finish that is met is passed on at once, unless it ends the relay: what is written
    /// before it may wait for it, and leave in one packet with it.
    fn run(&mut self, way: Direction, backend: &mut Peer<W>, tools: &mut Tools<'_>, budget: u64) -> Pumped {
        let client = &mut self.client;
        let (half, other, source, sink) = match way {
            Direction::ToBackend => (&mut self.to_backend, &self.to_client, client, backend),
            Direction::ToClient => (&mut self.to_client, &self.to_backend, backend, client),
        };
        let is_finish_passed = other.phase() != Phase::Done && self.lost_backend.is_none();
        let is_ending = is_finish_passed && source.ready.has_finished();
        let scratch = at_most(tools.scratch, budget);
        let pumped = match spliced(tools.pipes, half, source, sink, budget) {
            Some(pumped) => pumped,
            None if is_ending => pump_corked(half, source, sink, scratch, budget),
            None => pump_open(half, source, sink, scratch, budget),
        };
        if pumped.moved > 0 {
            half.note_moved(pumped.moved);
        }
        pumped
    }

    /// One turn of one half under limits.
    fn run_limited(
        &mut self,
        direction: Direction,
        backend: &mut Peer<W>,
        bandwidth: &Bandwidth,
        tools: &mut Tools<'_>,
    ) -> Pumped {
        let now = tools.clock;
        let Some(budget) = self.budget(direction, backend, bandwidth, now) else {
            return PAUSED;
        };
        let mut pumped = match direction {
            Direction::ToBackend => self.upload(backend, tools, budget),
            Direction::ToClient => self.run(direction, backend, tools, budget),
        };
        if budget == 0 && matches!(pumped.stop, Stop::Budget) {
            pumped.stop = Stop::Blocked;
        }
        let gate = self.throttle.get_or_insert_default().gate(direction);
        bandwidth.charge(gate, direction, pumped.moved, now);
        pumped
    }

    /// What a half may move now; 0 is for bytes that are stuck in it, and none while there is nothing to do.
    fn budget(
        &mut self,
        direction: Direction,
        backend: &Peer<W>,
        bandwidth: &Bandwidth,
        now: Instant,
    ) -> Option<u64> {
        let (half, source, sink) = match direction {
            Direction::ToBackend => (&self.to_backend, &self.client, backend),
            Direction::ToClient => (&self.to_client, backend, &self.client),
        };
        let gate = self.throttle.get_or_insert_default().gate(direction);
        gate.open();
        // Only a half that can read on asks its limit.
        if !half.wants_more(source.ready, sink.ready) || bandwidth.permit(gate, direction, now) {
            Some(bandwidth.quantum())
        } else {
            half.is_stuck().then_some(0)
        }
    }

    /// Takes note of who spoke in this turn, and who ended.
    fn advance_course(&mut self, moved: &Moved, down: &Stop, client_goes_on: bool, now: Instant) {
        let ended = match down {
            // Our own want of memory, or the network: nobody has ended.
            Stop::SourceFailed(error) if !net::is_by_peer(error) => Ended::Both,
            Stop::Finished | Stop::SourceFailed(_) if !client_goes_on || self.client.ready.has_failed() => {
                Ended::Both
            }
            Stop::Finished | Stop::SourceFailed(_) => Ended::Backend,
            Stop::Blocked | Stop::Budget | Stop::SinkFailed(_) => Ended::No,
        };
        let met = Met {
            asked: moved.to_backend > 0,
            answered: moved.to_client > 0 || self.to_client.is_stuck(),
            ended,
        };
        // One that nobody took is of no use any more.
        self.step = self.course.advance(met, now).or(self.step);
    }

    /// Begins to keep what the client is about to say to a warm connection.
    fn begin_flight(&mut self) {
        if self.untouched == Untouched::Warm
            && self.rescue != Rescue::Off
            && self.flight.is_none()
            && self.has_words()
        {
            self.flight = rescue::begin(&self.to_backend);
        }
    }

    /// Takes note of what was sent of a flight that is being kept.
    fn note_upload(&mut self, up: &Pumped, backend: &Peer<W>) {
        let Some(flight) = &mut self.flight else { return };
        rescue::note_upload(flight, up);
        if !flight.has_hope(self.rescue, backend.stream.knows_acknowledged()) {
            self.flight = None;
        }
    }

    /// What follows for a flight that is being kept from what was, or was not, heard from the backend. `None`:
    /// what would follow without a flight.
    fn judge(&mut self, down: &Pumped, backend: &Peer<W>, now: Instant) -> Option<Verdict> {
        let is_answered = down.moved > 0 || self.to_client.is_stuck();
        if is_answered || self.client.ready.has_failed() {
            self.flight = None;
            return None;
        }
        let flight = self.flight.as_mut()?;
        let end = match &down.stop {
            // The reset was heard of by a write, and is no news to a read.
            Stop::Finished | Stop::SourceFailed(_) if self.lost_backend.is_some() => LastWords::RESET,
            stop @ (Stop::Finished
            | Stop::Blocked
            | Stop::Budget
            | Stop::SourceFailed(_)
            | Stop::SinkFailed(_)) => rescue::last_words(stop, flight, backend)?,
        };
        let told = self.introduction.as_ref().map_or(0, |one| one.len());
        let unheard = || backend.stream.nothing_acknowledged(told as u64);
        match rescue::fate(flight, self.rescue, end, unheard, now) {
            Fate::Rescued => Some(Verdict::Rescue),
            Fate::InDoubt(pause) => Some(Verdict::Doubt(pause)),
            Fate::Lost(error) => {
                self.flight = None;
                let error = error?;
                // The backend has finished before it failed, and the client is told so; what was cut off is no finish.
                if matches!(down.stop, Stop::Finished) {
                    let _last = finish(&mut self.to_client, &mut self.client, true);
                    self.to_client.finish();
                }
                Some(Verdict::End(self.failed(Side::Backend, &error)))
            }
        }
    }

    /// Does the accounts of one turn, and takes off what was counted before.
    fn account(&mut self, moved: &mut Moved, now: Instant) {
        if moved.to_backend + moved.to_client > 0 {
            self.last_activity = now;
            self.untouched = Untouched::No;
            let replayed = self.replaying.min(moved.to_backend);
            self.replaying -= replayed;
            moved.to_backend -= replayed;
            self.bytes_to_backend += moved.to_backend;
            self.bytes_to_client += moved.to_client;
        }
    }

    fn after_upload(&mut self, stop: Stop, backend: &mut Peer<W>, again: &mut bool) -> Option<Ending> {
        match stop {
            Stop::Blocked => None,
            Stop::Budget => {
                *again = true;
                None
            }
            Stop::Finished => {
                self.untouched = Untouched::No;
                let is_last = self.to_client.phase() == Phase::Done;
                finish(&mut self.to_backend, backend, is_last)
            }
            Stop::SourceFailed(error) => Some(self.failed(Side::Client, &error)),
            // The backend is well and waits for more, for ever if it is not told.
            Stop::SinkFailed(error) if net::is_exhausted(&error) => Some(Ending::OUT_OF_MEMORY),
            Stop::SinkFailed(error) => {
                // The backend takes nothing any more, but what it said before is still to be delivered. An
                // end of its stream after a reset is no end: the error was used up by the failed write.
                self.to_backend.finish();
                self.untouched = Untouched::No;
                if self.to_client.phase() == Phase::Done {
                    return Some(self.failed(Side::Backend, &error));
                }
                if error.kind() != std::io::ErrorKind::BrokenPipe {
                    self.lost_backend = Some(Ending::reset_by(Side::Backend, &error));
                }
                None
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
            Stop::Finished if self.lost_backend.is_some() => self.lost_backend,
            Stop::Finished => {
                let is_last = self.to_backend.phase() == Phase::Done;
                finish(&mut self.to_client, &mut self.client, is_last)
            }
            Stop::SourceFailed(error) => Some(self.failed(Side::Backend, &error)),
            Stop::SinkFailed(error) => Some(self.failed(Side::Client, &error)),
        }
    }

    /// The end after a side that has failed and will never be read again to find that out: a client whose
    /// half is done or stuck, a backend whose half is done (its stuck bytes are its last ones, and wanted).
    fn after_failure(&self, backend: &Peer<W>, is_up_blocked: bool) -> Option<Ending> {
        let client = is_up_blocked.then(|| self.client.failure()).flatten();
        if let Some(error) = client {
            return Some(self.failed(Side::Client, &error));
        }
        let is_heard_out = self.to_client.phase() == Phase::Done;
        let error = is_heard_out.then(|| backend.failure()).flatten()?;
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

    /// What holds after every turn.
    fn check(&self, tools: &Tools<'_>) {
        self.to_backend.check();
        self.to_client.check();
        debug_assert!(
            self.replaying <= self.bytes_to_backend,
            "what is said again was counted before"
        );
        debug_assert!(
            self.untouched == Untouched::No
                || self.bytes_to_backend - self.replaying + self.bytes_to_client == 0,
            "what was exchanged is no longer untouched"
        );
        debug_assert!(
            self.lost_backend.is_none() || self.to_backend.phase() == Phase::Done,
            "nothing goes to a backend that takes nothing any more"
        );
        debug_assert!(
            self.throttle.is_none() || tools.bandwidth.is_some(),
            "a half is held back only by a limit"
        );
        if let Some(flight) = &self.flight {
            debug_assert!(self.rescue != Rescue::Off, "a flight is kept for a rescue");
            debug_assert!(
                self.bytes_to_client == 0 && !self.to_client.is_stuck(),
                "a flight is kept until the backend says something"
            );
            debug_assert!(
                self.replaying == 0,
                "a flight is said again once, to a connection that is no warm one"
            );
            flight.check();
        }
    }

    /// What a verdict says of the relay.
    fn check_verdict(&self, backend: &Peer<W>, verdict: Verdict, clock: Instant) {
        match verdict {
            Verdict::Stale => debug_assert!(self.untouched != Untouched::No, "something was exchanged on it"),
            Verdict::Rescue => debug_assert!(self.flight.is_some(), "there is nothing to be said again"),
            Verdict::Doubt(pause) => {
                debug_assert!(self.is_in_doubt() && !pause.is_zero(), "a doubt has an end");
                debug_assert!(
                    self.to_client.phase() != Phase::Done,
                    "the backend's finish is kept from the client"
                );
            }
            Verdict::Wait | Verdict::Again => {
                debug_assert!(
                    self.to_backend.phase() != Phase::Done || self.to_client.phase() != Phase::Done,
                    "a relay whose halves are done has ended"
                );
                debug_assert!(
                    self.resumes_at().is_none_or(|at| at > clock),
                    "a pause has an end, and it lies ahead"
                );
                self.check_half(Direction::ToBackend, backend, verdict, clock);
                self.check_half(Direction::ToClient, backend, verdict, clock);
            }
            Verdict::End(_) => {}
        }
    }

    /// What a half waits for when its turn is over: something that will be told.
    fn check_half(&self, way: Direction, backend: &Peer<W>, verdict: Verdict, clock: Instant) {
        let (half, source, sink) = match way {
            Direction::ToBackend => (&self.to_backend, self.client.ready, backend.ready),
            Direction::ToClient => (&self.to_client, backend.ready, self.client.ready),
        };
        debug_assert!(
            half.phase() != Phase::Ending || half.is_stuck() || !sink.is_writable(),
            "a finish is passed on once all is written"
        );
        debug_assert!(
            !half.is_stuck() || !sink.is_writable(),
            "bytes are held only while the sink takes none"
        );
        let is_paused = self
            .throttle
            .as_ref()
            .is_some_and(|throttle| throttle.is_paused_at(way, clock));
        debug_assert!(
            verdict == Verdict::Again || is_paused || !half.wants_more(source, sink),
            "a half that can go on does not wait"
        );
    }
}

/// Runs one direction through a pipe, if it has use for one, both its ends are plain sockets, and it can have one.
fn spliced<W: Wire>(
    pipes: &mut PipeReserve,
    half: &mut Half,
    source: &mut Peer<W>,
    sink: &mut Peer<W>,
    budget: u64,
) -> Option<Pumped> {
    if !half.has_use_for_pipe() {
        return None;
    }
    let (mut source, mut sink) = (source.plain_end()?, sink.plain_end()?);
    splice::pump(pipes, half, &mut source, &mut sink, budget)
}

/// Ends a half whose source has finished and whose bytes are written, once its sink has been told; the end of the relay
/// if it is the last one. Where the relay ends with it, most wires need not be told: they are closed.
fn finish<W: Wire>(half: &mut Half, sink: &mut Peer<W>, is_last: bool) -> Option<Ending> {
    if !is_last || !sink.stream.ends_by_closing() {
        let told = sink.stream.finish();
        if told.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
            sink.ready.write_blocked();
            return None;
        }
    }
    half.finish();
    is_last.then_some(Ending::FINISHED)
}

/// Pumps from a source that goes on; between plain sockets as if there were no other wires.
fn pump_open<W: Wire>(
    half: &mut Half,
    source: &mut Peer<W>,
    sink: &mut Peer<W>,
    scratch: &mut [u8],
    budget: u64,
) -> Pumped {
    if let (Some(mut source), Some(mut sink)) = (source.plain_end(), sink.plain_end()) {
        return pump(half, &mut source, &mut sink, scratch, budget);
    }
    pump(half, &mut source.end(), &mut sink.end(), scratch, budget)
}

/// Pumps what is left of a source that has finished; its end leaves with the finish, which the caller passes on.
fn pump_corked<W: Wire>(
    half: &mut Half,
    source: &mut Peer<W>,
    sink: &mut Peer<W>,
    scratch: &mut [u8],
    budget: u64,
) -> Pumped {
    let to = sink.end();
    let mut corked = End {
        stream: Corked(to.stream),
        ready: to.ready,
        short_io_blocks: to.short_io_blocks,
    };
    let pumped = pump(half, &mut source.end(), &mut corked, scratch, budget);
    if pumped.moved > 0 && !matches!(pumped.stop, Stop::Finished) {
        sink.stream.uncork();
    }
    pumped
}

#[cfg(test)]
mod tests;
