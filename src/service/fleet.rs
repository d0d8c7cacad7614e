//! What forwarders tell one another, as the threads of this process see it: who is there, who probes whom, what is to be told
//! and what was heard.
//!
//! Owns the bounded ways between whoever samples and the fleet thread; knows neither Redis nor what a sample does to a score.
//! Nobody ever waits here for longer than another push takes, and where nothing is shared nobody is asked at all.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::doorbell::{Doorbell, listeners};
use crate::base::hash::{self, mix};
use crate::base::published::Published;
use crate::config::Remotes;
use crate::scorer::sample::{Sample, Source};

/// Samples that wait to be told; of more the oldest are not.
const MOST_TOLD: usize = 1024;

/// Samples that were heard and wait for the prober; of more the oldest are lost on it.
const MOST_HEARD: usize = 2048;

/// One process of the fleet, by a number that it has drawn.
pub type NodeId = u64;

/// Another process of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// What it calls itself; not unique.
    pub name: String,
    /// From where it looks at candidates.
    pub vantage: String,
    /// What it serves, by [`service_key`].
    pub services: Vec<u32>,
}

/// The fleet as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FleetView {
    /// This process's number.
    pub me: NodeId,
    /// What it calls itself.
    pub name: String,
    /// From where it looks at candidates.
    pub vantage: String,
    /// Whether the last exchange succeeded.
    pub is_connected: bool,
    /// The others that live, of all vantages; none where nothing was heard for too long.
    pub others: Vec<Node>,
}

impl FleetView {
    /// Who shares the probes of a service with this process.
    #[must_use]
    pub fn share(&self, service: u32) -> Share {
        let is_with_me = |node: &&Node| node.vantage == self.vantage && node.services.contains(&service);
        Share {
            me: self.me,
            others: self
                .others
                .iter()
                .filter(is_with_me)
                .map(|node| node.id)
                .collect(),
        }
    }
}

/// Which candidates of a service this process is to probe, by rendezvous hashing over all that share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    me: NodeId,
    others: Vec<NodeId>,
}

impl Share {
    /// Among these.
    #[must_use]
    pub fn among(me: NodeId, others: Vec<NodeId>) -> Self {
        Self { me, others }
    }

    /// How many share, this process included.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.others.len() + 1
    }

    /// Whether a candidate is this process's.
    #[must_use]
    pub fn is_mine(&self, addr: &SocketAddr) -> bool {
        self.others.is_empty() || self.owner(addr) == self.me
    }

    /// Whose a candidate is.
    #[must_use]
    pub fn owner(&self, addr: &SocketAddr) -> NodeId {
        let key = hash::of_addr(addr);
        let all = std::iter::once(&self.me).chain(&self.others);
        let weight = |node: &NodeId| (mix(key ^ mix(*node)), *node);
        all.copied().max_by_key(weight).unwrap_or(self.me)
    }
}

/// Tells services that are the same for whoever shares: by name, and by what a probe of them means.
#[must_use]
pub fn service_key(name: &str, remotes: &Remotes) -> u32 {
    // Latencies of other questions are other latencies.
    let meaning = format!("{:?} {:?}", remotes.probing.check, remotes.tls);
    let hash = hash::fnv1a(name.bytes().chain([0]).chain(meaning.bytes()));
    u32::try_from(mix(hash) >> 32).unwrap_or_default()
}

/// What is counted of the fleet; all written by its thread.
#[derive(Debug, Default)]
pub struct FleetCounts {
    /// Exchanges that failed.
    pub failures: AtomicU64,
    /// Samples told.
    pub told: AtomicU64,
    /// Samples heard that count for something.
    pub heard: AtomicU64,
    /// Words of others that were refused: broken, out of range, out of time, too many.
    pub refused: AtomicU64,
    /// Bytes sent.
    pub sent_bytes: AtomicU64,
    /// Bytes received.
    pub received_bytes: AtomicU64,
}

/// What all threads share of the fleet.
#[derive(Debug)]
pub struct Fleet {
    /// Who is there. Written by the fleet thread; the prober listens.
    pub view: Arc<Published<FleetView>>,
    /// What is counted.
    pub counts: FleetCounts,
    is_on: AtomicBool,
    told: Mutex<VecDeque<Sample>>,
    heard: Mutex<VecDeque<Sample>>,
    bell: Arc<Doorbell>,
    prober: Arc<Doorbell>,
}

