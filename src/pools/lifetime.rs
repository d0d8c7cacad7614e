//! How old a backend lets unused connections become. Pure.
//!
//! Servers close connections that say nothing: edges after seconds, others after minutes. How soon is learned from the
//! ages at which they did, beside the ages up to which others stood: those were taken by a client or given up by us, so
//! they only say that the backend would have let them live longer. That is a survival function of censored data, and is
//! estimated by the product-limit estimator (E. L. Kaplan and P. Meier, 1958) over ages on a logarithmic scale.
//!
//! What a backend closes at once is one event: connections that were made together end together, but so do all when it
//! restarts. So three such events are needed, or two at the same age, which no restart has twice.
//!
//! Invariants: bounded memory; a lifetime is [`SHORTEST`] to [`LONGEST`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The lifetime of warm connections while nothing is known against it.
pub const LONGEST: Duration = Duration::from_secs(600);

/// The shortest that is learned: who closes sooner is not worth a warm connection.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// The share of connections that may be closed before they are replaced.
const MAY_DIE: f64 = 0.05;

/// They are replaced at this share of the age that more did not reach.
const MARGIN: f64 = 0.7;

/// Events from which on they say something, whatever the ages.
const ENOUGH: f64 = 3.0;

/// Events at the same age that are enough.
const ENOUGH_ALIKE: f64 = 2.0;

/// Ends that are remembered: at twice as many, all count half.
const WINDOW: f64 = 512.0;

/// The first age that is told apart.
const FIRST: Duration = Duration::from_millis(100);

/// Buckets for each doubling of an age.
const PER_DOUBLING: f64 = 4.0;

/// Ages that are told apart, up to beyond [`LONGEST`].
const BUCKETS: usize = 54;

/// Ages at which warm connections of one reactor to one backend ended: it counts, the pools thread reads.
#[derive(Debug)]
pub struct Ages {
    closed: [AtomicU32; BUCKETS],
    spared: [AtomicU32; BUCKETS],
    all: AtomicU32,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            closed: std::array::from_fn(|_| AtomicU32::new(0)),
            spared: std::array::from_fn(|_| AtomicU32::new(0)),
            all: AtomicU32::new(0),
        }
    }
}

impl Ages {
    /// The backend closed an unused connection of this age.
    pub fn closed_at(&self, age: Duration) {
        self.count(&self.closed, age);
    }

    /// A connection stood at this age, when it was taken or given up.
    pub fn spared_at(&self, age: Duration) {
        self.count(&self.spared, age);
    }

    /// One writer, so a load and a store do: every client that gets a warm connection is counted.
    fn count(&self, of: &[AtomicU32; BUCKETS], age: Duration) {
        for count in [&of[bucket(age)], &self.all] {
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}

/// What is known of one backend.
#[derive(Debug)]
pub struct Lifetime {
    closed: [f64; BUCKETS],
    spared: [f64; BUCKETS],
    /// What was read of each reactor's ages.
    seen: Vec<Seen>,
}

/// Counts as they were read last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    closed: [u32; BUCKETS],
    spared: [u32; BUCKETS],
    all: u32,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            closed: [0; BUCKETS],
            spared: [0; BUCKETS],
            all: 0,
        }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self {
            closed: [0.0; BUCKETS],
            spared: [0.0; BUCKETS],
            seen: Vec::new(),
        }
    }
}

impl Lifetime {
    /// What is to be believed until more is known: that its warm connections are to be replaced at this age, which was learned
    /// by whoever knew it before.
    #[must_use]
    pub fn recalled(life: Option<Duration>) -> Self {
        let mut lifetime = Self::default();
        if let Some(life) = life.filter(|life| *life < LONGEST) {
            // A little above the bound of its bucket, on which it lay.
            let age = life.max(SHORTEST).mul_f64((1.0 + f64::EPSILON.sqrt()) / MARGIN);
            lifetime.closed[bucket(age)] = ENOUGH;
        }
        lifetime
    }

