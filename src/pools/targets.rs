//! The targets of one service's backends. Without a clock and a thread.
//!
//! Owns the memory of demand of each member of the active set, and what a strategy makes of it. It must not know who is
//! woken for it; it names the reactors whose share moved.
//!
//! While the service is asleep, no strategy keeps anything warm.
//!
//! Invariants: a target is what its strategy allows from the moment on at which either is known here; the shares that
//! are written add up to their target.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::{debug, info};

use super::demand::{Demand, ReactorReading, Reading};
use super::lifetime::Lifetime;
use super::sizing;
use super::usage::{Turn, Usage};
use crate::backend::{ActiveSet, Backend, ReactorShare};
use crate::config::{Pools, Strategy};

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
    /// Whether nothing is to be warm, whatever the strategy.
    is_resting: bool,
    /// Whether lifetimes are learned, and with them how many connections are worth having.
    learns: bool,
    members: Vec<Member>,
}

/// What is remembered of a member of the active set.
#[derive(Debug)]
struct Member {
    backend: Arc<Backend>,
    demand: Demand,
    lifetime: Lifetime,
    usage: Usage,
    seen: Ends,
    /// Whether it was said that it has a limit.
    is_said: bool,
}

/// What happened to the warm connections of a backend, in all.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    used: u64,
    missed: u64,
    unused: u32,
    clogs: u32,
    /// How many there are now.
    warm: u32,
}

