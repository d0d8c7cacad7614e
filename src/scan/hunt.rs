//! Whom a scan asks, and when it is enough. Pure.
//!
//! ```text
//!  Looking ──(enough: see `End`)──► Proving ──(each finalist was asked often enough)──► Over
//!     └───────────────────────────(interrupted)───────────────────────────────────────────▲
//! ```
//! A list that has no more candidates than there are probes is looked at whole; a longer one is searched.
//!
//! Invariants: at most `probes` begin while looking; what is begun ends before it is over.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::notes::{Note, Notes};
use super::walk::Walk;
use crate::candidates::CandidateSet;
use crate::search::{Model, NODES};

/// Finalists are so many times as many as are wanted.
const FINALISTS: usize = 3;
/// Each is asked so often in all.
const PROOFS: u32 = 10;
/// A search in which nothing better has come for so many probes, and for half of all, has found what it finds.
const PATIENCE: u64 = 2_000;
/// A scan forgets nothing.
const HALF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a scan has looked enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every candidate was asked.
    Whole,
    /// The search knows nobody else to ask.
    Searched,
    /// As many probes as were allowed have begun.
    Probes,
    /// Nothing better has come for long.
    Settled,
    /// The time is over.
    Time,
    /// Somebody has stopped it.
    Interrupted,
}

impl End {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Whole => "every candidate was asked",
            Self::Searched => "the search knew nobody else to ask",
            Self::Probes => "all probes were made",
            Self::Settled => "nothing better came for long",
            Self::Time => "the time was over",
            Self::Interrupted => "it was interrupted",
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This one is asked.
    Ask(SocketAddr),
    /// Something has to end first.
    Wait,
    Over,
}

#[derive(Debug)]
enum Way {
    Whole(Walk),
    Search(Box<Model>),
}

#[derive(Debug)]
enum Stage {
    Looking,
    /// Whom to ask again; and whether the last answers of the look have been considered.
    Proving(VecDeque<SocketAddr>, bool),
    Over,
}

/// A scan without sockets.
#[derive(Debug)]
pub(super) struct Hunt {
    way: Way,
    stage: Stage,
    end: Option<End>,
    probes: u64,
    top: usize,
    begun: u64,
    in_flight: u64,
    /// Who could not be asked for want of means.
    put_off: VecDeque<SocketAddr>,
    /// Of the best, by latency: what has to be bettered.
    bests: Vec<f64>,
    /// When something better has come.
    better_at: u64,
    notes: Notes,
}

impl Hunt {
    /// For the best `top` (at least 1) of a list, with at most so many probes but for those that prove.
    pub(super) fn new(
        set: Arc<CandidateSet>,
        probes: u64,
        top: usize,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let way = if set.len() <= u128::from(probes) {
            Way::Whole(Walk::new(set, rng))
        } else {
            Way::Search(Box::new(Model::new(set, NODES, HALF_LIFE, now, rng)))
        };
        Self {
            way,
            stage: Stage::Looking,
            end: None,
            probes,
            top: top.max(1),
            begun: 0,
            in_flight: 0,
            put_off: VecDeque::new(),
            bests: Vec::new(),
            better_at: 0,
            notes: Notes::default(),
        }
    }

    /// Probes that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The lowest latency that was seen, in seconds.
    pub(super) fn lowest(&self) -> Option<f64> {
        self.bests.first().copied()
    }

    /// Why it has looked enough, once it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// What is to be done next; whom it names is asked.
    pub(super) fn next(&mut self, rng: &mut fastrand::Rng) -> Next {
        if !matches!(self.stage, Stage::Over)
            && let Some(addr) = self.put_off.pop_front()
        {
            return self.ask(addr);
        }
        if let Stage::Looking = self.stage {
            match self.look(rng) {
                Ok(addr) => return self.ask(addr),
                Err(end) => self.stop(end),
            }
        }
        let Stage::Proving(finalists, is_complete) = &mut self.stage else {
            return Next::Over;
        };
        if let Some(addr) = finalists.pop_front() {
            return self.ask(addr);
        }
        if self.in_flight > 0 {
            return Next::Wait;
        }
        // The last answers of the look may have made others finalists.
        if !std::mem::replace(is_complete, true) {
            self.stage = Stage::Proving(self.finalists(), true);
            return self.next(rng);
        }
        self.stage = Stage::Over;
        Next::Over
    }

    /// The best, best first: those that were proved, and then others.
    pub(super) fn best(&self) -> Vec<(SocketAddr, Note)> {
        let (mut best, others): (Vec<_>, Vec<_>) =
            (self.notes.best(usize::MAX).into_iter()).partition(|(_, note)| note.sent >= PROOFS);
        best.extend(others);
        best.truncate(self.top);
        best
    }

    fn ask(&mut self, addr: SocketAddr) -> Next {
        self.begun += 1;
        self.in_flight += 1;
        Next::Ask(addr)
    }

    fn look(&mut self, rng: &mut fastrand::Rng) -> Result<SocketAddr, End> {
        if self.begun >= self.probes {
            return Err(End::Probes);
        }
        // Nothing better has come for long, of as many as are wanted.
        let is_settled =
            self.bests.len() >= self.top && self.begun - self.better_at >= PATIENCE.max(self.begun / 2);
        match &mut self.way {
            Way::Whole(walk) => walk.next().ok_or(End::Whole),
            Way::Search(_) if is_settled => Err(End::Settled),
            Way::Search(model) => model.next(rng).ok_or(End::Searched),
        }
    }

