//! How fast a relay moves what is much. Pure.
//!
//! A stretch is what moves without a pause. One counts if it moved [`LEAST_BYTES`] and hardly anything the other way: a
//! conversation is as fast as those who talk, and says nothing of the way between them.
//!
//! Who is slow is told by who is waited for: of a backend it is known how fast it is only where we wait for it most of the
//! time. Where a client is, or a limit of bandwidth, the backend may be much faster.

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

/// What one turn moved to the backend and to the client, and what more waits for then.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Bytes moved.
    pub moved: [u64; 2],
    /// Whether the backend is waited for that way: to take what there is, or for more.
    pub awaits_backend: [bool; 2],
    /// Whether a limit of bandwidth holds it up.
    pub is_paused: bool,
}

/// The present stretch of one relay.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    since: Instant,
    /// When a byte was last moved.
    at: Instant,
    /// Bytes moved since it began: to the backend, to the client.
    moved: [u64; 2],
    /// Whether the backend is waited for since.
    awaits: [bool; 2],
    /// How long it was waited for.
    awaited: [Duration; 2],
    /// Whether a limit of bandwidth held it up.
    was_paused: bool,
}

/// What a stretch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Bytes moved.
    pub bytes: u64,
    /// In this time.
    pub time: Duration,
    /// Whether it was mostly not the backend that was waited for: then it is at least so fast.
    pub is_least: bool,
}

impl Measured {
    /// Whether it tells how fast a backend is, where nobody asks for more than `good` bytes a second.
    #[must_use]
    pub fn tells(&self, good: u64) -> bool {
        let would_move = u128::from(good) * self.time.as_micros() / 1_000_000;
        !self.is_least || u128::from(self.bytes) >= would_move
    }
}

impl Stretch {
    /// A stretch that begins now, with the backend's turn.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            at: now,
            moved: [0, 0],
            awaits: [true; 2],
            awaited: [Duration::ZERO; 2],
            was_paused: false,
        }
    }

    /// Takes in what one turn moved; what a stretch came to that is over by that.
    pub fn note(&mut self, turn: Turn, now: Instant) -> Option<Measured> {
        let moved = turn.moved;
        self.was_paused |= turn.is_paused;
        if moved == [0, 0] {
            return None;
        }
        let waited = now.saturating_duration_since(self.at);
        let is_over = waited >= PAUSE || now.saturating_duration_since(self.since) >= LONGEST;
        let measured = is_over.then(|| self.measured()).flatten();
        if is_over {
            // What begins a stretch took no time that is known.
            *self = Self::new(now);
        } else {
            self.at = now;
            self.moved = [self.moved[0] + moved[0], self.moved[1] + moved[1]];
            for (awaited, awaits) in self.awaited.iter_mut().zip(self.awaits) {
                *awaited += if awaits { waited } else { Duration::ZERO };
            }
        }
        self.awaits = turn.awaits_backend;
        measured
    }

    /// What the stretch has come to so far, if that says anything.
    #[must_use]
    pub fn measured(&self) -> Option<Measured> {
        let (least, most) = (self.moved[0].min(self.moved[1]), self.moved[0].max(self.moved[1]));
        let awaited = self.awaited[usize::from(self.moved[1] > self.moved[0])];
        let time = self.at.saturating_duration_since(self.since);
        (most >= LEAST_BYTES && most / RATIO >= least && !time.is_zero()).then_some(Measured {
            bytes: most,
            time,
            is_least: self.was_paused || 4 * awaited < 3 * time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    /// A turn after which the backend is waited for.
    fn turn(moved: [u64; 2]) -> Turn {
        Turn {
            moved,
            awaits_backend: [true, true],
            is_paused: false,
        }
    }

    /// Moves so much each 10 ms, for so many turns.
    fn run(stretch: &mut Stretch, moved: [u64; 2], turns: u32, now: &mut Instant) -> Vec<Measured> {
        run_turns(stretch, turn(moved), turns, now)
    }

    fn run_turns(stretch: &mut Stretch, turn: Turn, turns: u32, now: &mut Instant) -> Vec<Measured> {
        let turn = |_| {
            *now += Duration::from_millis(10);
            stretch.note(turn, *now)
        };
        (0..turns).filter_map(turn).collect()
    }

    #[test]
    fn a_download_is_measured_until_its_pause() {
        let mut now = clock::now();
        let mut stretch = Stretch::new(now);
        assert_eq!(run(&mut stretch, [20, 100_000], 100, &mut now), []);
        now += Duration::from_secs(5);
        let measured = stretch.note(turn([0, 1]), now).expect("a stretch is over");
        let expected = Measured {
            bytes: 10_000_000,
            time: Duration::from_secs(1),
            is_least: false,
        };
        assert_eq!(measured, expected);
    }

    #[test]
    fn a_slow_client_does_not_make_its_backend_slow() {
        let (mut now, good) = (clock::now(), 12_500_000);
        for way in [0, 1] {
            for (bytes, awaits, tells) in [
                (10_000, true, true),
                (10_000, false, false),
                (130_000, false, true),
            ] {
                let mut moved_by = Turn {
                    moved: [20; 2],
                    awaits_backend: [!awaits; 2],
                    is_paused: false,
                };
                (moved_by.moved[way], moved_by.awaits_backend[way]) = (bytes, awaits);
                let mut stretch = Stretch::new(now);
                let measured = run_turns(&mut stretch, moved_by, 1_000, &mut now);
                assert!(!measured.is_empty());
                for measured in measured {
                    assert_eq!(measured.tells(good), tells, "{measured:?}");
                }
            }
        }
    }

    /// While it takes some, the backend is waited for; then it takes none for much longer.
    #[test]
    fn a_client_that_takes_much_at_once_and_then_nothing_does_not_make_its_backend_slow() {
        let mut now = clock::now();
        let mut stretch = Stretch::new(now);
        let mut measured = Vec::new();
        for _ in 0..200 {
            for piece in 1..=10 {
                let mut moved = turn([0, 25_000]);
                moved.awaits_backend[1] = piece < 10;
                now += Duration::from_micros(100);
                measured.extend(stretch.note(moved, now));
            }
            now += Duration::from_millis(50);
        }
        assert!(measured.len() >= 4, "{measured:?}");
        assert!(measured.iter().all(|measured| measured.is_least), "{measured:?}");
    }

    #[test]
    fn a_limit_of_ours_does_not_make_a_backend_slow() {
        let mut now = clock::now();
        let mut stretch = Stretch::new(now);
        let paused = Turn {
            is_paused: true,
            ..turn([0, 0])
        };
        for _ in 0..1_000 {
            let mut measured = run(&mut stretch, [0, 10_000], 9, &mut now);
            measured.extend(run_turns(&mut stretch, paused, 1, &mut now));
            assert!(measured.iter().all(|measured| measured.is_least), "{measured:?}");
        }
    }

    #[test]
    fn long_stretches_are_measured_by_and_by_at_their_rate() {
        let mut now = clock::now();
        let mut stretch = Stretch::new(now);
        let measured = run(&mut stretch, [100_000, 0], 1_000, &mut now);
        assert!(measured.len() >= 4, "{measured:?}");
        for Measured { bytes, time, .. } in measured {
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
