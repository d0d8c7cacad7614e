//! Whether one service is asleep, as its clients have it; without a thread.
//!
//! Owns what the rule of [`slumber`](crate::service::slumber) is asked with: what reactors counted of clients, and since
//! when the service could be used at all. It is the pools thread's, which reads what reactors count anyway, and decides
//! how much is warm.
//!
//! Invariants: a service without an active set never sleeps: it has nobody to serve its first client with. Another
//! candidate list counts like a client: what is known to be best may not be allowed any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::info;

use crate::base::published::Reader;
use crate::candidates::CandidateSet;
use crate::service::directory::Service;
use crate::service::events::{Events, What};
use crate::service::slumber::{Clients, Slumber};
use crate::service::traffic::Traffic;

/// Whether one service is asleep.
#[derive(Debug)]
pub(super) struct Sleeper {
    slumber: Slumber,
    candidates: Reader<CandidateSet>,
    /// Whether it has an active set.
    is_usable: bool,
    /// Since when it could be used.
    usable_since: Instant,
    /// When it is to be looked at again.
    again_at: Option<Instant>,
}

impl Sleeper {
    /// A service that is awake as long as it cannot be used.
    pub(super) fn new(service: &Service, now: Instant) -> Self {
        Self {
            slumber: *service.live.slumber.load(),
            candidates: Reader::new(Arc::clone(&service.live.candidates)),
            is_usable: false,
            usable_since: now,
            again_at: None,
        }
    }

    /// Whether it is asleep.
    pub(super) fn is_asleep(&self) -> bool {
        self.slumber.is_asleep()
    }

    /// When [`look`](Self::look) is due; whoever knows of a client of a service that is asleep has it done at once.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.again_at
    }

    /// Whether it falls asleep or wakes now; the caller says so to others with [`tell`](Self::tell). Times of clients
    /// count from `origin`.
    pub(super) fn look(&mut self, service: &Service, origin: Instant, now: Instant) -> bool {
        let had_set = self.is_usable;
        self.is_usable = !service.live.active.load().backends.is_empty();
        if self.candidates.refresh() || !had_set {
            self.usable_since = now;
        }
        let clients = clients(&service.live.traffic, origin, self.usable_since);
        let rules = &service.spec.sleep;
        let before = self.slumber;
        if self.is_usable {
            self.slumber = before.next(clients, rules, now);
        }
        self.again_at = self.slumber.again_at(clients, rules, now);
        debug_assert!(
            !self.is_asleep() || self.is_usable,
            "who has nobody to serve with is awake"
        );
        self.slumber.is_asleep() != before.is_asleep()
    }

    /// Publishes what has changed, and tells of it.
    pub(super) fn tell(&self, service: &Service, events: &Events) {
        const TARGET: &str = "tcp_forwarder::sleep";
        let name = service.name.as_str();
        let is_asleep = self.is_asleep();
        events.tell(Some(&service.name), What::Slumber { is_asleep });
        if self.is_asleep() {
            let after = service.spec.sleep.after;
            info!(
                target: TARGET, service = name;
                "service {name} falls asleep: no client for {after:?}"
            );
        } else {
            info!(target: TARGET, service = name; "service {name} wakes up");
        }
        service.live.slumber.publish(Arc::new(self.slumber));
    }
}

/// What reactors counted of clients.
fn clients(traffic: &[Traffic], origin: Instant, usable_since: Instant) -> Clients {
    let last_micros = traffic.iter().map(|one| one.last_client_micros.value()).max();
    let last_at = origin + Duration::from_micros(last_micros.unwrap_or_default());
    Clients {
        connected: traffic.iter().map(|one| one.active.value()).sum(),
        last_at: last_at.max(usable_since),
    }
}
