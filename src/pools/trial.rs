//! Whether warm connections keep a backend from answering: servers that handle one connection at a time, or few. Pure.
//!
//! Such a server waits for the first word of the oldest connection while clients speak on the newest. What is seen is a
//! client that waits. The trial: all unused connections are closed, and if an answer comes at once, they were in its way.
//! Twice, and the backend gets none any more. The second trial begins later than the first, so that an answer that is
//! slow by itself does not come at the right moment twice; one without success doubles the time until the next.

use std::time::{Duration, Instant};

/// A client has waited for so long when the first trial begins.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait before a trial.
const LONGEST: Duration = Duration::from_secs(120);

/// An answer within this, or a quarter of the wait, has come at once.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Trials in a row that prove it.
const PROOFS: u8 = 2;

/// The trials of one backend.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// How long a client must have waited for the next one.
    threshold: Duration,
    /// When the present one began.
    began_at: Option<Instant>,
    proofs: u8,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            threshold: FIRST,
            began_at: None,
            proofs: 0,
        }
    }
}

impl Trial {
    /// How long a client must have waited for a trial to begin.
    #[must_use]
    pub fn threshold(&self) -> Duration {
        self.threshold
    }

    /// How long answers are waited for once unused connections are closed, and no new ones are made.
    #[must_use]
    pub fn window(&self) -> Duration {
        AT_ONCE.max(self.threshold / 4)
    }

    /// Whether it is proved.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.proofs >= PROOFS
    }

    /// Whether answers are waited for.
    #[must_use]
    pub fn is_under_way(&self, now: Instant) -> bool {
        self.began_at.is_some_and(|at| now < at + self.window())
    }

    /// A client has waited for so long: whether a trial begins.
    pub fn begin(&mut self, waited: Duration, now: Instant) -> bool {
        if self.is_proved() || self.is_under_way(now) {
            return false;
        }
        if self.began_at.take().is_some() {
            self.proofs = 0;
            self.threshold = (self.threshold * 2).min(LONGEST);
        }
        let begins = waited >= self.threshold;
        if begins {
            self.began_at = Some(now);
        }
        begins
    }

    /// A client that had last spoken at `asked_at` is answered: whether that proves it, for the first time.
    pub fn answered(&mut self, asked_at: Instant, now: Instant) -> bool {
        let waited_before = self
            .began_at
            .is_some_and(|at| asked_at + self.threshold / 2 <= at);
        if !waited_before || !self.is_under_way(now) {
            return false;
        }
        self.began_at = None;
        self.proofs += 1;
        self.threshold = self.threshold.mul_f64(1.5).min(LONGEST);
        self.is_proved()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn two_answers_at_once_are_proof() {
        let (mut trial, now) = (Trial::default(), clock::now());
        let asked_at = now;
        assert!(!trial.begin(FIRST / 2, now + FIRST / 2));
        let began_at = now + FIRST;
        assert!(trial.begin(FIRST, began_at));
        assert!(!trial.begin(FIRST, began_at), "it is under way");
        assert!(
            !trial.answered(began_at, began_at),
            "who has just come proves nothing"
        );
        assert!(!trial.answered(asked_at, began_at + AT_ONCE / 2));
        let (asked_at, began_at) = (began_at + FIRST, began_at + FIRST * 3);
        assert!(!trial.begin(FIRST, began_at), "the second one is later");
        assert!(trial.begin(FIRST * 2, began_at));
        assert!(trial.answered(asked_at, began_at + AT_ONCE / 2));
        assert!(trial.is_proved() && !trial.begin(LONGEST, began_at + LONGEST));
    }

    #[test]
    fn a_slow_server_is_tried_ever_more_rarely() {
        let mut now = clock::now();
        let mut trial = Trial::default();
        let mut trials = 0;
        for _ in 0..3_600 {
            let asked_at = now;
            now += Duration::from_secs(1);
            trials += u32::from(trial.begin(Duration::from_secs(30), now));
            now += Duration::from_secs(1);
            assert!(!trial.answered(asked_at, now));
        }
        assert!(trials <= 6, "{trials} in two hours");
    }

    #[test]
    fn an_answer_that_always_takes_its_time_is_no_proof() {
        for tenths in 1..200 {
            let mut now = clock::now();
            let takes = Duration::from_millis(100 * tenths);
            let mut trial = Trial::default();
            for _ in 0..20 {
                let (asked_at, answered_at) = (now, now + takes);
                while now < answered_at {
                    trial.begin(now - asked_at, now);
                    now += Duration::from_millis(10);
                }
                trial.answered(asked_at, answered_at);
            }
            assert!(!trial.is_proved(), "{takes:?}");
        }
    }
}
