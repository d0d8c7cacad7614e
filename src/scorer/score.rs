//! The formulas: outcomes of connects -> the history of one candidate -> its score.
//!
//! Pure. Owns what is remembered of one candidate and how points are made of it; it must not know who else
//! there is, nor when a connect happened. Source of every formula: the specification's section "Score".
//!
//! Invariants: the moving averages stay within the range of their samples; the penalty stays within
//! 0..=`max_penalty`; the total stays within 0..=[`ceiling`].

use std::time::Duration;

use super::Outcome;
use crate::config::{FailurePenalty, Scoring};

/// An exponentially weighted moving average: `new = alpha * sample + (1 - alpha) * old`; the first sample is
/// taken as it is.
///
/// "No sample yet" is a NaN inside, not an `Option`: there are thousands of these, at half the size.
#[derive(Debug, Clone, Copy)]
pub struct Ewma(f64);

impl Ewma {
    /// No sample yet.
    pub const EMPTY: Self = Self(f64::NAN);

    /// Adds a sample with this weight (above 0, at most 1).
    pub fn add(&mut self, sample: f64, alpha: f64) {
        self.0 = match self.value() {
            Some(old) => alpha * sample + (1.0 - alpha) * old,
            None => sample,
        };
    }

    /// The average, once there was a sample.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        (!self.0.is_nan()).then_some(self.0)
    }
}

/// What is remembered of one candidate.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// Mean connect time, in seconds.
    latency: Ewma,
    /// Mean difference of neighbouring connect times, in seconds.
    jitter: Ewma,
    /// The last connect time alone, in seconds.
    last_latency: Ewma,
    /// Mean of 1 for a success and 0 for a failure.
    success: Ewma,
    /// Points taken off.
    penalty: f64,
    consecutive_failures: u32,
    consecutive_successes: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            latency: Ewma::EMPTY,
            jitter: Ewma::EMPTY,
            last_latency: Ewma::EMPTY,
            success: Ewma::EMPTY,
            penalty: 0.0,
            consecutive_failures: 0,
            consecutive_successes: 0,
        }
    }
}

/// A score with all it was made of. Points unless a unit is named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// `clamp(latency + jitter + success - penalty + bonus, 0, ceiling)`.
    pub total: f64,
    /// 0 to the latency maximum.
    pub latency_part: f64,
    /// 0 to the jitter maximum.
    pub jitter_part: f64,
    /// 0 to the success-rate maximum.
    pub success_part: f64,
    /// Taken off; 0 to the maximum penalty.
    pub penalty: f64,
    /// Added; 0 to the maximum bonus.
    pub bonus: f64,
    /// Mean connect time, once a connect succeeded.
    pub latency: Option<Duration>,
    /// Mean difference of neighbouring connect times, once two connects succeeded.
    pub jitter: Option<Duration>,
    /// Moving success rate, 0 to 1.
    pub success_rate: f64,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Successes since the last failure.
    pub consecutive_successes: u32,
}

impl History {
    /// Takes in how one connect went.
    pub fn record(&mut self, outcome: Outcome, rules: &Scoring) {
        match outcome {
            Outcome::Success(latency) => self.succeeded(latency.as_secs_f64(), rules),
            Outcome::Refused | Outcome::NoRoute | Outcome::Failure => self.failed(rules),
        }
    }

    fn succeeded(&mut self, latency: f64, rules: &Scoring) {
        // A jitter sample needs a neighbour: the last success, however many failures lie between.
        if let Some(previous) = self.last_latency.value() {
            let jitter = (latency - previous).abs();
            self.jitter.add(jitter, rules.jitter.ewma_alpha);
        }
        self.last_latency = Ewma(latency);
        self.latency.add(latency, rules.latency.ewma_alpha);
        self.success.add(1.0, rules.success_rate.ewma_alpha);
        self.consecutive_failures = 0;
        self.consecutive_successes = self.consecutive_successes.saturating_add(1);
        self.penalty = (self.penalty - rules.failure_penalty.recovery_per_check).max(0.0);
    }

