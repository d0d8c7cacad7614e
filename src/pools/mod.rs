//! How many connections are kept to each backend.
//!
//! Owns the sizing rules ([`sizing`], [`demand`]) and the thread that applies them: it reads what reactors
//! counted and writes targets. It must not know connections: each reactor dials and closes its own, by
//! [`sizing::shortfall`] and [`sizing::surplus`], to follow its share of the target.
//!
//! Invariants: after [`prepare`], and between the thread's turns, the shares of a backend add up to its
//! target. Targets of a backend that left the active set mean nothing; its reactors close what is warm.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::debug;

use crate::backend::{ActiveSet, Backend, ReactorShare};
use crate::base::clock;
use crate::base::published::Reader;
use crate::config::Strategy;
use crate::shutdown::Shutdown;

pub mod demand;
pub mod sizing;
#[cfg(test)]
mod tests;
pub mod warm;

use demand::{Demand, ReactorReading, Reading};

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

/// The pool scaling thread: the only writer of targets once a backend is published.
pub struct Scaler {
    strategy: Strategy,
    active: Reader<ActiveSet>,
    /// Called with the index of a reactor whose share of some backend moved.
    on_share_moved: Box<dyn Fn(usize) + Send>,
    demands: Vec<(Arc<Backend>, Demand)>,
}

impl Scaler {
    /// A scaler that has seen no demand yet.
    #[must_use]
    pub fn new(
        strategy: Strategy,
        active: Reader<ActiveSet>,
        on_share_moved: Box<dyn Fn(usize) + Send>,
    ) -> Self {
        Self {
            strategy,
            active,
            on_share_moved,
            demands: Vec::new(),
        }
    }

    /// Adjusts targets once per scaling interval until the stop begins.
    pub fn run(mut self, shutdown: &Shutdown) {
        let interval = match &self.strategy {
            Strategy::Dynamic(rules) => rules.interval,
            Strategy::Static { .. } | Strategy::Off => NOTE_INTERVAL,
        };
        while !shutdown.sleep(interval) {
            self.turn(clock::now());
        }
    }

    /// Reads the demand of every active backend and moves its targets.
    pub fn turn(&mut self, now: Instant) {
        self.active.refresh();
        let active = self.active.shared();
        self.follow(&active, now);
        let mut moved = Vec::new();
        for (backend, demand) in &mut self.demands {
            demand.note(now, &read(backend));
            let peak = demand.recent_peak();
            backend.recent_peak.store(peak, Ordering::Relaxed);
            if let Strategy::Dynamic(rules) = &self.strategy {
                let target = backend.target.load(Ordering::Relaxed);
                let next = sizing::next_target(target, peak, rules);
                retarget(backend, target, next);
                let shares = sizing::distribute(next, &demand.reactor_peaks());
                share_out(backend, &shares, &mut moved);
            }
        }
        moved.sort_unstable();
        moved.dedup();
        for reactor in moved {
            (self.on_share_moved)(reactor);
        }
    }

    /// Forgets the demand of backends that left, and begins to note that of new ones.
    fn follow(&mut self, active: &ActiveSet, now: Instant) {
        let is = |a: &Arc<Backend>, b: &Arc<Backend>| Arc::ptr_eq(a, b);
        self.demands
            .retain(|(known, _)| active.backends.iter().any(|member| is(member, known)));
        for member in &active.backends {
            if !self.demands.iter().any(|(known, _)| is(known, member)) {
                let reading = read(member);
                let mut demand = Demand::new(now, &reading);
                // Reading takes the peaks, so they must be noted here; rates begin with the next turn.
                demand.note(now, &reading);
                self.demands.push((Arc::clone(member), demand));
            }
        }
    }
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
    debug!("pool of {}: target {target} -> {next}", backend.addr);
}

/// Writes shares, if they are worth it, and notes the reactors whose share moved.
fn share_out(backend: &Backend, shares: &[u32], moved: &mut Vec<usize>) {
    let present: Vec<u32> = backend
        .shares
        .iter()
        .map(|share| share.target.load(Ordering::Relaxed))
        .collect();
    if !sizing::is_worthwhile(&present, shares) {
        return;
    }
    for (reactor, (share, target)) in backend.shares.iter().zip(shares).enumerate() {
        if share.target.swap(*target, Ordering::Relaxed) != *target {
            moved.push(reactor);
        }
    }
}
