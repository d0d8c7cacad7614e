//! What clients got of their backends: counted, and reported where they got nothing.
//!
//! Counts of what went well are additions to the backend's own cell; only what did not is handed in to the scorer, which
//! says whose fault it was. It must not know what follows from either.

use std::time::{Duration, Instant};

use log::info;

use super::client::Stage;
use super::core::Reactor;
use super::upstream::State;
use crate::backend::Tally;
use crate::base::doorbell::Ring;
use crate::base::slots::Key;
use crate::pools::warm::Pool;
use crate::relay::bulk::Measured;
use crate::relay::course::Step;
use crate::scorer::conduct::LEAST_PATIENCE;
use crate::scorer::{Unserved, Wordless};
use crate::service::Candidate;

impl Reactor {
    /// What is new about a relay after its turn.
    pub(super) fn appraise(&mut self, key: Key, pool: Key, step: Option<Step>, measured: Option<Measured>) {
        if let Some(step) = step {
            self.on_step(key, step);
        }
        if let Some(measured) = measured {
            self.count_measured(pool, measured);
        }
    }

    /// A relay has come a step further with its backend.
    fn on_step(&mut self, key: Key, step: Step) {
        let Some(Stage::Relaying(attached)) = self.clients.get(key).map(|client| client.stage) else {
            debug_assert!(false, "only a relay goes on");
            return;
        };
        match step {
            Step::Asked => {
                if let Some(until) = self.next_doubt(key) {
                    self.client_timers.bring_forward(key.index(), until);
                }
            }
            Step::Answered(waited) => {
                if let Some(tally) = self.tally(attached.pool) {
                    tally.answered(waited);
                }
                if let Some(waited) = waited {
                    if let Some(pool) = self.pools.get(attached.pool) {
                        pool.backend.first_bytes.observe(waited);
                    }
                    self.end_trial(attached.pool, waited);
                }
            }
            Step::Unserved(asked_at) => self.report_unserved(attached.pool, Wordless::Ended, asked_at),
            Step::ClosedUnasked => {
                let upstream = self.upstreams.get(attached.upstream);
                if let Some(State::InUse { since, .. }) = upstream.map(|upstream| upstream.state) {
                    self.report_if_early(attached.pool, since);
                }
            }
        }
    }

    /// When the backend of a client will have been silent for too long; none while that is no matter, or if the client
    /// may have gone.
    pub(super) fn overdue_at(&self, key: Key) -> Option<Instant> {
        let client = self.clients.get(key)?;
        let waits_since = client.relay.waits_since()?;
        let tenant = self.tenants.get(client.tenant)?;
        Some(waits_since + tenant.service.live.patience()?)
    }

    /// When a client will have waited for so long that its backend's warm connections may be what it waits for; none
    /// where there are none, or where they were asked for.
    fn suspect_at(&self, key: Key) -> Option<Instant> {
        let client = self.clients.get(key)?;
        let asked_at = client.relay.course.asked_at()?;
        if client.relay.is_paused() {
            return None;
        }
        let tenant = self.tenants.get(client.tenant)?;
        let spec = tenant.spec();
        let backend = &self.pools.get(client.pool()?)?.backend;
        if spec.pools.idle_timeout.is_some() || backend.learned.is_serial() || !backend.has_warm() {
            return None;
        }
        let threshold = backend.learned.threshold();
        // Less than what was configured is what was learned.
        let patience = tenant.service.live.patience();
        let learned = patience.filter(|patience| *patience < spec.remotes.passive.silence);
        Some(asked_at + learned.map_or(threshold, |learned| learned.max(threshold)))
    }

    /// When a relay that waits for an answer is to be looked at next.
    pub(super) fn next_doubt(&self, key: Key) -> Option<Instant> {
        let client = self.clients.get(key)?;
        // Patience may be less by then than it is now.
        let soonest = client.relay.course.asked_at().map(|at| at + LEAST_PATIENCE);
        let overdue_at = self.overdue_at(key);
        let first_look = soonest.filter(|_| overdue_at.is_some());
        let doubts = [first_look, overdue_at, self.suspect_at(key)];
        doubts.into_iter().flatten().filter(|at| *at > self.now).min()
    }

