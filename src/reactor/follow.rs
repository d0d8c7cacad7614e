//! Following the directory and the active sets; retirement.
//!
//! Knows nothing of how listeners come and go, but when.

use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::core::Reactor;
use super::cutting::grace_after_removal;
use super::farewell::Farewell;
use super::listener::Listener;
use super::tenant::{Standing, Tenant};
use crate::base::slots::Key;
use crate::pools::warm::Pool;
use crate::service::{Phase, Service};

impl Reactor {
    /// Compares what there is with a new directory.
    pub(super) fn follow_directory(&mut self) {
        let directory = self.directory.shared();
        let stops = directory.phase == Phase::Stopping && self.farewell.is_none();
        if stops {
            // Whoever ends from now on is counted.
            self.farewell = Some(Farewell::default());
        }
        let mut left = std::mem::take(&mut self.current);
        for service in &directory.services {
            let key = match left.remove(&service.live.id) {
                Some(key) => self.succeed(key, service),
                None => self.tenants.insert(Tenant::new(Arc::clone(service))).ok(),
            };
            if let Some(key) = key {
                self.current.insert(service.live.id, key);
            }
        }
        // What is queued at listeners that are to be closed is served: before their tenants retire.
        self.follow_listeners();
        for key in left.into_values() {
            self.retire_tenant(key);
        }
        if stops {
            self.begin_drain();
        }
        // Only now nobody listens for those any more that were succeeded.
        let tenants: Vec<Key> = self.tenants.keys().collect();
        for key in tenants {
            self.drop_tenant_if_done(key);
        }
    }

    /// The tenant of a service from now on, whose tenant was `old`: the same one, unless its spec is another.
    fn succeed(&mut self, old: Key, service: &Arc<Service>) -> Option<Key> {
        let before = self.tenants.get_mut(old)?;
        let is_same =
            Arc::ptr_eq(&before.service.spec, &service.spec) || before.spec() == service.spec.as_ref();
        let speaks_alike = before.service.tls.speaks_alike(&service.tls);
        if is_same {
            before.service = Arc::clone(service);
            if !speaks_alike {
                self.outdate(old);
            }
            return Some(old);
        }
        let (was, is) = (before.spec(), &service.spec);
        let is_outdated = was.server.keepalive != is.server.keepalive
            || was.remotes.bind != is.remotes.bind
            || !speaks_alike;
        let new = self.tenants.insert(Tenant::new(Arc::clone(service))).ok()?;
        for key in self.inherit(old, new) {
            let Some(pool) = self.pools.get_mut(key) else {
                continue;
            };
            pool.tenant = new;
        }
        if is_outdated {
            self.outdate(new);
        }
        self.current.insert(service.live.id, new);
        self.adopt_active_set(new);
        Some(new)
    }

    /// What is warm of a tenant was made ready as an old spec or old certificates want it.
    fn outdate(&mut self, key: Key) {
        let pools = self.tenants.get(key).map(|tenant| tenant.pools.clone());
        for key in pools.unwrap_or_default() {
            if let Some(pool) = self.pools.get_mut(key) {
                pool.outdated = pool.warm_count();
                pool.refills.fill();
                self.closing_pools.push(key);
            }
        }
    }

    /// Retires the tenant `old` in favour of `new`; the pools that go on.
    fn inherit(&mut self, old: Key, new: Key) -> Vec<Key> {
        let Some(before) = self.tenants.get_mut(old) else {
            return Vec::new();
        };
        before.standing = Standing::Retired;
        before.heir = Some(new);
        let members = std::mem::take(&mut before.members);
        let pools = std::mem::take(&mut before.pools);
        let ancestors = std::mem::take(&mut before.ancestors);
        let queue = std::mem::take(&mut before.queue);
        let awaiting = std::mem::take(&mut before.awaiting);
        if ancestors > 0 {
            let all: Vec<Key> = self.tenants.keys().collect();
            for key in all {
                if let Some(ancestor) = self.tenants.get_mut(key).filter(|one| one.heir == Some(old)) {
                    ancestor.heir = Some(new);
                }
            }
        }
        if let Some(heir) = self.tenants.get_mut(new) {
            heir.ancestors = ancestors + 1;
            heir.members = members;
            heir.pools.clone_from(&pools);
            heir.queue = queue;
            heir.awaiting = awaiting;
        }
        pools
    }