    /// Takes in what has ended since the last time; false if nothing has.
    pub fn read<'a>(&mut self, ages: impl Iterator<Item = &'a Ages>) -> bool {
        let mut is_news = false;
        let mut closed = [0.0; BUCKETS];
        for (reactor, ages) in ages.enumerate() {
            if self.seen.len() <= reactor {
                self.seen.push(Seen::default());
            }
            let seen = &mut self.seen[reactor];
            let all = ages.all.load(Ordering::Relaxed);
            if all == seen.all {
                continue;
            }
            is_news = true;
            seen.all = all;
            for (i, sum) in closed.iter_mut().enumerate() {
                *sum += take(&ages.closed[i], &mut seen.closed[i]);
                self.spared[i] += take(&ages.spared[i], &mut seen.spared[i]);
            }
        }
        if is_news {
            self.add_events(&closed);
            self.fade();
        }
        is_news
    }

    /// The age at which its warm connections are to be replaced, if it closes them sooner than [`LONGEST`].
    #[must_use]
    pub fn learned(&self) -> Option<Duration> {
        let alike = self.closed.windows(2).map(|two| two[0] + two[1]);
        let is_enough =
            self.closed.iter().sum::<f64>() >= ENOUGH || alike.fold(0.0, f64::max) >= ENOUGH_ALIKE;
        if !is_enough {
            return None;
        }
        let mut at_risk = self.ends();
        let mut survive = 1.0;
        for i in 0..BUCKETS {
            if at_risk > 0.0 {
                survive *= 1.0 - self.closed[i] / at_risk;
            }
            if survive < 1.0 - MAY_DIE {
                let age = lower_bound(i).mul_f64(MARGIN);
                return Some(age.clamp(SHORTEST, LONGEST)).filter(|age| *age < LONGEST);
            }
            at_risk -= self.closed[i] + self.spared[i];
        }
        None
    }

    /// Counts what was closed since the last time: neighbouring ages are one event, for ages fall on both sides of a bound.
    fn add_events(&mut self, closed: &[f64; BUCKETS]) {
        let mut is_counted = false;
        for (sum, count) in self.closed.iter_mut().zip(closed) {
            is_counted = *count > 0.0 && !is_counted;
            if is_counted {
                *sum += 1.0;
            }
        }
    }

    fn ends(&self) -> f64 {
        self.closed.iter().chain(&self.spared).sum()
    }

    /// Old ends count less, so that a backend that changes its mind is found out.
    fn fade(&mut self) {
        while self.ends() >= 2.0 * WINDOW {
            for count in self.closed.iter_mut().chain(&mut self.spared) {
                *count /= 2.0;
            }
        }
    }
}