    fn failed(&mut self, rules: &Scoring) {
        self.success.add(0.0, rules.success_rate.ewma_alpha);
        self.consecutive_successes = 0;
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        // Never below what is owed already: after a few recoveries the first failure would otherwise help.
        self.penalty = self
            .penalty
            .max(penalty_of(self.consecutive_failures, &rules.failure_penalty));
    }

    /// Whether the last connect succeeded.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.consecutive_successes > 0
    }

    /// The score that this history earns.
    ///
    /// A candidate that never succeeded has no latency and no jitter part. One that succeeded once has
    /// shown no jitter: its jitter counts as 0 until a second success tells more.
    #[must_use]
    pub fn score(&self, rules: &Scoring) -> Score {
        let latency = self.latency.value();
        let jitter = self.jitter.value();
        let latency_part = latency.map_or(0.0, |seconds| {
            let scale = &rules.latency;
            linear_part(seconds, scale.base, scale.max_acceptable, scale.max_score)
        });
        let jitter_part = latency.map_or(0.0, |_| {
            let scale = &rules.jitter;
            let seconds = jitter.unwrap_or(0.0);
            linear_part(seconds, scale.base, scale.max_acceptable, scale.max_score)
        });
        let success_rate = self.success.value().unwrap_or(0.0);
        let success_part = success_rate * rules.success_rate.max_score;
        let bonus = bonus_of(self.consecutive_successes, rules);
        let sum = latency_part + jitter_part + success_part - self.penalty + bonus;
        Score {
            total: sum.clamp(0.0, ceiling(rules)),
            latency_part,
            jitter_part,
            success_part,
            penalty: self.penalty,
            bonus,
            latency: latency.map(Duration::from_secs_f64),
            jitter: jitter.map(Duration::from_secs_f64),
            success_rate,
            consecutive_failures: self.consecutive_failures,
            consecutive_successes: self.consecutive_successes,
        }
    }
}

/// The highest score there is: the three maximum scores and the maximum bonus.
#[must_use]
pub fn ceiling(rules: &Scoring) -> f64 {
    rules.latency.max_score
        + rules.jitter.max_score
        + rules.success_rate.max_score
        + rules.historical_bonus.max_bonus
}

/// Points for a value where less is better: `max_score` up to `base`, 0 from `max_acceptable` on, linear
/// between: `(max_acceptable - x) / (max_acceptable - base) * max_score`.
fn linear_part(seconds: f64, base: Duration, max_acceptable: Duration, max_score: f64) -> f64 {
    let (base, max_acceptable) = (base.as_secs_f64(), max_acceptable.as_secs_f64());
    if seconds <= base {
        max_score
    } else if seconds >= max_acceptable {
        0.0
    } else {
        (max_acceptable - seconds) / (max_acceptable - base) * max_score
    }
}

/// What the latest of so many consecutive failures (at least 1) costs:
/// `min(base_penalty * exponent_factor^(failures - 1), max_penalty)`.
fn penalty_of(failures: u32, rules: &FailurePenalty) -> f64 {
    if rules.base_penalty <= 0.0 {
        // Spelt out, because the power may be infinite, and zero times infinity is no number.
        return 0.0;
    }
    let growth = rules.exponent_factor.powf(f64::from(failures.saturating_sub(1)));
    (rules.base_penalty * growth).min(rules.max_penalty)
}

