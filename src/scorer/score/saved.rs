//! The history of one candidate as it outlives the process. Pure.
//!
//! Whole numbers only, so that what is read again is what was written. What is out of range is taken for the nearest that is in it:
//! a file says what it likes.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Ewma, History, Timing};
use crate::scorer::trust::{SavedTrust, Trust};

/// How old a remembered latency is when it counts half beside a new one.
const HALF_LIFE: Duration = Duration::from_secs(30 * 60);

/// The longest time and the highest rate and penalty that are taken from a file.
const LONGEST_MICROS: u64 = 3_600_000_000;
const FASTEST: u64 = 1 << 50;
const MOST_MILLI_POINTS: u32 = 1_000_000_000;

/// Parts of 1 in which a success rate is counted.
const PARTS: f64 = 1e6;

/// What is saved of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedHistory {
    /// How long connects take.
    pub connect: SavedTiming,
    /// How long first bytes of answers take.
    pub first_byte: SavedTiming,
    /// Mean rate of directions that moved much, in bytes a second.
    pub rate: Option<u64>,
    /// The success rate in parts of a million, once there was a sample.
    pub success_ppm: Option<u32>,
    /// Points taken off, in thousandths.
    pub penalty_milli: u32,
    /// Failures since the last success.
    pub failures: u32,
    /// Successes since the last failure.
    pub successes: u32,
    /// Whether its connects are believed.
    pub trust: SavedTrust,
}

/// A time that was measured again and again, in microseconds; none if it never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedTiming {
    /// The mean.
    pub mean: Option<u64>,
    /// The mean difference of neighbouring times.
    pub jitter: Option<u64>,
}

impl Timing {
    fn save(&self) -> SavedTiming {
        SavedTiming {
            mean: self.mean.value().map(|seconds| whole(seconds * 1e6)),
            jitter: self.jitter.value().map(|seconds| whole(seconds * 1e6)),
        }
    }

    /// Without the last time alone: times that lie a process apart are no neighbours.
    fn recalled(saved: &SavedTiming) -> Self {
        let ewma = |micros: Option<u64>| {
            micros.map_or(Ewma::EMPTY, |micros| {
                Ewma(Duration::from_micros(micros.min(LONGEST_MICROS)).as_secs_f64())
            })
        };
        Self {
            mean: ewma(saved.mean),
            jitter: ewma(saved.jitter),
            last: Ewma::EMPTY,
        }
    }
}

impl History {
    /// What is to outlive the process.
    #[must_use]
    pub fn save(&self, now: Instant) -> SavedHistory {
        let small = |value: f64| u32::try_from(whole(value)).unwrap_or(u32::MAX);
        SavedHistory {
            connect: self.connect.save(),
            first_byte: self.first_byte.save(),
            rate: self.rate.value().map(whole),
            success_ppm: self.success.value().map(|rate| small(rate * PARTS)),
            penalty_milli: small(self.penalty * 1e3),
            failures: self.consecutive_failures,
            successes: self.consecutive_successes,
            trust: self.trust.save(now),
        }
    }

    /// What was saved so long ago.
    #[must_use]
    pub fn recalled(saved: &SavedHistory, elapsed: Duration, now: Instant) -> Self {
        let rate = |rate: u64| Ewma(super::per_second(rate.min(FASTEST)));
        let success = |ppm: u32| Ewma((f64::from(ppm) / PARTS).min(1.0));
        Self {
            connect: Timing::recalled(&saved.connect),
            first_byte: Timing::recalled(&saved.first_byte),
            rate: saved.rate.map_or(Ewma::EMPTY, rate),
            success: saved.success_ppm.map_or(Ewma::EMPTY, success),
            penalty: f64::from(saved.penalty_milli.min(MOST_MILLI_POINTS)) / 1e3,
            consecutive_failures: saved.failures,
            // Who answers is who was successful last.
            consecutive_successes: if saved.failures > 0 { 0 } else { saved.successes },
            successes: u16::try_from(saved.successes).unwrap_or(u16::MAX),
            trust: Trust::recalled(&saved.trust, elapsed, now),
        }
    }

