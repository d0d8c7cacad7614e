//! Connections of clients: events, turns, deadlines, the end.

use log::debug;

use super::held_back::HeldBack;
use super::slots::{Key, Kind, Slots};
use super::upstreams::KEEPALIVE_AFTER;
use super::{Connection, Link, Reactor, Signal, counters_of, slots};
use crate::metrics::counters::ErrorKind;
use crate::net;
use crate::relay::close::{CloseReason, Ending, Side};
use crate::relay::readiness::Closure;
use crate::relay::{Moved, Tools, Verdict};

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
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        signal.apply(&mut connection.relay.client.ready);
        if let Some(HeldBack::UntilSent(ending)) = connection.ending {
            return self.on_sent(key, ending, signal);
        }
        match connection.link {
            Link::Attached(_) => self.drive(key),
            // It waits for a dial, or for a descriptor to dial with, and what it sends waits in the kernel.
            // Only a reset ends the wait: a FIN may follow a request.
            Link::Dialling(_) | Link::None if signal.closure > Closure::Open && has_failed(connection) => {
                self.close(key, Ending::quiet(CloseReason::ClientReset));
            }
            Link::Dialling(_) | Link::None => {}
        }
    }

    /// Gives a relay its turn.
    pub(super) fn drive(&mut self, key: Key) {
        let (moved, verdict) = {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            if connection.ending.is_some() {
                return;
            }
            let Link::Attached(upstream) = connection.link else {
                return;
            };
            let Some(upstream) = self.upstreams.get_mut(upstream) else {
                return;
            };
            let was_half_closed = connection.relay.is_half_closed();
            let mut tools = Tools {
                scratch: &mut self.scratch,
                pipes: &mut self.pipes,
                bandwidth: self.shared.bandwidth.as_ref(),
                now: self.now,
                clock: self.time.clock(),
            };
            let (moved, verdict) = connection.relay.drive(&mut upstream.peer, &mut tools);
            if connection.relay.is_half_closed() && !was_half_closed {
                self.connection_timers
                    .set(key.index(), self.now + self.shared.server.half_close_timeout);
            }
            if let Some(at) = connection.relay.resumes_at() {
                self.resume_timers.set(key.index(), self.time.of_clock(at));
            }
            if verdict == Verdict::Again && !connection.queued {
                connection.queued = true;
                self.run_queue.push(key);
            }
            (moved, verdict)
        };
        self.count(moved);
        match verdict {
            Verdict::Wait | Verdict::Again => {}
            Verdict::Stale => self.replace_stale(key),
            Verdict::Rescue => self.rescue(key),
            Verdict::Doubt(pause) => self.connection_timers.set(key.index(), self.now + pause),
            Verdict::End(ending) => self.end(key, ending),
        }
    }

    fn count(&self, moved: Moved) {
        let counters = self.counters();
        if moved.to_backend > 0 {
            counters.bytes_to_backend.add(moved.to_backend);
        }
        if moved.to_client > 0 {
            counters.bytes_to_client.add(moved.to_client);
        }
    }

    /// Gives those another turn that used up their last one.
    pub(super) fn run_queued(&mut self) {
        let mut queue = std::mem::take(&mut self.run_queue);
        std::mem::swap(&mut self.run_queue, &mut self.run_queue_spare);
        for key in &queue {
            if let Some(connection) = self.connections.get_mut(*key) {
                connection.queued = false;
                self.drive(*key);
            }
        }
        queue.clear();
        self.run_queue_spare = queue;
    }

    /// A connection's deadline has come: idle, half-closed for too long, or a reset that was held back.
    pub(super) fn on_connection_deadline(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        match connection.ending {
            None => {}
            Some(HeldBack::Unasked(ending)) => return self.wait_until_sent(key, ending),
            Some(HeldBack::UntilSent(ending) | HeldBack::Grace(ending)) => return self.close(key, ending),
        }
        if connection.relay.is_in_doubt() {
            self.drive(key);
        }
        let Some(connection) = self.connections.get(key).filter(|one| !one.relay.is_in_doubt()) else {
            return;
        };
        match connection.link {
            // The dial has a deadline of its own.
            Link::Dialling(_) => {
                return self.connection_timers.set(
                    key.index(),
                    self.now + self.shared.server.idle_timeout.min(KEEPALIVE_AFTER),
                );
            }
            Link::None => return self.try_again(key, connection.relay.accepted_at),
            // Should the connection be gone, the relay finds out by itself.
            Link::Attached(upstream) => drop(self.keep_alive(upstream)),
        }
        self.close_or_wait(key, Belief::MayBeLate);
    }

    /// Closes a relay that has been silent for too long, or sets its next deadline.
    fn close_or_wait(&mut self, key: Key, belief: Belief) {
        let Some(connection) = self.connections.get_mut(key).filter(|one| one.ending.is_none()) else {
            return;
        };
        let server = &self.shared.server;
        let (timeout, reason) = if connection.relay.is_half_closed() {
            (server.half_close_timeout, CloseReason::HalfCloseTimeout)
        } else {
            (server.idle_timeout, CloseReason::IdleTimeout)
        };
        // A relay that a limit holds back is not idle: it is we who do not read.
        let last_activity = if connection.relay.is_paused() {
            self.now
        } else {
            connection.relay.last_activity
        };
        let deadline = last_activity + timeout;
        if deadline > self.now {
            return self.connection_timers.set(key.index(), deadline);
        }
        let Link::Attached(upstream) = connection.link else {
            return self.close(key, Ending::quiet(reason));
        };
        match belief {
            Belief::LookedAt => self.close(key, Ending::quiet(reason)),
            // After our own standing still (a stopped process, a machine asleep) bytes may be here already, their
            // event still in the queue.
            Belief::MayBeLate => {
                connection.relay.client.ready.set_readable();
                if let Some(upstream) = self.upstreams.get_mut(upstream) {
                    upstream.peer.ready.set_readable();
                }
                self.drive(key);
                self.close_or_wait(key, Belief::LookedAt);
            }
        }
    }

    /// Closes a connection and all that belongs to it, and does its accounts.
    pub(super) fn close(&mut self, key: Key, ending: Ending) {
        let Some(mut connection) = self.connections.remove(key) else {
            return;
        };
        self.connection_timers.clear(key.index());
        if let Some(bandwidth) = &self.shared.bandwidth {
            self.resume_timers.clear(key.index());
            connection.relay.give_back(bandwidth);
        }
        match connection.link {
            Link::Attached(upstream) => {
                if let Some(upstream) = self.remove_upstream(upstream)
                    && ending.reset.is_of(Side::Backend)
                {
                    net::reset_on_close(&upstream.peer.stream);
                }
            }
            Link::Dialling(upstream) => self.orphan_dial(upstream),
            Link::None => {}
        }
        if ending.reset.is_of(Side::Client) {
            net::reset_on_close(&connection.relay.client.stream);
        }
        if ending.reason == CloseReason::Error {
            self.counters().count_error(ErrorKind::Relay);
        }
        let backend = connection.pool.map(|pool| self.leave_pool(pool));
        let lifetime = self.now.saturating_duration_since(connection.relay.accepted_at);
        let counters = counters_of(&self.shared, self.index);
        counters.active.sub(1);
        counters.count_close(ending.reason);
        counters.durations.observe(lifetime);
        if let Some(drain) = &mut self.drain {
            drain.farewell.finished += 1;
        }
        debug!(
            target: "tcp_forwarder::relay",
            client:% = connection.relay.client_addr,
            backend:% = backend.flatten().map_or_else(|| "none".to_owned(), |addr| addr.to_string()),
            reason = ending.reason.label(),
            bytes_to_backend = connection.relay.bytes_to_backend,
            bytes_to_client = connection.relay.bytes_to_client,
            duration_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
            "connection closed"
        );
    }

    /// The connections that a pool counts as in use.
    pub(super) fn connections_of(connections: &Slots<Connection>, pool: Key) -> Vec<Key> {
        connections
            .keys()
            .filter(|key| {
                connections
                    .get(*key)
                    .is_some_and(|connection| connection.pool == Some(pool))
            })
            .collect()
    }
}

/// Whether a client's socket has failed, as opposed to merely finished.
fn has_failed(connection: &Connection) -> bool {
    matches!(connection.relay.client.stream.take_error(), Ok(Some(_)) | Err(_))
}

/// The token of a connection to a backend.
pub(super) fn upstream_token(key: Key) -> mio::Token {
    slots::token(Kind::Upstream, key)
}
