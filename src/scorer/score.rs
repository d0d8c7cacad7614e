//! The formulas: outcomes of connects -> the history of one candidate -> its score.
//!
//! Pure. Owns what is remembered of one candidate and how points are made of it; it must not know who else
//! there is, nor when a connect happened. Source of every formula: the specification's section "Score".
//!
//! Invariants: the moving averages stay within the range of their samples; the penalty stays within
//! 0..=`max_penalty`; the total stays within 0..=[`ceiling`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::sample::{Heard, Outcome, Rated, Sample, Served};
use super::trust::Trust;
use crate::config::{FailurePenalty, LatencySource, Scoring, ThroughputScoring};

/// Clients of one batch that count at most, so that a busy moment does not wipe out all memory.
const MOST_SERVED: u32 = 8;

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

/// A time that is measured again and again, in seconds.
#[derive(Debug, Clone, Copy)]
struct Timing {
    mean: Ewma,
    /// Mean difference of neighbouring times.
    jitter: Ewma,
    /// The last time alone.
    last: Ewma,
}

impl Timing {
    /// Not measured yet.
    const EMPTY: Self = Self {
        mean: Ewma::EMPTY,
        jitter: Ewma::EMPTY,
        last: Ewma::EMPTY,
    };

    fn add(&mut self, time: Duration, rules: &Scoring) {
        let seconds = time.as_secs_f64();
        // A jitter sample needs a neighbour: the last success, however many failures lie between.
        if let Some(previous) = self.last.value() {
            self.jitter
                .add((seconds - previous).abs(), rules.jitter.ewma_alpha);
        }
        self.last = Ewma(seconds);
        self.mean.add(seconds, rules.latency.ewma_alpha);
    }
}

/// How answers go beyond connects: what is expected of candidates that were asked nothing, where others were.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// What first bytes take more than connects, in seconds.
    beyond: Ewma,
    jitter: Ewma,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            beyond: Ewma::EMPTY,
            jitter: Ewma::EMPTY,
        }
    }
}

impl Expected {
    /// Takes in what is known of one candidate that has just answered.
    pub fn learn(&mut self, of: &History, rules: &Scoring) {
        let (connect, first_byte) = (of.connect.mean.value(), of.first_byte.mean.value());
        if let (Some(connect), Some(first_byte)) = (connect, first_byte) {
            self.beyond
                .add((first_byte - connect).max(0.0), rules.latency.ewma_alpha);
        }
        if let Some(jitter) = of.first_byte.jitter.value() {
            self.jitter.add(jitter, rules.jitter.ewma_alpha);
        }
    }

    /// What is expected of whoever connects like this.
    fn of(&self, connect: &Timing) -> Timing {
        let at_least = |own: Ewma| match (own.value(), self.jitter.value()) {
            (Some(own), Some(expected)) => Ewma(own.max(expected)),
            (None, Some(expected)) => Ewma(expected),
            (Some(_) | None, None) => own,
        };
        Timing {
            // Without a connect it stays unknown.
            mean: Ewma(connect.mean.0 + self.beyond.value().unwrap_or(0.0)),
            jitter: at_least(connect.jitter),
            last: connect.last,
        }
    }
}

/// What is remembered of one candidate.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// How long connects take.
    connect: Timing,
    /// How long first bytes of answers take: to checks, or to clients where it answers none.
    first_byte: Timing,
    /// Mean rate of directions that moved much, in bytes a second.
    rate: Ewma,
    /// Mean of 1 for a success and 0 for a failure.
    success: Ewma,
    /// Points taken off.
    penalty: f64,
    consecutive_failures: u32,
    consecutive_successes: u32,
    /// All of them.
    successes: u16,
    trust: Trust,
}

impl Default for History {
    fn default() -> Self {
        Self {
            connect: Timing::EMPTY,
            first_byte: Timing::EMPTY,
            rate: Ewma::EMPTY,
            success: Ewma::EMPTY,
            penalty: 0.0,
            consecutive_failures: 0,
            consecutive_successes: 0,
            successes: 0,
            trust: Trust::default(),
        }
    }
}

