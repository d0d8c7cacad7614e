//! A second dial beside one that takes too long: the first to connect wins, the other one becomes a warm connection.
//!
//! Of two dials of a client, the one in its stage has begun first or is the only one left; the other is its rival.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::client::{Attachment, Client, Race, Stage, Trust, Wait};
use super::core::Reactor;
use super::seek::Choice;
use crate::backend::Place;
use crate::base::counters::Cell;
use crate::base::slots::Key;
use crate::net;
use crate::pools::race;
use crate::service::traffic::Traffic;

impl Reactor {
    /// A client is dialled for: when a second dial is to begin, if it may.
    pub(super) fn expect_rival(&mut self, key: Key, pool_key: Key) {
        let Some(pool) = self.pools.get(pool_key) else {
            return;
        };
        let Some(tenant) = self.tenants.get_mut(pool.tenant) else {
            return;
        };
        let rules = tenant.spec().pools.race;
        if tenant.members.len() < 2 {
            return;
        }
        let is_cold = tenant.slumber.is_cold(self.time.clock());
        let delay = race::delay(rules, is_cold, || pool.dial_times.bound());
        if rules.width > 1 {
            tenant.race_budget.earn();
        }
        if let Some(delay) = delay.filter(|delay| *delay < tenant.spec().pools.dial_timeout) {
            self.client_timers.set(key.index(), self.now + delay);
        }
    }

    /// The dial of a client takes too long: another backend is dialled, or has a warm connection, if there may be one more
    /// such dial. It is asked for only then, since whoever is chosen in turn has had its turn.
    pub(super) fn begin_rival(&mut self, key: Key) {
        let first = self.clients.get(key).and_then(Client::pool);
        let Some(tenant) = first.and_then(|pool| Some(self.pools.get(pool)?.tenant)) else {
            return;
        };
        let may_race = self
            .tenants
            .get_mut(tenant)
            .is_some_and(|tenant| tenant.race_budget.take());
        if may_race
            && !self.dial_rival(key)
            && let Some(tenant) = self.tenants.get_mut(tenant)
        {
            tenant.race_budget.refund();
        }
    }

    /// Begins a second dial; false if there is nobody to dial, or the system refuses it: the first one goes on alone.
    fn dial_rival(&mut self, key: Key) -> bool {
        let Some(rival) = self.choose_rival(key) else {
            return false;
        };
        if self.is_waited_for(rival) {
            // A place is a client's first.
            return false;
        }
        let Some(pool) = self.pools.get_mut(rival) else {
            return false;
        };
        let warm = match self.clients.get(key).map(Client::trust) {
            Some(Trust::Full) => pool.checkout(),
            Some(Trust::AfterALook | Trust::None) | None => None,
        };
        let place = match warm {
            Some(_) => None,
            None => Place::take(&pool.backend),
        };
        if warm.is_none() && place.is_none() {
            return false;
        }
        pool.join();
        self.pool_is_due(rival);
        let dialled = match (warm, place) {
            (Some(warm), _) => Ok(warm),
            (None, Some(place)) => self.dial(rival, Some(key), place),
            (None, None) => return false,
        };
        let upstream = match dialled {
            Ok(upstream) => upstream,
            Err(error) => {
                self.count_failed_dial(rival, self.now, &error);
                let addr = self.leave_pool(rival);
                // A connect to this machine may be refused at once.
                let is_its = !net::is_of_our_own(&error);
                return is_its && self.is_cold(key) && self.dial_next_rival(key, addr);
            }
        };
        if let Some(client) = self.clients.get_mut(key) {
            let pool = rival;
            client.search().race = Race::Rival(Attachment { upstream, pool });
            if let Some(story) = client.story() {
                story.is_raced = true;
            }
        }
        if warm.is_some() {
            self.win(key, upstream);
            self.attach(key, upstream);
        }
        true
    }

    /// Begins a second dial to whoever comes after one that refused it.
    fn dial_next_rival(&mut self, key: Key, refused: Option<SocketAddr>) -> bool {
        if let Some(client) = self.clients.get_mut(key) {
            client.search().failed.extend(refused);
        }
        // No member is chosen twice.
        refused.is_some() && self.dial_rival(key)
    }

    /// Whether nobody has looked at the backends of a client for long: of two dials both may be to the dead, so that another
    /// one takes the place of one that fails.
    fn is_cold(&self, key: Key) -> bool {
        let tenant = self.clients.get(key).map(|client| self.heir(client.tenant));
        let tenant = tenant.and_then(|tenant| self.tenants.get(tenant));
        tenant.is_some_and(|tenant| tenant.slumber.is_cold(self.time.clock()))
    }