impl Targets {
    /// No backend is known yet.
    pub(super) fn new(pools: &Pools) -> Self {
        Self {
            strategy: pools.strategy.clone(),
            is_resting: false,
            learns: pools.idle_timeout.is_none(),
            members: Vec::new(),
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
        self.members.len()
    }

    /// Follows a changed strategy: what it does not allow ends at once.
    pub(super) fn adopt(&mut self, pools: &Pools, moved: &mut Moved) {
        let learns = pools.idle_timeout.is_none();
        if self.learns && !learns {
            for member in &mut self.members {
                member.forget(moved);
            }
        }
        self.learns = learns;
        if self.strategy == pools.strategy {
            return;
        }
        self.strategy = pools.strategy.clone();
        self.confine_all(moved);
    }

    /// The service falls asleep: nothing is to be warm.
    pub(super) fn rest(&mut self, moved: &mut Moved) {
        debug_assert!(!self.is_resting, "it was awake");
        self.is_resting = true;
        self.confine_all(moved);
    }

    /// The service wakes: targets are those of newcomers, and follow demand from there.
    pub(super) fn rise(&mut self, moved: &mut Moved) {
        debug_assert!(self.is_resting, "it was asleep");
        self.is_resting = false;
        self.confine_all(moved);
    }

    /// What may be warm now.
    fn in_force(&self) -> &Strategy {
        if self.is_resting {
            &Strategy::Off
        } else {
            &self.strategy
        }
    }

    fn confine_all(&self, moved: &mut Moved) {
        for member in &self.members {
            confine(&member.backend, &member.demand, self.in_force(), moved);
        }
    }

    /// Follows a changed active set: forgets the demand of backends that left, and begins to note that of new ones.
    pub(super) fn follow(&mut self, active: &ActiveSet, now: Instant, moved: &mut Moved) {
        let is = |a: &Arc<Backend>, b: &Arc<Backend>| Arc::ptr_eq(a, b);
        self.members
            .retain(|known| active.backends.iter().any(|backend| is(backend, &known.backend)));
        for backend in &active.backends {
            if !self.members.iter().any(|known| is(&known.backend, backend)) {
                let mut member = Member::new(Arc::clone(backend), now);
                if !self.learns {
                    member.forget(moved);
                }
                // It may have been prepared under the strategy before.
                confine(backend, &member.demand, self.in_force(), moved);
                self.members.push(member);
            }
        }
        debug_assert_eq!(self.members.len(), active.backends.len(), "a member is one once");
    }

    /// Reads the demand of every backend and moves its targets.
    pub(super) fn turn(&mut self, now: Instant, moved: &mut Moved) {
        debug_assert!(!self.is_resting, "who is asleep has no turns");
        for member in &mut self.members {
            if self.learns {
                member.learn(now, moved);
            }
            let (backend, demand) = (&member.backend, &mut member.demand);
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

impl Member {
    fn new(backend: Arc<Backend>, now: Instant) -> Self {
        let reading = read(&backend);
        let mut demand = Demand::new(now, &reading);
        // Reading takes the peaks, so they must be noted here; rates begin with the next turn.
        demand.note(now, &reading);
        Self {
            seen: Ends::of(&backend),
            lifetime: Lifetime::recalled(backend.learned.shortened_life()),
            usage: Usage::under(limit_of(&backend)),
            backend,
            demand,
            is_said: false,
        }
    }

    /// Learns from the warm connections that ended since the last turn.
    fn learn(&mut self, now: Instant, moved: &mut Moved) {
        let backend = &self.backend;
        let learned = &backend.learned;
        if self.lifetime.read(backend.shares.iter().map(|share| &share.ages))
            && learned.shorten_life(self.lifetime.learned())
        {
            let (addr, life) = (backend.addr, learned.life());
            debug!(target: "tcp_forwarder::pools", "warm connections to {addr} live for {life:?}");
        }
        let ends = Ends::of(backend);
        let turn = ends.since(self.seen, backend.target.load(Ordering::Relaxed));
        self.seen = ends;
        if learned.is_serial() {
            share_out_limit(backend, Some(0), moved);
        } else if self.usage.note(turn, learned.shortened_life(), now) {
            share_out_limit(backend, self.usage.limit(), moved);
            self.say(turn.is_clogged);
        }
    }

    /// Says once that it has fewer warm connections than it would have.
    fn say(&mut self, is_clogged: bool) {
        let Some(limit) = self.usage.limit() else { return };
        let addr = self.backend.addr;
        if self.is_said {
            debug!(target: "tcp_forwarder::pools", "pool of {addr}: at most {limit} warm");
        } else {
            self.is_said = true;
            let why = if is_clogged {
                "leave it no room"
            } else {
                "end unused"
            };
            info!(
                target: "tcp_forwarder::pools", backend:% = addr, limit;
                "warm connections to backend {addr} {why}: it gets at most {limit} for now"
            );
        }
    }

    /// Lifetimes are not learned any more.
    fn forget(&mut self, moved: &mut Moved) {
        self.lifetime = Lifetime::default();
        self.usage = Usage::default();
        self.backend.learned.shorten_life(None);
        share_out_limit(&self.backend, None, moved);
    }
}

impl Ends {
    fn of(backend: &Backend) -> Self {
        let before = Self {
            clogs: backend.learned.clogs(),
            ..Self::default()
        };
        backend.shares.iter().fold(before, |sum, share| Self {
            used: sum.used + share.hits.load(Ordering::Relaxed),
            missed: sum.missed + share.misses.load(Ordering::Relaxed),
            unused: sum.unused.wrapping_add(share.unused.load(Ordering::Relaxed)),
            warm: sum.warm + share.warm.load(Ordering::Relaxed),
            ..sum
        })
    }

    fn since(self, before: Self, wanted: u32) -> Turn {
        let count = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        Turn {
            used: count(self.used, before.used),
            missed: count(self.missed, before.missed),
            unused: self.unused.wrapping_sub(before.unused),
            wanted,
            warm: self.warm,
            is_clogged: self.clogs != before.clogs,
        }
    }
}

/// The limit whose shares a backend has: of one that returns to the set while somebody held it, that of before.
fn limit_of(backend: &Backend) -> Option<u32> {
    let shares = backend.shares.iter().map(|share| share.limit.get());
    let shares = shares.filter(|share| *share != u32::MAX);
    shares.reduce(u32::saturating_add)
}

/// Writes the shares of a limit, the first reactors' first, and notes the reactors whose share moved.
fn share_out_limit(backend: &Backend, limit: Option<u32>, moved: &mut Moved) {
    let reactors = backend.shares.len();
    let shares = limit.map(|limit| sizing::distribute(limit, &vec![0; reactors]));
    for (reactor, share) in backend.shares.iter().enumerate() {
        let limit = shares.as_ref().and_then(|shares| shares.get(reactor)).copied();
        if share.limit.set(limit) {
            moved.insert(reactor);
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
