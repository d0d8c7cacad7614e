//! Connections: two sockets each, and what is on its way between them.

use std::time::Duration;

use super::actor::Actor;
use super::chance::Chance;
use super::socket::{Habit, Room, Segment, Socket};
use super::wire::Shared;

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToRelay,
    ToActor,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    /// The relay's socket; the other one is the actor's.
    pub(super) ours: Shared,
    pub(super) actor: Actor,
    /// When the actor's next step is to come.
    pub(super) step_at: Option<Duration>,
    /// Whether the reactor polls it: a client that was not accepted is not.
    pub(super) is_polled: bool,
    /// Which client's relay it has to do with.
    pub(super) ride: Option<usize>,
    /// Whether a rescue took the client away, and the backend must not hear what is said elsewhere then.
    pub(super) must_stay_deaf: bool,
    delay: Duration,
    jitter: fastrand::Rng,
    last_arrival: [Duration; 2],
    is_cut: bool,
}

impl Link {
    pub(super) fn new(actor: Actor, ours: Shared, chance: &mut Chance<'_>) -> Self {
        Self {
            ours,
            actor,
            step_at: None,
            is_polled: false,
            ride: None,
            must_stay_deaf: false,
            delay: delay(chance),
            jitter: chance.rng(),
            last_arrival: [Duration::ZERO; 2],
            is_cut: false,
        }
    }

    /// What both ends send now, and when it arrives; nothing does where the actor is off the network.
    pub(super) fn send(&mut self, now: Duration) -> Vec<(Duration, Way, Segment)> {
        let mut sent = Vec::new();
        for (way, socket) in [(Way::ToActor, &self.ours), (Way::ToRelay, &self.actor.socket)] {
            let segments = socket.borrow_mut().emit();
            for segment in segments {
                let jitter = self
                    .jitter
                    .u32(..=u32::try_from(self.delay.as_micros() / 2).unwrap_or_default());
                let last = &mut self.last_arrival[way as usize];
                *last = (*last).max(now + self.delay + Duration::from_micros(jitter.into()));
                if !self.is_cut {
                    sent.push((*last, way, segment));
                }
            }
        }
        sent
    }

    /// Whether the actor has gone off the network just now.
    pub(super) fn is_newly_cut(&mut self) -> bool {
        let is_new = self.actor.has_vanished && !self.is_cut;
        self.is_cut |= is_new;
        is_new
    }

    /// Something arrives.
    pub(super) fn arrive(&mut self, way: Way, segment: Segment) {
        match way {
            _ if self.is_cut => {}
            Way::ToRelay => self.ours.borrow_mut().on(segment),
            Way::ToActor => self.actor.socket.borrow_mut().on(segment),
        }
    }
}

/// How long a way is.
pub(super) fn delay(chance: &mut Chance<'_>) -> Duration {
    Duration::from_micros(chance.pick(&[0, 50, 1_000, 40_000, 200_000]))
}

/// Two sockets of a connection that stands: the relay's and the actor's.
pub(super) fn sockets(chance: &mut Chance<'_>) -> [Socket; 2] {
    let mut room = || Room {
        receive: chance.room(),
        send: chance.room(),
        segment: chance.room().min(1_400),
    };
    let (ours, theirs) = (room(), room());
    let habit = if chance.one_in(3) {
        Habit::Rearmed(chance.rng())
    } else {
        Habit::Edges
    };
    [
        Socket::new(ours, habit, theirs.receive),
        Socket::new(theirs, Habit::Edges, ours.receive),
    ]
}
