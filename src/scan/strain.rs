//! Whether a scan is too fast for our own link, and how fast it may be. Pure.
//!
//! A link that is filled by the probes themselves loses those of good candidates and makes them late, and a scan that goes on
//! measures itself. So now and then a candidate is asked again that has answered before: a witness. When several lose or
//! are late at once, it is no fault of theirs; the rate halves, and grows back by an eighth of its limit each time they are well.
//! Losses that are usual, however slow the scan, are those of the way, and slow little.
//!
//! Invariants: the rate is never above its limit, nor below [`LEAST`] of it; one probe in four asks a witness, at most.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One in so many probes asks a witness; in a slow scan one in fewer, so that a window takes no longer than some seconds.
const EVERY: (u32, u32) = (4, 32);
/// And one in so many that there are this many a second.
const A_SECOND: u32 = 8;
/// Candidates that are witnesses.
const WITNESSES: usize = 32;
/// Answers, or losses, that are judged together.
const WINDOW: usize = 16;
/// So many losses in a window are more than chance, where none are usual; so many times as many as are usual come on top.
const LOSSES: f64 = 5.0;
const TIMES_USUAL: f64 = 2.0;
/// So many late ones in a window are more than chance.
const LATE: usize = 8;
/// An answer is late if it takes so many times as long as the soonest of its witness, and so much longer.
const LATE_FACTOR: u32 = 3;
const LATE_EXCESS: Duration = Duration::from_millis(20);
/// Who loses so many in a row while others are well is no witness any more.
const LOST_WITNESS: u8 = 3;
/// What a window says counts so much for what is usual.
const USUAL_WEIGHT: f64 = 0.5;
/// Up to this share of its limit a scan is slow, and what is lost then is usual.
const SLOW: f64 = 2.0 * LEAST;
/// The lowest share of the limit.
const LEAST: f64 = 1.0 / 32.0;
/// By this share of its limit the rate grows.
const STEP: f64 = 1.0 / 8.0;
/// What was asked so soon after a change may still suffer from before.
const SETTLING: Duration = Duration::from_millis(500);

/// A candidate that has answered.
#[derive(Debug, Clone, Copy)]
struct Witness {
    addr: SocketAddr,
    soonest: Duration,
    losses: u8,
}

/// How a witness was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Well,
    Late,
    Lost,
}

/// The rate of a scan, and what it is judged by.
#[derive(Debug)]
pub(super) struct Strain {
    /// Probes a second.
    limit: f64,
    rate: f64,
    witnesses: Vec<Witness>,
    /// Witnesses that are being asked, and since when.
    asked: HashMap<SocketAddr, Instant>,
    /// One word for each witness.
    words: HashMap<SocketAddr, Word>,
    /// The share of losses that windows usually have.
    usual: f64,
    changed_at: Instant,
    until_next: u32,
}

impl Strain {
    /// A scan of so many probes a second at most.
    pub(super) fn new(limit: u32, now: Instant) -> Self {
        Self {
            limit: f64::from(limit),
            rate: f64::from(limit),
            witnesses: Vec::new(),
            asked: HashMap::new(),
            words: HashMap::new(),
            usual: 0.0,
            changed_at: now,
            until_next: 0,
        }
    }