    /// Looks no further; who was best is proved, unless there is no time for that.
    pub(super) fn stop(&mut self, end: End) {
        if matches!(self.stage, Stage::Looking) {
            self.end = Some(end);
            self.stage = Stage::Proving(self.finalists(), false);
        }
        if end == End::Interrupted {
            self.end = Some(end);
            self.stage = Stage::Over;
        }
    }

    /// Who is asked again, each as often as is missing, in turns.
    fn finalists(&self) -> VecDeque<SocketAddr> {
        let best = self.notes.best(self.top * FINALISTS);
        let turns = (0..PROOFS).flat_map(|turn| {
            let missing = best.iter().filter(move |(_, note)| note.sent + turn < PROOFS);
            missing.map(|(addr, _)| *addr)
        });
        turns.collect()
    }

    /// A probe has ended, with an answer after so long or without one.
    pub(super) fn ended(
        &mut self,
        addr: SocketAddr,
        latency: Option<Duration>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        self.end_one();
        self.notes.take(addr, latency);
        if let (Way::Search(model), Stage::Looking) = (&mut self.way, &self.stage) {
            model.learn(&addr, latency, now, rng);
        }
        if let (Some(latency), Stage::Looking) = (latency, &self.stage) {
            let seconds = latency.as_secs_f64();
            let place = self.bests.partition_point(|best| *best <= seconds);
            if place < self.top {
                self.bests.truncate(self.top - 1);
                self.bests.insert(place, seconds);
                self.better_at = self.begun;
            }
        }
    }

    /// A probe could not begin for want of means: it is made later.
    pub(super) fn put_off(&mut self, addr: SocketAddr) {
        self.end_one();
        self.begun -= 1;
        self.put_off.push_back(addr);
    }

    fn end_one(&mut self) {
        debug_assert!(self.in_flight > 0, "what ends has begun");
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt(list: &str, probes: u64, rng: &mut fastrand::Rng) -> Hunt {
        let set = CandidateSet::parse(list, 80).expect("a list");
        Hunt::new(Arc::new(set), probes, 5, crate::base::clock::now(), rng)
    }

    /// Answers at once; whoever ends in 7 is near.
    fn play(hunt: &mut Hunt, rng: &mut fastrand::Rng, most: u64) {
        let now = crate::base::clock::now();
        for _ in 0..most {
            match hunt.next(rng) {
                Next::Ask(addr) => {
                    let is_near = addr.to_string().ends_with("7:80");
                    let latency = Duration::from_millis(if is_near { 5 } else { 50 + rng.u64(0..50) });
                    hunt.ended(addr, Some(latency), now, rng);
                }
                Next::Wait => panic!("nothing is under way"),
                Next::Over => return,
            }
        }
        panic!("it is not over after {most}");
    }

    #[test]
    fn a_short_list_is_looked_at_whole_and_its_best_are_proved() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut hunt = hunt("10.0.0.0/24", 1_000, &mut rng);
        play(&mut hunt, &mut rng, 1_000);
        assert_eq!(hunt.end(), Some(End::Whole));
        assert_eq!(hunt.begun(), 254 + 15 * 9, "fifteen finalists, nine times more");
        let best = hunt.best();
        assert!(
            best.iter()
                .all(|(addr, note)| addr.to_string().ends_with("7:80") && note.sent == 10),
            "{best:?}"
        );
    }

    #[test]
    fn a_search_ends_when_nothing_better_comes() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut hunt = hunt("10.0.0.0/8", 50_000, &mut rng);
        play(&mut hunt, &mut rng, 60_000);
        assert_eq!(hunt.end(), Some(End::Settled));
        assert!(hunt.begun() < 20_000, "{}", hunt.begun());
    }

    #[test]
    fn probes_are_a_limit_and_an_interruption_ends_at_once() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut limited = hunt("10.0.0.0/8", 700, &mut rng);
        play(&mut limited, &mut rng, 2_000);
        assert_eq!(limited.end(), Some(End::Probes));
        assert!(limited.begun() <= 700 + 150, "{}", limited.begun());
        let mut stopped = hunt("10.0.0.0/8", 700, &mut rng);
        assert!(matches!(stopped.next(&mut rng), Next::Ask(_)));
        stopped.stop(End::Interrupted);
        assert_eq!(stopped.next(&mut rng), Next::Over);
        let mut short = hunt("10.0.0.0/28", 700, &mut rng);
        let Next::Ask(first) = short.next(&mut rng) else {
            panic!("somebody is asked")
        };
        short.put_off(first);
        assert_eq!(
            short.next(&mut rng),
            Next::Ask(first),
            "who was put off comes first"
        );
        let mut nobody = hunt("10.0.0.0/8", 5_000, &mut rng);
        for _ in 0..5_000 {
            let Next::Ask(addr) = nobody.next(&mut rng) else {
                panic!("it gives up early")
            };
            nobody.ended(addr, None, crate::base::clock::now(), &mut rng);
        }
        assert_eq!(
            (nobody.next(&mut rng), nobody.end()),
            (Next::Over, Some(End::Probes))
        );
        let mut late = hunt("10.0.0.0/8", 700, &mut rng);
        let Next::Ask(addr) = late.next(&mut rng) else {
            panic!("somebody is asked")
        };
        late.stop(End::Time);
        assert_eq!(late.next(&mut rng), Next::Wait, "one answer is to come");
        late.ended(addr, None, crate::base::clock::now(), &mut rng);
        assert_eq!(late.next(&mut rng), Next::Over);
    }
}
