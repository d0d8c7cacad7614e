//! Whether the process is well: every reactor has answered since it was asked (pure, but for the counters).
//!
//! A watchdog that any thread feeds proves that one thread lives. Here whoever feeds it asks each reactor through its doorbell, and
//! feeds only if all have answered; so the loops that serve clients are what is watched.
//!
//! ```text
//! loop: every `Watchdog::interval`
//!     if heartbeats.late().is_none() { notifier.tell(&[Notice::Watchdog]) }
//!     heartbeats.ask(); ring every reactor
//! reactor: once a turn, heartbeats.answer(its index)
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the service manager wants to hear that the process is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    limit: Duration,
}

impl Watchdog {
    /// What the service manager that started this process wants; `None` if it does not.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let value = |name| std::env::var(name).ok();
        Self::of(
            value("WATCHDOG_USEC").as_deref(),
            value("WATCHDOG_PID").as_deref(),
            std::process::id(),
        )
    }

    /// The same by the values of `WATCHDOG_USEC` and `WATCHDOG_PID`, for the process `own`. What is meant for another
    /// process, or is not understood, does not count.
    #[must_use]
    pub fn of(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Self> {
        let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
        if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
            return None;
        }
        Some(Self {
            limit: Duration::from_micros(usec),
        })
    }

    /// How often to say it: half of the limit, so that one may come late.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.limit / 2
    }
}

/// Which reactors have answered since they were asked.
#[derive(Debug)]
pub struct Heartbeats {
    /// How often all were asked.
    asked: AtomicU64,
    /// By reactor: the last question that it answered.
    answered: Box<[AtomicU64]>,
}

impl Heartbeats {
    /// Of so many reactors, none of which was asked yet.
    #[must_use]
    pub fn new(reactors: usize) -> Self {
        Self {
            asked: AtomicU64::new(0),
            answered: (0..reactors).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Asks all of them; the caller wakes them after. Returns the number of the question.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// One reactor's answer to whatever was asked last. Costs a load, and a store if there was a question.
    pub fn answer(&self, reactor: usize) {
        let asked = self.asked.load(Ordering::Acquire);
        let Some(answered) = self.answered.get(reactor) else {
            debug_assert!(false, "there is no reactor {reactor}");
            return;
        };
        if answered.load(Ordering::Relaxed) != asked {
            answered.store(asked, Ordering::Release);
        }
    }

    /// A reactor that has not answered the last question; `None` when all have.
    #[must_use]
    pub fn late(&self) -> Option<usize> {
        let asked = self.asked.load(Ordering::Acquire);
        self.answered
            .iter()
            .position(|answered| answered.load(Ordering::Acquire) < asked)
    }

    /// Whether every reactor has answered the last question.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        self.late().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_half_of_what_is_allowed() {
        let of = |usec, pid| Watchdog::of(usec, pid, 7);
        let watchdog = of(Some("30000000"), Some("7")).expect("wanted");
        assert_eq!(watchdog.interval(), Duration::from_secs(15));
        assert_eq!(of(Some("30000000"), None), Some(watchdog));
        for (usec, pid) in [
            (None, None),
            (None, Some("7")),
            (Some("30000000"), Some("8")),
            (Some("30000000"), Some("")),
            (Some("0"), None),
            (Some("-1"), None),
            (Some("soon"), None),
        ] {
            assert_eq!(of(usec, pid), None, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn the_process_is_well_when_every_reactor_has_answered_the_last_question() {
        let beats = Heartbeats::new(3);
        assert!(beats.all_answered(), "nobody was asked");
        assert_eq!(beats.ask(), 1);
        assert_eq!(beats.late(), Some(0));
        beats.answer(0);
        beats.answer(2);
        beats.answer(2);
        assert_eq!(beats.late(), Some(1));
        beats.answer(1);
        assert!(beats.all_answered());
        assert_eq!(beats.ask(), 2);
        assert!(!beats.all_answered(), "old answers do not count");
        // One that answers late answers all that was asked meanwhile.
        assert_eq!(beats.ask(), 3);
        (0..3).for_each(|reactor| beats.answer(reactor));
        assert!(beats.all_answered());
        assert!(Heartbeats::new(0).all_answered());
    }

    #[test]
    fn answers_of_other_threads_are_seen() {
        let beats = Heartbeats::new(4);
        std::thread::scope(|scope| {
            for round in 0..100 {
                assert_eq!(beats.ask(), round + 1);
                let answers: Vec<_> = (0..4)
                    .map(|reactor| {
                        scope.spawn({
                            let beats = &beats;
                            move || beats.answer(reactor)
                        })
                    })
                    .collect();
                for answer in answers {
                    answer.join().expect("no panic");
                }
                assert!(beats.all_answered());
            }
        });
    }
}
