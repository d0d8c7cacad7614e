//! Scores become the active set.
//!
//! Owns the choice ([`mod@decide`]), its thread, and the [`Backend`] objects: it is the only publisher of the
//! [`ActiveSet`]. It must not know who probes, relays or holds connections; those who must hear of a switch
//! hang on its [`Hooks`].
//!
//! Invariants: a published set is never empty, unless the candidate list was so from the start; an address
//! keeps its one `Backend` as long as anybody holds it, in the set or in a relay, so that no live count is
//! lost when it leaves and comes back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use crate::backend::{ActiveSet, Backend};
use crate::base::clock;
use crate::base::published::{Published, Reader};
use crate::candidates::CandidateSet;
use crate::config;
use crate::metrics::counters::{ControlCounters, SwitchReason};
use crate::scorer::{Rated, ScoreBoard};
use crate::shutdown::Shutdown;

pub mod decide;
#[cfg(test)]
mod decide_tests;
mod report;
#[cfg(test)]
mod tests;

use decide::{Footing, Listed, Member, Situation, Switch, decide};

/// Asks the selector thread to evaluate at once.
#[derive(Debug, Default)]
pub struct Evaluate {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Evaluate {
    /// Asks for an evaluation: an active backend fails, or a stop has begun and the thread should see it. A
    /// changed candidate list is no reason: its newcomers are to be probed first. Requests that come before it
    /// gets to work are one.
    pub fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits to be asked, `patience` at most.
    fn wait(&self, patience: Duration) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut asked, _) = self
            .changed
            .wait_timeout_while(asked, patience, |asked| !*asked)
            .unwrap_or_else(PoisonError::into_inner);
        *asked = false;
    }
}

/// Who else acts on a switch.
pub struct Hooks {
    /// Called with each backend that joins, before the set that holds it is published.
    pub prepare: Box<dyn Fn(&Backend) + Send>,
    /// Called after a set was published.
    pub announce: Box<dyn Fn() + Send>,
}

/// The selector: what it reads, what it writes, and what it remembers.
pub struct Selector {
    rules: config::Selector,
    /// Reactor threads of the process; each backend has a share for each.
    reactors: usize,
    sources: Sources,
    sinks: Sinks,
    footing: Footing,
    told: report::Told,
    last_switch: Option<Instant>,
    /// Backends by address, as long as anybody holds them.
    known: HashMap<SocketAddr, Weak<Backend>>,
}

/// What the selector reads.
pub struct Sources {
    /// Who may be chosen.
    pub candidates: Reader<CandidateSet>,
    /// How good they are.
    pub board: Arc<RwLock<ScoreBoard>>,
}

/// What the selector writes.
pub struct Sinks {
    /// The active set; the selector is its only writer.
    pub active: Arc<Published<ActiveSet>>,
    /// Switches by reason, and whether the set is a fallback.
    pub counters: Arc<ControlCounters>,
    /// Who else acts on a switch.
    pub hooks: Hooks,
}

impl Selector {
    /// A selector that has chosen nothing yet.
    #[must_use]
    pub fn new(rules: config::Selector, reactors: usize, sources: Sources, sinks: Sinks) -> Self {
        Self {
            rules,
            reactors,
            sources,
            sinks,
            footing: Footing::Good,
            told: report::Told::default(),
            last_switch: None,
            known: HashMap::new(),
        }
    }

    /// Evaluates every interval and when asked, until the stop begins. Whoever begins it calls
    /// [`Evaluate::ask`] afterwards. The first set should have been chosen by [`evaluate`](Self::evaluate).
    pub fn run(mut self, evaluate: &Evaluate, shutdown: &Shutdown) {
        let mut due = clock::now() + self.rules.evaluation_interval;
        loop {
            evaluate.wait(due.saturating_duration_since(clock::now()));
            if shutdown.has_begun() {
                return;
            }
            let now = clock::now();
            if now >= due {
                due = now + self.rules.evaluation_interval;
            }
            self.evaluate(now);
        }
    }

