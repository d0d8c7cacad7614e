//! How fast a relay moves what is much. Pure.
//!
//! A stretch is what moves without a pause. One counts if it moved [`LEAST_BYTES`] and hardly anything the other way: a
//! conversation is as fast as those who talk, and says nothing of the way between them.

use std::time::{Duration, Instant};

/// The least that a stretch must move to be measured, in bytes.
const LEAST_BYTES: u64 = 1 << 20;

/// What must move one way for each byte the other way. A download confirms what it got, under TLS and HTTP/2 in some
/// dozen bytes for each 16 KiB or more.
const RATIO: u64 = 256;

/// A stretch ends with a pause of this length.
const PAUSE: Duration = Duration::from_millis(250);

/// A stretch of this length is measured, and the next one begins.
const LONGEST: Duration = Duration::from_secs(2);

/// The present stretch of one relay.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    since: Instant,
    /// When a byte was last moved.
    at: Instant,
    /// Bytes moved since it began: to the backend, to the client.
    moved: [u64; 2],
}

/// What a stretch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Bytes moved.
    pub bytes: u64,
    /// In this time.
    pub time: Duration,
}

impl Stretch {
    /// A stretch that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            at: now,
            moved: [0, 0],
        }
    }

    /// Takes in what one turn moved to the backend and to the client; what a stretch came to that is over by that.
    pub fn note(&mut self, moved: [u64; 2], now: Instant) -> Option<Measured> {
        if moved == [0, 0] {
            return None;
        }
        let is_over = now.saturating_duration_since(self.at) >= PAUSE
            || now.saturating_duration_since(self.since) >= LONGEST;
        let measured = is_over.then(|| self.measured()).flatten();
        if is_over {
            // What begins a stretch took no time that is known.
            *self = Self::new(now);
        } else {
            self.at = now;
            self.moved = [self.moved[0] + moved[0], self.moved[1] + moved[1]];
        }
        measured
    }

    /// What the stretch has come to so far, if that says anything.
    #[must_use]
    pub fn measured(&self) -> Option<Measured> {
        let (least, most) = (self.moved[0].min(self.moved[1]), self.moved[0].max(self.moved[1]));
        let time = self.at.saturating_duration_since(self.since);
        (most >= LEAST_BYTES && most / RATIO >= least && !time.is_zero())
            .then_some(Measured { bytes: most, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    /// Moves so much each 10 ms, for so many turns.
    fn run(stretch: &mut Stretch, moved: [u64; 2], turns: u32, now: &mut Instant) -> Vec<Measured> {
        let turn = |_| {
            *now += Duration::from_millis(10);
            stretch.note(moved, *now)
        };
        (0..turns).filter_map(turn).collect()
    }

    #[test]
    fn a_download_is_measured_until_its_pause() {
        let mut now = clock::now();
        let mut stretch = Stretch::new(now);
        assert_eq!(run(&mut stretch, [20, 100_000], 100, &mut now), []);
        now += Duration::from_secs(5);
        let measured = stretch.note([0, 1], now).expect("a stretch is over");
        let expected = Measured {
            bytes: 10_000_000,
            time: Duration::from_secs(1),
        };
        assert_eq!(measured, expected);
    }

    #[test]
    fn long_stretches_are_measured_by_and_by_at_their_rate() {
        let mut now = clock::now();
        let mut stretch = Stretch::new(now);
        let measured = run(&mut stretch, [100_000, 0], 1_000, &mut now);
        assert!(measured.len() >= 4, "{measured:?}");
        for Measured { bytes, time } in measured {
            assert_eq!(u128::from(bytes), 10_000 * time.as_millis());
        }
    }

    #[test]
    fn a_slow_one_counts_as_well_and_a_conversation_does_not() {
        let mut now = clock::now();
        let mut slow = Stretch::new(now);
        let measured = run(&mut slow, [0, 7_000], 1_000, &mut now);
        assert!(!measured.is_empty(), "700 kB a second are 1.4 MB in two");
        let mut talk = Stretch::new(now);
        assert_eq!(run(&mut talk, [1_000, 100_000], 1_000, &mut now), []);
        assert_eq!(talk.measured(), None);
    }
}
