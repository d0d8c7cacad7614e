//! A forwarder of its own between backends that can be told to misbehave, and the look at it afterwards that
//! every case ends with.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::backend::Backend;
use super::client::{Conduct, Outcome, Plan};
use super::crowd::Crowd;
use super::standing::{Standing, settled, wait_until_accounts_balance, wait_until_quiet, whole};
use super::stream::Order;
use crate::support::{Ended, Files, Forwarder, comes_true, settings};

/// Warm connections per backend.
pub const POOL: usize = 8;

/// What the process may have grown by when all is over, unless a case says otherwise: read-ahead of a few
/// dozen relays that the allocator keeps.
pub const ROOM_KB: u64 = 6_000;

/// A whole number of the settings' pipes: 32 per reactor, two descriptors each.
const MOST_PIPES: usize = 2 * 32 * 2;

/// Settings of a rig with `changes` on top: a time-out that a test can wait for, a look at the backends often.
pub fn fault_settings(changes: &Value) -> Value {
    let mut ours = json!({
        "remotes": {
            "probing": { "interval": "300ms", "timeout": "200ms" },
            "selector": { "evaluation_interval": "300ms" },
        },
        "pools": {
            "common": { "dial_timeout": "300ms", "drain_timeout": "2s" },
            "strategy": { "type": "static", "static": { "size_per_remote": POOL } },
        },
    });
    crate::support::merge(&mut ours, changes);
    settings(&ours)
}

/// A forwarder and its backends.
pub struct Rig {
    pub forwarder: Forwarder,
    pub backends: Vec<Backend>,
    pub rng: fastrand::Rng,
    /// Before anything was injected.
    pub before: Standing,
    seed: u64,
}

impl Rig {
    /// A forwarder with [`fault_settings`] over `count` backends; everything that is random comes from a seed
    /// that is printed, or that the environment variable `TCP_FORWARDER_SEED` gives.
    pub fn start(changes: &Value, count: usize) -> Self {
        let given = std::env::var("TCP_FORWARDER_SEED").ok();
        let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        let backends: Vec<_> = (0..count as u64)
            .map(|place| Backend::start(seed ^ place))
            .collect();
        let files = Files::new(&fault_settings(changes), &list_of(&backends));
        let command = files.command();
        Self::around(Forwarder::spawn(files, command).listening(), backends, seed)
    }