    /// Looks at the services of which something has changed that is not the directory's: the active set, whether they are
    /// asleep, the targets of their pools, who waits for a place. All others cost nothing; of another
    /// directory, all are looked at.
    pub(super) fn follow_services(&mut self, is_all: bool) {
        let mut marked = std::mem::take(&mut self.marked);
        if let Some(ready) = self.hub.bells.ready.reactors.get(self.index) {
            ready.take(&mut marked);
        }
        if is_all {
            // Those that have left are looked at beside them.
            marked.retain(|id| !self.current.contains_key(id));
            marked.extend(self.current.keys());
        }
        for id in &marked {
            let tenant = self.current.get(id).or_else(|| self.departed.get(id));
            // None: of a directory that is to come, with which all are looked at; or nothing of it is left here.
            if let Some(key) = tenant.copied() {
                self.follow_service(key);
            }
        }
        self.marked = marked;
    }

    /// Takes over the active set of a tenant if that has changed, and looks at all its pools: their targets may have moved.
    fn follow_service(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else {
            return;
        };
        if tenant.queue.waiting() > 0 {
            // Another reactor may have rung for those who wait here, or limits and members are others.
            self.due_places.push(key);
        }
        if tenant.standing == Standing::Retired {
            return;
        }
        if tenant.slumber.refresh() && tenant.slumber.is_asleep() {
            // For the clients that will wake it.
            tenant.race_budget.fill();
            tenant.wake_if_in_use(self.index, &self.hub);
        }
        if tenant.active.refresh() || tenant.members.len() != tenant.active.everybody().count() {
            self.adopt_active_set(key);
        }
        self.follow_limits(key);
        let count = self.tenants.get(key).map_or(0, |tenant| tenant.members.len());
        for place in 0..count {
            let tenant = self.tenants.get(key);
            if let Some(pool) = tenant.and_then(|tenant| tenant.members.get(place).copied()) {
                self.follow_shedding(pool);
                self.pool_is_due(pool);
            }
        }
    }

    /// Follows the active set of a tenant: pools for new members, none for those that left. Each member is looked for among the pools
    /// there are: of the 1,000 that a set has at most a million comparisons, when that set changes; of the usual few nothing.
    fn adopt_active_set(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get(key) else {
            return;
        };
        let set = tenant.active.shared();
        let is_first = tenant.members.is_empty() && !set.backends.is_empty();
        let known = tenant.pools.clone();
        let mut members = Vec::with_capacity(set.backends.len());
        for backend in set.everybody() {
            let is_its = |key: &&Key| {
                self.pools
                    .get(**key)
                    .is_some_and(|pool| Arc::ptr_eq(&pool.backend, backend))
            };
            let pool = known.iter().find(is_its).copied().or_else(|| {
                let pool = Pool::new(Arc::clone(backend), self.index, key);
                self.pools.insert(pool).ok()
            });
            members.extend(pool);
        }
        if let Some(tenant) = self.tenants.get_mut(key) {
            let newcomers = members.iter().filter(|key| !known.contains(key));
            tenant.pools.extend(newcomers);
            tenant.members.clone_from(&members);
        }
        for pool in known {
            if !members.contains(&pool) {
                self.retire_pool(pool);
            }
        }
        let reserve = members.split_off(set.backends.len().min(members.len()));
        for key in members {
            if let Some(pool) = self.pools.get_mut(key) {
                pool.retired_at = None;
            }
            self.pool_timers.clear(key.index());
            self.pool_is_due(key);
        }
        for pool in reserve {
            self.retire_pool(pool);
        }
        if is_first {
            self.find_for_those_who_wait(key);
        }
    }

    /// The first active set is there, or none will ever come.
    fn find_for_those_who_wait(&mut self, tenant: Key) {
        let awaiting = self
            .tenants
            .get_mut(tenant)
            .map(|tenant| std::mem::take(&mut tenant.awaiting));
        for client in awaiting.unwrap_or_default() {
            if self.clients.get(client).is_some_and(Client::waits_for_set) {
                self.find_backend(client);
            }
        }
    }

