//! Whether a service is asleep: nobody uses it, so it costs next to nothing. Pure.
//!
//! Owns the rule, and the value that all threads read. Who is awake has warm connections, rounds of probes and
//! evaluations; who is asleep has none of them but a look at the active set now and then. What each thread makes of that
//! is its own affair, and so is who counts clients.
//!
//! ```text
//!           nobody connected, and nobody came or went for `after`
//!   Awake ─────────────────────────────────────────────────────────► Asleep
//!     ▲                                                                │
//!     └────────────────────────────────────────────────────────────────┘
//!        a client; another candidate list; a reload by which it would not be asleep
//! ```
//!
//! Invariants: nobody sleeps who has clients or must not sleep; the state follows from the facts and the rules alone,
//! so that a reload takes effect at once.

use std::time::{Duration, Instant};

use crate::config::Sleep;

/// For how long after waking a service dials for clients as it does while it is asleep: its pools are filled and its
/// members proved by then.
const WAKING: Duration = Duration::from_secs(5);

/// Whether a service is asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slumber {
    /// It is not.
    Awake {
        /// When it was woken, if it has ever slept.
        woken_at: Option<Instant>,
    },
    /// It is.
    Asleep {
        /// The last that was known of clients when it fell asleep: whoever knows of a later one has it woken.
        last_at: Instant,
    },
}

/// What is known of the clients of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clients {
    /// Those that are connected.
    pub connected: u64,
    /// When the last one came or went; before the first one, when the service could be used first.
    pub last_at: Instant,
}

impl Slumber {
    /// A service that is new.
    pub const NEW: Self = Self::Awake { woken_at: None };

    /// Whether it is asleep.
    #[must_use]
    pub fn is_asleep(self) -> bool {
        match self {
            Self::Awake { .. } => false,
            Self::Asleep { .. } => true,
        }
    }

    /// Whether it is asleep, or has just been woken: what is known of its backends is old, and nothing is warm.
    #[must_use]
    pub fn is_cold(self, now: Instant) -> bool {
        match self {
            Self::Awake { woken_at } => woken_at.is_some_and(|at| now.saturating_duration_since(at) < WAKING),
            Self::Asleep { .. } => true,
        }
    }

    /// What it is now.
    #[must_use]
    pub fn next(self, clients: Clients, rules: &Sleep, now: Instant) -> Self {
        let is_unused = falls_asleep_at(clients, rules).is_some_and(|at| at <= now);
        let next = match (self, is_unused) {
            (Self::Awake { .. }, true) => Self::Asleep {
                last_at: clients.last_at,
            },
            (Self::Asleep { .. }, false) => Self::Awake { woken_at: Some(now) },
            (Self::Awake { .. }, false) | (Self::Asleep { .. }, true) => self,
        };
        debug_assert!(
            !next.is_asleep() || (clients.connected == 0 && !rules.after.is_zero()),
            "nobody sleeps who has clients or must not"
        );
        next
    }

    /// When [`next`](Self::next) is to be asked again, if nothing happens before; none while only something that
    /// happens changes anything.
    #[must_use]
    pub fn again_at(self, clients: Clients, rules: &Sleep, now: Instant) -> Option<Instant> {
        if self.is_asleep() || rules.after.is_zero() {
            return None;
        }
        // Whoever is connected now leaves no sooner than now.
        let soonest = falls_asleep_at(clients, rules).unwrap_or(now + rules.after);
        Some(soonest)
    }
}

