//! What forwarders tell one another, as the threads of this process see it: who is there, who probes whom, what is to be told
//! and what was heard.
//!
//! Owns the bounded ways between whoever samples and the fleet thread; knows neither Redis nor what a sample does to a score.
//! Nobody ever waits here for longer than another push takes, and where nothing is shared nobody is asked at all.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::doorbell::{Doorbell, listeners};
use crate::base::hash::{self, mix};
use crate::base::published::Published;
use crate::config::{CheckKind, HttpCheck, Remotes};
use crate::scorer::sample::{Sample, Source};

/// Samples that wait to be told; of more the oldest are not.
const MOST_TOLD: usize = 1024;

/// So many that wait are told at once; fewer are for a while, for each message costs what is around it.
const WORTH_A_MESSAGE: usize = 16;

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
    /// Whether it says that its link to the network is down.
    pub is_down: bool,
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
    /// Who shares the probes of a service with this process: not who says that its link is down, whose probes would tell nothing.
    #[must_use]
    pub fn share(&self, service: u32) -> Share {
        let is_with_me =
            |node: &&Node| node.vantage == self.vantage && !node.is_down && node.services.contains(&service);
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

    /// How those who look from where this process does say that their links stand: how many are down, and how many are not.
    #[must_use]
    pub fn links(&self) -> Links {
        let of_vantage = self.others.iter().filter(|node| node.vantage == self.vantage);
        let (down, up): (Vec<_>, Vec<_>) = of_vantage.partition(|node| node.is_down);
        Links {
            down: down.len(),
            up: up.len(),
        }
    }
}

/// How the links of others of one vantage stand, as they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Links {
    /// Those that are down.
    pub down: usize,
    /// Those that are not.
    pub up: usize,
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

    /// Whether it is this process that tells those who begin what is known of a service.
    #[must_use]
    pub fn speaks_for(&self, service: u32) -> bool {
        self.first(mix(service.into())) == self.me
    }

    /// Whether a candidate is this process's.
    #[must_use]
    pub fn is_mine(&self, addr: &SocketAddr) -> bool {
        self.others.is_empty() || self.owner(addr) == self.me
    }

    /// Whose a candidate is.
    #[must_use]
    pub fn owner(&self, addr: &SocketAddr) -> NodeId {
        self.first(hash::of_addr(addr))
    }

    fn first(&self, key: u64) -> NodeId {
        let all = std::iter::once(&self.me).chain(&self.others);
        let weight = |node: &NodeId| (mix(key ^ mix(*node)), *node);
        all.copied().max_by_key(weight).unwrap_or(self.me)
    }
}

/// Tells services that are the same for whoever shares: by name, and by what a probe of them means. Latencies of other questions
/// are other latencies.
///
/// The same in all versions: the upper half of [`mix`] of [FNV-1a](hash::fnv1a) of some texts, before each of which stands its
/// length in bytes as 32 bits, the highest first. They are: `1`, the name, the check's `type`, its `port`; of a check by HTTP `host`,
/// `path`, `method`, the statuses as `200-399`, joined by commas, `expect_header`, `expect_body`, and of `select` the header and the
/// pattern; of `send_expect` the bytes that are sent and those that are expected; and where the check speaks TLS `tls`, the name that
/// it asks for, `verify` or `any`, and the protocols, joined by commas. What asks for nothing else is not in it: how often is
/// checked, and where authorities lie in files.
#[must_use]
pub fn service_key(name: &str, remotes: &Remotes) -> u32 {
    let check = &remotes.probing.check;
    let port = check.port.to_string();
    let mut bytes = Vec::new();
    let mut say = |text: &[u8]| {
        bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(text);
    };
    for text in ["1", name, check.kind.name(), &port] {
        say(text.as_bytes());
    }
    match check.kind {
        CheckKind::Connect | CheckKind::Tls => {}
        CheckKind::Http | CheckKind::Https => {
            say_http(&check.http, &mut say);
            say(check.select.header.as_bytes());
            say(check.select.pattern.as_bytes());
        }
        CheckKind::SendExpect => {
            say(&check.send.bytes());
            say(&check.expect.bytes());
        }
    }
    if let Some(tls) = remotes.tls.to_candidates(check) {
        let verify = if tls.verify { "verify" } else { "any" };
        for text in ["tls", &tls.sni, verify, &tls.alpn.join(",")] {
            say(text.as_bytes());
        }
    }
    u32::try_from(mix(hash::fnv1a(bytes)) >> 32).unwrap_or_default()
}

