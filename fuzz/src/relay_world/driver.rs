//! What a reactor does with relays: events, turns, verdicts, timers, ends. The sockets are in memory.
//!
//! As short as it can be, and in the order of the reactor: connections that nobody uses hear of events first, then
//! relays, then those that have more to move, then timers.

use std::time::{Duration, Instant};

use tcp_forwarder::base::clock;
use tcp_forwarder::config::Rescue;
use tcp_forwarder::relay::close::{CloseReason, Ending, RESET_GRACE, Side};
use tcp_forwarder::relay::readiness::Closure;
use tcp_forwarder::relay::{Peer, Relay, Tools, Verdict};

use super::judge::Before;
use super::meter::Meter;
use super::socket::Told;
use super::wire::{INTRODUCTION, MemoryWire, Shared};
use super::world::{AHEAD, World};

/// Backends that a client may get.
const ATTEMPTS: u32 = 3;

/// How long a client may take for its last bytes before it gets a reset all the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far a client can rely on warm connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Full,
    AfterALook,
    None,
}

/// A client's connection to a backend.
#[derive(Debug)]
pub(super) enum Upstream {
    None,
    Dialling,
    Attached(usize, Peer<MemoryWire>),
}

/// An end that waits.
#[derive(Debug, Clone, Copy)]
enum HeldBack {
    /// Until the client has what was written to it.
    UntilSent(Ending),
    /// For a time.
    Grace(Ending),
}

/// One client's relay.
#[derive(Debug)]
pub(super) struct Ride {
    pub(super) relay: Relay<MemoryWire>,
    /// Its connection, and those to the backends that it has met.
    pub(super) link: usize,
    pub(super) met: Vec<usize>,
    /// Those of them whose words may be what the client has heard.
    pub(super) voices: Vec<usize>,
    pub(super) upstream: Upstream,
    trust: Trust,
    failed: u32,
    pub(super) is_warm: bool,
    pub(super) is_rescued: bool,
    is_queued: bool,
    held_back: Option<HeldBack>,
    deadline: Option<Duration>,
    resume_at: Option<Duration>,
    pub(super) ending: Option<Ending>,
    pub(super) meters: Option<[Meter; 2]>,
    /// Bytes that it says it moved.
    pub(super) moved: [u64; 2],
}

impl Ride {
    /// A client that is to be accepted.
    pub(super) fn new(link: usize, peer: Peer<MemoryWire>, meters: Option<[Meter; 2]>) -> Self {
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        Self {
            // It is accepted before anything else happens to it, which begins its time.
            relay: Relay::new(peer.stream, addr, clock::now()),
            link,
            met: Vec::new(),
            voices: Vec::new(),
            upstream: Upstream::None,
            trust: Trust::Full,
            failed: 0,
            is_warm: false,
            is_rescued: false,
            is_queued: false,
            held_back: None,
            deadline: None,
            resume_at: None,
            ending: None,
            meters,
            moved: [0; 2],
        }
    }

    fn client(&self) -> Shared {
        Shared::clone(&self.relay.client.stream.socket)
    }
}

