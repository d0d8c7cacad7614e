//! A seeded world: what candidates are really like, and what becomes of them.
//!
//! It knows the truth; the core under test only ever sees the outcome of connects.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::scorer::Outcome;

/// What a candidate is like now.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    Normal,
    /// Connect times grow by this factor, and so many connects more are lost.
    Degraded {
        factor: f64,
        loss: f64,
    },
    Down,
}

#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) addr: SocketAddr,
    base_ms: f64,
    spread_ms: f64,
    loss: f64,
    condition: Condition,
    /// When its condition last changed for better or worse.
    pub(crate) since: Instant,
    until: Instant,
}

/// How much happens in a world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Weather {
    /// Candidates differ, and nothing ever changes.
    Calm,
    /// All candidates are equally good, but for noise.
    Equal,
    /// Outages and degradations of one, of many, and of all.
    Stormy,
    /// All candidates are the same, to the microsecond.
    Still,
}

#[derive(Debug)]
pub(crate) struct World {
    rng: fastrand::Rng,
    weather: Weather,
    pub(crate) candidates: Vec<Candidate>,
    index: HashMap<SocketAddr, usize>,
    next_storm: Instant,
    /// Everybody there is.
    pub(crate) set: CandidateSet,
}

fn seconds(rng: &mut fastrand::Rng, range: std::ops::Range<u32>) -> Duration {
    Duration::from_secs(u64::from(rng.u32(range)))
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather, start: Instant) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut list = String::from("10.1.0.0/26:80\n10.2.0.0/29\n[2001:db8::]:80\n");
        for host in 0..rng.u32(10..160) {
            writeln!(list, "10.3.{}.{}:443", host / 200, host % 200 + 1).expect("a string");
        }
        let set = CandidateSet::parse(&list, 8080).expect("a list");
        let candidates: Vec<_> = (0..set.len())
            .map(|i| set.at(i).expect("within the set"))
            .map(|addr| Self::candidate(addr, weather, start, &mut rng))
            .collect();
        let index = candidates
            .iter()
            .enumerate()
            .map(|(i, one)| (one.addr, i))
            .collect();
        let next_storm = start + seconds(&mut rng, 3_600..20_000);
        Self {
            rng,
            weather,
            candidates,
            index,
            next_storm,
            set,
        }
    }

    /// A list of those for whom it holds.
    pub(crate) fn list(&self, is_one: impl Fn(usize) -> bool) -> CandidateSet {
        let mut list = String::new();
        for (_, one) in self.candidates.iter().enumerate().filter(|(i, _)| is_one(*i)) {
            writeln!(list, "{}", one.addr).expect("a string");
        }
        CandidateSet::parse(&list, 8080).expect("a list")
    }

    /// Those for whom it holds never answer, whatever the weather.
    pub(crate) fn doom(&mut self, is_one: impl Fn(usize) -> bool) {
        for (_, one) in self.candidates.iter_mut().enumerate().filter(|(i, _)| is_one(*i)) {
            one.loss = 1.0;
        }
    }

    fn candidate(addr: SocketAddr, weather: Weather, start: Instant, rng: &mut fastrand::Rng) -> Candidate {
        let (base_ms, spread_ms) = match weather {
            Weather::Equal => (120.0, 12.0),
            Weather::Still => (20.0, 0.0),
            Weather::Calm | Weather::Stormy => (5.0 * 60_f64.powf(rng.f64()), 30.0 * rng.f64() * rng.f64()),
        };
        let loss = match (weather, rng.u8(0..10)) {
            (Weather::Stormy, 0) => 1.0,
            (Weather::Stormy, 1 | 2) => 0.3 * rng.f64(),
            _ => 0.0,
        };
        let until = start + seconds(rng, 0..40_000);
        Candidate {
            addr,
            base_ms,
            spread_ms,
            loss,
            condition: Condition::Normal,
            since: start,
            until,
        }
    }

    /// Lets happen what is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.weather != Weather::Stormy {
            return;
        }
        for one in &mut self.candidates {
            if one.until <= now {
                let (condition, lasts) = match (one.condition, self.rng.u8(0..3)) {
                    (Condition::Normal, 0) => (Condition::Down, seconds(&mut self.rng, 20..3_000)),
                    (Condition::Normal, _) => {
                        let (factor, loss) =
                            (1.0 + 8.0 * self.rng.f64(), 0.5 * self.rng.f64() * self.rng.f64());
                        (
                            Condition::Degraded { factor, loss },
                            seconds(&mut self.rng, 60..5_000),
                        )
                    }
                    (Condition::Degraded { .. } | Condition::Down, _) => {
                        (Condition::Normal, seconds(&mut self.rng, 600..40_000))
                    }
                };
                (one.condition, one.since, one.until) = (condition, now, now + lasts);
            }
        }
        if self.next_storm <= now {
            self.next_storm = now + seconds(&mut self.rng, 3_600..20_000);
            self.storm(now);
        }
    }

    /// A whole region goes down at once, sometimes everything.
    fn storm(&mut self, now: Instant) {
        let count = self.candidates.len();
        let (begin, end) = match self.rng.u8(0..3) {
            0 => (0, count),
            _ => (self.rng.usize(0..count / 2), self.rng.usize(count / 2..count)),
        };
        let until = now + seconds(&mut self.rng, 20..1_200);
        for one in &mut self.candidates[begin..end] {
            (one.condition, one.since, one.until) = (Condition::Down, now, until);
        }
    }

    /// Those for whom it holds answer nobody from now on, in a world where nothing else happens.
    pub(crate) fn silence(&mut self, now: Instant, is_one: impl Fn(usize) -> bool) {
        for (_, one) in self.candidates.iter_mut().enumerate().filter(|(i, _)| is_one(*i)) {
            (one.condition, one.since) = (Condition::Down, now);
        }
    }

    /// All answer again.
    pub(crate) fn unsilence(&mut self, now: Instant) {
        for one in &mut self.candidates {
            (one.condition, one.since) = (Condition::Normal, now);
        }
    }

    /// Nobody could have seen in so long a time what a candidate is like.
    pub(crate) fn excuse(&mut self, gap: Duration) {
        for one in &mut self.candidates {
            one.since += gap;
        }
    }

    /// What a connect comes to.
    pub(crate) fn connect(&mut self, addr: SocketAddr, timeout: Duration) -> Outcome {
        let one = &self.candidates[self.index[&addr]];
        let (factor, loss) = match one.condition {
            Condition::Normal => (1.0, one.loss),
            Condition::Degraded { factor, loss } => (factor, one.loss + loss),
            Condition::Down => (1.0, 1.0),
        };
        // A long tail: most are near the base, some are far.
        let noise = one.spread_ms * -self.rng.f64().max(1e-6).ln();
        let took = Duration::from_secs_f64((one.base_ms + noise) * factor / 1e3);
        if self.rng.f64() < loss || took > timeout {
            Outcome::Failure
        } else {
            Outcome::Success(took)
        }
    }

    /// The truth about a candidate.
    pub(crate) fn truth(&self, addr: &SocketAddr) -> &Candidate {
        &self.candidates[self.index[addr]]
    }
}

impl Candidate {
    /// Whether nothing at all gets through.
    pub(crate) fn is_down(&self) -> bool {
        self.condition == Condition::Down || self.loss >= 1.0
    }

    /// Whether it has been beyond doubt for this long.
    pub(crate) fn is_good_for(&self, time: Duration, now: Instant) -> bool {
        self.condition == Condition::Normal
            && self.loss < 0.05
            && self.base_ms < 300.0
            && now - self.since >= time
    }

    /// The score that it tends to in the long run, without bonus, by the default rules.
    pub(crate) fn ideal(&self) -> f64 {
        let part =
            |ms: f64, base: f64, max: f64, score: f64| ((max - ms) / (max - base)).clamp(0.0, 1.0) * score;
        // Both the mean of the noise and the mean difference of two noises are the spread.
        let latency = part(self.base_ms + self.spread_ms, 50.0, 800.0, 45.0);
        latency + part(self.spread_ms, 10.0, 300.0, 15.0) + 40.0 * (1.0 - self.loss)
    }
}
