//! Clients: events, turns, deadlines, the end.

use std::net::SocketAddr;
use std::time::Duration;

use log::debug;

use super::client::{Client, Stage, Wait};
use super::core::Reactor;
use super::signal::Signal;
use super::upstream::{KEEPALIVE_AFTER, Upstream};
use crate::base::slots::{Key, Slots};
use crate::config::Splice;
use crate::net;
use crate::pools::warm::Pool;
use crate::relay::bulk;
use crate::relay::close::{CloseReason, Ending, Side};
use crate::relay::course::Step;
use crate::relay::readiness::Closure;
use crate::relay::wire::Wire;
use crate::relay::{Moved, Tools, Verdict};
use crate::service::Service;
use crate::service::traffic::{ErrorKind, Traffic};

/// How a relay is known to be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// No event has come.
    MayBeLate,
    /// Its sockets have nothing.
    LookedAt,
}

impl Reactor {
    /// An event of a client's socket.
    pub(super) fn on_client(&mut self, key: Key, signal: Signal) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        signal.apply(&mut client.relay.client.ready);
        match client.stage {
            Stage::Relaying(_) => self.drive(key),
            Stage::Opening(_) => self.go_on_opening(key),
            // What it sends waits in the kernel. Only a reset ends the wait: a FIN may follow a request.
            Stage::Seeking(_) if signal.closure > Closure::Open && has_failed(client) => {
                self.close(key, Ending::quiet(CloseReason::ClientReset));
            }
            Stage::Seeking(_) => {}
            Stage::Leaving(_, held_back) => self.on_leaving(key, held_back, signal),
        }
    }

    /// Gives a relay its turn.
    pub(super) fn drive(&mut self, key: Key) {
        let (moved, verdict) = {
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            let Stage::Relaying(attached) = client.stage else {
                return;
            };
            let (Some(upstream), Some(tenant)) = (
                self.upstreams.get_mut(attached.upstream),
                self.tenants.get(client.tenant),
            ) else {
                debug_assert!(false, "a relay has both sides, and a tenant");
                return;
            };
            let was_half_closed = client.relay.is_half_closed();
            let mut tools = Tools {
                scratch: &mut self.scratch,
                pipes: match tenant.spec().server.splice {
                    Splice::Auto | Splice::On => &mut self.pipes,
                    Splice::Off => &mut self.no_pipes,
                },
                bandwidth: tenant.service.bandwidth.as_deref(),
                now: self.now,
                clock: self.time.clock(),
            };
            let (moved, verdict) = client.relay.drive(&mut upstream.peer, &mut tools);
            if client.relay.is_half_closed() && !was_half_closed {
                let until = self.now + tenant.spec().server.half_close_timeout;
                self.client_timers.set(key.index(), until);
                if client.relay.has_backend_finished()
                    && let Some(tenant) = unload(upstream, &mut self.pools)
                {
                    self.due_places.push(tenant);
                }
            }
            if let Some(at) = client.relay.resumes_at() {
                self.resume_timers.set(key.index(), self.time.of_clock(at));
            }
            if verdict == Verdict::Again && !client.is_queued {
                client.is_queued = true;
                self.due_clients.push(key);
            }
            count(tenant.traffic(self.index), moved);
            if client.relay.step.is_some() || client.relay.stretch.is_some() {
                let step = client.relay.step.take();
                if let (Some(Step::Answered(_)), Some(story)) = (step, client.story()) {
                    story.answered(self.now);
                }
                let turn = bulk::Turn {
                    moved: [moved.to_backend, moved.to_client],
                    awaits_backend: client.relay.awaits_backend(),
                    is_paused: client.relay.is_paused(),
                };
                let stretch = client.relay.stretch.as_mut();
                let measured = stretch.and_then(|stretch| stretch.note(turn, self.now));
                self.appraise(key, attached.pool, step, measured);
            }
            (moved, verdict)
        };
        debug_assert!(
            verdict != Verdict::Stale || moved.to_backend + moved.to_client == 0,
            "nothing was exchanged"
        );
        match verdict {
            Verdict::Wait | Verdict::Again => {}
            Verdict::Stale => self.replace_stale(key),
            Verdict::Rescue => self.rescue(key),
            Verdict::Doubt(pause) => self.client_timers.set(key.index(), self.now + pause),
            Verdict::End(ending) => self.end(key, ending),
        }
    }

    /// Gives those another turn that used up their last one.
    pub(super) fn run_queued(&mut self) {
        let Some(round) = self.due_clients.take() else {
            return;
        };
        for key in &round {
            if let Some(client) = self.clients.get_mut(*key) {
                client.is_queued = false;
                self.drive(*key);
            }
        }
        self.due_clients.give_back(round);
    }

    /// The deadline of a client's stage has come.
    pub(super) fn on_client_deadline(&mut self, key: Key) {
        let Some(stage) = self.clients.get(key).map(|client| client.stage) else {
            return;
        };
        match stage {
            Stage::Opening(preface) => self.on_opening_deadline(key, preface),
            Stage::Seeking(Wait::Socket) => self.try_again(key),
            Stage::Seeking(Wait::Set) => self.close(key, Ending::quiet(CloseReason::DialFailed)),
            Stage::Seeking(Wait::Place) => self.refuse_place(key),
            Stage::Seeking(Wait::Dial { .. }) => self.begin_rival(key),
            Stage::Seeking(Wait::Nothing) => debug_assert!(false, "who waits for nothing has no deadline"),
            Stage::Relaying(_) => self.on_relay_deadline(key),
            Stage::Leaving(_, held_back) => self.on_leaving_deadline(key, held_back),
        }
    }

    /// A relay's deadline: a doubt is to be looked at, the first look is due, or it has been silent.
    fn on_relay_deadline(&mut self, key: Key) {
        if self
            .clients
            .get(key)
            .is_some_and(|client| client.relay.is_in_doubt())
        {
            self.drive(key);
        }
        let Some(client) = self.clients.get(key).filter(|one| !one.relay.is_in_doubt()) else {
            return;
        };
        let Stage::Relaying(attached) = client.stage else {
            return;
        };
        self.look_for_silence(key);
        self.look_for_obstruction(key);
        // Should the connection be gone, the relay finds out by itself.
        self.keep_alive(attached.upstream);
        self.close_or_wait(key, Belief::MayBeLate);
    }

    /// Closes a relay that has been silent for too long, or sets its next deadline.
    fn close_or_wait(&mut self, key: Key, belief: Belief) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let (Stage::Relaying(attached), Some(tenant)) = (client.stage, self.tenants.get(client.tenant))
        else {
            return;
        };
        let server = &tenant.spec().server;
        let (timeout, reason) = if client.relay.is_half_closed() {
            (server.half_close_timeout, CloseReason::HalfCloseTimeout)
        } else {
            (server.idle_timeout, CloseReason::IdleTimeout)
        };
        // A relay that a limit holds back is not idle: it is we who do not read.
        let last_activity = if client.relay.is_paused() {
            self.now
        } else {
            client.relay.last_activity
        };
        let deadline = last_activity + timeout;
        if deadline > self.now {
            let next = self.next_doubt(key).map_or(deadline, |at| at.min(deadline));
            return self.client_timers.set(key.index(), next);
        }
        match belief {
            Belief::LookedAt => self.close(key, Ending::quiet(reason)),
            // After our own standing still (a stopped process, a machine asleep) bytes may be here already, their
            // event still in the queue.
            Belief::MayBeLate => {
                client.relay.client.ready.set_readable();
                if let Some(upstream) = self.upstreams.get_mut(attached.upstream) {
                    upstream.peer.ready.set_readable();
                }
                self.drive(key);
                self.close_or_wait(key, Belief::LookedAt);
            }
        }
    }

    /// When a relay that gets its backend now is looked at first: for its keep-alive, or for silence.
    pub(super) fn set_first_look(&mut self, key: Key) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(tenant) = self.tenants.get(client.tenant) else {
            return;
        };
        let first_look = client.relay.accepted_at + KEEPALIVE_AFTER;
        let idle = self.now + tenant.spec().server.idle_timeout;
        let until = if first_look > self.now {
            idle.min(first_look)
        } else {
            idle
        };
        self.client_timers.set(key.index(), until);
    }

    /// Closes a client and all that belongs to it, and does its accounts. Where ends are said, a half that was done has said
    /// its own; nothing else is an end, so nothing is said here.
    pub(super) fn close(&mut self, key: Key, ending: Ending) {
        let Some(mut client) = self.clients.remove(key) else {
            return;
        };
        self.client_timers.clear(key.index());
        let Some(tenant) = self.tenants.get_mut(client.tenant) else {
            debug_assert!(false, "a tenant stays as long as its clients");
            return;
        };
        tenant.clients -= 1;
        let service = std::sync::Arc::clone(&tenant.service);
        if let (Some(pool), Some(stretch)) = (client.pool(), &client.relay.stretch)
            && let Some(measured) = stretch.measured()
        {
            self.count_measured(pool, measured);
        }
        if let Some(bandwidth) = &service.bandwidth {
            self.resume_timers.clear(key.index());
            client.relay.give_back(bandwidth);
        }
        let pool = client.pool();
        let mut upstream = None;
        self.leave_race(&mut client);
        match client.stage {
            Stage::Relaying(attached) | Stage::Leaving(attached, _) => {
                upstream = self.remove_upstream(attached.upstream);
                if ending.reset.is_of(Side::Backend)
                    && let Some(upstream) = &upstream
                {
                    net::reset_on_close(upstream.peer.stream.wire());
                }
            }
            Stage::Seeking(Wait::Dial { upstream, .. }) => self.orphan_dial(upstream),
            Stage::Seeking(Wait::Place) => self.leave_queue(client.tenant),
            Stage::Opening(_) | Stage::Seeking(Wait::Nothing | Wait::Socket | Wait::Set) => {}
        }
        if ending.reset.is_of(Side::Client) {
            net::reset_on_close(client.relay.client.stream.wire());
        }
        let backend = pool.and_then(|pool| self.leave_pool_by(upstream.as_ref(), pool));
        // Only now its socket is closed.
        drop(upstream);
        self.write_line(&client, &service, backend, ending);
        let lifetime = self.now.saturating_duration_since(client.relay.accepted_at);
        let traffic = &service.live.traffic[self.index];
        if ending.reason == CloseReason::Error {
            traffic.count_error(ErrorKind::Relay);
        }
        traffic.active.sub(1);
        self.note_client(client.tenant);
        traffic.count_close(ending.reason);
        traffic.durations.observe(lifetime);
        self.gauges().clients.sub(1);
        if let Some(farewell) = &mut self.farewell {
            if ending.is_cut() {
                farewell.cut += 1;
            } else {
                farewell.finished += 1;
            }
        }
        tell_closed(&client, &service, (backend, ending), lifetime);
        let tenant = client.tenant;
        drop(client);
        self.hub.clients.leave();
        self.drop_tenant_if_done(tenant);
    }
}