/// A score with all it was made of. Points unless a unit is named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// `clamp(latency + jitter + success + throughput - penalty + bonus, 0, ceiling)`.
    pub total: f64,
    /// 0 to the latency maximum.
    pub latency_part: f64,
    /// 0 to the jitter maximum.
    pub jitter_part: f64,
    /// 0 to the success-rate maximum.
    pub success_part: f64,
    /// 0 to the throughput maximum.
    pub throughput_part: f64,
    /// Taken off; 0 to the maximum penalty.
    pub penalty: f64,
    /// Added; 0 to the maximum bonus.
    pub bonus: f64,
    /// The mean of the latency that is scored, once it was measured.
    pub latency: Option<Duration>,
    /// Mean connect time, once a connect succeeded.
    pub connect: Option<Duration>,
    /// Mean time from a question to the first byte of its answer, once there was one.
    pub first_byte: Option<Duration>,
    /// Mean rate of directions that moved much, in bytes a second.
    pub rate: Option<f64>,
    /// Mean difference of neighbouring latencies, once there were two.
    pub jitter: Option<Duration>,
    /// Moving success rate, 0 to 1.
    pub success_rate: f64,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Successes since the last failure.
    pub consecutive_successes: u32,
    /// Whether its connects are believed.
    pub is_trusted: bool,
}

impl History {
    /// Takes in a sample that ended at its time: how the connect went, and what was heard.
    pub fn take(&mut self, sample: &Sample, rules: &Scoring) {
        match (sample.outcome, sample.heard) {
            (Outcome::Success(latency), Heard::Wrong(_)) => {
                self.trust.checked(false);
                self.connect.add(latency, rules);
                self.failed(rules);
            }
            (Outcome::Success(latency), heard) => {
                if let Heard::Answer(first_byte) = heard {
                    self.trust.checked(true);
                    self.first_byte.add(first_byte, rules);
                }
                if self.trust.connected(sample.at) {
                    self.record(sample.outcome, rules);
                } else {
                    self.connect.add(latency, rules);
                }
            }
            (Outcome::Refused | Outcome::NoRoute | Outcome::Failure, _) => self.record(sample.outcome, rules),
        }
    }

    /// Takes in how one connect went that is believed.
    pub fn record(&mut self, outcome: Outcome, rules: &Scoring) {
        match outcome {
            Outcome::Success(latency) => self.succeeded(latency, rules),
            Outcome::Refused | Outcome::NoRoute | Outcome::Failure => self.failed(rules),
        }
    }

    fn succeeded(&mut self, latency: Duration, rules: &Scoring) {
        self.connect.add(latency, rules);
        self.success.add(1.0, rules.success_rate.ewma_alpha);
        self.consecutive_failures = 0;
        self.consecutive_successes = self.consecutive_successes.saturating_add(1);
        self.successes = self.successes.saturating_add(1);
        self.penalty = (self.penalty - rules.failure_penalty.recovery_per_check).max(0.0);
    }

    /// Whether what somebody else has seen is about what was seen here: an answer, half to twice as fast as ours, give or take 5 ms.
    #[must_use]
    pub fn agrees_with(&self, outcome: Outcome) -> bool {
        const SLACK: f64 = 0.005;
        let (Some(theirs), Some(ours)) = (outcome.latency(), self.connect.mean.value()) else {
            return !outcome.is_success() && !self.answers();
        };
        let theirs = theirs.as_secs_f64();
        self.answers() && theirs <= ours * 2.0 + SLACK && theirs + SLACK >= ours / 2.0
    }

    /// What is known so far was not seen here: it proves nothing.
    pub fn unconfirm(&mut self) {
        self.successes = 0;
        self.consecutive_successes = self.consecutive_successes.min(1);
    }

    /// It served clients: they end a run of failures, and count as successes, but not as checks that earn a bonus.
    pub fn served(&mut self, served: &Served, rules: &Scoring) {
        if served.clients > 0 {
            self.trust.served(served.clients);
            for _ in 0..served.clients.min(MOST_SERVED) {
                self.success.add(1.0, rules.success_rate.ewma_alpha);
            }
            self.consecutive_failures = 0;
            self.penalty = (self.penalty - rules.failure_penalty.recovery_per_check).max(0.0);
        }
        // Clients ask for other things than checks do, of members alone: the two cannot be compared.
        if let Some(first_byte) = served.first_byte.filter(|_| !self.trust.answers_checks()) {
            self.first_byte.add(first_byte, rules);
        }
        if let Some(rate) = served.rate {
            self.rate.add(rate, rules.throughput.ewma_alpha);
        }
    }

    /// It did not serve a client, which is its own fault.
    pub fn unserved(&mut self, now: Instant, rules: &Scoring) {
        self.trust.failed(now);
        self.failed(rules);
    }

    /// Whether the last check of it was answered rightly.
    #[must_use]
    pub fn answers_checks(&self) -> bool {
        self.trust.answers_checks()
    }

