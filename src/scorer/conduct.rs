//! Whose fault it is when a client hears nothing: its backend's, or that of the protocol. Pure.
//!
//! Servers of some protocols end without a word, and some clients expect none; then nobody is to blame. So a backend is
//! blamed only for what others do not do, nor itself before: measured by any of them, its last ends were all wordless and
//! so many in a row would come by chance once in 100,000 times, or it has had four standard deviations more of them than
//! that lets expect (see [`ends`]). An end that is not blamed yet may be once more is known.
//!
//! What ends at once is one event: who dies takes every client with it that waits, and may be well a moment later. So an
//! end counts only if its client spoke after the last one that counted.
//!
//! It also learns how soon answers come, and so how long a silence is none of them.
//!
//! Invariants: nobody is blamed while nobody answers; at most [`BACKENDS`] are remembered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::ends::{self, Ends};
use super::sample::{Unserved, Wordless};

/// Backends that are remembered, those that were in use last.
const BACKENDS: usize = 64;

/// Ends that are blamed afterwards, at most.
const MOST_AFTERWARDS: u32 = 3;

/// A silence is suspicious from so many times the slowest answer on.
const PATIENCE: u32 = 4;

/// But never before this.
pub const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Answers after which it is known how soon they come.
const KNOWN_AFTER: u32 = 4;

/// In this time the slowest answer is forgotten by half, if there were enough others.
const HALF_LIFE: Duration = Duration::from_secs(300);

/// So many others: a few quick ones in a quiet night say nothing of how slow answers are.
const HALF_COUNT: f64 = 64.0;

/// How the backends of one service treat their clients.
#[derive(Debug, Default)]
pub struct Conduct {
    records: Vec<(SocketAddr, Record)>,
    /// Ends of connections to any of them, ever.
    ends: u64,
    answers: u32,
    slowest: Option<Slowest>,
}

/// The slowest answer.
#[derive(Debug, Clone, Copy)]
struct Slowest {
    seconds: f64,
    /// When that was so.
    at: Instant,
    /// Answers since.
    others: f64,
}

/// What is remembered of one backend.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    ends: Ends,
    /// How many ends the service had had at its last one.
    last: u64,
    /// The same when the window before the present one began, and the present one.
    windows: [u64; 2],
    /// Ends of its own in the present window.
    in_window: u32,
    /// Wordless ends that nobody was blamed for.
    unblamed: u32,
    /// The last end that was an event of its own.
    last_event: Option<Instant>,
}

impl Record {
    /// It has had so many ends more; `before` is how many the service had had, and `after` how many it has had now.
    fn note(&mut self, ends: u32, before: u64, after: u64) {
        if self.in_window == 0 {
            self.windows[1] = before;
        }
        self.last = after;
        self.in_window = self.in_window.saturating_add(ends);
        if self.in_window >= ends::WINDOW {
            (self.windows[0], self.in_window) = (self.windows[1], 0);
        }
    }

    /// Whether it may be measured by another one: not by what that was before all that is known of this one, since clients
    /// may have been others.
    fn is_comparable(&self, other: &Self) -> bool {
        other.last >= self.windows[0]
    }

    /// Whether this is more than what was already heard of.
    fn is_event(&mut self, unserved: &Unserved) -> bool {
        match unserved.how {
            Wordless::Silent => true,
            Wordless::Ended | Wordless::ClosedEarly
                if self.last_event.is_some_and(|last| unserved.asked_at < last) =>
            {
                false
            }
            Wordless::Ended | Wordless::ClosedEarly => {
                self.last_event = Some(unserved.at);
                true
            }
        }
    }
}

impl Conduct {
    /// So many clients of a backend were answered, the slowest after this time.
    pub fn served(&mut self, addr: SocketAddr, clients: u32, slowest: Option<Duration>, now: Instant) {
        let before = self.ends;
        self.ends += u64::from(clients);
        let after = self.ends;
        let record = self.record(addr);
        record.ends.answer(clients);
        if clients > 0 {
            record.unblamed = 0;
            record.note(clients, before, after);
        }
        self.answers = self.answers.saturating_add(clients);
        if let Some(before) = &mut self.slowest {
            before.others += f64::from(clients);
        }
        if let Some(slowest) = slowest {
            let before = self.slowest_at(now);
            // One answer that is very late does not make all others late: the bound grows by and by.
            let most = (before * 2.0 * f64::from(PATIENCE)).max(2.0 * LEAST_PATIENCE.as_secs_f64());
            let slowest = slowest.as_secs_f64().min(most).max(before);
            self.slowest = Some(Slowest {
                seconds: slowest,
                at: now,
                others: 0.0,
            });
        }
    }

