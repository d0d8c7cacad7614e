//! The targets of one service's backends. Without a clock and a thread.
//!
//! Owns the memory of demand of each member of the active set, and what a strategy makes of it. It must not know who is
//! woken for it; it names the reactors whose share moved.
//!
//! Invariants: a target is what its strategy allows from the moment on at which either is known here; the shares that
//! are written add up to their target.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::debug;

use super::demand::{Demand, ReactorReading, Reading};
use super::sizing;
use crate::backend::{ActiveSet, Backend, ReactorShare};
use crate::config::Strategy;

/// How often peaks are noted when nothing is scaled (static, off).
const NOTE_INTERVAL: Duration = Duration::from_secs(5);

/// Gives a backend that joins the active set its first targets, so that reactors need not wait for the
/// thread's next turn.
pub fn prepare(backend: &Backend, strategy: &Strategy) {
    let target = sizing::first_target(strategy);
    backend.target.store(target, Ordering::Relaxed);
    let shares = sizing::distribute(target, &vec![0; backend.shares.len()]);
    for (share, target) in backend.shares.iter().zip(shares) {
        share.target.store(target, Ordering::Relaxed);
    }
}

/// The reactors whose share of some backend moved.
pub(super) type Moved = BTreeSet<usize>;

/// The targets of the backends of one service.
#[derive(Debug)]
pub(super) struct Targets {
    strategy: Strategy,
    demands: Vec<(Arc<Backend>, Demand)>,
}

impl Targets {
    /// No backend is known yet.
    pub(super) fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            demands: Vec::new(),
        }
    }

    /// How often a [`turn`](Self::turn) is due.
    pub(super) fn interval(&self) -> Duration {
        match &self.strategy {
            Strategy::Dynamic(rules) => rules.interval,
            Strategy::Static { .. } | Strategy::Off => NOTE_INTERVAL,
        }
    }

    /// Backends whose demand is noted.
    #[cfg(test)]
    pub(super) fn backends(&self) -> usize {
        self.demands.len()
    }

    /// Follows a changed strategy: what it does not allow ends at once.
    pub(super) fn adopt(&mut self, strategy: &Strategy, moved: &mut Moved) {
        if self.strategy == *strategy {
            return;
        }
        self.strategy = strategy.clone();
        for (backend, demand) in &self.demands {
            confine(backend, demand, &self.strategy, moved);
        }
    }

    /// Follows a changed active set: forgets the demand of backends that left, and begins to note that of new ones.
    pub(super) fn follow(&mut self, active: &ActiveSet, now: Instant, moved: &mut Moved) {
        let is = |a: &Arc<Backend>, b: &Arc<Backend>| Arc::ptr_eq(a, b);
        self.demands
            .retain(|(known, _)| active.backends.iter().any(|member| is(member, known)));
        for member in &active.backends {
            if !self.demands.iter().any(|(known, _)| is(known, member)) {
                let reading = read(member);
                let mut demand = Demand::new(now, &reading);
                // Reading takes the peaks, so they must be noted here; rates begin with the next turn.
                demand.note(now, &reading);
                // It may have been prepared under the strategy before.
                confine(member, &demand, &self.strategy, moved);
                self.demands.push((Arc::clone(member), demand));
            }
        }
        debug_assert_eq!(self.demands.len(), active.backends.len(), "a member is one once");
    }

    /// Reads the demand of every backend and moves its targets.
    pub(super) fn turn(&mut self, now: Instant, moved: &mut Moved) {
        for (backend, demand) in &mut self.demands {
            demand.note(now, &read(backend));
            let peak = demand.recent_peak();
            backend.recent_peak.store(peak, Ordering::Relaxed);
            if let Strategy::Dynamic(rules) = &self.strategy {
                let target = backend.target.load(Ordering::Relaxed);
                let next = sizing::next_target(target, peak, rules);
                retarget(backend, target, next);
                share_out(backend, next, &demand.reactor_peaks(), moved);
            }
        }
    }
}

/// Moves a target that its strategy does not allow to the nearest that it does.
fn confine(backend: &Backend, demand: &Demand, strategy: &Strategy, moved: &mut Moved) {
    let target = backend.target.load(Ordering::Relaxed);
    let next = sizing::nearest_target(target, strategy);
    if next == target {
        return;
    }
    retarget(backend, target, next);
    let peaks = match strategy {
        Strategy::Dynamic(_) => demand.reactor_peaks(),
        Strategy::Static { .. } | Strategy::Off => vec![0; backend.shares.len()],
    };
    share_out(backend, next, &peaks, moved);
}

/// Reads a backend's counters, and takes its peaks.
fn read(backend: &Backend) -> Reading {
    let (dials, dialling) = backend.dial_durations.totals();
    let reactor = |share: &ReactorShare| {
        let in_use = share.in_use.load(Ordering::Relaxed);
        ReactorReading {
            peak: share.peak.swap(0, Ordering::Relaxed).max(in_use),
            requests: share.requests.load(Ordering::Relaxed),
        }
    };
    Reading {
        peak: backend.take_peak(),
        reactors: backend.shares.iter().map(reactor).collect(),
        dials,
        dialling,
    }
}

fn retarget(backend: &Backend, target: u32, next: u32) {
    let counter = match next.cmp(&target) {
        std::cmp::Ordering::Equal => return,
        std::cmp::Ordering::Greater => &backend.scale_ups,
        std::cmp::Ordering::Less => &backend.scale_downs,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    backend.target.store(next, Ordering::Relaxed);
    debug!(target: "tcp_forwarder::pools", "pool of {}: target {target} -> {next}", backend.addr);
}

/// Writes the shares of a target, if they are worth it, and notes the reactors whose share moved.
fn share_out(backend: &Backend, target: u32, peaks: &[u32], moved: &mut Moved) {
    let shares = sizing::distribute(target, peaks);
    debug_assert_eq!(shares.len(), backend.shares.len(), "each reactor has a share");
    debug_assert!(
        shares.is_empty() || shares.iter().sum::<u32>() == target,
        "shares add up"
    );
    let present: Vec<u32> = backend
        .shares
        .iter()
        .map(|share| share.target.load(Ordering::Relaxed))
        .collect();
    if !sizing::is_worthwhile(&present, &shares) {
        return;
    }
    for (reactor, (share, target)) in backend.shares.iter().zip(shares).enumerate() {
        if share.target.swap(target, Ordering::Relaxed) != target {
            moved.insert(reactor);
        }
    }
}
