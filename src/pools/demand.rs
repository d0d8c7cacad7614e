//! How much of a backend was wanted at once during the last minute.
//!
//! Pure. Owns the memory of peaks, rates and dial times of one backend; it must not know what is made of
//! them. Concurrency is what the specification calls "in use + waiting": connections in use, clients that
//! wait for a dial, and connections on order ([`sizing::on_order`](super::sizing::on_order)), which those
//! clients who took a warm connection have left to be waited for.
//!
//! Invariant: bounded memory, however often it is asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::sizing::on_order;
use crate::scorer::score::Ewma;

/// How far back peaks count.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Peaks closer together than this are kept as one.
const SLOT: Duration = Duration::from_secs(1);
/// Weight of a new dial time.
const DIAL_TIME_ALPHA: f64 = 0.3;

/// The highest of the values of the last minute.
#[derive(Debug)]
pub struct RecentMax<T> {
    /// When a slot began, and its highest value; at most one slot a second.
    slots: VecDeque<(Instant, T)>,
}

impl<T: Copy + PartialOrd + Default> RecentMax<T> {
    /// No value yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: VecDeque::new(),
        }
    }

    /// Notes a value, and forgets what is older than the window.
    pub fn note(&mut self, now: Instant, value: T) {
        match self.slots.back_mut() {
            Some((began, highest)) if now.saturating_duration_since(*began) < SLOT => {
                if value > *highest {
                    *highest = value;
                }
            }
            Some(_) | None => self.slots.push_back((now, value)),
        }
        // A slot counts until its last value may be a window old.
        while let Some((began, _)) = self.slots.front()
            && now.saturating_duration_since(*began) >= WINDOW + SLOT
        {
            self.slots.pop_front();
        }
    }

    /// The highest value; zero of none.
    #[must_use]
    pub fn highest(&self) -> T {
        let higher = |a: T, b: T| if b > a { b } else { a };
        self.slots
            .iter()
            .fold(T::default(), |max, (_, value)| higher(max, *value))
    }
}

impl<T: Copy + PartialOrd + Default> Default for RecentMax<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What was read of a backend's counters at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Highest live count over all reactors since the last reading.
    pub peak: u32,
    /// Per reactor: highest count in use since the last reading, and connections so far.
    pub reactors: Vec<ReactorReading>,
    /// Successful dials so far.
    pub dials: u64,
    /// Their durations added up.
    pub dialling: Duration,
}

/// One reactor's part of a [`Reading`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ReactorReading {
    /// Highest count in use since the last reading.
    pub peak: u32,
    /// Connections sent to the backend so far.
    pub requests: u64,
}

/// The demand of one backend.
#[derive(Debug)]
pub struct Demand {
    peak: RecentMax<u32>,
    /// Connections per second.
    rate: RecentMax<f64>,
    reactors: Vec<ReactorDemand>,
    /// Mean dial time, in seconds.
    dial_time: Ewma,
    /// What dials came to at the last reading.
    dialled: (u64, Duration),
    /// When rates were last computed.
    rated_at: Instant,
}

#[derive(Debug, Default)]
struct ReactorDemand {
    peak: RecentMax<u32>,
    rate: RecentMax<f64>,
    /// Connections when rates were last computed.
    rated: u64,
}

impl Demand {
    /// No demand yet; counters are compared with this first reading.
    #[must_use]
    pub fn new(now: Instant, first: &Reading) -> Self {
        let reactor = |reading: &ReactorReading| ReactorDemand {
            rated: reading.requests,
            ..ReactorDemand::default()
        };
        let mut dial_time = Ewma::EMPTY;
        if let Some(mean) = mean_of(first.dials, first.dialling) {
            dial_time.add(mean, DIAL_TIME_ALPHA);
        }
        Self {
            peak: RecentMax::new(),
            rate: RecentMax::new(),
            reactors: first.reactors.iter().map(reactor).collect(),
            dial_time,
            dialled: (first.dials, first.dialling),
            rated_at: now,
        }
    }

    /// Takes in a reading.
    pub fn note(&mut self, now: Instant, reading: &Reading) {
        self.peak.note(now, reading.peak);
        for (reactor, reading) in self.reactors.iter_mut().zip(&reading.reactors) {
            reactor.peak.note(now, reading.peak);
        }
        let dials = reading.dials.saturating_sub(self.dialled.0);
        let dialling = reading.dialling.saturating_sub(self.dialled.1);
        if let Some(mean) = mean_of(dials, dialling) {
            self.dial_time.add(mean, DIAL_TIME_ALPHA);
        }
        self.dialled = (reading.dials, reading.dialling);
        self.note_rates(now, reading);
    }

    /// Rates are taken over a second at least: over less, one burst would look like a flood.
    fn note_rates(&mut self, now: Instant, reading: &Reading) {
        let elapsed = now.saturating_duration_since(self.rated_at);
        if elapsed < SLOT {
            return;
        }
        self.rated_at = now;
        let mut total = 0.0;
        for (reactor, reading) in self.reactors.iter_mut().zip(&reading.reactors) {
            let connections = reading.requests.saturating_sub(reactor.rated);
            let connections = u32::try_from(connections).unwrap_or(u32::MAX);
            let rate = f64::from(connections) / elapsed.as_secs_f64();
            reactor.rated = reading.requests;
            reactor.rate.note(now, rate);
            total += rate;
        }
        self.rate.note(now, total);
    }

