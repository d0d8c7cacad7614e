//! When connects began that were answered: proof that our own link worked then.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What was answered this long before or after a failed connect proves that the link worked meanwhile.
pub(super) const REACH: Duration = Duration::from_millis(100);

/// Beginnings that lie closer together than this are one.
const GRAIN: Duration = Duration::from_millis(10);

/// Beginnings remembered; at the densest they cover 20 s, which is longer than a connect should take.
const BOUND: usize = 4_000;

/// Beginnings of answered connects.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeSet<Instant>);

impl Answers {
    /// Notes an answer to a connect that began then.
    pub(super) fn note(&mut self, began_at: Instant) {
        // Not rounded: a beginning moved forwards could seem to follow what it went before.
        let before = began_at.checked_sub(GRAIN).unwrap_or(began_at);
        if self.0.range(before..=began_at).nth(1).is_some() {
            return;
        }
        self.0.insert(began_at);
        if self.0.len() > BOUND {
            self.0.pop_first();
        }
    }

    /// Whether answers on both sides, [`REACH`] away at most, prove that the link worked then: a connect that
    /// began then and failed did so by the fault of its candidate.
    pub(super) fn cover(&self, began_at: Instant) -> bool {
        let from = began_at.checked_sub(REACH).unwrap_or(began_at);
        self.0.range(from..=began_at).next().is_some()
            && self.0.range(began_at..=began_at + REACH).next().is_some()
    }

    /// Whether a connect that began then, or at any time after, was answered.
    pub(super) fn any_since(&self, began_at: Instant) -> bool {
        self.0.last().is_some_and(|last| *last >= began_at)
    }
}