    /// Looks at all scores and publishes another set if one is due; why, if so. Called once before serving
    /// starts, it chooses the first set.
    pub fn evaluate(&mut self, now: Instant) -> Option<SwitchReason> {
        self.sources.candidates.refresh();
        if self.sinks.counters.link_down.load(Ordering::Relaxed) != 0 {
            // Nobody answers, and nobody's score moves: whatever the set is, no other one would be better.
            return None;
        }
        let members = self.sinks.active.load();
        let (ranked, current) = self.rate(&members);
        let situation = Situation {
            ranked: &ranked,
            current: &current,
            footing: self.footing,
            last_switch: self.last_switch,
            now,
        };
        let decision = decide(&situation, &self.rules);
        if self.told.is_due(decision.footing.is_fallback(), now) {
            report::footing(decision.footing, self.rules.min_score_threshold);
        }
        self.footing = decision.footing;
        let fallback = u64::from(self.footing.is_fallback());
        self.sinks.counters.fallback.store(fallback, Ordering::Relaxed);
        let switch = decision.switch?;
        report::switch(&switch, &current);
        self.publish(&switch, &members, now);
        if !current.is_empty() {
            self.last_switch = Some(now);
        }
        Some(switch.reason)
    }

    /// The best candidates, and the members of the present set, with their scores.
    fn rate(&self, members: &ActiveSet) -> (Vec<Rated>, Vec<Member>) {
        let candidates = &self.sources.candidates;
        let size = self.rules.active_set_size;
        let board = self.sources.board.read().unwrap_or_else(PoisonError::into_inner);
        let mut ranked = decide::best(size, board.rated(), |addr| candidates.contains(addr));
        let member = |backend: &Arc<Backend>| {
            let addr = backend.addr;
            let rated = board
                .score(&addr)
                .map_or(Rated::unknown(addr), |score| Rated::new(addr, &score));
            let listed = if candidates.contains(&addr) {
                Listed::Yes
            } else {
                Listed::No
            };
            Member { rated, listed }
        };
        let current = members.backends.iter().map(member).collect();
        drop(board);
        if ranked.len() < size {
            // Too few were touched (initial probing is off): strangers rank last, and only a set that
            // cannot be chosen by score is made of them.
            for addr in even_sample(candidates, size) {
                if ranked.len() < size && ranked.iter().all(|rated| rated.addr != addr) {
                    ranked.push(Rated::unknown(addr));
                }
            }
        }
        (ranked, current)
    }

    fn publish(&mut self, switch: &Switch, before: &ActiveSet, now: Instant) {
        self.known.retain(|_, backend| backend.strong_count() > 0);
        let backends: Vec<_> = switch
            .members
            .iter()
            .map(|member| self.backend(member.addr, now))
            .collect();
        for backend in &backends {
            if !before.contains(&backend.addr) {
                (self.sinks.hooks.prepare)(backend);
            }
        }
        self.sinks.active.publish(Arc::new(ActiveSet { backends }));
        if let Some(counter) = self.sinks.counters.switches.get(switch.reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        (self.sinks.hooks.announce)();
    }

    /// The one backend of an address.
    fn backend(&mut self, addr: SocketAddr, now: Instant) -> Arc<Backend> {
        if let Some(known) = self.known.get(&addr).and_then(Weak::upgrade) {
            return known;
        }
        let backend = Arc::new(Backend::new(addr, now, self.reactors));
        self.known.insert(addr, Arc::downgrade(&backend));
        backend
    }
}

/// Up to `count` candidates, evenly spread over the list.
fn even_sample(candidates: &CandidateSet, count: usize) -> impl Iterator<Item = SocketAddr> {
    let len = candidates.len();
    let count = u128::try_from(count).unwrap_or(u128::MAX).min(len);
    // Quotient and remainder apart, so that a list of 2^127 addresses does not overflow.
    let place = move |i: u128| (len / count) * i + (len % count) * i / count;
    (0..count).filter_map(move |i| candidates.at(place(i)))
}
