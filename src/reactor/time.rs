//! The reactor's own time: the monotonic clock, without the time in which a turn stood still.
//!
//! A turn reads the clock once, when it begins. A process that is stopped in the middle of a turn (`SIGSTOP`, a
//! freezer, a debugger) goes on with it later: what it then reads, begins and writes would be stamped far too
//! early, and each time-out that counts from such a stamp would come too soon, the sooner the longer it stood. So
//! what a turn takes beyond [`LONGEST_TURN`] is no time at all for the reactor. Its stamps and deadlines are in
//! this time; what it shares with others (samples, limits, bursts) is on the clock. Pure; it is told the clock.

use std::time::{Duration, Instant};

/// What a turn takes beyond this does not count. A reactor that is busy for that long is overloaded, and its
/// time-outs come later than they are set, never sooner.
const LONGEST_TURN: Duration = Duration::from_millis(100);

/// How the reactor's time stands to the clock.
#[derive(Debug)]
pub(super) struct ReactorTime {
    /// What the clock showed when the present turn began.
    turn_began: Instant,
    /// How far it is behind the clock.
    behind: Duration,
    /// The beginning of the last turn that stood still.
    stood_still_at: Option<Instant>,
}

impl ReactorTime {
    /// The two are the same at first.
    pub(super) fn new(clock: Instant) -> Self {
        Self {
            turn_began: clock,
            behind: Duration::ZERO,
            stood_still_at: None,
        }
    }

    /// Begins a turn; its time.
    pub(super) fn begin_turn(&mut self, clock: Instant) -> Instant {
        self.turn_began = clock;
        self.of_clock(clock)
    }

    /// Ends the turn.
    pub(super) fn end_turn(&mut self, clock: Instant) {
        let took = clock.saturating_duration_since(self.turn_began);
        if took > LONGEST_TURN {
            self.stood_still_at = Some(self.of_clock(self.turn_began));
            self.behind += took.saturating_sub(LONGEST_TURN);
        }
    }

    /// The clock at the beginning of the present turn, for what is shared with others.
    pub(super) fn clock(&self) -> Instant {
        self.turn_began
    }

    /// The reactor's time when the clock shows `at`.
    pub(super) fn of_clock(&self, at: Instant) -> Instant {
        if self.behind.is_zero() {
            return at;
        }
        at.checked_sub(self.behind).unwrap_or(at)
    }

    /// The latest that the clock can have shown at a time of the reactor's.
    pub(super) fn to_clock(&self, at: Instant) -> Instant {
        at + self.behind
    }

    /// Whether a turn stood still since a time, which makes what was measured since then worthless.
    pub(super) fn stood_still_since(&self, at: Instant) -> bool {
        self.stood_still_at.is_some_and(|stood_still| stood_still >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_stood_still_took_no_longer_than_the_longest() {
        let start = crate::base::clock::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut time = ReactorTime::new(start);
        assert_eq!(time.begin_turn(after(10)), after(10));
        time.end_turn(after(110));
        assert_eq!(time.begin_turn(after(500)), after(500), "as long as it may be");
        assert!(!time.stood_still_since(start));
        time.end_turn(after(2600));
        assert_eq!(time.begin_turn(after(2601)), after(601), "two seconds are lost");
        assert!(time.stood_still_since(after(500)));
        assert!(!time.stood_still_since(after(501)));
        assert_eq!(time.to_clock(after(601)), after(2601));
        assert_eq!(time.of_clock(after(3000)), after(1000));
        time.end_turn(after(2901));
        assert_eq!(time.begin_turn(after(3000)), after(800), "and they add up");
    }

    #[test]
    fn it_never_goes_back_and_never_runs_ahead() {
        let start = crate::base::clock::now();
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut time, mut clock, mut last) = (ReactorTime::new(start), start, start);
        for _ in 0..10_000 {
            clock += Duration::from_millis(rng.u64(0..300));
            let now = time.begin_turn(clock);
            assert!(last <= now && now <= clock);
            assert_eq!((time.to_clock(now), time.clock()), (clock, clock));
            last = now;
            clock += Duration::from_millis(rng.u64(0..300));
            time.end_turn(clock);
        }
    }
}