    /// Whom the balancer chooses if the present backend of a client is left out; nobody who has failed it.
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
        let Some(Choice::Pool(rival)) = choice else {
            return None;
        };
        // Where all others have failed, the balancer begins again, or has turned to the reserve.
        let chosen = self.pools.get(rival)?;
        let has_failed = self.clients.get(key)?.failed().contains(&chosen.backend.addr);
        let is_member = chosen.retired_at.is_none();
        (rival != pool && !has_failed && is_member).then_some(rival)
    }

    /// One of the dials of a client is through, or a warm connection took its place: the other one is the pool's.
    pub(super) fn win(&mut self, key: Key, winner: Key) {
        if let Some(loser) = self.take_dial(key, |dial| dial.upstream != winner) {
            self.leave_dial(loser);
        }
        if let Some(tenant) = self.end_second_dial(key) {
            self.count_race(tenant, |traffic| &traffic.races_won);
        }
    }

    /// A client leaves one of its dials, which is the pool's from then on.
    pub(super) fn leave_dial(&mut self, dial: Attachment) {
        self.orphan_dial(dial.upstream);
        self.leave_pool(dial.pool);
    }

    /// One of the dials of a client has failed; whether the other one goes on, which is the only one then.
    pub(super) fn lose(&mut self, key: Key, loser: Key, since: Instant, error: &io::Error) -> bool {
        let Some(lost) = self.take_dial(key, |dial| dial.upstream == loser) else {
            // A second dial that was the only one left has come to nothing.
            if let Some(tenant) = self.end_second_dial(key) {
                self.count_race(tenant, |traffic| &traffic.races_lost);
            }
            return false;
        };
        self.count_failed_dial(lost.pool, since, error);
        let addr = self.leave_pool(lost.pool);
        if let Some(client) = self.clients.get_mut(key) {
            client.search().failed.extend(addr);
            if let Some(story) = client.story() {
                story.dial_failed(error);
            }
        }
        if self.is_cold(key) {
            self.client_timers.set(key.index(), self.now);
        }
        true
    }

    /// A backend is waited for no longer; false if it was the only one that a client dials.
    pub(super) fn give_up_dial(&mut self, key: Key, pool: Key) -> bool {
        let dial = self.take_dial(key, |dial| dial.pool == pool);
        if let Some(dial) = dial {
            self.leave_dial(dial);
        }
        dial.is_some()
    }

    /// Takes the first of the two dials of a client that is meant; the other one is its only one then. None if there
    /// are not two.
    fn take_dial(&mut self, key: Key, is_meant: impl Fn(&Attachment) -> bool) -> Option<Attachment> {
        let client = self.clients.get_mut(key)?;
        let Stage::Seeking(Wait::Dial { upstream, pool }) = client.stage else {
            return None;
        };
        let (first, rival) = (Attachment { upstream, pool }, client.rival()?);
        if is_meant(&first) {
            client.search().race = Race::SecondAlone;
            client.stage = Stage::Seeking(Wait::Dial {
                upstream: rival.upstream,
                pool: rival.pool,
            });
            return Some(first);
        }
        if !is_meant(&rival) {
            return None;
        }
        client.search().race = Race::Nobody;
        let tenant = client.tenant;
        self.count_race(tenant, |traffic| &traffic.races_lost);
        Some(rival)
    }

    /// The second dial of a client, which was the only one left, is through, or has come to nothing; whose client it
    /// is, if there was one.
    fn end_second_dial(&mut self, key: Key) -> Option<Key> {
        let client = self.clients.get_mut(key)?;
        (client.end_race() == Race::SecondAlone).then_some(client.tenant)
    }

    /// A client that ends leaves its second dial, if it has one.
    pub(super) fn leave_race(&mut self, client: &mut Client) {
        let race = client.end_race();
        if race == Race::Nobody {
            return;
        }
        self.count_race(client.tenant, |traffic| &traffic.races_lost);
        if let Race::Rival(rival) = race {
            self.leave_dial(rival);
        }
    }

    fn count_race(&self, tenant: Key, count: impl Fn(&Traffic) -> &Cell) {
        if let Some(traffic) = self.traffic(tenant) {
            count(traffic).add(1);
        }
    }
}