    /// Takes stock of a forwarder that was started over these backends. What is made when it is first needed
    /// is made before.
    pub fn around(forwarder: Forwarder, backends: Vec<Backend>, seed: u64) -> Self {
        note(&format!("TCP_FORWARDER_SEED={seed}"));
        let mut rng = fastrand::Rng::with_seed(seed);
        exchange(forwarder.addr(), healthy(&mut rng, 12));
        wait_until_quiet(&forwarder);
        let before = settled(&forwarder).expect("it comes to rest");
        Self {
            forwarder,
            backends,
            rng,
            before,
            seed,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.forwarder.addr()
    }

    /// Plans of so many clients that do nothing wrong.
    pub fn healthy(&mut self, count: usize) -> Vec<Plan> {
        healthy(&mut self.rng, count)
    }

    /// Plans of so many clients of this conduct, each with up to so many bytes each way.
    pub fn plans(&mut self, conduct: Conduct, count: usize, most: u64) -> Vec<Plan> {
        let mut plan = || Plan::new(conduct, order(&mut self.rng, most));
        (0..count).map(|_| plan()).collect()
    }

    /// A crowd of these at the forwarder.
    pub fn crowd(&self, plans: impl IntoIterator<Item = Plan>) -> Crowd {
        Crowd::of(self.addr(), plans)
    }

    /// Clients served whole, all of them, now.
    pub fn expect_service(&mut self, count: usize) {
        let plans = self.healthy(count);
        exchange(self.addr(), plans);
    }

    /// Waits until clients are served, one at a time; those who are not must have been told so properly.
    pub fn wait_for_service(&mut self) {
        let is_served = comes_true(crate::support::PATIENCE, || {
            let plan = healthy(&mut self.rng, 1);
            let mut crowd = Crowd::of(self.forwarder.addr(), plan);
            crowd.finish();
            crowd.count(Outcome::Whole) == 1
        });
        assert!(is_served, "nobody is served:\n{}", self.forwarder.log());
    }

    /// What must be true after every fault; `room_kb` is what the process may have grown by.
    ///
    /// Whole exchanges, gauges at rest, each accepted connection closed once, no descriptor and no thread more
    /// than before but for warm connections and pipes within their bound, memory, nothing on standard error;
    /// no backend saw a byte that no client had sent, nor a proper end in the middle of an upload; and a
    /// stop with status 0.
    pub fn aftermath(self, room_kb: u64) -> Ended {
        assert_eq!(
            self.sum_of(|tally| tally.cut.value()),
            0,
            "uploads that lost their end"
        );
        self.aftermath_of_cuts(room_kb)
    }

    /// The same after a fault that has the forwarder cut relays: by a time-out.
    pub fn aftermath_of_cuts(mut self, room_kb: u64) -> Ended {
        self.expect_service(24);
        wait_until_quiet(&self.forwarder);
        wait_until_accounts_balance(&self.forwarder);
        let before = self.before;
        let forwarder = &self.forwarder;
        let mut now = Standing::of(forwarder);
        let returns = comes_true(crate::support::PATIENCE, || {
            now = Standing::of(forwarder);
            now.own_sockets() == before.own_sockets() && now.others == before.others
        });
        assert!(returns, "descriptors: {before:?} before, {now:?} after");
        assert!(now.pipes <= MOST_PIPES, "{now:?}");
        assert_eq!(now.threads, before.threads);
        let grown = now.resident_kb.saturating_sub(before.resident_kb);
        assert!(grown <= room_kb, "grown by {grown} kB, {room_kb} are allowed");
        assert_eq!(
            self.sum_of(|tally| tally.corrupt.value()),
            0,
            "bytes were changed"
        );
        note(&format!("grown by {grown} kB (seed {})", self.seed));
        let ended = self.forwarder.stop();
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        ended
    }

    /// The sum of one count over all backends.
    pub fn sum_of(&self, count: impl Fn(&super::backend::Tally) -> u64) -> u64 {
        self.backends.iter().map(|backend| count(backend.tally())).sum()
    }
}

/// A candidate list of these backends.
pub fn list_of(backends: &[Backend]) -> String {
    let addrs: Vec<_> = backends.iter().map(|backend| backend.addr.to_string()).collect();
    addrs.join("\n") + "\n"
}

#[expect(clippy::print_stdout, reason = "the test harness shows it with a failure")]
fn note(words: &str) {
    println!("{words}");
}

/// A counter or gauge of a forwarder.
pub fn counted(forwarder: &Forwarder, name: &str) -> usize {
    whole(&forwarder.scrape(), name)
}

/// An order of up to so many bytes each way.
pub fn order(rng: &mut fastrand::Rng, most: u64) -> Order {
    Order {
        seed: rng.u64(..),
        up: rng.u64(..=most),
        down: rng.u64(..=most),
    }
}

/// Plans of clients that do nothing wrong: most of them small, one in twelve large enough for a pipe.
pub fn healthy(rng: &mut fastrand::Rng, count: usize) -> Vec<Plan> {
    let mut plan = |place| {
        let most = if place % 12 == 11 { 1_500_000 } else { 40_000 };
        let conduct = if rng.bool() {
            Conduct::FinishFirst
        } else {
            Conduct::FinishLast
        };
        Plan::new(conduct, order(rng, most))
    };
    (0..count).map(&mut plan).collect()
}

/// Clients of these plans, all of which must be served whole.
pub fn exchange(addr: SocketAddr, plans: Vec<Plan>) {
    let mut crowd = Crowd::of(addr, plans);
    crowd.finish();
    let served = crowd.count(Outcome::Whole);
    assert_eq!(served, crowd.clients().len(), "{}", crowd.outcomes());
}
