//! The load: lanes of clients, each of one kind, at a bounded rate. Every connection is followed to its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::peers::client::{Client, Conduct, Outcome, Plan};
use crate::peers::crowd::Crowd;
use crate::peers::stream::{Order, Rounds};
use crate::support::pause;

/// Longest sleep of a lane.
const GLANCE: Duration = Duration::from_millis(10);

/// Clients of one crowd; those of the next are beside it until all of these have ended.
const BATCH: usize = 256;

/// One kind of client.
pub struct Kind {
    pub name: &'static str,
    /// What a client of it does; with the pause of idle relays.
    plan: fn(&mut fastrand::Rng, Duration) -> Plan,
    /// Mean time between two bursts.
    every: Duration,
    /// Clients that begin at once.
    burst: usize,
    /// Clients that may be connected at once: more wait until some have ended.
    most: usize,
}

fn order(rng: &mut fastrand::Rng, up: u64, down: u64) -> Order {
    Order {
        seed: rng.u64(..),
        up: rng.u64(up / 4..=up),
        down: rng.u64(down / 4..=down),
    }
}

fn either(rng: &mut fastrand::Rng) -> Conduct {
    if rng.bool() {
        Conduct::FinishFirst
    } else {
        Conduct::FinishLast
    }
}

/// Every kind at once.
pub const KINDS: [Kind; 9] = [
    Kind {
        name: "a connection per request",
        plan: |rng, _| Plan::new(either(rng), order(rng, 600, 8000)),
        every: Duration::from_millis(14),
        burst: 1,
        most: 200,
    },
    Kind {
        name: "keep-alive requests",
        plan: |rng, _| {
            let pause = Duration::from_millis(rng.u64(20..60));
            let rounds = Rounds(rng.u64(5..40));
            Plan::new(Conduct::KeepAlive { rounds, pause }, order(rng, 12_000, 120_000))
        },
        every: Duration::from_millis(150),
        burst: 1,
        most: 60,
    },
    Kind {
        name: "idle relays",
        plan: |rng, pause| {
            let pause = pause.mul_f64(0.5 + rng.f64());
            let rounds = Rounds(5);
            Plan::new(Conduct::KeepAlive { rounds, pause }, order(rng, 2000, 4000))
        },
        every: Duration::from_millis(700),
        burst: 1,
        most: 100,
    },
    Kind {
        name: "slow readers",
        plan: |rng, _| {
            let pause = Duration::from_millis(rng.u64(10..30));
            Plan::new(Conduct::ReadSlowly { pause }, order(rng, 2000, 4_000_000))
        },
        every: Duration::from_secs(3),
        burst: 1,
        most: 12,
    },
    Kind {
        name: "slow writers",
        plan: |rng, _| {
            let pause = Duration::from_millis(rng.u64(5..20));
            Plan::new(Conduct::Trickle(pause), order(rng, 200, 2000))
        },
        every: Duration::from_secs(2),
        burst: 1,
        most: 12,
    },
    Kind {
        name: "bulk both ways",
        plan: |rng, _| Plan::new(either(rng), order(rng, 8_000_000, 8_000_000)),
        every: Duration::from_secs(14),
        burst: 3,
        most: 6,
    },
    Kind {
        name: "half-close first",
        plan: |rng, _| Plan::new(Conduct::FinishFirst, order(rng, 200_000, 200_000)),
        every: Duration::from_millis(250),
        burst: 1,
        most: 30,
    },
    Kind {
        name: "resets by clients",
        plan: |rng, _| {
            let order = order(rng, 60_000, 60_000);
            let sent = rng.u64(1..order.up + Order::BYTES as u64);
            Plan::new(Conduct::ResetAfter(sent), order)
        },
        every: Duration::from_millis(150),
        burst: 1,
        most: 60,
    },
    Kind {
        name: "connect and leave",
        plan: |rng, _| Plan::new(Conduct::LeaveAtOnce, order(rng, 100, 100)),
        every: Duration::from_millis(150),
        burst: 1,
        most: 60,
    },
];

/// A connection that did not end as its client meant it to.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub kind: &'static str,
    /// `Open` for one that would not end.
    pub outcome: Outcome,
    pub received: u64,
    pub from: Option<SocketAddr>,
    pub began: Instant,
    pub ended: Instant,
}

