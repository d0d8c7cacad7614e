//! A second dial beside one that takes too long: the first to connect wins, the other one becomes a warm connection.
//!
//! Of two dials of a client, the one in its stage has begun first or is the only one left; the other is its rival.

use std::io;
use std::time::Instant;

use super::client::{Attachment, Client, Stage, Trust, Wait};
use super::core::Reactor;
use super::seek::Choice;
use crate::base::slots::Key;

impl Reactor {
    /// A client is dialled for: when a second dial is to begin, if it may.
    pub(super) fn expect_rival(&mut self, key: Key, pool_key: Key) {
        let Some(pool) = self.pools.get(pool_key) else {
            return;
        };
        let Some(tenant) = self.tenants.get_mut(pool.tenant) else {
            return;
        };
        let race = tenant.spec().pools.race;
        if race.width < 2 || tenant.members.len() < 2 {
            return;
        }
        tenant.race_budget.earn();
        let delay = race.delay.or_else(|| pool.dial_times.bound());
        if let Some(delay) = delay.filter(|delay| *delay < tenant.spec().pools.dial_timeout) {
            self.client_timers.set(key.index(), self.now + delay);
        }
    }

    /// The dial of a client takes too long: another backend is dialled, or has a warm connection.
    pub(super) fn begin_rival(&mut self, key: Key) {
        let Some(rival) = self.choose_rival(key) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(rival) else {
            return;
        };
        let tenant = pool.tenant;
        let has_budget = self
            .tenants
            .get_mut(tenant)
            .is_some_and(|tenant| tenant.race_budget.take());
        if !has_budget {
            return;
        }
        let warm = match self.clients.get(key).map(Client::trust) {
            Some(Trust::Full) => pool.checkout(),
            Some(Trust::AfterALook | Trust::None) | None => None,
        };
        pool.join();
        self.pool_is_due(rival);
        if let Some(warm) = warm {
            self.set_rival(
                key,
                Attachment {
                    upstream: warm,
                    pool: rival,
                },
            );
            self.win(key, warm);
            return self.attach(key, warm);
        }
        match self.dial(rival, Some(key)) {
            Ok(upstream) => self.set_rival(
                key,
                Attachment {
                    upstream,
                    pool: rival,
                },
            ),
            Err(error) => {
                // The first one goes on alone.
                self.count_failed_dial(rival, self.now, &error);
                self.leave_pool(rival);
                if let Some(tenant) = self.tenants.get_mut(tenant) {
                    tenant.race_budget.refund();
                }
            }
        }
    }

    /// Whom the balancer chooses if the present backend of a client is left out.
    fn choose_rival(&mut self, key: Key) -> Option<Key> {
        let client = self.clients.get_mut(key)?;
        let Stage::Seeking(Wait::Dial { pool, .. }) = client.stage else {
            return None;
        };
        if client.rival().is_some() {
            return None;
        }
        let addr = self.pools.get(pool)?.backend.addr;
        let client = self.clients.get_mut(key)?;
        client.search().failed.push(addr);
        let choice = self.choose(key);
        self.clients.get_mut(key)?.search().failed.pop();
        match choice {
            Some(Choice::Pool(rival)) if rival != pool => Some(rival),
            Some(Choice::Pool(_) | Choice::Nobody | Choice::NoSet) | None => None,
        }
    }

    fn set_rival(&mut self, key: Key, rival: Attachment) {
        if let Some(client) = self.clients.get_mut(key) {
            client.search().rival = Some(rival);
        }
    }

    /// One of the dials of a client is through, or a warm connection took its place: the other one is the pool's.
    pub(super) fn win(&mut self, key: Key, winner: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Stage::Seeking(Wait::Dial { upstream, pool }) = client.stage else {
            return;
        };
        let Some(rival) = client.take_rival() else {
            return;
        };
        let first = Attachment { upstream, pool };
        let (is_rivals, loser) = if rival.upstream == winner {
            (true, first)
        } else {
            (false, rival)
        };
        client.stage = Stage::Seeking(Wait::Nothing);
        let tenant = client.tenant;
        self.count_race(tenant, is_rivals);
        self.orphan_dial(loser.upstream);
        self.leave_pool(loser.pool);
    }

    /// One of the dials of a client has failed; whether the other one goes on, which is the only one then.
    pub(super) fn lose(&mut self, key: Key, loser: Key, since: Instant, error: &io::Error) -> bool {
        let Some(client) = self.clients.get_mut(key) else {
            return false;
        };
        let Stage::Seeking(Wait::Dial { upstream, pool }) = client.stage else {
            return false;
        };
        let Some(rival) = client.take_rival() else {
            return false;
        };
        let is_rivals = rival.upstream != loser;
        let (lost, left) = if is_rivals {
            (pool, rival)
        } else {
            (rival.pool, Attachment { upstream, pool })
        };
        client.stage = Stage::Seeking(Wait::Dial {
            upstream: left.upstream,
            pool: left.pool,
        });
        let tenant = client.tenant;
        self.count_race(tenant, is_rivals);
        self.count_failed_dial(lost, since, error);
        let addr = self.leave_pool(lost);
        if let Some(client) = self.clients.get_mut(key) {
            client.search().failed.extend(addr);
        }
        true
    }

    fn count_race(&self, tenant: Key, is_rivals: bool) {
        if let Some(tenant) = self.tenants.get(tenant) {
            let traffic = tenant.traffic(self.index);
            let count = if is_rivals {
                &traffic.races_won
            } else {
                &traffic.races_lost
            };
            count.add(1);
        }
    }
}
