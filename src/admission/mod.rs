//! Who may connect: lists of networks, connections at once and new connections a second of one client network.
//!
//! Decides right after `accept`, before anything else is done for a connection. Limits hold for the whole
//! process, whichever reactor accepts: the counts are shared, behind short locks that nobody touches while
//! these settings are off, for then there is no [`Admission`] at all. Knows addresses and the time; no sockets,
//! no relays.
//!
//! Invariants: what was admitted is counted until its [`Seat`] is dropped, and no longer; a refusal leaves
//! nothing behind; nobody is refused because a table is full.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

mod clients;
mod networks;
mod reason;

use crate::base::burst::Burst;
use crate::config::Server;
use clients::{Client, Clients, Quota};
pub use networks::Networks;
pub use reason::RejectReason;

/// Tables that the clients are spread over, so that reactors seldom meet at one lock.
const SHARDS: usize = 16;

/// Clients that each table remembers beside those that are connected: those whose bucket is not full yet.
const REMEMBERED_PER_SHARD: usize = 4096;

/// Decides who may connect.
#[derive(Debug)]
pub struct Admission {
    /// None: everybody who is not denied.
    allow: Option<Networks>,
    deny: Networks,
    /// None: no limit per client.
    clients: Option<Arc<Shards>>,
    /// Refusals, by reason.
    bursts: [Burst; RejectReason::ALL.len()],
}

/// One admitted connection; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    shards: Arc<Shards>,
    client: Client,
}

impl Admission {
    /// What `server` says; none when it refuses nobody. `now` lies before all times to come.
    #[must_use]
    pub fn of(server: &Server, now: Instant) -> Option<Self> {
        Self::after(None, server, now)
    }

    /// The same in the place of what was in force `before`: whoever is counted stays counted.
    #[must_use]
    pub fn after(before: Option<&Self>, server: &Server, now: Instant) -> Option<Self> {
        let quota = Quota::of(server);
        if server.allow.is_empty() && server.deny.is_empty() && quota.is_none() {
            return None;
        }
        let clients = quota.map(|quota| match before.and_then(|before| before.clients.as_ref()) {
            Some(shards) => {
                shards.allow(quota);
                Arc::clone(shards)
            }
            None => Arc::new(Shards::new(quota)),
        });
        Some(Self {
            allow: (!server.allow.is_empty()).then(|| Networks::of(&server.allow)),
            deny: Networks::of(&server.deny),
            clients,
            bursts: std::array::from_fn(|_| Burst::new(now)),
        })
    }

    /// Whether a client with this address (canonical, so never an IPv4-mapped one) may connect now. The seat,
    /// if there is one, is to be kept as long as the connection is.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admit(&self, ip: IpAddr, now: Instant) -> Result<Option<Box<Seat>>, RejectReason> {
        let is_allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(ip));
        if !is_allowed || self.deny.contains(ip) {
            return Err(RejectReason::Denied);
        }
        let Some(shards) = &self.clients else {
            return Ok(None);
        };
        let client = Client::of(ip);
        shards.of(client).admit(client, now)?;
        Ok(Some(Box::new(Seat {
            shards: Arc::clone(shards),
            client,
        })))
    }

    /// Whether a refusal for this reason begins a burst: one caller alone is told so.
    pub fn begins_burst(&self, reason: RejectReason, now: Instant) -> bool {
        let burst = self.bursts.get(reason as usize);
        burst.is_some_and(|burst| burst.begins(now))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shards.of(self.client).leave(self.client);
    }
}

/// The clients of the process.
#[derive(Debug)]
struct Shards([Mutex<Clients>; SHARDS]);

impl Shards {
    fn new(quota: Quota) -> Self {
        Self(std::array::from_fn(|_| {
            Mutex::new(Clients::new(quota, REMEMBERED_PER_SHARD))
        }))
    }

    /// Lets each client have this from now on.
    fn allow(&self, quota: Quota) {
        for table in &self.0 {
            table.lock().unwrap_or_else(PoisonError::into_inner).allow(quota);
        }
    }

    /// The table of a client, locked.
    fn of(&self, client: Client) -> MutexGuard<'_, Clients> {
        // A count is whole after each step, so a thread that panicked elsewhere left it right.
        self.0[client.shard(SHARDS)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