fn take(count: &AtomicU32, seen: &mut u32) -> f64 {
    let value = count.load(Ordering::Relaxed);
    f64::from(value.wrapping_sub(std::mem::replace(seen, value)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and takes what is negative for 0"
)]
fn bucket(age: Duration) -> usize {
    let doublings = (age.as_secs_f64() / FIRST.as_secs_f64()).log2();
    ((doublings * PER_DOUBLING + 1.0) as usize).min(BUCKETS - 1)
}

/// The youngest age of a bucket.
fn lower_bound(bucket: usize) -> Duration {
    match bucket.checked_sub(1) {
        None => Duration::ZERO,
        Some(above) => {
            let above = u32::try_from(above).unwrap_or(u32::MAX);
            FIRST.mul_f64((f64::from(above) / PER_DOUBLING).exp2())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// What is learned of backends that close connections of these ages, one event each.
    fn learned(spared: &Ages, closed: &[f64]) -> Option<Duration> {
        let mut lifetime = Lifetime::default();
        lifetime.read([spared].into_iter());
        for age in closed {
            spared.closed_at(secs(*age));
            lifetime.read([spared].into_iter());
        }
        lifetime.learned()
    }

    #[test]
    fn ages_fall_into_their_buckets() {
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::from_secs(100_000)), BUCKETS - 1);
        assert!(
            lower_bound(BUCKETS - 1) > LONGEST,
            "the longest life is told from a longer one"
        );
        for tenths in 2..6_000 {
            let age = secs(f64::from(tenths) / 10.0);
            let i = bucket(age);
            assert!(lower_bound(i) <= age.mul_f64(1.000_001), "{age:?}");
            assert!(
                i == BUCKETS - 1 || age < lower_bound(i + 1).mul_f64(1.000_001),
                "{age:?}"
            );
        }
    }

    #[test]
    fn a_backend_that_closes_at_an_age_is_anticipated() {
        for closes_at in [3.0, 15.0, 60.0, 240.0] {
            let age = learned(&Ages::default(), &[closes_at, closes_at * 1.01]);
            let age = age.expect("two are enough").as_secs_f64();
            assert!(
                age > 0.55 * closes_at && age <= 0.7 * closes_at,
                "{closes_at}: {age}"
            );
        }
    }

    #[test]
    fn what_is_recalled_is_what_was_learned_until_it_is_refuted() {
        for closes_at in [3.0, 15.0, 60.0, 240.0] {
            let life = learned(&Ages::default(), &[closes_at; 3]);
            let mut lifetime = Lifetime::recalled(life);
            assert_eq!(lifetime.learned(), life, "{closes_at}");
            let ages = Ages::default();
            (0..100).for_each(|_| ages.spared_at(LONGEST));
            lifetime.read([&ages].into_iter());
            assert_eq!(lifetime.learned(), None, "{closes_at}");
        }
        assert_eq!(Lifetime::recalled(None).learned(), None);
        assert_eq!(Lifetime::recalled(Some(Duration::MAX)).learned(), None);
        let shortest = Lifetime::recalled(Some(Duration::ZERO)).learned();
        assert!(shortest.is_some_and(|life| life >= SHORTEST && life < SHORTEST * 2));
    }

    #[test]
    fn restarts_at_any_age_are_no_timer() {
        assert_eq!(learned(&Ages::default(), &[15.0, 100.0]), None);
        let ages = Ages::default();
        let mut lifetime = Lifetime::default();
        (0..20).for_each(|_| ages.closed_at(secs(15.0)));
        assert!(lifetime.read([&ages].into_iter()) && !lifetime.read([&ages].into_iter()));
        assert_eq!(lifetime.learned(), None, "one event");
    }

    #[test]
    fn what_stood_says_nothing_against_a_backend() {
        let ages = Ages::default();
        (0..300).for_each(|second| ages.spared_at(secs(f64::from(second))));
        assert_eq!(learned(&ages, &[]), None);
    }

    #[test]
    fn what_was_taken_young_says_nothing_about_old_age() {
        let ages = Ages::default();
        (0..400).for_each(|_| ages.spared_at(secs(0.5)));
        assert!(
            learned(&ages, &[15.0; 4]).is_some(),
            "none that grew so old stood"
        );
        let ages = Ages::default();
        (0..200).for_each(|_| ages.spared_at(secs(30.0)));
        assert_eq!(learned(&ages, &[15.0; 4]), None, "two in a hundred do not stand");
    }

    #[test]
    fn who_closes_at_once_is_not_followed_below_the_shortest() {
        assert_eq!(learned(&Ages::default(), &[0.2; 5]), Some(SHORTEST));
    }

    #[test]
    fn the_past_fades() {
        let ages = Ages::default();
        let mut lifetime = Lifetime::default();
        for _ in 0..20 {
            ages.closed_at(secs(15.0));
            lifetime.read([&ages].into_iter());
        }
        assert!(lifetime.learned().is_some());
        let mut replaced = 0;
        while lifetime.learned().is_some() {
            replaced += 1;
            ages.spared_at(secs(9.0));
            lifetime.read([&ages].into_iter());
        }
        assert!((1_000..10_000).contains(&replaced), "forgotten after {replaced}");
    }
}
