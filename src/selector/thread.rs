//! The selector thread: a loop around a step that takes the time.
//!
//! A simulation drives the same step. It sleeps at its doorbell: another directory, another state of our own link and
//! whoever asks for an evaluation ring it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::choice::Choice;
use crate::base::clock;
use crate::base::deadlines::Deadlines;
use crate::base::published::Reader;
use crate::scorer::link::{LinkView, Phase as LinkPhase};
use crate::service::directory::{Directory, Phase};
use crate::service::hub::Hub;
use crate::service::id::ServiceId;

/// All that the thread keeps.
#[derive(Debug)]
pub struct Selector {
    hub: Arc<Hub>,
    directory: Reader<Directory>,
    link: Reader<LinkView>,
    choices: BTreeMap<ServiceId, Choice>,
    /// When each is due.
    queue: Deadlines<ServiceId>,
    /// Kept for its memory.
    marked: Vec<ServiceId>,
}

impl Selector {
    /// A selector of the services that `hub` lists, which has chosen nothing yet.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        Self {
            directory: Reader::unaware(Arc::clone(&hub.directory)),
            link: Reader::new(Arc::clone(&hub.link)),
            choices: BTreeMap::new(),
            queue: Deadlines::default(),
            marked: Vec::new(),
            hub,
        }
    }

    /// Evaluates what is due and what is asked for, until the stop begins.
    pub fn run(mut self) {
        loop {
            let until = self.step(clock::now());
            if self.directory.phase == Phase::Stopping {
                return;
            }
            self.hub.bells.selector.wait(until);
        }
    }

    /// Evaluates what is due or asked for; returns when it is to be called again, if nobody rings before. Services of which
    /// nothing is new, and which are not due, cost nothing.
    pub fn step(&mut self, now: Instant) -> Option<Instant> {
        let mut marked = std::mem::take(&mut self.marked);
        self.hub.bells.ready.selector.take(&mut marked);
        let is_other = self.directory.refresh();
        if is_other {
            self.change(now);
        }
        let was_down = self.link.phase == LinkPhase::Down;
        let sweeps = self.link.sweeps;
        self.link.refresh();
        let is_down = self.link.phase == LinkPhase::Down;
        let is_for_all = (was_down && !is_down) || self.link.sweeps != sweeps;
        if is_other || is_for_all {
            marked.clear();
            marked.extend(self.choices.keys());
        }
        for id in marked.drain(..) {
            self.visit(id, is_for_all, now);
        }
        self.marked = marked;
        if is_down {
            return None;
        }
        while let Some((at, id)) = self.queue.due(now) {
            self.visit(id, false, now);
            debug_assert!(
                self.queue.due(now).is_none_or(|next| next > (at, id)),
                "time goes on"
            );
        }
        self.queue.next()
    }

    /// Looks at one service, and has it queue for when it is due.
    fn visit(&mut self, id: ServiceId, is_asked: bool, now: Instant) {
        let Some(choice) = self.choices.get_mut(&id) else {
            // It has left.
            return;
        };
        choice.hear(self.hub.started_at, now);
        choice.is_asked |= is_asked;
        // While nobody answers nobody's score moves: whatever a set is, no other one would be better.
        if self.link.phase != LinkPhase::Down {
            let is_due = choice.next_at().is_some_and(|at| at <= now);
            if is_due {
                choice.plan(self.hub.started_at, now);
            }
            if is_due || choice.is_asked {
                choice.evaluate(now);
            }
        }
        self.queue.set(id, choice.next_at());
    }

    /// Follows another directory: of services that left nothing is kept.
    fn change(&mut self, now: Instant) {
        let origin = self.hub.started_at;
        let mut before = std::mem::take(&mut self.choices);
        for service in &self.directory.services {
            let choice = if let Some(mut choice) = before.remove(&service.live.id) {
                if choice.change(service) {
                    choice.plan(origin, now);
                }
                choice
            } else {
                let mut choice = Choice::new(Arc::clone(service), Arc::clone(&self.hub.events), now);
                choice.plan(origin, now);
                choice
            };
            let other = self.choices.insert(service.live.id, choice);
            debug_assert!(other.is_none(), "no two services have the same number");
        }
        for id in before.into_keys() {
            self.queue.set(id, None);
        }
    }
}
