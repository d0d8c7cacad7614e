//! The formulas: outcomes of connects -> the history of one candidate -> its score.
//!
//! Pure. Owns what is remembered of one candidate and how points are made of it; it must not know who else
//! there is, nor when a connect happened. Source of every formula: the specification's section "Score".
//!
//! Invariants: the moving averages stay within the range of their samples; the penalty stays within
//! 0..=`max_penalty`; the total stays within 0..=[`ceiling`].

use std::net::SocketAddr;
use std::time::Duration;

use super::sample::{Outcome, Rated};
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

impl Score {
    /// What a candidate with this score is ranked by.
    #[must_use]
    pub fn rated(&self, addr: SocketAddr) -> Rated {
        Rated {
            addr,
            score: self.total,
            latency: self.latency,
        }
    }
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
mod tests;