fn say_http(http: &HttpCheck, say: &mut impl FnMut(&[u8])) {
    let statuses = http.expect_status.iter();
    let statuses: Vec<String> = statuses
        .map(|some| format!("{}-{}", some.from, some.to))
        .collect();
    let texts = [
        &http.host,
        &http.path,
        http.method.name(),
        &statuses.join(","),
        &http.expect_header,
        &http.expect_body,
    ];
    for text in texts {
        say(text.as_bytes());
    }
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

/// How exchanges go, for people to look at; all written by the fleet thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Who shares with whom, by `cluster.name`; empty where nothing is shared.
    pub cluster: String,
    /// When an exchange last succeeded.
    pub heard_at: Option<Instant>,
    /// What was wrong with the last one that failed, and when that was.
    pub failed: Option<(String, Instant)>,
    /// When each node spoke last, as far as that is known.
    pub spoke: Vec<(NodeId, Instant)>,
    /// Clients of whose limits this process claims a part.
    pub claims: usize,
}

/// What all threads share of the fleet.
#[derive(Debug)]
pub struct Fleet {
    /// Who is there. Written by the fleet thread; the prober listens.
    pub view: Arc<Published<FleetView>>,
    /// How exchanges go. Written by the fleet thread.
    pub standing: Published<Standing>,
    /// What is counted.
    pub counts: FleetCounts,
    is_on: AtomicBool,
    told: Mutex<Telling>,
    heard: Mutex<VecDeque<Sample>>,
    bell: Arc<Doorbell>,
    prober: Arc<Doorbell>,
}

/// Samples that are to be told.
#[derive(Debug, Default)]
struct Telling {
    /// The oldest first.
    waiting: VecDeque<Sample>,
    /// Whether they are to be told with the next exchange, however few they are.
    is_urgent: bool,
}

impl Telling {
    fn bound(&mut self) {
        while self.waiting.len() > MOST_TOLD {
            self.waiting.pop_front();
        }
    }
}

impl Fleet {
    /// Nobody is there yet; the fleet thread sleeps at `bell`.
    #[must_use]
    pub fn new(bell: Arc<Doorbell>, prober: Arc<Doorbell>) -> Self {
        Self {
            view: Arc::new(Published::heard_by(listeners([&prober]), FleetView::default())),
            standing: Published::new(Standing::default()),
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
            *lock(&self.told) = Telling::default();
        }
    }

    /// Has a sample of this process told to others, at once if it is `urgent`.
    pub fn tell(&self, sample: &Sample, urgent: bool) {
        debug_assert!(sample.source != Source::Peer, "nothing is told that was heard");
        if !self.is_on() {
            return;
        }
        let mut told = lock(&self.told);
        told.waiting.push_back(*sample);
        told.is_urgent |= urgent;
        told.bound();
        drop(told);
        if urgent {
            self.bell.ring();
        }
    }

    /// Up to `most` samples that are to be told now, the oldest first. None while there are few, none is urgent, and the oldest has
    /// not waited for as long as `patience`.
    pub fn take_told(&self, most: usize, patience: Duration, now: Instant) -> Vec<Sample> {
        let mut told = lock(&self.told);
        let oldest = told.waiting.front();
        let has_waited = oldest.is_some_and(|one| now.saturating_duration_since(one.at) >= patience);
        if !told.is_urgent && !has_waited && told.waiting.len() < WORTH_A_MESSAGE {
            return Vec::new();
        }
        let most = most.min(told.waiting.len());
        let taken = told.waiting.drain(..most).collect();
        told.is_urgent &= !told.waiting.is_empty();
        taken
    }

