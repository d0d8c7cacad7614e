//! The selector thread: a loop around a step that takes the time.
//!
//! A simulation drives the same step. It sleeps at its doorbell: another directory, another state of our own link and
//! whoever asks for an evaluation ring it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::choice::Choice;
use crate::base::clock;
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
}

impl Selector {
    /// A selector of the services that `hub` lists, which has chosen nothing yet.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        let mut selector = Self {
            directory: Reader::new(Arc::clone(&hub.directory)),
            link: Reader::new(Arc::clone(&hub.link)),
            choices: BTreeMap::new(),
            hub,
        };
        selector.change(selector.hub.started_at);
        selector
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

    /// Evaluates what is due or asked for; returns when it is to be called again, if nobody rings before.
    pub fn step(&mut self, now: Instant) -> Option<Instant> {
        if self.directory.refresh() {
            self.change(now);
        }
        let was_down = self.link.phase == LinkPhase::Down;
        let sweeps = self.link.sweeps;
        self.link.refresh();
        let is_turned = self.link.sweeps != sweeps;
        let is_down = self.link.phase == LinkPhase::Down;
        for choice in self.choices.values_mut() {
            choice.hear(self.hub.started_at, now);
            choice.is_asked |= (was_down && !is_down) || is_turned;
            if is_down {
                // Nobody answers, and nobody's score moves: whatever a set is, no other one would be better.
                continue;
            }
            let is_due = choice.next_at().is_some_and(|at| at <= now);
            if is_due {
                choice.plan(self.hub.started_at, now);
            }
            if is_due || choice.is_asked {
                choice.evaluate(now);
            }
        }
        if is_down {
            return None;
        }
        self.choices.values().filter_map(Choice::next_at).min()
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
    }
}