    /// The first connect since it was recalled succeeded: the older what is remembered, the less it counts beside this.
    pub fn confirm(&mut self, latency: Duration, age: Duration) {
        let weight = (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        if let Some(mean) = self.connect.mean.value() {
            self.connect.mean = Ewma(weight * mean + (1.0 - weight) * latency.as_secs_f64());
        }
    }

    /// The first connect since it was recalled failed: what is remembered, but for its trust, is of a time that has gone.
    pub fn refute(&mut self) {
        *self = Self {
            trust: self.trust,
            ..Self::default()
        };
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and takes what is negative or no number for 0"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::config::Scoring;
    use crate::scorer::sample::Outcome;
    use proptest::prelude::*;

    fn histories() -> impl Strategy<Value = History> {
        let outcome = prop_oneof![
            (0_u64..2_000_000).prop_map(|micros| Outcome::Success(Duration::from_micros(micros))),
            Just(Outcome::Failure),
        ];
        prop::collection::vec(outcome, 0..30).prop_map(|outcomes| {
            let mut history = History::default();
            for outcome in outcomes {
                history.record(outcome, &Scoring::default());
            }
            history
        })
    }

    proptest! {
        #[test]
        fn a_recalled_history_earns_the_same_score(history in histories()) {
            let (now, rules) = (clock::now(), Scoring::default());
            let recalled = History::recalled(&history.save(now), Duration::ZERO, now);
            let (before, after) = (history.score(&rules), recalled.score(&rules));
            prop_assert!((before.total - after.total).abs() < 0.01, "{before:?} {after:?}");
            prop_assert_eq!(history.answers(), recalled.answers());
            prop_assert_eq!(recalled.save(now), history.save(now), "nothing is lost by one more turn");
        }

        #[test]
        fn whatever_a_file_says_a_score_is_in_range(
            micros in any::<Option<u64>>(), jitter in any::<Option<u64>>(), rate in any::<Option<u64>>(),
            success in any::<Option<u32>>(), penalty in any::<u32>(), failures in any::<u32>(), successes in any::<u32>(),
            strikes in any::<u8>(), relapses in any::<u8>(), term in any::<Option<u64>>(), elapsed in any::<u64>(),
        ) {
            let timing = SavedTiming { mean: micros, jitter };
            let saved = SavedHistory {
                connect: timing, first_byte: timing, rate, success_ppm: success, penalty_milli: penalty, failures, successes,
                trust: SavedTrust { strikes, relapses, term_ms: term },
            };
            let (now, rules) = (clock::now(), Scoring::default());
            let mut history = History::recalled(&saved, Duration::from_millis(elapsed), now);
            for _ in 0..3 {
                let total = history.score(&rules).total;
                prop_assert!((0.0..=super::super::ceiling(&rules)).contains(&total), "{total}");
                history.confirm(Duration::from_millis(1), Duration::from_millis(elapsed));
                history.record(Outcome::Failure, &rules);
                history.unserved(now, &rules);
            }
        }
    }

    #[test]
    fn an_old_latency_counts_less_beside_a_new_one() {
        let (now, rules) = (clock::now(), Scoring::default());
        let mut history = History::default();
        history.record(Outcome::Success(Duration::from_millis(100)), &rules);
        let confirmed = |age| {
            let mut recalled = History::recalled(&history.save(now), age, now);
            recalled.confirm(Duration::from_millis(200), age);
            recalled.score(&rules).latency.unwrap_or_default().as_millis()
        };
        assert_eq!(confirmed(Duration::ZERO), 100);
        assert_eq!(confirmed(HALF_LIFE), 150);
        assert_eq!(confirmed(HALF_LIFE * 20), 199);
    }

    #[test]
    fn who_fails_at_once_has_nothing_left_but_its_distrust() {
        let (now, rules) = (clock::now(), Scoring::default());
        let mut history = History::default();
        for _ in 0..200 {
            history.record(Outcome::Success(Duration::from_millis(1)), &rules);
        }
        history.unserved(now, &rules);
        let mut recalled = History::recalled(&history.save(now), Duration::ZERO, now);
        recalled.refute();
        recalled.record(Outcome::Failure, &rules);
        assert!(recalled.score(&rules).total < 1e-9);
        (0..2).for_each(|_| recalled.unserved(now, &rules));
        assert!(!recalled.score(&rules).is_trusted, "the third client");
    }
}
