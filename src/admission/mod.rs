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
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

mod clients;
mod networks;
mod portion;
mod reason;

use crate::base::burst::Burst;
use crate::base::doorbell::Doorbell;
use crate::config::Server;
use clients::{Client, Clients, Quota};
pub use networks::Networks;
pub use portion::Portion;
pub use reason::RejectReason;

/// Tables that the clients are spread over, so that reactors seldom meet at one lock.
const SHARDS: usize = 16;

/// The most clients of one service of whom other processes are told.
pub const MOST_TOLD: usize = 10 * SHARDS;

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
    /// What `server` says; none when it refuses nobody.
    #[must_use]
    pub fn of(server: &Server) -> Option<Self> {
        Self::after(None, server)
    }

    /// The same in the place of what was in force `before`: whoever is counted stays counted.
    #[must_use]
    pub fn after(before: Option<&Self>, server: &Server) -> Option<Self> {
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
            bursts: std::array::from_fn(|_| Burst::default()),
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
        let mut table = shards.of(client);
        let answer = table.admit(client, now);
        let is_news = table.take_news();
        drop(table);
        if is_news {
            shards.ring();
        }
        answer?;
        Ok(Some(Box::new(Seat {
            shards: Arc::clone(shards),
            client,
        })))
    }

    /// Whether clients have limits of their own.
    #[must_use]
    pub fn limits_clients(&self) -> bool {
        self.clients.is_some()
    }

    /// Divides the limits of clients among so many processes from now on, this one included: each may give out a part of a limit
    /// without a claim; at most `most` clients are claimed (at least 16, at most [`MOST_TOLD`]), and `bell` rings when one more is
    /// to be. With fewer than two processes this one counts by itself.
    pub fn divide(&self, processes: usize, most: usize, bell: &Arc<Doorbell>) {
        let Some(shards) = &self.clients else { return };
        // It is the same one always.
        shards.bell.get_or_init(|| Arc::clone(bell));
        let unclaimed = (processes > 1).then(|| Portion::unclaimed(processes));
        for table in &shards.tables {
            locked(table).divide(unclaimed, (most.min(MOST_TOLD) / SHARDS).max(1));
        }
    }

    /// Asks for each client of whom others are told what this process may give it: from a hash of the client, the part of its limits
    /// that it uses, and the part that it may have so far ([`Portion::NONE`]: none was granted yet).
    pub fn revise(&self, now: Instant, decide: &mut dyn FnMut(u64, Portion, Portion) -> Portion) {
        let Some(shards) = &self.clients else { return };
        for table in &shards.tables {
            locked(table).revise(now, &mut |client, need, present| {
                decide(client.hash(), need, present)
            });
        }
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
struct Shards {
    tables: [Mutex<Clients>; SHARDS],
    /// Who tells others of clients, once somebody does.
    bell: OnceLock<Arc<Doorbell>>,
}

impl Shards {
    fn new(quota: Quota) -> Self {
        Self {
            tables: std::array::from_fn(|_| Mutex::new(Clients::new(quota, REMEMBERED_PER_SHARD))),
            bell: OnceLock::new(),
        }
    }

    /// Lets each client have this from now on.
    fn allow(&self, quota: Quota) {
        for table in &self.tables {
            locked(table).allow(quota);
        }
    }

    /// The table of a client, locked.
    fn of(&self, client: Client) -> MutexGuard<'_, Clients> {
        locked(&self.tables[client.shard(SHARDS)])
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

/// A count is whole after each step, so a thread that panicked elsewhere left it right.
fn locked(table: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
