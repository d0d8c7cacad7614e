//! Pools of one reactor: brought to their size, and following the active set.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Reactor;
use super::slots::Key;
use crate::pools::sizing;
use crate::pools::warm::Pool;
use crate::relay::close::{CloseReason, Ending};

/// Dials for one pool that one reactor has under way at once.
const MAX_REFILLS: u32 = 64;

impl Reactor {
    /// Brings every pool to its size: dials what is missing, gives up what is too much.
    pub(super) fn refill(&mut self) {
        let due = self.refill_due || self.refill_at.is_some_and(|at| at <= self.now);
        if !due {
            return;
        }
        self.refill_due = false;
        self.refill_at = None;
        if self.drain.is_some() {
            return;
        }
        self.forgive_after_an_outage();
        for place in 0..self.members.len() {
            if let Some(pool) = self.members.get(place).copied() {
                self.trim(pool);
                self.top_up(pool);
            }
        }
        self.cut_removed();
    }

    /// Our own link is back: refills that it refused are no reason to wait any longer.
    fn forgive_after_an_outage(&mut self) {
        if !self.link.refresh() || self.link.recoveries == self.recoveries {
            return;
        }
        self.recoveries = self.link.recoveries;
        for key in &self.members {
            if let Some(pool) = self.pools.get_mut(*key) {
                pool.proved();
            }
        }
    }

    fn trim(&mut self, key: Key) {
        while let Some(pool) = self.pools.get_mut(key) {
            let Some(share) = pool.share() else { return };
            if sizing::surplus(&self.shared.pools.strategy, share) == 0 {
                return;
            }
            match pool.remove_oldest() {
                Some(oldest) => drop(self.remove_upstream(oldest)),
                None => return,
            }
        }
    }

    fn top_up(&mut self, key: Key) {
        let mut room = self.shared.limits.pool_ceiling.saturating_sub(self.sockets());
        while let Some(pool) = self.pools.get_mut(key) {
            let Some(share) = pool.share() else { return };
            let missing = sizing::shortfall(&self.shared.pools.strategy, share);
            if missing == 0 || pool.dialling() >= MAX_REFILLS {
                return;
            }
            let paused = pool.retry_at(self.now);
            if room == 0 || paused.is_some() {
                // Descriptors come back without an event of this reactor: look again before long.
                let again = paused.unwrap_or(self.now + Duration::from_secs(1));
                self.refill_at = Some(self.refill_at.map_or(again, |at| at.min(again)));
                return;
            }
            room -= 1;
            if let Err(error) = self.dial(key, None) {
                self.count_failed_dial(key, self.now, &error);
                if let Some(pool) = self.pools.get_mut(key) {
                    pool.refused(self.now, &mut self.rng);
                }
            }
        }
    }

    /// Follows the active set: pools for new members, none for those that left.
    pub(super) fn adopt_active_set(&mut self) {
        let set = self.active.shared();
        let mut members = Vec::with_capacity(set.backends.len());
        for backend in &set.backends {
            let known = self.pools.keys().find(|key| {
                self.pools
                    .get(*key)
                    .is_some_and(|pool| Arc::ptr_eq(&pool.backend, backend))
            });
            let key = known.or_else(|| self.pools.insert(Pool::new(Arc::clone(backend), self.index)).ok());
            if let Some(pool) = key.and_then(|key| self.pools.get_mut(key)) {
                pool.retired_at = None;
            }
            members.extend(key);
        }
        let left: Vec<Key> = self.pools.keys().filter(|key| !members.contains(key)).collect();
        self.members = members;
        for key in left {
            if let Some(pool) = self.pools.get_mut(key) {
                pool.retired_at.get_or_insert(self.now);
            }
            self.close_warm(key);
        }
        self.refill_due = true;
    }

    /// Closes the warm connections of a pool and forgets its dials.
    pub(super) fn close_warm(&mut self, key: Key) {
        while let Some(oldest) = self.pools.get_mut(key).and_then(Pool::remove_oldest) {
            self.remove_upstream(oldest);
        }
        self.drop_empty_pool(key);
    }

    /// With `reset_on_removal`: ends the relays of backends that left `drain_timeout` ago.
    fn cut_removed(&mut self) {
        if !self.shared.pools.reset_on_removal {
            return;
        }
        let retired: Vec<(Key, Instant)> = self
            .pools
            .keys()
            .filter_map(|key| {
                Some((
                    key,
                    self.pools.get(key)?.retired_at? + self.shared.pools.drain_timeout,
                ))
            })
            .collect();
        for (pool, until) in retired {
            if until <= self.now {
                for key in Self::connections_of(&self.connections, pool) {
                    self.close(key, Ending::quiet(CloseReason::BackendRemoved));
                }
            } else {
                self.refill_at = Some(self.refill_at.map_or(until, |at| at.min(until)));
            }
        }
    }
}
