//! Which link lies between which addresses, changeable while packets fly, and what the wire did with them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::link::Link;

/// Lateness is counted in steps of this size, up to [`LATENESS_STEPS`] of them.
const LATENESS_STEP: Duration = Duration::from_micros(10);
const LATENESS_STEPS: usize = 1_000;

/// The qualities of the wire; cheap to clone, changes count for every packet that enters afterwards.
#[derive(Clone)]
pub(crate) struct Links {
    table: Arc<Mutex<Table>>,
}

pub(super) struct Table {
    pub(super) uplink: Link,
    fallback: Link,
    by_server: HashMap<IpAddr, Link>,
    by_pair: HashMap<(IpAddr, IpAddr), Link>,
    pub(super) report: RouterReport,
}

/// What the wire has done.
#[derive(Debug, Clone)]
pub(crate) struct RouterReport {
    /// Packets that arrived at the other side.
    pub(crate) delivered: u64,
    /// Packets that a link lost.
    pub(crate) lost: u64,
    /// Packets dropped by a full queue, the wire's own or a device's.
    pub(crate) overflowed: u64,
    /// How much later than meant packets left, in steps of 10 µs; the last one takes all above.
    lateness: Vec<u64>,
    /// The latest of all.
    pub(crate) latest: Duration,
}

impl RouterReport {
    fn new() -> Self {
        Self {
            delivered: 0,
            lost: 0,
            overflowed: 0,
            lateness: vec![0; LATENESS_STEPS],
            latest: Duration::ZERO,
        }
    }

    /// The lateness that `per_mille` of a thousand packets stay under; at most 10 ms is told apart.
    pub(crate) fn lateness(&self, per_mille: u64) -> Duration {
        let wanted = self.delivered * per_mille / 1_000;
        let mut seen = 0;
        let mut bound = Duration::ZERO;
        for count in &self.lateness {
            seen += count;
            bound += LATENESS_STEP;
            if seen >= wanted {
                break;
            }
        }
        bound
    }

    pub(super) fn record(&mut self, late: Duration) {
        self.delivered += 1;
        self.latest = self.latest.max(late);
        let step = usize::try_from(late.as_nanos() / LATENESS_STEP.as_nanos()).unwrap_or(usize::MAX);
        if let Some(count) = self.lateness.get_mut(step.min(LATENESS_STEPS - 1)) {
            *count += 1;
        }
    }
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            table: Arc::new(Mutex::new(Table {
                uplink: Link::millis(0),
                fallback: Link::millis(0),
                by_server: HashMap::new(),
                by_pair: HashMap::new(),
                report: RouterReport::new(),
            })),
        }
    }

    /// Sets the link to and from one server address.
    pub(crate) fn set(&self, server: IpAddr, link: Link) {
        self.lock().by_server.insert(server, link);
    }

    /// Sets the link between one client address and one server address; it goes before [`Self::set`].
    pub(crate) fn set_pair(&self, client: IpAddr, server: IpAddr, link: Link) {
        self.lock().by_pair.insert((client, server), link);
    }

    /// Sets the link of every address that has none of its own.
    pub(crate) fn set_fallback(&self, link: Link) {
        self.lock().fallback = link;
    }

    /// Sets the link that all packets pass besides their own: our side's line.
    pub(crate) fn set_uplink(&self, link: Link) {
        self.lock().uplink = link;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The link between two addresses.
    pub(super) fn link(&self, client: IpAddr, server: IpAddr) -> &Link {
        let pair = || self.by_pair.get(&(client, server));
        let one = || self.by_server.get(&server).unwrap_or(&self.fallback);
        if self.by_pair.is_empty() {
            one()
        } else {
            pair().unwrap_or_else(one)
        }
    }
}
