//! The world: its time, what is going to happen, and in which order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tcp_forwarder::base::clock;
use tcp_forwarder::config::{BandwidthLimits, Rescue};
use tcp_forwarder::relay::Peer;
use tcp_forwarder::relay::bandwidth::Bandwidth;
use tcp_forwarder::relay::flight::MOST_BYTES;
use tcp_forwarder::relay::pipe::PipeReserve;
use tcp_forwarder::relay::readiness::Readiness;

use super::super::choices::Choices;
use super::actor::{Actor, Voice, backend, client};
use super::chance::Chance;
use super::driver::Ride;
use super::meter::Meter;
use super::network::{Link, Way, delay, sockets};
use super::socket::Segment;
use super::wire::MemoryWire;
use super::{Story, Tally};

/// How long a connection whose other end has gone off the network takes to fail.
const TIME_OUT: Duration = Duration::from_secs(30);

/// Things that happen in a world, at most: more means that something turns in a circle.
const MOST_EVENTS: u64 = 200_000;

/// How far the clock that limits of bandwidth use is ahead of the reactor's own time.
pub(super) const AHEAD: Duration = Duration::from_secs(7);

/// What happens.
#[derive(Debug)]
enum Event {
    Arrive(usize, Way, Segment),
    /// An actor goes on.
    Step(usize),
    TimeOut(usize),
    Accept(usize),
    /// A dial for a client has come to its end.
    Dialled(usize),
    /// The reactor has its turn.
    Turn,
}

/// All there is.
pub(super) struct World<'a> {
    pub(super) now: Duration,
    /// When the world began, and when the clock of its limits did.
    pub(super) origin: Instant,
    queue: BTreeMap<(Duration, u64), Event>,
    happened: u64,
    is_turn_due: bool,
    pub(super) chance: Chance<'a>,
    pub(super) links: Vec<Link>,
    pub(super) rides: Vec<Ride>,
    /// Connections to backends that no relay uses, oldest first.
    pub(super) warm: Vec<(usize, Peer<MemoryWire>)>,
    pub(super) rescue: Rescue,
    knows_acknowledged: bool,
    /// Whether backends are told of their clients.
    pub(super) introduces: bool,
    pub(super) bandwidth: Option<Bandwidth>,
    /// Meters of the limit of all relays, a direction each.
    pub(super) total: Option<[Meter; 2]>,
    pub(super) scratch: Vec<u8>,
    pub(super) pipes: PipeReserve,
    /// How long a reactor takes to notice.
    lag: Duration,
    pub(super) run_queue: Vec<usize>,
    pub(super) tally: Tally,
    pub(super) story: &'a Story,
}

impl<'a> World<'a> {
    pub(super) fn new(choices: Choices<'a>, story: &'a Story) -> Self {
        let mut chance = Chance::of(choices);
        let origin = clock::now();
        let mut world = Self {
            now: Duration::ZERO,
            origin,
            queue: BTreeMap::new(),
            happened: 0,
            is_turn_due: false,
            links: Vec::new(),
            rides: Vec::new(),
            warm: Vec::new(),
            rescue: chance.pick(&[Rescue::Safe, Rescue::Safe, Rescue::Always, Rescue::Off]),
            knows_acknowledged: !chance.one_in(4),
            introduces: false,
            bandwidth: None,
            total: None,
            scratch: vec![0; usize::try_from(chance.room()).unwrap_or_default()],
            pipes: PipeReserve::of(0),
            lag: Duration::from_micros(chance.pick(&[0, 0, 100, 30_000])),
            run_queue: Vec::new(),
            tally: Tally::default(),
            story,
            chance,
        };
        world.people();
        world
    }

    /// Limits, warm connections and clients.
    fn people(&mut self) {
        let clients = 1 + self.chance.below(3);
        // What a half may hold: what one read brought, or what a rescue says again.
        let read = self.scratch.len();
        let flight = if self.rescue == Rescue::Off { 0 } else { MOST_BYTES };
        let held = [read.max(flight), read].map(|bytes| bytes as u64);
        let mut limits = BandwidthLimits::default();
        if self.chance.one_in(3) {
            limits.per_connection = self.chance.pick(&[0, 20_000, 300_000]);
            limits.total = self.chance.pick(&[0, 30_000, 2_000_000]);
        }
        self.bandwidth = Bandwidth::of(&limits, self.origin);
        let meters = |rate, halves| (rate > 0).then(|| held.map(|held| Meter::of(rate, halves, held)));
        self.total = meters(limits.total, clients);
        for _ in 0..self.chance.below(5) {
            self.add_warm();
        }
        for _ in 0..clients {
            let (opening, plan) = client(&mut self.chance);
            let (link, peer) = self.connect(opening, plan);
            let at = self.chance.pause();
            let ride = self.rides.len();
            self.links[link].ride = Some(ride);
            self.rides
                .push(Ride::new(link, peer, meters(limits.per_connection, 1)));
            self.schedule(at, Event::Accept(ride));
            self.step_at(link, at);
        }
        self.introduces = self.chance.one_in(3);
    }