impl Fleet {
    /// Nobody is there yet; the fleet thread sleeps at `bell`.
    #[must_use]
    pub fn new(bell: Arc<Doorbell>, prober: Arc<Doorbell>) -> Self {
        Self {
            view: Arc::new(Published::heard_by(listeners([&prober]), FleetView::default())),
            counts: FleetCounts::default(),
            is_on: AtomicBool::new(false),
            told: Mutex::default(),
            heard: Mutex::default(),
            bell,
            prober,
        }
    }

    /// Whether anything is shared.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Says so. For the fleet thread alone.
    pub fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
        if !is_on {
            lock(&self.told).clear();
        }
    }

    /// Has a sample of this process told to others, at once if it is `urgent`.
    pub fn tell(&self, sample: &Sample, urgent: bool) {
        debug_assert!(sample.source != Source::Peer, "nothing is told that was heard");
        if !self.is_on() {
            return;
        }
        let mut told = lock(&self.told);
        if told.len() >= MOST_TOLD {
            told.pop_front();
        }
        told.push_back(*sample);
        drop(told);
        if urgent {
            self.bell.ring();
        }
    }

    /// Up to `most` samples that are to be told, the oldest first.
    pub fn take_told(&self, most: usize) -> Vec<Sample> {
        let mut told = lock(&self.told);
        let most = most.min(told.len());
        told.drain(..most).collect()
    }

    /// Hands what was heard to the prober.
    pub fn hear(&self, samples: &[Sample]) {
        let mut heard = lock(&self.heard);
        heard.extend(samples);
        while heard.len() > MOST_HEARD {
            heard.pop_front();
        }
        drop(heard);
        self.prober.ring();
    }

    /// Takes what was heard. For the prober alone.
    pub fn take_heard(&self) -> VecDeque<Sample> {
        std::mem::take(&mut lock(&self.heard))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u16) -> SocketAddr {
        SocketAddr::from((
            [192, 0, 2, u8::try_from(number % 250).expect("small")],
            1 + number,
        ))
    }

    #[test]
    fn every_candidate_has_one_owner_and_shares_are_even() {
        let ids: Vec<NodeId> = (1..=10).map(mix).collect();
        let share = |at: usize| {
            let mut others = ids.clone();
            Share::among(others.remove(at), others)
        };
        let mut mine = [0_u32; 10];
        for number in 0..5_000 {
            let owners: Vec<usize> = (0..10).filter(|at| share(*at).is_mine(&addr(number))).collect();
            assert_eq!(owners.len(), 1, "of {}", addr(number));
            mine[owners[0]] += 1;
        }
        assert!(mine.iter().all(|count| (380..620).contains(count)), "{mine:?}");
        assert!(Share::default().is_mine(&addr(1)), "who is alone has all");
    }

    #[test]
    fn who_leaves_moves_its_own_candidates_alone() {
        let before = Share::among(1, vec![2, 3, 4]);
        let after = Share::among(1, vec![2, 3]);
        for number in 0..1_000 {
            let owner = before.owner(&addr(number));
            assert!(owner == 4 || owner == after.owner(&addr(number)));
        }
    }

    #[test]
    fn only_those_of_a_vantage_that_serve_the_same_share() {
        let node = |id, vantage: &str, services: &[u32]| Node {
            id,
            name: String::new(),
            vantage: vantage.to_owned(),
            services: services.to_vec(),
        };
        let view = FleetView {
            me: 1,
            vantage: "a".to_owned(),
            others: vec![node(2, "a", &[7]), node(3, "b", &[7]), node(4, "a", &[8])],
            ..FleetView::default()
        };
        assert_eq!(view.share(7), Share::among(1, vec![2]));
        let (plain, mut other) = (Remotes::default(), Remotes::default());
        other.probing.check.port = 81;
        assert_eq!(service_key("web", &plain), service_key("web", &plain));
        assert_ne!(service_key("web", &plain), service_key("web", &other));
        assert_ne!(service_key("web", &plain), service_key("api", &plain));
    }
}