    /// A client of a backend heard nothing; how many such ends are that backend's fault, this one and earlier ones.
    pub fn unserved(&mut self, unserved: &Unserved) -> u32 {
        let addr = unserved.candidate.addr;
        let before = self.ends;
        self.ends += 1;
        let record = self.record(addr);
        let past = record.ends.before_run();
        record.ends.end_wordless();
        if !record.is_event(unserved) {
            return 0;
        }
        record.note(1, before, before + 1);
        record.unblamed = (record.unblamed + 1).min(MOST_AFTERWARDS);
        let record = *record;
        if !self.is_at_fault(&addr, &record, past) {
            return 0;
        }
        std::mem::take(&mut self.record(addr).unblamed)
    }

    /// How long a backend may be silent after its client spoke; at most `silence`, unless that is zero: for ever.
    #[must_use]
    pub fn patience(&self, silence: Duration, now: Instant) -> Duration {
        if self.answers < KNOWN_AFTER || self.slowest.is_none() || silence.is_zero() {
            return silence;
        }
        let learned = Duration::from_secs_f64(self.slowest_at(now)).saturating_mul(PATIENCE);
        learned.max(LEAST_PATIENCE).min(silence)
    }

    /// Forgets backends that do not pass, if there are too many.
    pub fn retain(&mut self, is_in_use: impl Fn(&SocketAddr) -> bool) {
        let mut surplus = self.records.len().saturating_sub(BACKENDS);
        self.records.retain(|(addr, _)| {
            let stays = surplus == 0 || is_in_use(addr);
            surplus -= usize::from(!stays);
            stays
        });
    }

    /// Whether a backend has more wordless ends than any of what it is measured by: the others, each and all together, and
    /// itself before. Not while nobody answers.
    fn is_at_fault(&self, addr: &SocketAddr, present: &Record, past: Ends) -> bool {
        let others = self.records.iter();
        let others = others.filter(|(other, record)| other != addr && present.is_comparable(record));
        let others = || others.clone().map(|(_, record)| record.ends);
        let together = others().fold(Ends::default(), Ends::and);
        // What it says of itself weighs less: its share may be what is wrong with it.
        let common = ends::common(others().chain([past.halved()]));
        others()
            .chain([together])
            .chain(Some(past).filter(Ends::is_good))
            .any(|other| present.ends.exceed(&other, common))
    }

    fn slowest_at(&self, now: Instant) -> f64 {
        self.slowest.map_or(0.0, |slowest| {
            let passed = now.saturating_duration_since(slowest.at).as_secs_f64();
            let halves = (passed / HALF_LIFE.as_secs_f64()).min(slowest.others / HALF_COUNT);
            slowest.seconds * 0.5_f64.powf(halves)
        })
    }