    fn add_warm(&mut self) {
        let (link, peer) = self.dialled();
        self.warm.push((link, peer));
    }

    /// A connection to a backend.
    pub(super) fn dialled(&mut self) -> (usize, Peer<MemoryWire>) {
        let plan = backend(&mut self.chance);
        let (link, peer) = self.connect(Vec::new(), plan);
        self.links[link].is_polled = true;
        self.step_at(link, self.now);
        (link, peer)
    }

    fn connect(&mut self, opening: Vec<u8>, plan: Vec<super::actor::Act>) -> (usize, Peer<MemoryWire>) {
        let [ours, theirs] = sockets(&mut self.chance).map(|socket| Rc::new(RefCell::new(socket)));
        let id = self.links.len() as u64;
        self.story
            .tell(format!("{id}: {plan:?}, opening of {}", opening.len()));
        let actor = Actor::new(theirs, Voice { id, opening }, plan, &mut self.chance);
        self.links
            .push(Link::new(actor, Rc::clone(&ours), &mut self.chance));
        let stream = MemoryWire {
            socket: ours,
            knows_acknowledged: self.knows_acknowledged,
            unsaid: 0,
        };
        let ready = Readiness::FRESH;
        (self.links.len() - 1, Peer { stream, ready })
    }

    /// A dial for a client begins.
    pub(super) fn dial(&mut self, ride: usize) {
        let takes = 2 * delay(&mut self.chance);
        self.schedule(self.now + takes, Event::Dialled(ride));
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.happened += 1;
        self.queue.insert((at.max(self.now), self.happened), event);
    }

    /// An actor is to go on then, or sooner.
    fn step_at(&mut self, link: usize, at: Duration) {
        let step_at = &mut self.links[link].step_at;
        if step_at.is_none_or(|sooner| sooner > at) {
            *step_at = Some(at);
            self.schedule(at, Event::Step(link));
        }
    }

    /// The reactor is to have a turn then.
    pub(super) fn turn_at(&mut self, at: Duration) {
        self.schedule(at, Event::Turn);
    }

    /// Counts what has happened.
    pub(super) fn count(&mut self, what: &'static str, times: u64) {
        *self.tally.entry(what).or_default() += times;
    }

    /// Goes on until nothing is left to happen.
    pub(super) fn run(mut self) -> Tally {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            assert!(self.happened < MOST_EVENTS, "it turns in a circle");
            self.now = at;
            self.happen(event);
        }
        self.judge_the_end();
        self.tally
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(link, way, segment) => {
                self.links[link].arrive(way, segment);
                self.settle(link);
            }
            Event::Step(link) => {
                self.links[link].step_at.take_if(|at| *at <= self.now);
                let heard_before = self.links[link].actor.heard;
                let (heard, next) = self.links[link].actor.step(self.now);
                self.judge_heard(link, heard_before, &heard);
                if self.links[link].is_newly_cut() {
                    self.story.tell(format!("{:?} {link} vanishes", self.now));
                    self.schedule(self.now + TIME_OUT, Event::TimeOut(link));
                }
                if let Some(next) = next {
                    self.step_at(link, next);
                }
                self.settle(link);
            }
            Event::TimeOut(link) => {
                let link_of = &self.links[link];
                for socket in [&link_of.ours, &link_of.actor.socket] {
                    socket.borrow_mut().fail_told(ErrorKind::TimedOut);
                }
                self.settle(link);
            }
            Event::Accept(ride) => {
                self.accept(ride);
                self.settle_all();
            }
            Event::Dialled(ride) => {
                self.on_dialled(ride);
                self.settle_all();
            }
            Event::Turn => {
                self.is_turn_due = false;
                self.turn();
                self.settle_all();
            }
        }
    }

    fn settle_all(&mut self) {
        for link in 0..self.links.len() {
            self.settle(link);
        }
        if !self.run_queue.is_empty() {
            self.notice();
        }
    }

    /// Sends what is to be sent on a connection, and wakes who is to notice something.
    fn settle(&mut self, link: usize) {
        let sent = self.links[link].send(self.now);
        for (at, way, segment) in sent {
            self.schedule(at, Event::Arrive(link, way, segment));
        }
        let actor = &self.links[link].actor;
        if actor.socket.borrow_mut().poll().is_some() {
            self.step_at(link, self.now);
        }
        if self.links[link].is_polled && self.links[link].ours.borrow().has_news() {
            self.notice();
        }
    }

    /// The reactor wakes up soon.
    fn notice(&mut self) {
        if !self.is_turn_due {
            self.is_turn_due = true;
            self.schedule(self.now + self.lag, Event::Turn);
        }
    }
}