    /// The highest concurrency of the last minute: in use, waiting and on order.
    #[must_use]
    pub fn recent_peak(&self) -> u32 {
        self.concurrency(&self.peak, &self.rate)
    }

    /// The same for each reactor.
    #[must_use]
    pub fn reactor_peaks(&self) -> Vec<u32> {
        let peak = |reactor: &ReactorDemand| self.concurrency(&reactor.peak, &reactor.rate);
        self.reactors.iter().map(peak).collect()
    }

    /// The smoothed time that a dial takes; zero before the first success.
    #[must_use]
    pub fn dial_time(&self) -> Duration {
        self.dial_time
            .value()
            .map_or(Duration::ZERO, Duration::from_secs_f64)
    }

    fn concurrency(&self, peak: &RecentMax<u32>, rate: &RecentMax<f64>) -> u32 {
        peak.highest()
            .saturating_add(on_order(rate.highest(), self.dial_time()))
    }
}

/// The mean duration in seconds, if there is any.
fn mean_of(count: u64, sum: Duration) -> Option<f64> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    (count > 0).then(|| sum.as_secs_f64() / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn reading(in_use: [u32; 2], requests: [u64; 2], dials: u64, millis_each: u64) -> Reading {
        let reactor = |i: usize| ReactorReading {
            peak: in_use[i],
            requests: requests[i],
        };
        Reading {
            peak: in_use[0] + in_use[1],
            reactors: vec![reactor(0), reactor(1)],
            dials,
            dialling: Duration::from_millis(dials * millis_each),
        }
    }

    #[test]
    fn a_peak_counts_for_a_minute() {
        let start = crate::base::clock::now();
        let mut recent = RecentMax::new();
        recent.note(start, 9);
        recent.note(at(start, 30_000), 4);
        recent.note(at(start, 60_000), 1);
        assert_eq!(recent.highest(), 9);
        recent.note(at(start, 61_000), 1);
        assert_eq!(recent.highest(), 4);
        assert_eq!(RecentMax::<u32>::new().highest(), 0);
    }

    #[test]
    fn far_backends_have_connections_on_order() {
        let start = crate::base::clock::now();
        let mut demand = Demand::new(start, &reading([0, 0], [0, 0], 0, 0));
        assert_eq!(demand.recent_peak(), 0);
        // 200 + 100 connections in a second, 50 ms a dial: 10 + 5 on order beside 6 + 4 in use.
        demand.note(at(start, 1_000), &reading([6, 4], [200, 100], 300, 50));
        assert_eq!(demand.dial_time(), Duration::from_millis(50));
        assert_eq!(demand.recent_peak(), 25);
        assert_eq!(demand.reactor_peaks(), [16, 9]);
        // Quiet for a while: still the peak of the last minute.
        demand.note(at(start, 2_000), &reading([0, 0], [200, 100], 300, 50));
        assert_eq!(demand.recent_peak(), 25);
        demand.note(at(start, 63_000), &reading([1, 0], [200, 100], 300, 50));
        assert_eq!(demand.recent_peak(), 1);
    }

    #[test]
    fn short_intervals_do_not_inflate_the_rate() {
        let start = crate::base::clock::now();
        let mut demand = Demand::new(start, &reading([0, 0], [0, 0], 10, 1_000));
        demand.note(at(start, 100), &reading([0, 0], [20, 0], 10, 1_000));
        assert_eq!(demand.recent_peak(), 0, "not a second yet");
        demand.note(at(start, 1_000), &reading([0, 0], [20, 0], 10, 1_000));
        assert_eq!(demand.recent_peak(), 20);
    }

    #[test]
    fn dial_times_are_smoothed() {
        let start = crate::base::clock::now();
        let mut demand = Demand::new(start, &reading([0, 0], [0, 0], 10, 10));
        let mut next = reading([0, 0], [0, 0], 20, 10);
        next.dialling += Duration::from_secs(1);
        demand.note(at(start, 1_000), &next);
        // 0.3 * 110 + 0.7 * 10
        assert!((demand.dial_time().as_secs_f64() - 0.040).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_highest_is_that_of_the_window(steps in prop::collection::vec((0_u64..20_000, 0_u32..100), 1..200)) {
            let start = crate::base::clock::now();
            let mut now = start;
            let mut recent = RecentMax::new();
            let mut all: Vec<(Instant, u32)> = Vec::new();
            for (millis, value) in steps {
                now += Duration::from_millis(millis);
                all.push((now, value));
                recent.note(now, value);
                let highest_within = |window: Duration| {
                    all.iter().filter(|(at, _)| now - *at <= window).map(|(_, value)| *value).max().unwrap_or(0)
                };
                prop_assert!(recent.highest() >= highest_within(WINDOW));
                prop_assert!(recent.highest() <= highest_within(WINDOW + SLOT));
                prop_assert!(recent.slots.len() <= 62);
            }
        }
    }
}