    /// Probes a second that may be made, at least 1.
    pub(super) fn rate(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 to the limit"
        )]
        let rate = self.rate.round().max(1.0) as u32;
        rate
    }

    /// A candidate has answered after so long.
    pub(super) fn heard(&mut self, addr: SocketAddr, latency: Duration) {
        if self.witnesses.len() < WITNESSES && self.witnesses.iter().all(|one| one.addr != addr) {
            self.witnesses.push(Witness {
                addr,
                soonest: latency,
                losses: 0,
            });
        }
    }

    /// The witness that the next probe is to ask, if it is to ask one.
    pub(super) fn next(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        self.until_next = self.until_next.saturating_sub(1);
        if self.until_next > 0 || self.witnesses.len() < WINDOW {
            return None;
        }
        let addr = self.witnesses[rng.usize(..self.witnesses.len())].addr;
        if self.words.contains_key(&addr) || self.asked.contains_key(&addr) {
            return None;
        }
        self.until_next = (self.rate() / A_SECOND).clamp(EVERY.0, EVERY.1);
        self.asked.insert(addr, now);
        Some(addr)
    }

    /// A witness could not be asked.
    pub(super) fn put_off(&mut self, addr: &SocketAddr) {
        self.asked.remove(addr);
    }

    /// A probe has ended; whether it was one that asked a witness.
    pub(super) fn ended(&mut self, addr: SocketAddr, latency: Option<Duration>, now: Instant) -> bool {
        let Some(asked_at) = self.asked.remove(&addr) else {
            return false;
        };
        let word = self.word(addr, latency);
        if asked_at >= self.changed_at + SETTLING {
            self.words.insert(addr, word);
            self.judge(now);
        }
        true
    }

    fn word(&mut self, addr: SocketAddr, latency: Option<Duration>) -> Word {
        let Some(witness) = self.witnesses.iter_mut().find(|one| one.addr == addr) else {
            return Word::Well;
        };
        let Some(latency) = latency else {
            witness.losses = witness.losses.saturating_add(1);
            return Word::Lost;
        };
        witness.losses = 0;
        witness.soonest = witness.soonest.min(latency);
        if latency > witness.soonest * LATE_FACTOR + LATE_EXCESS {
            Word::Late
        } else {
            Word::Well
        }
    }

    /// Changes the rate once enough is known for that.
    fn judge(&mut self, now: Instant) {
        let count = |word: Word| self.words.values().filter(|one| **one == word).count();
        let (lost, late) = (count(Word::Lost), count(Word::Late));
        #[expect(clippy::cast_precision_loss, reason = "at most a window")]
        let (losses, window) = (lost as f64, WINDOW as f64);
        let is_too_fast = losses >= LOSSES + TIMES_USUAL * self.usual * window || late >= LATE;
        if !is_too_fast && self.words.len() < WINDOW {
            return;
        }
        if self.rate <= self.limit * SLOW {
            #[expect(clippy::cast_precision_loss, reason = "at most a window")]
            let share = losses / self.words.len() as f64;
            self.usual += USUAL_WEIGHT * (share - self.usual);
        }
        self.words.clear();
        if is_too_fast {
            self.rate = (self.rate / 2.0).max(self.limit * LEAST);
            self.changed_at = now;
            for witness in &mut self.witnesses {
                witness.losses = 0;
            }
        } else {
            self.rate = (self.rate + self.limit * STEP).min(self.limit);
            self.witnesses.retain(|one| one.losses < LOST_WITNESS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u32) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from_bits(0xc633_6400 + number), 80))
    }

    /// A link that carries so many probes a second and loses what is more, on a way that loses this share anyway.
    struct World {
        strain: Strain,
        rng: fastrand::Rng,
        now: Instant,
        asked: u32,
    }

    impl World {
        fn new(limit: u32, seed: u64) -> Self {
            let now = crate::base::clock::now();
            let mut strain = Strain::new(limit, now);
            for number in 0..40 {
                strain.heard(addr(number), Duration::from_millis(20));
            }
            Self {
                strain,
                rng: fastrand::Rng::with_seed(seed),
                now,
                asked: 0,
            }
        }

        /// The mean rate over so long.
        fn run(&mut self, seconds: u64, capacity: f64, way: f64) -> f64 {
            let (until, mut probes) = (self.now + Duration::from_secs(seconds), 0.0);
            while self.now < until {
                let rate = f64::from(self.strain.rate());
                self.now += Duration::from_secs_f64(1.0 / rate);
                probes += 1.0;
                let Some(addr) = self.strain.next(self.now, &mut self.rng) else {
                    continue;
                };
                self.asked += 1;
                let carried = (capacity / rate).min(1.0) * (1.0 - way);
                let answer = self.rng.f64() < carried;
                let latency = answer.then_some(Duration::from_millis(20 + self.rng.u64(0..5)));
                assert!(self.strain.ended(addr, latency, self.now));
                if let Some(latency) = latency {
                    self.strain.heard(addr, latency);
                }
                assert!((1.0..=self.strain.limit).contains(&self.strain.rate));
            }
            probes / f64::from(u32::try_from(seconds).expect("few"))
        }
    }

    #[test]
    fn a_scan_that_fills_the_link_slows_down_and_comes_back() {
        for seed in 0..20 {
            let mut world = World::new(1_000, seed);
            assert!(
                world.run(10, 2_000.0, 0.0) > 990.0,
                "seed {seed}: a link that is wide enough"
            );
            world.run(5, 300.0, 0.0);
            let slow = world.run(60, 300.0, 0.0);
            assert!(
                (150.0..450.0).contains(&slow),
                "seed {seed}: {slow} on a link of 300"
            );
            world.run(20, 2_000.0, 0.0);
            let fast = world.run(20, 2_000.0, 0.0);
            assert!(fast > 950.0, "seed {seed}: {fast} once there is room");
            assert!(world.asked < 120 * 1_000 / EVERY.1, "seed {seed}");
        }
    }

    #[test]
    fn what_a_way_loses_anyway_slows_little() {
        for seed in 0..20 {
            let mut world = World::new(1_000, seed);
            world.run(60, 2_000.0, 0.1);
            let rate = world.run(60, 2_000.0, 0.1);
            assert!(rate > 750.0, "seed {seed}: {rate}");
        }
    }

    #[test]
    fn late_answers_are_a_sign_as_well_and_a_dead_witness_is_none() {
        let mut world = World::new(1_000, 1);
        world.now += SETTLING;
        let ask = |world: &mut World, latency: fn(SocketAddr) -> Option<Duration>| {
            for _ in 0..400 * EVERY.1 {
                if let Some(addr) = world.strain.next(world.now, &mut world.rng) {
                    world.strain.ended(addr, latency(addr), world.now);
                }
            }
        };
        ask(&mut world, |one| {
            (one != addr(3)).then_some(Duration::from_millis(21))
        });
        assert_eq!(world.strain.rate(), 1_000, "one that has died is not the link");
        assert!(world.strain.witnesses.iter().all(|one| one.addr != addr(3)));
        ask(&mut world, |_| Some(Duration::from_millis(300)));
        assert!(world.strain.rate() <= 500, "{}", world.strain.rate());
        assert!(!world.strain.ended(addr(5), None, world.now), "nobody asked it");
    }
}