    /// Closes the warm connections of a client's backend once it has waited for too long, to see whether they are what
    /// it waits for.
    pub(super) fn look_for_obstruction(&mut self, key: Key) {
        if self.suspect_at(key).is_none_or(|at| at > self.now) {
            return;
        }
        let client = self.clients.get(key);
        let Some((pool_key, asked_at)) =
            client.and_then(|client| Some((client.pool()?, client.relay.course.asked_at()?)))
        else {
            return;
        };
        let Some(pool) = self.pools.get(pool_key) else {
            return;
        };
        let waited = self.now.saturating_duration_since(asked_at);
        if !self.time.stood_still_since(asked_at)
            && pool.backend.learned.begin_trial(waited, self.time.clock())
        {
            self.shed_everywhere(pool_key);
        }
    }

    /// A client of a backend was answered, after so long: the end of a trial, if there is one.
    fn end_trial(&mut self, pool_key: Key, waited: Duration) {
        let Some(pool) = self.pools.get(pool_key) else {
            return;
        };
        let (backend, now) = (&pool.backend, self.time.clock());
        let is_proof = now
            .checked_sub(waited)
            .is_some_and(|asked_at| backend.learned.answered(asked_at, now));
        if !is_proof {
            return;
        }
        for share in &backend.shares {
            share.limit.set(Some(0));
        }
        let addr = backend.addr;
        let service = self.tenants.get(pool.tenant).map(|tenant| &tenant.service);
        let name = service.map_or_else(String::new, |service| service.live.name_behind(&addr));
        let service = service.map_or("", |service| service.name.as_str());
        info!(
            target: "tcp_forwarder::pools",
            service, backend:% = addr;
            "backend {addr}{name} answers only once its unused connections are closed: it gets none any more"
        );
        self.shed_everywhere(pool_key);
    }

    /// Has every reactor close its warm connections to a backend.
    fn shed_everywhere(&mut self, pool_key: Key) {
        self.follow_shedding(pool_key);
        let pool = self.pools.get(pool_key);
        let Some(tenant) = pool.and_then(|pool| self.tenants.get(pool.tenant)) else {
            return;
        };
        for (reactor, mark) in tenant.service.live.marks.reactors.iter().enumerate() {
            if reactor != self.index {
                mark.ring();
            }
        }
    }

    /// Reports that the backend of a client is silent, once it has been for too long.
    pub(super) fn look_for_silence(&mut self, key: Key) {
        let Some(asked_at) = self
            .overdue_at(key)
            .filter(|at| *at <= self.now)
            .and_then(|_| self.clients.get(key)?.relay.course.asked_at())
        else {
            return;
        };
        if let Some(client) = self.clients.get_mut(key)
            && client.relay.course.becomes_overdue()
            && let Stage::Relaying(attached) = client.stage
        {
            self.report_unserved(attached.pool, Wordless::Silent, asked_at);
        }
    }

    /// A connection to a backend that nobody has said anything on was closed by it: a failure, if that was at once.
    pub(super) fn report_if_early(&mut self, pool: Key, since: Instant) {
        let limit = self
            .spec_of_pool(pool)
            .map(|spec| spec.remotes.passive.early_close);
        if limit.is_some_and(|limit| self.now.saturating_duration_since(since) < limit) {
            self.report_unserved(pool, Wordless::ClosedEarly, since);
        }
    }

    /// Counts what a relay has moved in a stretch, if that says how fast its backend is.
    pub(super) fn count_measured(&self, pool: Key, measured: Measured) {
        let good = self
            .spec_of_pool(pool)
            .map(|spec| spec.remotes.scoring.throughput.good);
        if good.is_some_and(|good| measured.tells(good))
            && let Some(tally) = self.tally(pool)
        {
            tally.moved(measured.bytes, measured.time);
        }
    }

    fn report_unserved(&self, pool: Key, how: Wordless, asked_at: Instant) {
        let Some(pool) = self.pools.get(pool) else { return };
        let Some(tenant) = self.tenants.get(pool.tenant) else {
            return;
        };
        // What was measured while a turn stood still is worthless.
        if !tenant.spec().remotes.passive.enabled || self.time.stood_still_since(asked_at) {
            return;
        }
        self.hub.samples.unserved(Unserved {
            candidate: Candidate {
                service: tenant.service.live.id,
                addr: pool.backend.addr,
            },
            how,
            asked_at: self.time.to_clock(asked_at),
            at: self.time.clock(),
        });
    }

    fn tally(&self, pool: Key) -> Option<&Tally> {
        let share = self.pools.get(pool).and_then(Pool::share);
        share.map(|share| &share.service)
    }
}
