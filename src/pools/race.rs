//! When a second dial is worth its while, and how many there may be. Pure.
//!
//! A connect that takes much longer than others of its backend has mostly lost a packet, which is sent again only after a
//! second; a dial to another backend is through long before. The bound is the 95 % quantile of the last connects and a grain,
//! or half as much again as the 75 % quantile and a grain if that is less: the upper quantile is high where many stall.
//! (J. Dean and L. A. Barroso, "The tail at scale", 2013, call such requests hedged.)

use std::time::Duration;

use crate::config::Race;

/// Connects that are remembered.
const REMEMBERED: usize = 64;

/// Connects from which on a quantile says something.
const ENOUGH: usize = 16;

/// What a clock and a busy thread may add to a connect.
const GRAIN: Duration = Duration::from_millis(1);

/// Second dials for each dial of a client.
const SHARE: f64 = 0.07;

/// Second dials that may be saved up.
const MOST_SAVED: f64 = 8.0;

/// A second dial begins no later than this beside the first one while nothing is warm or proved: the least delay that is
/// recommended between two attempts (RFC 8305, section 8: "Minimum Connection Attempt Delay").
const COLD_DELAY: Duration = Duration::from_millis(100);

/// How long the last connects to a backend took.
#[derive(Debug, Clone, Default)]
pub struct DialTimes {
    /// In microseconds, the oldest at `next` once there are all.
    micros: Vec<u32>,
    next: usize,
}

impl DialTimes {
    /// A connect took so long.
    pub fn add(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if self.micros.len() < REMEMBERED {
            self.micros.push(micros);
        } else {
            self.micros[self.next] = micros;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// From when on a connect takes longer than it should; none while that is not known.
    #[must_use]
    pub fn bound(&self) -> Option<Duration> {
        if self.micros.len() < ENOUGH {
            return None;
        }
        // On the stack: this is asked for each dial of a client.
        let mut sorted = [0; REMEMBERED];
        let sorted = &mut sorted[..self.micros.len()];
        sorted.copy_from_slice(&self.micros);
        sorted.sort_unstable();
        let quantile =
            |percent: usize| Duration::from_micros(sorted[(sorted.len() - 1) * percent / 100].into());
        let usual = quantile(75) + quantile(75) / 2 + GRAIN;
        // Not one in twenty of those that are as all the others are, by a hair: what they took is not there for who stalls.
        Some((quantile(95) + GRAIN).min(usual))
    }
}

/// How many second dials one service may make in one reactor.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    saved: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { saved: 1.0 }
    }
}

impl Budget {
    /// As many as may be saved: each dial may be to a backend of which little is known.
    pub fn fill(&mut self) {
        self.saved = MOST_SAVED;
    }

    /// A client is dialled for.
    pub fn earn(&mut self) {
        self.saved = (self.saved + SHARE).min(MOST_SAVED);
    }

    /// Takes a second dial, if there is one.
    pub fn take(&mut self) -> bool {
        let has = self.saved >= 1.0;
        if has {
            self.saved -= 1.0;
        }
        has
    }

    /// It came to nothing.
    pub fn refund(&mut self) {
        self.saved += 1.0;
    }
}

/// After how long a client that is dialled for gets a second dial, if it gets one. Where nothing is warm or proved, as of
/// a service that was asleep, it gets one whatever the rules say, and soon.
#[must_use]
pub fn delay(rules: Race, is_cold: bool, bound: impl FnOnce() -> Option<Duration>) -> Option<Duration> {
    if is_cold {
        let learned = rules.delay.or_else(bound);
        return Some(learned.map_or(COLD_DELAY, |delay| delay.min(COLD_DELAY)));
    }
    if rules.width < 2 {
        return None;
    }
    rules.delay.or_else(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_meets_a_cold_service_waits_for_a_short_time_only() {
        let off = Race {
            width: 1,
            delay: None,
        };
        let ms = Duration::from_millis;
        assert_eq!(delay(off, false, || Some(ms(20))), None);
        for (rules, bound, expected) in [
            (off, None, COLD_DELAY),
            (off, Some(ms(20)), ms(20)),
            (off, Some(ms(900)), COLD_DELAY),
            (
                Race {
                    width: 2,
                    delay: Some(ms(700)),
                },
                Some(ms(20)),
                COLD_DELAY,
            ),
        ] {
            assert_eq!(delay(rules, true, || bound), Some(expected));
        }
        let on = Race {
            width: 2,
            delay: None,
        };
        assert_eq!(delay(on, false, || None), None, "nothing is known");
        assert_eq!(delay(on, false, || Some(ms(900))), Some(ms(900)));
    }

    fn times(millis: impl IntoIterator<Item = u64>) -> DialTimes {
        let mut times = DialTimes::default();
        for millis in millis {
            times.add(Duration::from_millis(millis));
        }
        times
    }

    #[test]
    fn a_few_connects_say_nothing() {
        assert_eq!(times([20; ENOUGH - 1]).bound(), None);
        assert_eq!(times([20; ENOUGH]).bound(), Some(Duration::from_millis(21)));
    }

    #[test]
    fn where_many_stall_the_bound_is_that_of_the_rest() {
        for every in [5, 10, 20, 64] {
            let stalls = (0..64).map(|i| if i % every == 0 { 1_020 } else { 20 });
            let bound = times(stalls).bound().expect("enough");
            assert!(
                bound >= Duration::from_millis(20) && bound <= Duration::from_millis(31),
                "{bound:?}"
            );
        }
    }

    #[test]
    fn only_the_last_ones_count() {
        let mut times = times([500; 64]);
        (0..64).for_each(|_| times.add(Duration::from_millis(10)));
        assert_eq!(times.bound(), Some(Duration::from_millis(11)));
        assert_eq!(times.micros.len(), REMEMBERED);
    }

    #[test]
    fn second_dials_are_a_small_share() {
        let mut budget = Budget::default();
        let mut taken = 0;
        for _ in 0..10_000 {
            budget.earn();
            taken += u32::from(budget.take());
        }
        assert!((690..=702).contains(&taken), "{taken} of 10,000");
        (0..10_000).for_each(|_| budget.earn());
        let burst = (0..100).filter(|_| budget.take()).count();
        assert_eq!(burst, 8);
    }
}