/// What became of the clients of one kind.
#[derive(Debug, Default)]
pub struct Account {
    pub name: &'static str,
    pub opened: u64,
    /// Every byte both ways was right, and the end a proper one.
    pub whole: u64,
    /// Cut by their client, as it meant to.
    pub left: u64,
    /// Bytes that were compared: of whole connections all, of the others what had come.
    pub bytes_up: u64,
    pub bytes_down: u64,
    pub failures: Vec<Failure>,
}

impl Account {
    pub fn to_json(&self) -> Value {
        json!({
            "kind": self.name,
            "opened": self.opened,
            "whole": self.whole,
            "left_as_meant": self.left,
            "failed": self.failures.len(),
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        })
    }

    fn close(&mut self, client: &Client, began: Instant, now: Instant) {
        self.bytes_down += client.received;
        match client.outcome {
            Outcome::Whole => {
                self.whole += 1;
                self.bytes_up += client.plan.order.up;
            }
            Outcome::Left => self.left += 1,
            Outcome::Open
            | Outcome::Reset
            | Outcome::Empty
            | Outcome::Cut
            | Outcome::Corrupt
            | Outcome::Unconnected(_) => self.failures.push(Failure {
                kind: self.name,
                outcome: client.outcome,
                received: client.received,
                from: client.local_addr,
                began,
                ended: client.ended_at.unwrap_or(now),
            }),
        }
    }
}

/// Clients that began one after another.
struct Batch {
    crowd: Crowd,
    began: Vec<Instant>,
}

/// What a lane is driven by.
pub struct Pace {
    pub addr: SocketAddr,
    /// Clients begin until then.
    pub until: Instant,
    /// 1 is the usual rate.
    pub load: f64,
    /// Mean pause of idle relays.
    pub pause: Duration,
    /// Longest life of a connection: what is open then does not end.
    pub patience: Duration,
}

/// Clients of one kind, driven by one thread.
pub struct Lane<'a> {
    kind: &'a Kind,
    pace: &'a Pace,
    rng: fastrand::Rng,
    batches: Vec<Batch>,
    next: Instant,
    account: Account,
}

impl<'a> Lane<'a> {
    pub fn new(kind: &'a Kind, pace: &'a Pace, seed: u64) -> Self {
        let account = Account {
            name: kind.name,
            ..Account::default()
        };
        Self {
            kind,
            pace,
            rng: fastrand::Rng::with_seed(seed),
            batches: Vec::new(),
            next: Instant::now(),
            account,
        }
    }

    /// Drives it to the end of its last connection.
    pub fn run(mut self) -> Account {
        while Instant::now() < self.pace.until {
            self.begin();
            let wait = self.next.saturating_duration_since(Instant::now()).min(GLANCE);
            self.turn(wait);
        }
        for batch in &mut self.batches {
            batch.crowd.release();
        }
        while !self.batches.is_empty() {
            self.turn(GLANCE);
        }
        self.account
    }

    /// Lets a burst begin if it is time.
    fn begin(&mut self) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + self.kind.every.mul_f64((0.5 + self.rng.f64()) / self.pace.load);
        let open: usize = self.batches.iter().map(|batch| batch.crowd.open()).sum();
        if open + self.kind.burst > self.kind.most {
            return;
        }
        for _ in 0..self.kind.burst {
            let plan = (self.kind.plan)(&mut self.rng, self.pace.pause);
            if self.batches.last().is_none_or(|batch| batch.began.len() >= BATCH) {
                self.batches.push(Batch {
                    crowd: Crowd::of(self.pace.addr, []),
                    began: Vec::new(),
                });
            }
            if let Some(batch) = self.batches.last_mut() {
                batch.began.push(Instant::now());
                batch.crowd.add(plan);
                self.account.opened += 1;
            }
        }
    }

    /// Drives all batches, and closes the books of those that are over.
    fn turn(&mut self, wait: Duration) {
        let Some((last, others)) = self.batches.split_last_mut() else {
            pause(wait);
            return;
        };
        for batch in others {
            batch.crowd.turn(Duration::ZERO);
        }
        last.crowd.turn(wait);
        let now = Instant::now();
        let (until, patience) = (self.pace.until, self.pace.patience);
        let account = &mut self.account;
        self.batches.retain(|batch| {
            let is_full = batch.began.len() >= BATCH || now >= until;
            let is_over = is_full && batch.crowd.open() == 0;
            let youngest = batch.began.last().copied().unwrap_or(now);
            if is_over || now.saturating_duration_since(youngest) > patience {
                for (client, began) in batch.crowd.clients().iter().zip(&batch.began) {
                    account.close(client, *began, now);
                }
                return false;
            }
            true
        });
    }
}