/// The backend of a connection has finished it; whose place is free then, if anybody may wait for it.
pub(super) fn unload(upstream: &mut Upstream, pools: &mut Slots<Pool<Key>>) -> Option<Key> {
    let pool = pools.get_mut(upstream.pool)?;
    upstream.place.take()?;
    pool.unload();
    pool.backend.max_connections().map(|_| pool.tenant)
}

/// Tells the log of a client that has been closed.
fn tell_closed(
    client: &Client,
    service: &Service,
    (backend, ending): (Option<SocketAddr>, Ending),
    lifetime: Duration,
) {
    let name = || backend.map_or_else(String::new, |addr| service.live.name_behind(&addr));
    debug!(
        target: "tcp_forwarder::relay",
        service = service.name.as_str(),
        client:% = client.relay.client_addr,
        backend:% = backend.map_or_else(|| "none".to_owned(), |addr| addr.to_string()),
        reason = ending.reason.label(),
        bytes_to_backend = client.relay.bytes_to_backend,
        bytes_to_client = client.relay.bytes_to_client,
        duration_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        "connection closed{}", name()
    );
}

fn count(traffic: &Traffic, moved: Moved) {
    if moved.to_backend > 0 {
        traffic.bytes_to_backend.add(moved.to_backend);
    }
    if moved.to_client > 0 {
        traffic.bytes_to_client.add(moved.to_client);
    }
}

/// Whether a client's socket has failed, as opposed to merely finished.
fn has_failed(client: &Client) -> bool {
    matches!(client.relay.client.stream.take_error(), Ok(Some(_)) | Err(_))
}
