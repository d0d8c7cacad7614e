//! The thread that sizes the pools of all services.
//!
//! Owns when each service has its turn: on the [`Grid`] of its interval, so that services of one interval are one
//! wake-up. What is done with a target is [`targets`](super::targets)' business.
//!
//! It also says whether a service is asleep: by the clients that are counted beside demand. Of who is asleep, targets are
//! 0, and there are no turns.
//!
//! Invariants: it is the only writer of targets once a backend is published, and of a service's slumber; exactly those reactors are rung whose share
//! moved; nothing is kept of a service that left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::sleeper::Sleeper;
use super::targets::{Moved, Targets};
use crate::backend::ActiveSet;
use crate::base::clock;
use crate::base::deadlines::Deadlines;
use crate::base::doorbell::Ring;
use crate::base::grid::Grid;
use crate::base::published::Reader;
use crate::service::directory::{Directory, Phase, Service};
use crate::service::hub::Hub;
use crate::service::id::ServiceId;

/// The pool scaling thread.
#[derive(Debug)]
pub struct Scaler {
    hub: Arc<Hub>,
    directory: Reader<Directory>,
    services: BTreeMap<ServiceId, Served>,
    /// When each is to be looked at unasked.
    queue: Deadlines<ServiceId>,
    /// Kept for its memory.
    marked: Vec<ServiceId>,
}

/// One service.
#[derive(Debug)]
struct Served {
    service: Arc<Service>,
    sleeper: Sleeper,
    active: Reader<ActiveSet>,
    targets: Targets,
    next_at: Instant,
}

impl Scaler {
    /// A scaler that knows no service yet.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        let directory = Reader::unaware(Arc::clone(&hub.directory));
        Self {
            hub,
            directory,
            services: BTreeMap::new(),
            queue: Deadlines::default(),
            marked: Vec::new(),
        }
    }

    /// Adjusts targets until the stop begins.
    pub fn run(mut self) {
        let bell = Arc::clone(&self.hub.bells.pools);
        loop {
            let next = self.step(clock::now());
            if self.directory.phase == Phase::Stopping {
                return;
            }
            bell.wait(next);
        }
    }

    /// Follows what was published and adjusts the targets that are due; when the next ones are. Services of which nothing is
    /// new, and whose turn it is not, cost nothing.
    pub fn step(&mut self, now: Instant) -> Option<Instant> {
        let mut marked = std::mem::take(&mut self.marked);
        self.hub.bells.ready.pools.take(&mut marked);
        if self.directory.refresh() {
            self.adopt(now);
            marked.clear();
            marked.extend(self.services.keys());
        }
        for id in marked.drain(..) {
            self.visit(id, now);
        }
        self.marked = marked;
        while let Some((at, id)) = self.queue.due(now) {
            self.visit(id, now);
            debug_assert!(
                self.queue.due(now).is_none_or(|next| next > (at, id)),
                "time goes on"
            );
        }
        self.queue.next()
    }

    /// Does what is to be done for one service now, and has it queue for the next time.
    fn visit(&mut self, id: ServiceId, now: Instant) {
        let Some(service) = self.services.get_mut(&id) else {
            // It has left.
            return;
        };
        let mut moved = Moved::new();
        if service.active.refresh() {
            service.targets.follow(&service.active, now, &mut moved);
        }
        service.look_at_clients(&self.hub, now, &mut moved);
        if service.next_turn().is_some_and(|at| at <= now) {
            service.targets.turn(now, &mut moved);
            service.next_at = grid(&self.hub, &service.targets).next(now);
        }
        let next = [service.next_turn(), service.sleeper.again_at()];
        self.queue.set(id, next.into_iter().flatten().min());
        service.tell(&moved);
    }

    /// Backends whose demand is noted.
    #[cfg(test)]
    pub(super) fn backends(&self) -> usize {
        self.services
            .values()
            .map(|served| served.targets.backends())
            .sum()
    }

    /// Follows a changed directory.
    fn adopt(&mut self, now: Instant) {
        let directory = self.directory.shared();
        let mut before = std::mem::take(&mut self.services);
        for service in &directory.services {
            let id = service.live.id;
            let served = match before.remove(&id) {
                Some(known) => self.keep(known, service, now),
                None => self.begin(service, now),
            };
            let twin = self.services.insert(id, served);
            debug_assert!(twin.is_none(), "a service is in the directory once");
        }
        for id in before.into_keys() {
            self.queue.set(id, None);
        }
    }

    fn keep(&self, mut known: Served, service: &Arc<Service>, now: Instant) -> Served {
        known.service = Arc::clone(service);
        let mut moved = Moved::new();
        let interval = known.targets.interval();
        known.targets.adopt(&service.spec.pools, &mut moved);
        if known.targets.interval() != interval {
            known.next_at = grid(&self.hub, &known.targets).next(now);
        }
        known.tell(&moved);
        known
    }

    fn begin(&self, service: &Arc<Service>, now: Instant) -> Served {
        let active = Reader::new(Arc::clone(&service.live.active));
        let mut targets = Targets::new(&service.spec.pools);
        let mut moved = Moved::new();
        targets.follow(&active, now, &mut moved);
        let served = Served {
            service: Arc::clone(service),
            sleeper: Sleeper::new(service, now),
            active,
            next_at: grid(&self.hub, &targets).next(now),
            targets,
        };
        served.tell(&moved);
        served
    }
}

impl Served {
    /// Has those reactors look at it whose share of a target moved.
    fn tell(&self, moved: &Moved) {
        for reactor in moved {
            match self.service.live.marks.reactors.get(*reactor) {
                Some(mark) => mark.ring(),
                None => debug_assert!(false, "a share belongs to a reactor"),
            }
        }
    }

    /// When it has its next turn; none while it is asleep.
    fn next_turn(&self) -> Option<Instant> {
        (!self.sleeper.is_asleep()).then_some(self.next_at)
    }

    /// Has it fall asleep, or wake, if it is time to.
    fn look_at_clients(&mut self, hub: &Hub, now: Instant, moved: &mut Moved) {
        if !self.sleeper.look(&self.service, hub.started_at, now) {
            return;
        }
        // Targets first: whoever hears of it looks at them.
        if self.sleeper.is_asleep() {
            self.targets.rest(moved);
        } else {
            self.targets.rise(moved);
        }
        self.sleeper.tell(&self.service, &hub.events);
    }
}

/// When a service has its turns.
fn grid(hub: &Hub, targets: &Targets) -> Grid {
    Grid::new(hub.started_at, targets.interval())
}