/// When a service falls asleep if nobody comes; none while it has clients, or never does.
fn falls_asleep_at(clients: Clients, rules: &Sleep) -> Option<Instant> {
    let may_sleep = clients.connected == 0 && !rules.after.is_zero();
    may_sleep.then(|| clients.last_at + rules.after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;

    const RULES: Sleep = Sleep {
        after: Duration::from_secs(300),
        interval: Duration::from_secs(600),
    };

    fn clients(connected: u64, last_at: Instant) -> Clients {
        Clients { connected, last_at }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn it_sleeps_once_nobody_came_for_long_enough_and_wakes_for_a_client() {
        let start = clock::now();
        let nobody = clients(0, start);
        let awake = Slumber::NEW;
        assert_eq!(awake.next(nobody, &RULES, start + secs(299)), awake);
        assert_eq!(awake.again_at(nobody, &RULES, start), Some(start + secs(300)));
        let asleep = awake.next(nobody, &RULES, start + secs(300));
        assert_eq!(asleep, Slumber::Asleep { last_at: start });
        assert_eq!(asleep.again_at(nobody, &RULES, start + secs(300)), None);
        assert_eq!(asleep.next(nobody, &RULES, start + secs(9_999)), asleep);
        let came_at = start + secs(10_000);
        let woken = asleep.next(clients(1, came_at), &RULES, came_at);
        assert_eq!(
            woken,
            Slumber::Awake {
                woken_at: Some(came_at)
            }
        );
        // It has gone already: it counts from then on all the same.
        assert_eq!(asleep.next(clients(0, came_at), &RULES, came_at), woken);
    }

    #[test]
    fn who_has_clients_never_sleeps() {
        let start = clock::now();
        let busy = clients(1, start);
        let later = start + secs(100_000);
        assert_eq!(Slumber::NEW.next(busy, &RULES, later), Slumber::NEW);
        assert_eq!(
            Slumber::NEW.again_at(busy, &RULES, later),
            Some(later + secs(300))
        );
    }

    #[test]
    fn a_reload_takes_effect_at_once() {
        let start = clock::now();
        let (nobody, now) = (clients(0, start), start + secs(400));
        let never = Sleep {
            after: Duration::ZERO,
            ..RULES
        };
        let later = Sleep {
            after: secs(500),
            ..RULES
        };
        assert_eq!(Slumber::NEW.next(nobody, &never, now), Slumber::NEW);
        assert_eq!(Slumber::NEW.again_at(nobody, &never, now), None);
        let asleep = Slumber::NEW.next(nobody, &RULES, now);
        assert!(asleep.is_asleep());
        for rules in [never, later] {
            assert!(!asleep.next(nobody, &rules, now).is_asleep());
        }
        assert!(Slumber::NEW.next(nobody, &later, start + secs(500)).is_asleep());
    }

    #[test]
    fn a_service_is_cold_asleep_and_for_a_while_after() {
        let start = clock::now();
        assert!(!Slumber::NEW.is_cold(start));
        assert!(Slumber::Asleep { last_at: start }.is_cold(start + secs(10_000)));
        let woken = Slumber::Awake {
            woken_at: Some(start),
        };
        assert!(woken.is_cold(start) && !woken.is_cold(start + WAKING));
    }

    proptest! {
        /// Whatever happens, in whichever order it is looked at: asleep is who nobody has used for so long, and it is
        /// looked at again in time.
        #[test]
        fn asleep_is_who_is_unused(
            steps in prop::collection::vec((0_u64..400, 0_u64..3, prop::sample::select(vec![0_u64, 1, 50, 300])), 1..100),
        ) {
            let mut now = clock::now();
            let mut slumber = Slumber::NEW;
            let mut last_at = now;
            for (pause, connected, after) in steps {
                now += secs(pause);
                if connected > 0 {
                    last_at = now;
                }
                let rules = Sleep { after: secs(after), ..RULES };
                let seen = clients(connected, last_at);
                slumber = slumber.next(seen, &rules, now);
                let expected = connected == 0 && after > 0 && last_at + secs(after) <= now;
                prop_assert_eq!(slumber.is_asleep(), expected);
                match slumber.again_at(seen, &rules, now) {
                    Some(at) => {
                        prop_assert!(at > now && at <= now + secs(after));
                        let nobody = clients(0, last_at);
                        prop_assert!(connected > 0 || slumber.next(nobody, &rules, at).is_asleep());
                    }
                    None => prop_assert!(slumber.is_asleep() || after == 0),
                }
            }
        }
    }
}
