//! How soon a backend's answers begin, as balancing compares it. Pure.
//!
//! A moving average of first bytes in which a sample counts the more the longer the one before it was ago:
//! `new = sample + (old - sample) e^(-t/τ)`, so that a second of many clients counts as much as a second of few (the average
//! that Finagle and linkerd weigh by load). A backend that looks slow gets no clients and would look slow for ever; so what is
//! known of one that has answered nobody since fades, in the same way, to what its connects say.

use std::time::{Duration, Instant};

/// τ of what is learned.
const LEARNED_IN: Duration = Duration::from_secs(10);

/// τ of what is forgotten.
const FORGOTTEN_IN: Duration = Duration::from_secs(60);

/// What is known of one backend.
#[derive(Debug, Clone, Copy)]
pub struct AnswerTime {
    seconds: f64,
    /// When it was last heard of.
    at: Instant,
}

impl AnswerTime {
    /// Clients waited so long for the first answers.
    #[must_use]
    pub fn first(waited: Duration, now: Instant) -> Self {
        Self {
            seconds: waited.as_secs_f64(),
            at: now,
        }
    }

    /// Clients waited so long since it was last heard of.
    pub fn heard(&mut self, waited: Duration, now: Instant) {
        let left = fade(now.saturating_duration_since(self.at), LEARNED_IN);
        let sample = waited.as_secs_f64();
        *self = Self {
            seconds: sample + (self.seconds - sample) * left,
            at: now,
        };
    }

    /// How soon it is expected to answer now, if its connects take so long.
    #[must_use]
    pub fn expected(&self, connect: Option<Duration>, now: Instant) -> Duration {
        let connect = connect.map_or(self.seconds, |connect| connect.as_secs_f64());
        let left = fade(now.saturating_duration_since(self.at), FORGOTTEN_IN);
        Duration::try_from_secs_f64(connect + (self.seconds - connect) * left).unwrap_or_default()
    }
}

/// What is left after a time, as a share.
fn fade(age: Duration, tau: Duration) -> f64 {
    (-age.as_secs_f64() / tau.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_second_of_many_counts_as_much_as_a_second_of_few() {
        let start = clock::now();
        let [mut few, mut many] = [AnswerTime::first(10 * MS, start); 2];
        for tenth in 1..=100 {
            many.heard(110 * MS, start + tenth * 100 * MS);
        }
        few.heard(110 * MS, start + LEARNED_IN);
        let now = start + LEARNED_IN;
        let [few, many] = [few, many].map(|one| one.expected(None, now).as_secs_f64());
        assert!((few - many).abs() < 1e-6, "{few} {many}");
        assert!((few - (0.110 - 0.100 / std::f64::consts::E)).abs() < 1e-6);
    }

    #[test]
    fn what_answers_nobody_fades_to_its_connects() {
        let start = clock::now();
        let slow = AnswerTime::first(500 * MS, start);
        let after = |seconds| slow.expected(Some(20 * MS), start + Duration::from_secs(seconds));
        assert_eq!(after(0), 500 * MS);
        assert!(after(10) > 400 * MS && after(60) < 200 * MS && after(600) < 21 * MS);
        assert_eq!(slow.expected(None, start + LEARNED_IN), 500 * MS);
    }
}