    fn record(&mut self, addr: SocketAddr) -> &mut Record {
        let place = self.records.iter().position(|(known, _)| *known == addr);
        let place = place.unwrap_or_else(|| {
            self.records.push((addr, Record::default()));
            self.records.len() - 1
        });
        &mut self.records[place].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::service::{Candidate, ServiceId};

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn answer(conduct: &mut Conduct, port: u16, clients: u32) {
        conduct.served(addr(port), clients, Some(Duration::from_millis(5)), clock::now());
    }

    /// A client of its own heard nothing: now, since the times of two are not told apart.
    fn unserved(conduct: &mut Conduct, port: u16) -> u32 {
        let now = clock::now();
        conduct.unserved(&ended(port, now, now))
    }

    fn ended(port: u16, asked_at: Instant, at: Instant) -> Unserved {
        Unserved {
            candidate: Candidate {
                service: ServiceId::fresh(),
                addr: addr(port),
            },
            how: Wordless::Ended,
            asked_at,
            at,
        }
    }

    #[test]
    fn a_death_is_one_event_whoever_waits() {
        let mut conduct = Conduct::default();
        for port in 1..4 {
            answer(&mut conduct, port, 1_000);
        }
        let now = clock::now();
        let died = now + Duration::from_secs(1);
        for asked_at in (0..100).map(|millis| now + Duration::from_millis(millis)) {
            assert_eq!(conduct.unserved(&ended(1, asked_at, died)), 0);
        }
        let later = died + Duration::from_secs(1);
        assert_eq!(conduct.unserved(&ended(1, later, later)), 2);
    }

    #[test]
    fn who_alone_says_nothing_is_blamed_from_the_third_client_on() {
        let mut conduct = Conduct::default();
        assert_eq!(unserved(&mut conduct, 1), 0, "nobody has answered yet");
        for port in 2..5 {
            answer(&mut conduct, port, 1);
        }
        assert_eq!(unserved(&mut conduct, 1), 0, "two are as soon a chance");
        assert_eq!(unserved(&mut conduct, 1), 3, "the first ones, too");
        assert_eq!(unserved(&mut conduct, 1), 1);
    }

    #[test]
    fn who_answered_for_long_is_blamed_from_the_third_in_a_row_on() {
        let mut conduct = Conduct::default();
        for port in 1..4 {
            answer(&mut conduct, port, 1_000);
        }
        assert_eq!([0; 3].map(|_: u32| unserved(&mut conduct, 1)), [0, 0, 3]);
    }

    #[test]
    fn the_only_backend_is_measured_by_its_own_past() {
        let mut conduct = Conduct::default();
        answer(&mut conduct, 1, 100);
        assert_eq!([0; 4].map(|_: u32| unserved(&mut conduct, 1)), [0, 0, 3, 1]);
    }

    #[test]
    fn a_protocol_without_words_blames_nobody() {
        let mut conduct = Conduct::default();
        for turn in 0..10_000 {
            assert_eq!(unserved(&mut conduct, 1 + turn % 5), 0);
        }
    }

    #[test]
    fn what_all_do_now_and_then_is_held_against_nobody() {
        for (share, seed) in [(0.02, 1), (0.1, 2), (0.3, 3), (0.6, 4), (0.9, 5)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut conduct = Conduct::default();
            let mut blamed = 0;
            for _ in 0..100_000 {
                let port = rng.u16(1..6);
                if rng.f64() < share {
                    blamed += unserved(&mut conduct, port);
                } else {
                    answer(&mut conduct, port, 1);
                }
            }
            assert_eq!(blamed, 0, "of 100,000 at a share of {share}");
        }
    }

    #[test]
    fn who_is_used_no_more_is_no_measure() {
        for (share, seed) in [(0.1, 1), (0.2, 2), (0.4, 3), (0.6, 4), (0.9, 5)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut conduct = Conduct::default();
            // When clients were others, all were answered.
            for _ in 0..600 {
                answer(&mut conduct, rng.u16(1..7), 1);
            }
            for _ in 0..2_000 {
                let port = rng.u16(1..6);
                if rng.f64() < share {
                    unserved(&mut conduct, port);
                } else {
                    answer(&mut conduct, port, 1);
                }
            }
            let mut blamed = 0;
            for _ in 0..20_000 {
                let port = rng.u16(1..6);
                if rng.f64() < share {
                    blamed += unserved(&mut conduct, port);
                } else {
                    answer(&mut conduct, port, 1);
                }
            }
            assert_eq!(blamed, 0, "of 20,000 at a share of {share}");
        }
    }

    #[test]
    fn who_fails_one_client_in_three_is_blamed() {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut conduct = Conduct::default();
        let mut blamed = 0;
        for _ in 0..3_000 {
            let port = rng.u16(1..4);
            if port == 1 && rng.u8(..3) == 0 {
                blamed += unserved(&mut conduct, port);
            } else {
                answer(&mut conduct, port, 1);
            }
        }
        assert!(blamed > 300, "{blamed} of about 333");
    }

    #[test]
    fn patience_follows_the_slowest_answer() {
        let (mut conduct, now, silence) = (Conduct::default(), clock::now(), Duration::from_secs(30));
        assert_eq!(conduct.patience(silence, now), silence);
        conduct.served(addr(1), 8, Some(Duration::from_millis(5)), now);
        assert_eq!(conduct.patience(silence, now), LEAST_PATIENCE);
        conduct.served(addr(1), 1, Some(Duration::from_millis(1_500)), now);
        assert_eq!(conduct.patience(silence, now), Duration::from_secs(6));
        let later = now + HALF_LIFE;
        assert_eq!(
            conduct.patience(silence, later),
            Duration::from_secs(6),
            "nobody came"
        );
        conduct.served(addr(1), 64, None, now);
        assert_eq!(conduct.patience(silence, now), Duration::from_secs(6), "at once");
        assert_eq!(conduct.patience(silence, later), Duration::from_secs(3));
        assert_eq!(conduct.patience(Duration::ZERO, now), Duration::ZERO);
        for _ in 0..4 {
            conduct.served(addr(1), 1, Some(Duration::from_secs(500)), now);
        }
        assert_eq!(conduct.patience(silence, now), silence);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut conduct = Conduct::default();
        for port in 1..200 {
            answer(&mut conduct, port, 1);
            conduct.retain(|addr| addr.port() == 1);
        }
        assert_eq!(conduct.records.len(), BACKENDS);
        assert!(conduct.records.iter().any(|(addr, _)| addr.port() == 1));
    }
}