    /// A tenant gets nobody new: its service has left, or the process stops.
    fn retire_tenant(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else {
            return;
        };
        tenant.standing = Standing::Retired;
        self.departed.insert(tenant.service.live.id, key);
        let may_be_waited_for = tenant.members.is_empty();
        for pool in tenant.pools.clone() {
            self.retire_pool(pool);
        }
        if may_be_waited_for {
            self.find_for_those_who_wait(key);
        }
    }

    /// The stop: what is left of every tenant may finish for as long as its spec says.
    fn begin_drain(&mut self) {
        debug_assert!(self.current.is_empty(), "the last directory has no services");
        let tenants: Vec<Key> = self.tenants.keys().collect();
        for key in tenants {
            if let Some(tenant) = self.tenants.get(key) {
                let until = self.now + tenant.spec().pools.drain_timeout;
                self.tenant_timers.set(key.index(), until);
            }
        }
    }

    /// A pool gets nobody new and gives up what is warm; with `reset_on_removal` its relays end in a while.
    fn retire_pool(&mut self, key: Key) {
        let Some(pool) = self.pools.get_mut(key) else {
            return;
        };
        if pool.retired_at.is_none() {
            pool.retired_at = Some(self.now);
            let tenant = pool.tenant;
            self.pool_timers.clear(key.index());
            if pool.warm_count() > 0 {
                self.closing_pools.push(key);
            }
            if let Some(grace) = self.shortest_grace(tenant) {
                self.pool_timers.set(key.index(), self.now + grace);
            }
        }
        self.drop_pool_if_done(key);
    }

    /// How long relays of a backend that left go on, at the least, if they end then: those of this tenant, and of the
    /// tenants whose heir it is.
    fn shortest_grace(&self, tenant: Key) -> Option<Duration> {
        let heir = self.tenants.get(tenant)?;
        let grace = |tenant: &Tenant| grace_after_removal(tenant.spec());
        if heir.ancestors == 0 {
            return grace(heir);
        }
        let tenants = self.tenants.keys().filter_map(|key| self.tenants.get(key));
        let ancestors = tenants.filter(|one| one.heir == Some(tenant));
        ancestors.chain([heir]).filter_map(grace).min()
    }

    /// Forgets a pool that has retired and is empty, unless clients of its tenant may still turn to it.
    pub(super) fn drop_pool_if_done(&mut self, key: Key) {
        let Some(pool) = self.pools.get(key) else { return };
        let owner = pool.tenant;
        let is_wanted = || {
            let tenant = self.tenants.get(owner);
            tenant.is_some_and(|tenant| tenant.members.contains(&key))
        };
        if pool.retired_at.is_none() || !pool.is_empty() || is_wanted() {
            return;
        }
        self.pools.remove(key);
        self.pool_timers.clear(key.index());
        if let Some(tenant) = self.tenants.get_mut(owner) {
            tenant.pools.retain(|pool| *pool != key);
            if tenant.pools.is_empty() {
                self.drop_tenant_if_done(owner);
            }
        }
    }

    /// Forgets a tenant that has retired, once no client turns to it any more, no listener is left that is still to be
    /// closed (what is queued there is served under it), and no pool.
    pub(super) fn drop_tenant_if_done(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key).filter(|tenant| tenant.is_done()) else {
            return;
        };
        let is_its = |listener: &Listener| listener.tenant == Some(key);
        if self.listeners.iter().flatten().any(is_its) {
            return;
        }
        if tenant.pools.is_empty() {
            let heir = tenant.heir;
            let id = tenant.service.live.id;
            if self.departed.get(&id) == Some(&key) {
                self.departed.remove(&id);
            }
            self.tenants.remove(key);
            self.tenant_timers.clear(key.index());
            if let Some(heir) = heir {
                if let Some(tenant) = self.tenants.get_mut(heir) {
                    tenant.ancestors -= 1;
                }
                self.drop_tenant_if_done(heir);
            }
            return;
        }
        tenant.members.clear();
        // The last of them comes back here.
        for pool in tenant.pools.clone() {
            self.drop_pool_if_done(pool);
        }
    }

    /// The tenant whose members a client of `tenant` turns to: the last one of the same service.
    pub(super) fn heir(&self, tenant: Key) -> Key {
        let heir = self.tenants.get(tenant).and_then(|tenant| tenant.heir);
        heir.unwrap_or(tenant)
    }
}
