//! Pools of one reactor: brought to their size, and emptied when they retire.

use std::time::{Duration, Instant};

use super::core::Reactor;
use super::upstream::{State, Upstream};
use crate::backend::Place;
use crate::base::slots::Key;
use crate::pools::sizing;
use crate::pools::warm::Pool;

/// Dials for one pool that one reactor has under way at once.
const MAX_REFILLS: u32 = 64;

/// Warm connections that one reactor closes in one turn.
const CLOSES_PER_TURN: usize = 64;

impl Reactor {
    /// Brings every pool that is due to its size: dials what is missing, gives up what is too much.
    pub(super) fn tend_pools(&mut self) {
        let mut closes = CLOSES_PER_TURN;
        if let Some(round) = self.closing_pools.take() {
            for key in &round {
                self.empty_pool(*key, &mut closes);
            }
            self.closing_pools.give_back(round);
        }
        let Some(round) = self.due_pools.take() else {
            return;
        };
        for key in &round {
            let Some(pool) = self.pools.get_mut(*key) else {
                continue;
            };
            pool.is_due = false;
            if pool.retired_at.is_none() {
                self.trim(*key, &mut closes);
                self.top_up(*key);
            }
        }
        self.due_pools.give_back(round);
    }

    /// Closes what is warm in a pool and is not to stay, a budget at a time.
    fn empty_pool(&mut self, key: Key, closes: &mut usize) {
        while let Some(pool) = self.pools.get_mut(key) {
            if pool.unwanted() == 0 {
                break;
            }
            if *closes == 0 {
                return self.closing_pools.push(key);
            }
            *closes -= 1;
            if let Some(oldest) = pool.remove_oldest() {
                self.remove_upstream(oldest);
            }
        }
        self.pool_is_due(key);
        self.drop_pool_if_done(key);
    }

    fn trim(&mut self, key: Key, closes: &mut usize) {
        while let Some(pool) = self.pools.get_mut(key) {
            let Some(tenant) = self.tenants.get(pool.tenant) else {
                return;
            };
            let Some(share) = pool.share() else { return };
            let is_surplus = sizing::surplus(&tenant.spec().pools.strategy, share) > 0;
            if !is_surplus && !pool.backend.is_beyond() {
                return;
            }
            if *closes == 0 {
                return self.pool_is_due(key);
            }
            *closes -= 1;
            match pool.remove_oldest() {
                Some(oldest) => drop(self.remove_upstream(oldest)),
                None => return,
            }
        }
    }

    fn top_up(&mut self, key: Key) {
        let mut room = self
            .directory
            .limits
            .pool_ceiling
            .saturating_sub(self.hub.sockets());
        while let Some(pool) = self.pools.get_mut(key) {
            let Some(tenant) = self.tenants.get(pool.tenant) else {
                return;
            };
            let Some(share) = pool.share() else { return };
            let missing = sizing::shortfall(&tenant.spec().pools.strategy, share);
            if missing == 0 || pool.dialling() >= MAX_REFILLS {
                return;
            }
            // Who lets them live need not be asked again and again.
            let must_earn =
                tenant.spec().pools.idle_timeout.is_none() && pool.backend.learned.shortened_life().is_some();
            let spare = if tenant.is_anybody_queued() {
                0
            } else {
                pool.backend.spare()
            };
            let paused = pool.retry_at(self.now);
            let place = if paused.is_none() && spare > 0 && room > 0 {
                Place::take(&pool.backend)
            } else {
                None
            };
            let Some(place) = place else {
                // Descriptors and places come back without an event of this reactor: look again before long.
                let again = paused.unwrap_or(self.now + Duration::from_secs(1));
                return self.pool_timers.set(key.index(), again);
            };
            if must_earn && let Err(again) = pool.take_refill(self.now) {
                drop(place);
                // Somebody may have looked for it while it was taken.
                self.place_is_due(key);
                return self.pool_timers.set(key.index(), again);
            }
            room -= 1;
            if let Err(error) = self.dial(key, None, place) {
                self.count_failed_dial(key, self.now, &error);
                if let Some(pool) = self.pools.get_mut(key) {
                    pool.refused(self.now, &mut self.rng);
                }
            }
        }
    }

    /// A refill may be tried again; or, of a pool that has retired, its relays have had their time.
    pub(super) fn on_pool_deadline(&mut self, key: Key) {
        match self.pools.get(key).map(|pool| pool.retired_at) {
            Some(Some(retired_at)) => self.cut_pool(key, retired_at),
            Some(None) => self.pool_is_due(key),
            None => {}
        }
    }

    /// Our own link is back: refills that it refused are no reason to wait any longer.
    pub(super) fn forgive_after_an_outage(&mut self) {
        if !self.link.refresh() || self.link.recoveries == self.recoveries {
            return;
        }
        self.recoveries = self.link.recoveries;
        let pools: Vec<Key> = self.pools.keys().collect();
        for key in pools {
            if let Some(pool) = self.pools.get_mut(key) {
                pool.proved();
                pool.refills.fill();
            }
            self.pool_is_due(key);
        }
    }

    /// Closes all that is warm in a pool, or about to be, and refills it no sooner than at `until`.
    fn shed(&mut self, key: Key, until: Instant) {
        self.abandon_refills(key);
        if let Some(pool) = self.pools.get_mut(key) {
            pool.outdated = pool.warm_count();
            pool.refills.fill();
            pool.pause_until(until);
            self.closing_pools.push(key);
        }
    }

    /// Gives up the dials that a pool has under way for itself.
    fn abandon_refills(&mut self, pool_key: Key) {
        let mut left = self.pools.get(pool_key).map_or(0, Pool::dialling);
        if left == 0 {
            return;
        }
        let is_its = |upstream: &Upstream| {
            upstream.pool == pool_key && matches!(upstream.state, State::Dialling { client: None, .. })
        };
        let all: Vec<Key> = self.upstreams.keys().collect();
        for key in all {
            if left == 0 {
                return;
            }
            if self.upstreams.get(key).is_some_and(is_its) {
                left -= 1;
                self.remove_upstream(key);
                if let Some(pool) = self.pools.get_mut(pool_key) {
                    pool.dial_ended();
                }
            }
        }
    }

    /// Closes what another reactor has found to be in the way.
    pub(super) fn follow_shedding(&mut self, key: Key) {
        let Some(pool) = self.pools.get_mut(key) else {
            return;
        };
        if pool.is_to_shed() {
            let window = pool.backend.learned.window();
            self.shed(key, self.now + window);
        }
    }

    /// The first time of a coarse grid that is not before `at`: what need not be exact is due together, and wakes the
    /// reactor once.
    pub(super) fn on_grid(&self, at: Instant, grain: Duration) -> Instant {
        let since = at.saturating_duration_since(self.hub.started_at).as_nanos();
        let grain = grain.as_nanos().max(1);
        let late = u64::try_from((grain - since % grain) % grain).unwrap_or_default();
        at + Duration::from_nanos(late)
    }
}
