//! What clients got of one service's backends, look by look.
//!
//! Reactors count, at no cost to a relay but a few additions; this reads the counts whenever the scorer is awake, and
//! remembers what was read before. A backend that has left the active set is read as long as anybody holds it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::sample::Served;
use crate::backend::{ActiveSet, Backend, Tally};

/// The counts of one service's backends.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    seen: Vec<Seen>,
}

/// What one backend has given since the last look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    pub(super) addr: SocketAddr,
    pub(super) served: Served,
    /// The slowest of those answers whose time is known.
    pub(super) slowest: Option<Duration>,
}

#[derive(Debug)]
struct Seen {
    backend: Arc<Backend>,
    before: Counts,
}

/// The counts of a backend over all reactors.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    answered: u64,
    timed: u64,
    waited_micros: u64,
    bulk_bytes: u64,
    bulk_micros: u64,
}

impl Counts {
    fn of(backend: &Backend) -> Self {
        let sum = |value: fn(&Tally) -> u64| backend.shares.iter().map(|share| value(&share.service)).sum();
        Self {
            answered: sum(|tally| tally.answered.value()),
            timed: sum(|tally| tally.timed.value()),
            waited_micros: sum(|tally| tally.waited_micros.value()),
            bulk_bytes: sum(|tally| tally.bulk_bytes.value()),
            bulk_micros: sum(|tally| tally.bulk_micros.value()),
        }
    }
}

impl Tallies {
    /// Follows a changed active set.
    pub(super) fn follow(&mut self, active: &ActiveSet) {
        let is_member =
            |backend: &Arc<Backend>| active.backends.iter().any(|member| Arc::ptr_eq(member, backend));
        self.seen
            .retain(|seen| is_member(&seen.backend) || Arc::strong_count(&seen.backend) > 1);
        for member in &active.backends {
            if !self.seen.iter().any(|seen| Arc::ptr_eq(&seen.backend, member)) {
                self.seen.push(Seen {
                    backend: Arc::clone(member),
                    before: Counts::default(),
                });
            }
        }
    }

    /// Who has given anything since the last look.
    pub(super) fn look(&mut self) -> Vec<Look> {
        self.seen.iter_mut().filter_map(Seen::look).collect()
    }
}

impl Seen {
    fn look(&mut self) -> Option<Look> {
        let counts = Counts::of(&self.backend);
        let before = std::mem::replace(&mut self.before, counts);
        let clients = counts.answered.wrapping_sub(before.answered);
        let bulk = seconds(counts.bulk_micros.wrapping_sub(before.bulk_micros));
        if clients == 0 && bulk <= 0.0 {
            return None;
        }
        let timed = counts.timed.wrapping_sub(before.timed);
        let waited = seconds(counts.waited_micros.wrapping_sub(before.waited_micros));
        let first_byte = (timed > 0).then(|| Duration::from_secs_f64(waited / float(timed)));
        let bytes = counts.bulk_bytes.wrapping_sub(before.bulk_bytes);
        let tallies = self.backend.shares.iter().map(|share| &share.service);
        let slowest = tallies.map(Tally::take_slowest).max().unwrap_or_default();
        Some(Look {
            addr: self.backend.addr,
            served: Served {
                clients: u32::try_from(clients).unwrap_or(u32::MAX),
                first_byte,
                rate: (bulk > 0.0).then(|| float(bytes) / bulk),
            },
            slowest: (timed > 0).then_some(slowest),
        })
    }
}

fn seconds(micros: u64) -> f64 {
    float(micros) / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "differences of counts are far from the 2^53 that a double holds"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn set(ports: &[u16]) -> ActiveSet {
        let backend = |port: &u16| {
            let addr = SocketAddr::from(([127, 0, 0, 1], *port));
            Arc::new(Backend::new(addr, clock::now(), 2))
        };
        ActiveSet::new(
            ports.iter().map(backend).collect(),
            crate::selector::decide::Footing::Good,
        )
    }

    #[test]
    fn a_look_tells_what_is_new() {
        let active = set(&[1, 2]);
        let mut tallies = Tallies::default();
        tallies.follow(&active);
        assert_eq!(tallies.look(), []);
        let shares = &active.backends[1].shares;
        shares[0].service.answered(Some(Duration::from_millis(10)));
        shares[1].service.answered(Some(Duration::from_millis(30)));
        shares[1].service.answered(None);
        shares[0].service.moved(3_000_000, Duration::from_secs(2));
        let look = tallies.look();
        let expected = Look {
            addr: active.backends[1].addr,
            served: Served {
                clients: 3,
                first_byte: Some(Duration::from_millis(20)),
                rate: Some(1_500_000.0),
            },
            slowest: Some(Duration::from_millis(30)),
        };
        assert_eq!(look, [expected]);
        assert_eq!(tallies.look(), []);
    }

    #[test]
    fn who_left_is_read_as_long_as_anybody_holds_it() {
        let active = set(&[1, 2]);
        let mut tallies = Tallies::default();
        tallies.follow(&active);
        let kept = Arc::clone(&active.backends[0]);
        drop(active);
        tallies.follow(&ActiveSet::default());
        kept.shares[0].service.answered(None);
        assert_eq!(tallies.look().len(), 1);
        drop(kept);
        tallies.follow(&ActiveSet::default());
        assert!(tallies.seen.is_empty());
    }
}