    /// Whether it was asked for more than a connect.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.trust.is_checked()
    }

    /// Checks are made no more, or others.
    pub fn forget_checks(&mut self) {
        self.trust.forget_checks();
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
        self.score_beside(&Expected::default(), rules)
    }

    /// The same beside others of which this is known.
    #[must_use]
    pub fn score_beside(&self, expected: &Expected, rules: &Scoring) -> Score {
        let timing = self.timing(expected, rules);
        let parts = self.parts(&timing, rules);
        let seconds = |mean: Ewma| mean.value().map(Duration::from_secs_f64);
        Score {
            total: self.total(&parts, rules),
            latency_part: parts.latency,
            jitter_part: parts.jitter,
            success_part: parts.success,
            throughput_part: parts.throughput,
            penalty: self.penalty,
            bonus: parts.bonus,
            latency: seconds(timing.mean),
            connect: seconds(self.connect.mean),
            first_byte: seconds(self.first_byte.mean),
            rate: self.rate.value(),
            jitter: seconds(timing.jitter),
            success_rate: self.success.value().unwrap_or(0.0),
            consecutive_failures: self.consecutive_failures,
            consecutive_successes: self.consecutive_successes,
            is_trusted: self.trust.is_whole(),
        }
    }

    /// What of its score a candidate is ranked by: nothing else is worked out, for this is asked of thousands.
    #[must_use]
    pub fn rated(&self, addr: SocketAddr, expected: &Expected, rules: &Scoring) -> Rated {
        let timing = self.timing(expected, rules);
        Rated {
            addr,
            score: self.total(&self.parts(&timing, rules), rules),
            latency: timing.mean.value().map(Duration::from_secs_f64),
            distrust: self.trust.lacks(),
            successes: self.successes,
        }
    }

    /// The latency that is scored.
    fn timing(&self, expected: &Expected, rules: &Scoring) -> Timing {
        match rules.latency.source {
            LatencySource::Connect => self.connect,
            // Who was never asked anything has shown no other latency, and is no quicker for that.
            LatencySource::FirstByte if self.first_byte.mean.value().is_none() => expected.of(&self.connect),
            LatencySource::FirstByte => self.first_byte,
        }
    }

    fn parts(&self, timing: &Timing, rules: &Scoring) -> Parts {
        let latency = timing.mean.value();
        Parts {
            latency: latency.map_or(0.0, |seconds| {
                let scale = &rules.latency;
                linear_part(seconds, scale.base, scale.max_acceptable, scale.max_score)
            }),
            jitter: latency.map_or(0.0, |_| {
                let scale = &rules.jitter;
                let seconds = timing.jitter.value().unwrap_or(0.0);
                linear_part(seconds, scale.base, scale.max_acceptable, scale.max_score)
            }),
            success: self.success.value().unwrap_or(0.0) * rules.success_rate.max_score,
            throughput: latency.map_or(0.0, |_| throughput_part(self.rate.value(), &rules.throughput)),
            bonus: bonus_of(self.consecutive_successes, rules),
        }
    }

    fn total(&self, parts: &Parts, rules: &Scoring) -> f64 {
        let sum =
            parts.latency + parts.jitter + parts.success + parts.throughput - self.penalty + parts.bonus;
        sum.clamp(0.0, ceiling(rules))
    }
}

/// What a score is made of, but for the penalty.
struct Parts {
    latency: f64,
    jitter: f64,
    success: f64,
    throughput: f64,
    bonus: f64,
}

/// The highest score there is: the four maximum scores and the maximum bonus.
#[must_use]
pub fn ceiling(rules: &Scoring) -> f64 {
    rules.latency.max_score
        + rules.jitter.max_score
        + rules.success_rate.max_score
        + rules.throughput.max_score
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

/// Points for a rate in bytes a second, where more is better: none up to `floor`, `max_score` from `good` on, linear
/// between. Who has moved nothing in bulk has shown no slowness: `max_score`.
fn throughput_part(rate: Option<f64>, rules: &ThroughputScoring) -> f64 {
    let (floor, good) = (per_second(rules.floor), per_second(rules.good));
    rate.map_or(rules.max_score, |rate| {
        ((rate - floor) / (good - floor)).clamp(0.0, 1.0) * rules.max_score
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates are far from the 2^53 that a double holds"
)]
fn per_second(bytes: u64) -> f64 {
    bytes as f64
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

pub mod saved;
#[cfg(test)]
mod tests;