impl World<'_> {
    /// The time as the reactor has it.
    fn instant(&self) -> Instant {
        self.origin + self.now
    }

    /// A client is accepted.
    pub(super) fn accept(&mut self, ride: usize) {
        let now = self.instant();
        let ride_of = &mut self.rides[ride];
        ride_of.relay.accepted_at = now;
        ride_of.relay.last_activity = now;
        let link = ride_of.link;
        self.links[link].is_polled = true;
        self.find_backend(ride);
    }

    fn find_backend(&mut self, ride: usize) {
        if self.rides[ride].failed >= ATTEMPTS {
            return self.close(ride, Ending::quiet(CloseReason::DialFailed));
        }
        let trust = self.rides[ride].trust;
        while trust == Trust::AfterALook && self.warm.last().is_some_and(|(_, peer)| peer.is_dead()) {
            self.drop_warm(self.warm.len() - 1);
        }
        if trust != Trust::None
            && let Some((link, peer)) = self.warm.pop()
        {
            let ride_of = &mut self.rides[ride];
            let may_try_twice = ride_of.failed + 1 < ATTEMPTS;
            ride_of
                .relay
                .begin_on_warm(if may_try_twice { self.rescue } else { Rescue::Off });
            ride_of.is_warm = true;
            return self.attach(ride, link, peer);
        }
        self.rides[ride].upstream = Upstream::Dialling;
        self.dial(ride);
    }

    /// A dial has come to its end: a connection, or none.
    pub(super) fn on_dialled(&mut self, ride: usize) {
        let is_refused = self.chance.one_in(8);
        let is_wanted =
            matches!(self.rides[ride].upstream, Upstream::Dialling) && self.rides[ride].ending.is_none();
        if is_refused {
            if is_wanted {
                self.rides[ride].failed += 1;
                self.rides[ride].upstream = Upstream::None;
                self.find_backend(ride);
            }
            return;
        }
        let (link, peer) = self.dialled();
        if is_wanted {
            self.rides[ride].is_warm = false;
            self.attach(ride, link, peer);
        } else {
            self.warm.push((link, peer));
        }
    }

    fn attach(&mut self, ride: usize, link: usize, mut peer: Peer<MemoryWire>) {
        let now = self.instant();
        self.story
            .tell(format!("{:?} {ride} is attached to {link}", self.now));
        self.links[link].ride = Some(ride);
        let ride_of = &mut self.rides[ride];
        ride_of.met.push(link);
        ride_of.voices.push(link);
        if self.introduces {
            ride_of.relay.introduce(INTRODUCTION.to_vec());
            peer.stream.unsaid = INTRODUCTION.len();
            let is_again = ride_of.met.len() > 1;
            let is_rescued = ride_of.is_rescued;
            self.count("introduced", 1);
            self.count("introduced_again", is_again.into());
            self.count("rescued_introduced", is_rescued.into());
        }
        let ride_of = &mut self.rides[ride];
        let is_pending = ride_of.relay.has_more_to_say() || peer.ready.is_readable();
        ride_of.relay.last_activity = now;
        ride_of.upstream = Upstream::Attached(link, peer);
        if is_pending {
            self.drive(ride);
        }
    }

    fn drop_warm(&mut self, place: usize) {
        let (_, peer) = self.warm.remove(place);
        peer.stream.socket.borrow_mut().close();
    }

    /// A turn of the reactor.
    pub(super) fn turn(&mut self) {
        let mut told: Vec<(usize, Told)> = Vec::new();
        for (link, link_of) in self.links.iter().enumerate().filter(|(_, link)| link.is_polled) {
            told.extend(link_of.ours.borrow_mut().poll().map(|news| (link, news)));
        }
        if self.chance.one_in(2) {
            told.reverse();
        }
        for (link, news) in &told {
            self.on_idle(*link, *news);
        }
        for (link, news) in told {
            self.on_relayed(link, news);
        }
        for ride in std::mem::take(&mut self.run_queue) {
            self.rides[ride].is_queued = false;
            self.drive(ride);
        }
        for ride in 0..self.rides.len() {
            self.fire_timers(ride);
        }
    }

    fn on_idle(&mut self, link: usize, news: Told) {
        let Some(place) = self.warm.iter().position(|(warm, _)| *warm == link) else {
            return;
        };
        let (_, peer) = &mut self.warm[place];
        news.apply(&mut peer.ready);
        if news.closure > Closure::Open || (news.is_readable() && peer.is_dead()) {
            self.drop_warm(place);
        }
    }

    fn on_relayed(&mut self, link: usize, news: Told) {
        let Some(ride) = self.links[link].ride else { return };
        let ride_of = &mut self.rides[ride];
        if ride_of.ending.is_some() {
            return;
        }
        if let Upstream::Attached(attached, peer) = &mut ride_of.upstream
            && *attached == link
        {
            news.apply(&mut peer.ready);
            return self.drive(ride);
        }
        if ride_of.link != link {
            return;
        }
        news.apply(&mut ride_of.relay.client.ready);
        match (ride_of.held_back, &ride_of.upstream) {
            (Some(HeldBack::UntilSent(ending)), _) if news.closure == Closure::Failed => {
                self.close(ride, ending);
            }
            (Some(_), _) => {}
            (None, Upstream::Attached(..)) => self.drive(ride),
            (None, Upstream::Dialling | Upstream::None) => {
                let has_failed = ride_of.client().borrow_mut().take_error().is_some();
                if news.closure > Closure::Open && has_failed {
                    self.close(ride, Ending::quiet(CloseReason::ClientReset));
                }
            }
        }
    }

    /// Gives a relay its turn, and does what it says.
    fn drive(&mut self, ride: usize) {
        let now = self.instant();
        let ride_of = &mut self.rides[ride];
        let Upstream::Attached(link, peer) = &mut ride_of.upstream else {
            return;
        };
        if ride_of.held_back.is_some() || ride_of.ending.is_some() {
            return;
        }
        let before = Before::of(&ride_of.relay.client.stream.socket, &peer.stream.socket);
        let mut tools = Tools {
            scratch: &mut self.scratch,
            pipes: &mut self.pipes,
            bandwidth: self.bandwidth.as_ref(),
            now,
            clock: now + AHEAD,
        };
        let (moved, verdict) = ride_of.relay.drive(peer, &mut tools);
        ride_of.moved[0] += moved.to_backend;
        ride_of.moved[1] += moved.to_client;
        let link = *link;
        self.story
            .tell(format!("{:?} {ride} on {link}: {moved:?} {verdict:?}", self.now));
        self.judge_turn(ride, &before, verdict);
        let ride_of = &mut self.rides[ride];
        if let Some(at) = ride_of.relay.resumes_at() {
            let at = at.saturating_duration_since(self.origin + AHEAD);
            ride_of.resume_at = Some(at);
            self.count("pauses", 1);
            self.turn_at(at);
        }
        self.act(ride, verdict);
    }

    fn act(&mut self, ride: usize, verdict: Verdict) {
        match verdict {
            Verdict::Wait => {}
            Verdict::Again => {
                self.count("turns_again", 1);
                if !std::mem::replace(&mut self.rides[ride].is_queued, true) {
                    self.run_queue.push(ride);
                }
            }
            Verdict::Stale => {
                self.count("stale", 1);
                self.rides[ride].relay.forget_stale();
                self.rides[ride].trust = Trust::AfterALook;
                if let Some(peer) = self.detach(ride) {
                    peer.stream.socket.borrow_mut().close();
                }
                self.find_backend(ride);
            }
            Verdict::Rescue => {
                self.count("rescued", 1);
                let ride_of = &mut self.rides[ride];
                ride_of.relay.say_again();
                ride_of.trust = Trust::None;
                ride_of.failed += 1;
                ride_of.is_rescued = true;
                if let Some(peer) = self.detach(ride) {
                    peer.stream.socket.borrow_mut().reset();
                }
                self.find_backend(ride);
            }
            Verdict::Doubt(pause) => {
                self.count("doubts", 1);
                let at = self.now + pause;
                self.rides[ride].deadline = Some(at);
                self.turn_at(at);
            }
            Verdict::End(ending) => self.end(ride, ending),
        }
    }

    fn detach(&mut self, ride: usize) -> Option<Peer<MemoryWire>> {
        match std::mem::replace(&mut self.rides[ride].upstream, Upstream::None) {
            Upstream::Attached(_, peer) => Some(peer),
            Upstream::Dialling | Upstream::None => None,
        }
    }

    fn fire_timers(&mut self, ride: usize) {
        let now = self.now;
        let ride_of = &mut self.rides[ride];
        if let Some(HeldBack::UntilSent(ending)) = ride_of.held_back {
            let has_all = {
                let client = ride_of.client();
                let client = client.borrow();
                client.acked == client.written
            };
            if has_all {
                return self.hold_back(ride, HeldBack::Grace(ending), RESET_GRACE);
            }
        }
        let ride_of = &mut self.rides[ride];
        if ride_of.deadline.is_some_and(|at| at <= now) {
            ride_of.deadline = None;
            match ride_of.held_back {
                Some(HeldBack::UntilSent(ending) | HeldBack::Grace(ending)) => {
                    return self.close(ride, ending);
                }
                None if ride_of.relay.is_in_doubt() => self.drive(ride),
                None => {}
            }
        }
        let ride_of = &mut self.rides[ride];
        if ride_of.resume_at.is_some_and(|at| at <= now) {
            ride_of.resume_at = None;
            self.drive(ride);
        }
    }

    /// Ends a relay; after a reset that waits while bytes may be on their way.
    fn end(&mut self, ride: usize, ending: Ending) {
        self.judge_ending(ride, ending);
        let relay = &self.rides[ride].relay;
        let settled = relay.last_activity + RESET_GRACE;
        let has_moved = relay.bytes_to_backend + relay.bytes_to_client > 0;
        if ending.reset.is_of(Side::Client) && relay.bytes_to_client > 0 {
            self.hold_back(ride, HeldBack::UntilSent(ending), PATIENCE);
        } else if ending.is_abrupt() && has_moved && settled > self.instant() {
            let grace = settled.saturating_duration_since(self.instant());
            self.hold_back(ride, HeldBack::Grace(ending), grace);
        } else {
            self.close(ride, ending);
        }
    }

    fn hold_back(&mut self, ride: usize, held_back: HeldBack, time: Duration) {
        self.count("held_back", 1);
        let at = self.now + time;
        self.rides[ride].held_back = Some(held_back);
        self.rides[ride].deadline = Some(at);
        self.turn_at(at);
    }

    /// Closes both sides, and whatever belongs to the relay.
    fn close(&mut self, ride: usize, ending: Ending) {
        self.story
            .tell(format!("{:?} {ride} is closed: {ending:?}", self.now));
        self.count(ending.reason.label(), 1);
        let upstream = self.detach(ride);
        let ride_of = &mut self.rides[ride];
        ride_of.ending = Some(ending);
        ride_of.held_back = None;
        if let Some(bandwidth) = &self.bandwidth {
            ride_of.relay.give_back(bandwidth);
        }
        let sides = [
            (Some(ride_of.client()), Side::Client),
            (upstream.map(|peer| peer.stream.socket), Side::Backend),
        ];
        for (socket, side) in sides {
            let Some(socket) = socket else { continue };
            if ending.reset.is_of(side) {
                socket.borrow_mut().reset();
            } else {
                socket.borrow_mut().close();
            }
        }
    }
}
