//! Any number of clients on one poll, driven by the test itself: while it does not, they stand still.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::client::{Client, Outcome, Plan};
use crate::support::PATIENCE;

/// Longest sleep of the poll while a test waits for something that is none of the crowd's doing.
const GLANCE: Duration = Duration::from_millis(10);

/// Events looked at between two looks at the condition.
const EVENTS: usize = 1024;

/// Clients of one address.
#[derive(Debug)]
pub struct Crowd {
    addr: SocketAddr,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    /// When whose next byte goes, soonest first.
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    open: usize,
}

impl Crowd {
    /// All of them begin to connect at once.
    pub fn of(addr: SocketAddr, plans: impl IntoIterator<Item = Plan>) -> Self {
        let mut crowd = Self {
            addr,
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(EVENTS),
            clients: Vec::new(),
            alarms: BinaryHeap::new(),
            open: 0,
        };
        for plan in plans {
            crowd.add(plan);
        }
        crowd
    }

    /// One more begins to connect; its place.
    pub fn add(&mut self, plan: Plan) -> usize {
        let place = self.clients.len();
        let mut client = Client::start(self.addr, plan);
        if let Some(stream) = client.stream() {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(stream, Token(place), both).unwrap();
            self.open += 1;
        }
        self.clients.push(client);
        place
    }

    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    pub fn client(&mut self, place: usize) -> &mut Client {
        &mut self.clients[place]
    }

    /// Connections that have not ended.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Clients whose connection ended like this, or is open.
    pub fn count(&self, outcome: Outcome) -> usize {
        let outcomes = self.clients.iter().map(|client| client.outcome);
        outcomes.filter(|other| *other == outcome).count()
    }

    /// How many connections ended in which way.
    pub fn outcomes(&self) -> String {
        let mut counts = BTreeMap::new();
        for client in &self.clients {
            *counts.entry(format!("{:?}", client.outcome)).or_insert(0) += 1;
        }
        format!("{counts:?}")
    }

    /// One turn: waits for events, for `longest` at most.
    pub fn turn(&mut self, longest: Duration) {
        let now = Instant::now();
        let alarm = self.alarms.peek().map(|alarm| alarm.0.0);
        let patience = alarm.map_or(longest, |at| at.saturating_duration_since(now).min(longest));
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(1));
        if let Err(error) = self.poll.poll(&mut events, Some(patience)) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
            events.clear();
        }
        let now = Instant::now();
        for event in &events {
            self.turn_of(event.token().0, now);
        }
        self.events = events;
        while let Some(alarm) = self.alarms.peek()
            && alarm.0.0 <= now
            && let Some(alarm) = self.alarms.pop()
        {
            self.turn_of(alarm.0.1, now);
        }
    }

    fn turn_of(&mut self, place: usize, now: Instant) {
        self.change(place, |client| {
            let before = client.next_at;
            client.turn(now);
            client.next_at.filter(|_| client.next_at != before)
        });
    }

    /// Does something to a client that is open, and keeps the books.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut Client) -> Option<Instant>) {
        let client = &mut self.clients[place];
        if client.outcome != Outcome::Open {
            return;
        }
        let alarm = change(client);
        if client.outcome != Outcome::Open {
            self.open -= 1;
        } else if let Some(at) = alarm {
            self.alarms.push(Reverse((at, place)));
        }
    }

    /// Drives them until `condition` holds, or fails the test saying `what` did not come.
    pub fn drive_until(&mut self, what: &str, condition: impl FnMut(&mut Self) -> bool) {
        let came = self.drive(PATIENCE, condition);
        let outcomes = self.outcomes();
        assert!(came, "{what}: not within {PATIENCE:?}; clients: {outcomes}");
    }

    /// Drives them until all connections have ended.
    pub fn finish(&mut self) {
        self.finish_within(PATIENCE);
    }

    /// The same where there is more to do than is done in the usual time.
    pub fn finish_within(&mut self, patience: Duration) {
        let ended = self.drive(patience, |crowd| crowd.open == 0);
        assert!(ended, "not within {patience:?}; clients: {}", self.outcomes());
    }

    /// Drives them until `condition` holds; false when it does not in time.
    fn drive(&mut self, patience: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !condition(self) {
            if Instant::now() >= deadline {
                return false;
            }
            self.turn(GLANCE);
        }
        true
    }

    /// Drives them for so long, whatever happens.
    pub fn drive_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.turn(deadline.saturating_duration_since(Instant::now()).min(GLANCE));
        }
    }

    /// Those who hold back (never read, say nothing) go on like anybody else.
    pub fn release(&mut self) {
        let now = Instant::now();
        for place in 0..self.clients.len() {
            self.clients[place].release();
            self.turn_of(place, now);
        }
    }

    /// All leave in this instant.
    pub fn leave(&mut self) {
        for place in 0..self.clients.len() {
            self.change(place, |client| {
                client.end(Outcome::Left);
                None
            });
        }
    }

    /// All reset their connection in this instant.
    pub fn reset(&mut self) {
        for place in 0..self.clients.len() {
            self.change(place, |client| {
                client.end_by_reset();
                None
            });
        }
    }
}
