//! What has happened lately: switches, outages, reloads, orders by hand; for whoever asks.
//!
//! Bounded: the last [`KEPT`] events. Whoever tells of one holds the lock for a push, whoever reads for as many pointers as
//! there are; nobody decides anything by them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::admin_state::AdminState;
use super::probe_requests::ProbeRequest;
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::config::ServiceName;
use crate::selector::decide::{Footing, SwitchReason};

/// Events that are kept.
pub const KEPT: usize = 1000;

/// The most addresses that an event names of one kind.
const MOST_NAMED: usize = 64;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which one since the process started, counted from 1.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// Of which service; none: of the process.
    pub service: Option<ServiceName>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The active set changed.
    Switch(Switched),
    /// What the active set stands on changed.
    Footing(Footing),
    /// The service fell asleep, or woke.
    Slumber {
        /// Which of the two.
        is_asleep: bool,
    },
    /// Our own link went down: so many witnesses failed.
    LinkDown {
        /// Those that were seen to fail.
        failed: usize,
    },
    /// It came back.
    LinkBack {
        /// For how long nobody had answered.
        after: Duration,
    },
    /// The way to the network is another one, or the machine has slept: everybody is looked at anew.
    Uplink,
    /// A reload was applied: how many things it changed.
    Reloaded {
        /// In words, one change each.
        changes: Vec<String>,
    },
    /// A reload was refused.
    ReloadRefused {
        /// What is wrong, one fault each.
        faults: Vec<String>,
    },
    /// Somebody has taken a candidate out, or back in.
    Admin {
        /// Whom.
        backend: SocketAddr,
        /// What it may do now.
        state: AdminState,
    },
    /// Somebody wants a probe.
    Probe(ProbeRequest),
    /// What a provider says has changed.
    ProviderSaid {
        /// Which one of its service: its place and type.
        provider: String,
        /// Candidates that it names now.
        candidates: u128,
    },
    /// A provider has begun to fail.
    ProviderFails {
        /// Which one.
        provider: String,
        /// Why.
        why: String,
    },
    /// It has ceased to.
    ProviderBack {
        /// Which one.
        provider: String,
    },
    /// Somebody has changed the level of the log.
    LogLevel(log::LevelFilter),
}

/// How an active set changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Switched {
    /// Why.
    pub reason: SwitchReason,
    /// Who joined; the first of them if they are many.
    pub joined: Vec<SocketAddr>,
    /// Who left, in the same way.
    pub left: Vec<SocketAddr>,
    /// Mean scores before and after.
    pub means: (f64, f64),
}

impl Switched {
    /// A switch for this reason, which names no more than an event may.
    #[must_use]
    pub fn new(
        reason: SwitchReason,
        joined: impl Iterator<Item = SocketAddr>,
        left: impl Iterator<Item = SocketAddr>,
        means: (f64, f64),
    ) -> Self {
        Self {
            reason,
            joined: joined.take(MOST_NAMED).collect(),
            left: left.take(MOST_NAMED).collect(),
            means,
        }
    }
}

/// The last events.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<Kept>,
    bell: Arc<Doorbell>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    told: u64,
}

impl Events {
    /// Nothing has happened yet; whoever follows sleeps at `bell`.
    #[must_use]
    pub fn heard_at(bell: Arc<Doorbell>) -> Self {
        Self {
            kept: Mutex::default(),
            bell,
        }
    }

    /// Something happens now.
    pub fn tell(&self, service: Option<&ServiceName>, what: What) {
        let mut kept = self.kept();
        kept.told += 1;
        let event = Event {
            number: kept.told,
            at: clock::wall(),
            service: service.cloned(),
            what,
        };
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::new(event));
        drop(kept);
        self.bell.ring();
    }

    /// Those that are kept and came after the one with this number (0: all), oldest first.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<Arc<Event>> {
        let kept = self.kept();
        let begin = kept.events.partition_point(|event| event.number <= number);
        kept.events.range(begin..).cloned().collect()
    }

    /// How many there have been.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.kept().told
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_told_from_anywhere() {
        let bell = Arc::new(Doorbell::default());
        let events = Events::heard_at(Arc::clone(&bell));
        assert!(events.after(0).is_empty());
        for _ in 0..KEPT + 5 {
            events.tell(None, What::Uplink);
        }
        assert!(bell.answer());
        let all = events.after(0);
        let numbers = (all[0].number, all[KEPT - 1].number);
        assert_eq!((all.len(), numbers), (KEPT, (6, 1005)));
        assert_eq!(events.after(1003).len(), 2);
        assert!(events.after(1005).is_empty() && events.after(u64::MAX).is_empty());
        assert_eq!(events.told(), 1005);
    }

    #[test]
    fn a_large_set_does_not_make_a_large_event() {
        let many = || (0..5000).map(|_| SocketAddr::from(([127, 0, 0, 1], 80)));
        let switched = Switched::new(SwitchReason::Better, many(), many(), (1.0, 2.0));
        assert_eq!(switched.joined.len() + switched.left.len(), 2 * MOST_NAMED);
    }
}