/// What a run of successes earns: `floor(successes / checks_per_point)`, at most `max_bonus`.
fn bonus_of(successes: u32, rules: &Scoring) -> f64 {
    let bonus = &rules.historical_bonus;
    let points = successes / bonus.checks_per_point.max(1);
    f64::from(points).min(bonus.max_bonus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Outcome {
        Outcome::Success(Duration::from_millis(millis))
    }

    fn history(outcomes: &[Outcome]) -> Score {
        let rules = Scoring::default();
        let mut history = History::default();
        for outcome in outcomes {
            history.record(*outcome, &rules);
        }
        history.score(&rules)
    }

    #[track_caller]
    fn assert_close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
    }

    #[test]
    fn an_untouched_candidate_scores_nothing() {
        let score = history(&[]);
        assert_close(score.total, 0.0);
        assert_eq!(score.latency, None);
    }

    #[test]
    fn the_first_sample_is_taken_as_it_is() {
        let score = history(&[ms(20)]);
        assert_eq!(score.latency, Some(Duration::from_millis(20)));
        assert_eq!(score.jitter, None);
        assert_close(score.success_rate, 1.0);
        assert_close(score.total, 45.0 + 15.0 + 40.0);
    }

    #[test]
    fn averages_move_by_their_alpha() {
        // Latency 0.2*150 + 0.8*100 = 110 ms. Jitter: first sample 50 ms. Then 100 again: latency
        // 0.2*100 + 0.8*110 = 108 ms, jitter 0.3*50 + 0.7*50 = 50 ms. Then 130: 112.4 ms and
        // 0.3*30 + 0.7*50 = 44 ms.
        let score = history(&[ms(100), ms(150), ms(100), ms(130)]);
        assert_close(score.latency.expect("measured").as_secs_f64(), 0.112_4);
        assert_close(score.jitter.expect("measured").as_secs_f64(), 0.044);
    }

    #[test]
    fn latency_part_is_linear_between_base_and_maximum() {
        assert_close(history(&[ms(50)]).latency_part, 45.0);
        // (800 - 425) / (800 - 50) * 45 = 22.5
        assert_close(history(&[ms(425)]).latency_part, 22.5);
        assert_close(history(&[ms(800)]).latency_part, 0.0);
        assert_close(history(&[ms(2_000)]).latency_part, 0.0);
    }

    #[test]
    fn jitter_part_is_linear_between_base_and_maximum() {
        // Jitter 155 ms: (300 - 155) / (300 - 10) * 15 = 7.5
        assert_close(history(&[ms(10), ms(165)]).jitter_part, 7.5);
        assert_close(history(&[ms(10), ms(20)]).jitter_part, 15.0);
        assert_close(history(&[ms(10), ms(310)]).jitter_part, 0.0);
    }

    #[test]
    fn a_failure_gives_no_latency_sample_and_keeps_the_neighbour() {
        let score = history(&[ms(100), Outcome::Failure, ms(140)]);
        // 0.2*140 + 0.8*100 = 108 ms; jitter |140 - 100| = 40 ms;
        // success: 1, 0.9, 0.1 + 0.81 = 0.91; penalty 5 - 2.5.
        assert_close(score.latency.expect("measured").as_secs_f64(), 0.108);
        assert_close(score.jitter.expect("measured").as_secs_f64(), 0.040);
        assert_close(score.success_part, 36.4);
        assert_close(score.penalty, 2.5);
    }

    #[test]
    fn who_never_succeeded_has_no_latency_and_no_jitter_part() {
        let score = history(&[Outcome::Failure]);
        assert_close(score.latency_part + score.jitter_part + score.success_part, 0.0);
        assert_close(score.total, 0.0);
        assert_eq!(score.consecutive_failures, 1);
    }

    #[test]
    fn the_penalty_grows_by_its_factor_up_to_its_maximum() {
        let expected = [5.0, 9.0, 16.2, 29.16, 52.488, 80.0, 80.0];
        for (i, penalty) in expected.into_iter().enumerate() {
            assert_close(history(&vec![Outcome::Failure; i + 1]).penalty, penalty);
        }
        assert_close(history(&vec![Outcome::Failure; 5_000]).penalty, 80.0);
    }

    #[test]
    fn a_new_failure_never_lowers_the_penalty() {
        // 16.2 after three, 13.7 after a success; the next run of failures begins at 5 but owes 13.7.
        let mut outcomes = vec![Outcome::Failure; 3];
        outcomes.extend([ms(10), Outcome::Failure]);
        assert_close(history(&outcomes).penalty, 13.7);
        outcomes.extend([ms(10); 5]);
        assert_close(history(&outcomes).penalty, 1.2);
        outcomes.push(ms(10));
        assert_close(history(&outcomes).penalty, 0.0);
    }

    #[test]
    fn the_bonus_counts_whole_runs_and_a_failure_resets_it() {
        assert_close(history(&[ms(10); 119]).bonus, 0.0);
        assert_close(history(&[ms(10); 120]).bonus, 1.0);
        assert_close(history(&[ms(10); 240]).total, 102.0);
        assert_close(history(&vec![ms(10); 5_000]).bonus, 10.0);
        assert_close(history(&vec![ms(10); 5_000]).total, 110.0);
        let mut outcomes = vec![ms(10); 240];
        outcomes.push(Outcome::Failure);
        assert_close(history(&outcomes).bonus, 0.0);
    }

    #[test]
    fn the_total_adds_up() {
        // One failure after 20 ms: 45 + 15 + 0.9*40 - 5 = 91.
        assert_close(history(&[ms(20), Outcome::Failure]).total, 91.0);
        // Six failures: 45 + 15 + 40*0.9^6 - 80 = 1.25764.
        let mut outcomes = vec![ms(20)];
        outcomes.extend([Outcome::Failure; 6]);
        assert_close(history(&outcomes).total, 1.257_64);
        outcomes.push(Outcome::Failure);
        assert_close(history(&outcomes).total, 0.0);
    }

    #[test]
    fn odd_but_valid_rules_stay_finite() {
        let mut rules = Scoring::default();
        rules.failure_penalty.base_penalty = 0.0;
        rules.failure_penalty.exponent_factor = 1e30;
        rules.latency.base = Duration::from_millis(10);
        rules.latency.max_acceptable = Duration::from_millis(10);
        let mut history = History::default();
        for outcome in [Outcome::Failure, Outcome::Failure, ms(10), ms(11)] {
            for _ in 0..100 {
                history.record(outcome, &rules);
            }
            assert!(history.score(&rules).total.is_finite());
        }
        assert_close(history.score(&rules).penalty, 0.0);
    }

    fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
        let outcome = prop_oneof![
            3 => (0_u64..2_000_000).prop_map(|micros| Outcome::Success(Duration::from_micros(micros))),
            1 => Just(Outcome::Failure),
        ];
        prop::collection::vec(outcome, 0..300)
    }

    proptest! {
        #[test]
        fn every_part_stays_within_its_bounds(outcomes in outcomes()) {
            let rules = Scoring::default();
            let mut history = History::default();
            for outcome in outcomes {
                let before = history.score(&rules);
                history.record(outcome, &rules);
                let score = history.score(&rules);
                prop_assert!((0.0..=ceiling(&rules)).contains(&score.total));
                prop_assert!((0.0..=45.0).contains(&score.latency_part));
                prop_assert!((0.0..=15.0).contains(&score.jitter_part));
                prop_assert!((0.0..=40.0 + 1e-9).contains(&score.success_part));
                prop_assert!((0.0..=80.0).contains(&score.penalty));
                prop_assert!((0.0..=10.0).contains(&score.bonus));
                match outcome {
                    Outcome::Refused | Outcome::NoRoute | Outcome::Failure => {
                        prop_assert!(score.total <= before.total);
                    }
                    Outcome::Success(_) => prop_assert!(score.penalty <= before.penalty),
                }
            }
        }

        #[test]
        fn a_faster_twin_never_scores_less(outcomes in outcomes()) {
            let rules = Scoring::default();
            let (mut slow, mut fast) = (History::default(), History::default());
            for outcome in outcomes {
                slow.record(outcome, &rules);
                fast.record(match outcome {
                    Outcome::Success(latency) => Outcome::Success(latency / 2),
                    Outcome::Refused | Outcome::NoRoute | Outcome::Failure => Outcome::Failure,
                }, &rules);
                prop_assert!(fast.score(&rules).total >= slow.score(&rules).total - 1e-9);
            }
        }
    }
}