    /// Takes back samples that could not be told: they are with the next exchange.
    pub fn put_back(&self, samples: &[Sample]) {
        if !self.is_on() || samples.is_empty() {
            return;
        }
        let mut told = lock(&self.told);
        for sample in samples.iter().rev() {
            told.waiting.push_front(*sample);
        }
        told.is_urgent = true;
        told.bound();
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
            is_down: id > 2,
        };
        let view = FleetView {
            me: 1,
            vantage: "a".to_owned(),
            others: vec![
                node(2, "a", &[7]),
                node(3, "b", &[7]),
                node(4, "a", &[8]),
                node(5, "a", &[7]),
            ],
            ..FleetView::default()
        };
        assert_eq!(view.share(7), Share::among(1, vec![2]), "not whose link is down");
        assert_eq!(view.links(), Links { down: 2, up: 1 });
        let speaks =
            |me: usize| Share::among([1, 2, 3][me], [vec![2, 3], vec![1, 3], vec![1, 2]][me].clone());
        for service in 0..100 {
            assert_eq!((0..3).filter(|me| speaks(*me).speaks_for(service)).count(), 1);
        }
    }

    /// Nodes of other versions are asked by the same numbers: whoever changes one of these splits fleets.
    #[test]
    fn keys_of_services_are_the_same_for_ever() {
        let key = |change: fn(&mut Remotes)| {
            let mut remotes = Remotes::default();
            change(&mut remotes);
            service_key("web", &remotes)
        };
        let plain = key(|_| ());
        assert_eq!(plain, 0xf91e_505d);
        assert_eq!(service_key("api", &Remotes::default()), 0x91ad_05ac);
        assert_eq!(key(|remotes| remotes.probing.check.port = 81), 0x6cac_7e31);
        let by_https = |remotes: &mut Remotes| {
            let check = &mut remotes.probing.check;
            check.kind = CheckKind::Https;
            check.http.host = "host.example".to_owned();
            check.http.expect_body = "ok".to_owned();
        };
        assert_eq!(key(by_https), 0xc099_ea2b);
        let by_bytes = |remotes: &mut Remotes| {
            let check = &mut remotes.probing.check;
            check.kind = CheckKind::SendExpect;
            check.send = crate::config::Pattern::of("hex:00ff").expect("bytes");
        };
        assert_eq!(key(by_bytes), 0x8f3e_a8e4);
        let of_no_matter = |remotes: &mut Remotes| {
            remotes.probing.check.every = 7;
            remotes.probing.check.http.path = "/unasked".to_owned();
            remotes.tls.enabled = true;
        };
        assert_eq!(key(of_no_matter), plain, "a connect is a connect");
    }

    #[test]
    fn few_samples_wait_and_what_could_not_be_told_comes_back() {
        let hub = crate::service::stage::hub();
        let one = crate::service::stage::service(&hub, "web", 1..=9, crate::service::stage::spec(|_| ()));
        let fleet = Fleet::new(Arc::default(), Arc::default());
        let start = hub.started_at;
        let sample = |port| {
            let answer = (
                Source::Probe,
                crate::scorer::sample::Outcome::Success(Duration::from_millis(5)),
            );
            crate::service::stage::sample(&one, port, answer, start)
        };
        fleet.tell(&sample(1), true);
        let patience = Duration::from_secs(10);
        let ports = |most, after: u64| {
            let taken = fleet.take_told(most, patience, start + Duration::from_secs(after));
            taken
                .iter()
                .map(|one| one.candidate.addr.port())
                .collect::<Vec<_>>()
        };
        assert!(ports(9, 99).is_empty(), "nothing is shared");
        fleet.switch(true);
        fleet.tell(&sample(1), false);
        fleet.tell(&sample(2), false);
        assert!(ports(9, 9).is_empty(), "they may wait");
        assert_eq!(ports(1, 10), [1]);
        fleet.tell(&sample(3), true);
        assert_eq!(ports(9, 0), [2, 3], "with one that is urgent");
        fleet.put_back(&[sample(2), sample(3)]);
        fleet.tell(&sample(4), false);
        assert_eq!(ports(2, 0), [2, 3]);
        assert_eq!(ports(9, 0), [4], "all that waited then");
        (0..16).for_each(|_| fleet.tell(&sample(5), false));
        assert_eq!(ports(99, 0).len(), 16);
        (0..2_000).for_each(|_| fleet.tell(&sample(5), false));
        assert_eq!(ports(9_999, 0).len(), MOST_TOLD);
        fleet.tell(&sample(1), false);
        fleet.switch(false);
        fleet.switch(true);
        assert!(ports(9, 99).is_empty());
    }
}
