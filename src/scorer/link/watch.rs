//! Whose fault it is when connects fail: the candidates', or that of our own link. Pure.
//!
//! Owns the samples whose guilt is not clear yet, of all services: they share the link. It must not know what a sample
//! does to a score, who probes or who is active; it reads the boards only to learn whose failure is news.
//!
//! **Evidence.** A *witness* is a candidate whose last sample was a success; failures of others say nothing,
//! so a list of which nine tenths are dead is a normal day. Any answer, a refusal too, proves that the link
//! works. A failed connect with answered ones begun right before and right after it is the candidate's own.
//! Any other failure of a witness is held back, and everybody else's with it, until it is clear whose it is:
//!
//! ```text
//!         a witness fails, and nobody          all witnesses that were asked fail,
//!         answered at that time                eight connects at least
//!   Up ─────────────────────────────► Suspect ───────────────────────────────► Down
//!    ▲ ◄─────────────────────────────   │  ▲                                    │
//!    │   an answer, and few had failed  │  │ failures, and no answer any more   │ an answer
//!    │                        an answer ▼  │                                    │
//!    └────────────────────────────── Settling ◄─────────────────────────────────┘
//!         everybody that failed was
//!         asked again
//! ```
//!
//! While it is *suspect*, the prober asks other witnesses; one answer ends that. *Down*, nothing is held against
//! anybody. In *settling*, who answers is pardoned, and whose connect fails though the link works now is
//! convicted: all that was held of it counts, in its order.
//!
//! Invariants: successes and refusals are never held back (a success that began before the link was back is no
//! measure of its candidate, and is forgotten); nothing is held for longer than a few connect
//! time-outs; at most [`HELD_BOUND`] samples are held; with fewer than two witnesses nobody but the system
//! itself (no route) can say that the link is down.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::answers::Answers;
use super::view::{LinkView, News, Phase};
use crate::scorer::board::ScoreBoard;
use crate::scorer::sample::{Outcome, Sample};
use crate::service::id::Candidate;

/// Witnesses that are asked, and that must fail, before the link counts as down; all if there are fewer. When
/// one candidate in twenty still works, so many random ones miss it once in 27 times.
pub const WITNESSES: usize = 64;

/// Failed connects that it takes, however few witnesses there are: where half of all connects are lost, so
/// many fail in a row once in 256 times.
pub const FAILURES: usize = 8;

/// So many (or all there are) must have failed together to be pardoned when they answer again: two that are
/// merely lossy often fail one after the other.
const TOGETHER: usize = 3;

/// Samples held back; further ones are forgotten.
pub const HELD_BOUND: usize = 4_096;

/// Beyond the longest connect, for turns that come late.
const SLACK: Duration = Duration::from_millis(200);

/// The judge of failures.
#[derive(Debug)]
pub struct LinkWatch {
    /// After so long every connect that was under way has ended.
    settle: Duration,
    answers: Answers,
    state: State,
    recoveries: u64,
    outages: u64,
    news: Vec<News>,
}

/// What the boards of all services tell.
pub trait Evidence {
    /// Whether the last sample of a candidate was a success, so that a failure is news.
    fn answers(&self, candidate: &Candidate) -> bool;

    /// How many candidates there are whose last sample was a success.
    fn answering(&self) -> usize;
}

/// The board of a single service, whichever that is.
impl Evidence for ScoreBoard {
    fn answers(&self, candidate: &Candidate) -> bool {
        self.answers(&candidate.addr)
    }

    fn answering(&self) -> usize {
        self.answering()
    }
}

#[derive(Debug)]
enum State {
    Up,
    Suspect(Suspicion),
    Down(Outage),
    Settling(Settling),
}

#[derive(Debug)]
struct Suspicion {
    since: Instant,
    held: Vec<Sample>,
    witnesses: usize,
    /// Witnesses whose connects began after `since` and failed.
    failed: BTreeSet<Candidate>,
    failures: usize,
    no_route: bool,
}

#[derive(Debug)]
struct Outage {
    /// When the first of the failures ended.
    since: Instant,
    failed: BTreeSet<Candidate>,
    forgotten: u64,
}

#[derive(Debug)]
struct Settling {
    since: Instant,
    held: Vec<Sample>,
    pardoned: HashSet<Candidate>,
    /// Who answered, and is asked again beside those that failed.
    answered: Candidate,
    /// Who is asked again.
    failed: Vec<Candidate>,
}

impl LinkWatch {
    /// A watch over a link that works. No connect, probe or dial, takes longer than `longest_connect`.
    #[must_use]
    pub fn new(longest_connect: Duration) -> Self {
        Self {
            settle: longest_connect + SLACK,
            answers: Answers::default(),
            state: State::Up,
            recoveries: 0,
            outages: 0,
            news: Vec::new(),
        }
    }

    /// Takes in a sample and adds to `clear` what may be put on the boards now, in order; that must be done before the
    /// next call.
    pub fn observe(&mut self, sample: &Sample, evidence: &impl Evidence, clear: &mut Vec<Sample>) {
        if sample.outcome.is_answer() {
            self.answers.note(sample.began_at);
            self.answered(sample, clear);
            if !self.is_delayed(sample) {
                clear.push(*sample);
            }
        } else {
            self.failed(sample, evidence, clear);
        }
    }

    /// Follows another longest connect, from now on.
    pub fn set_longest_connect(&mut self, longest_connect: Duration) {
        self.settle = longest_connect + SLACK;
    }

    /// Lets time pass; adds to `clear` as [`observe`](Self::observe) does.
    pub fn on_time(&mut self, now: Instant, evidence: &impl Evidence, clear: &mut Vec<Sample>) {
        let Some(deadline) = self.deadline().filter(|at| *at <= now) else {
            return;
        };
        // Nobody is so late but who stood still, as a machine does that was suspended: then nothing tells whose fault
        // those failures were.
        let stood_still = now >= deadline + self.settle;
        match std::mem::replace(&mut self.state, State::Up) {
            State::Suspect(_) if stood_still => {}
            // No verdict in all that time: the prober could not ask. Then it is as if nobody had doubted.
            State::Suspect(suspicion) => clear.extend(suspicion.held),
            State::Settling(settling) => {
                let newest = settling.held.iter().map(|held| held.began_at).max();
                if newest.is_none_or(|newest| self.answers.any_since(newest)) {
                    clear.extend(settling.held);
                } else {
                    self.state = State::Suspect(Suspicion::new(now, settling.held, evidence.answering()));
                }
            }
            other @ (State::Up | State::Down(_)) => self.state = other,
        }
    }

    /// When [`on_time`](Self::on_time) is due, if it ever is.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Up | State::Down(_) => None,
            // Time to ask everybody twice.
            State::Suspect(suspicion) => Some(suspicion.since + self.settle * 4),
            State::Settling(settling) => Some(settling.since + self.settle),
        }
    }

    /// How the link stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Up => Phase::Up,
            State::Suspect(_) => Phase::Suspect,
            State::Down(_) => Phase::Down,
            State::Settling(_) => Phase::Settling,
        }
    }

    /// How often it came back after a doubt.
    #[must_use]
    pub fn recoveries(&self) -> u64 {
        self.recoveries
    }

    /// How often it went down.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.outages
    }

    /// What others are to know of it.
    #[must_use]
    pub fn view(&self, now: Instant) -> LinkView {
        let (since, failed, answered) = match &self.state {
            State::Up => (now, Vec::new(), None),
            State::Suspect(suspicion) => (suspicion.since, distinct(&suspicion.held), None),
            State::Down(outage) => (outage.since, Vec::new(), None),
            State::Settling(one) => (one.since, one.failed.clone(), Some(one.answered)),
        };
        LinkView {
            phase: self.phase(),
            since,
            failed,
            answered,
            recoveries: self.recoveries,
            outages: self.outages,
            sweeps: 0,
        }
    }

    /// What is to be told, once, in its order.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Whether a connect took so long because the link was away: it answers for the link, but tells no latency.
    fn is_delayed(&self, sample: &Sample) -> bool {
        match &self.state {
            State::Settling(settling) => sample.outcome.is_success() && sample.began_at < settling.since,
            State::Down(_) => sample.outcome.is_success(),
            State::Up | State::Suspect(_) => false,
        }
    }

    fn answered(&mut self, sample: &Sample, clear: &mut Vec<Sample>) {
        match std::mem::replace(&mut self.state, State::Up) {
            State::Up => {}
            // It was under way already when the first one failed: it proves nothing of the time since.
            State::Suspect(suspicion) if !suspicion.is_disproved_by(sample) => {
                self.state = State::Suspect(suspicion);
            }
            State::Down(outage) if sample.began_at < outage.since => self.state = State::Down(outage),
            State::Suspect(suspicion) => {
                let failed = distinct(&suspicion.held);
                if failed.len() >= TOGETHER.min(suspicion.witnesses.max(2)) {
                    self.settle(sample, suspicion.held, failed);
                } else {
                    // While others answer, whoever fails does so by itself.
                    clear.extend(suspicion.held);
                }
            }
            State::Down(outage) => {
                self.news.push(News::Back {
                    after: sample.at.saturating_duration_since(outage.since),
                    forgotten: outage.forgotten,
                });
                self.settle(sample, Vec::new(), outage.failed.into_iter().collect());
            }
            State::Settling(mut settling) => {
                settling.pardon(sample.candidate);
                let is_new = |held: &Sample| held.began_at >= settling.since;
                if settling.held.iter().any(is_new) {
                    // It was gone once more: who failed meanwhile is to be asked again, too.
                    let failed = distinct(&settling.held);
                    self.settle(sample, settling.held, failed);
                } else {
                    self.state = State::Settling(settling);
                }
            }
        }
    }

    fn settle(&mut self, answer: &Sample, held: Vec<Sample>, mut failed: Vec<Candidate>) {
        debug_assert!(held.len() <= HELD_BOUND, "what is held has a bound");
        failed.truncate(WITNESSES);
        let mut settling = Settling {
            since: answer.at,
            held,
            pardoned: HashSet::new(),
            answered: answer.candidate,
            failed,
        };
        settling.pardon(answer.candidate);
        self.recoveries += 1;
        self.state = State::Settling(settling);
    }

    fn failed(&mut self, sample: &Sample, evidence: &impl Evidence, clear: &mut Vec<Sample>) {
        let is_covered = self.answers.cover(sample.began_at);
        let is_witness = evidence.answers(&sample.candidate);
        match &mut self.state {
            State::Up => {
                let witnesses = if is_covered || !is_witness {
                    0
                } else {
                    evidence.answering()
                };
                if witnesses >= witnesses_needed(sample.outcome == Outcome::NoRoute) {
                    let mut suspicion = Suspicion::new(sample.at, Vec::new(), witnesses);
                    suspicion.hold(sample, is_witness);
                    self.state = State::Suspect(suspicion);
                } else {
                    clear.push(*sample);
                }
            }
            State::Suspect(suspicion) if is_covered => {
                convict(&mut suspicion.held, sample.candidate, clear);
                clear.push(*sample);
            }
            State::Suspect(suspicion) => {
                suspicion.hold(sample, is_witness);
                if suspicion.is_proved() {
                    self.outages += 1;
                    self.news.push(News::Down {
                        failed: suspicion.failed.len(),
                        witnesses: suspicion.witnesses,
                    });
                    self.state = State::Down(Outage {
                        since: suspicion.since,
                        forgotten: count(suspicion.held.len()),
                        failed: distinct(&suspicion.held).into_iter().collect(),
                    });
                }
            }
            State::Down(outage) => {
                outage.forgotten += 1;
                if is_witness && outage.failed.len() < WITNESSES {
                    outage.failed.insert(sample.candidate);
                }
            }
            State::Settling(settling) => {
                let works = is_covered
                    || (sample.began_at >= settling.since && self.answers.any_since(sample.began_at));
                if works {
                    convict(&mut settling.held, sample.candidate, clear);
                    clear.push(*sample);
                } else if sample.began_at >= settling.since || !settling.pardoned.contains(&sample.candidate)
                {
                    hold(&mut settling.held, sample);
                }
            }
        }
    }
}

impl Suspicion {
    fn new(since: Instant, held: Vec<Sample>, witnesses: usize) -> Self {
        Self {
            since,
            held,
            witnesses,
            failed: BTreeSet::new(),
            failures: 0,
            no_route: false,
        }
    }

    fn hold(&mut self, sample: &Sample, is_witness: bool) {
        hold(&mut self.held, sample);
        // The failures that raised the suspicion do not prove it: those that were asked since do.
        debug_assert!(!sample.outcome.is_answer(), "an answer is never held");
        if is_witness && sample.began_at >= self.since {
            self.failures += 1;
            self.failed.insert(sample.candidate);
            self.no_route |= sample.outcome == Outcome::NoRoute;
        }
    }

    fn is_disproved_by(&self, answer: &Sample) -> bool {
        self.held
            .first()
            .is_none_or(|first| answer.began_at >= first.began_at)
    }

    fn is_proved(&self) -> bool {
        self.failures >= FAILURES
            && self.witnesses >= witnesses_needed(self.no_route)
            && self.failed.len() >= self.witnesses.min(WITNESSES)
    }
}

impl Settling {
    fn pardon(&mut self, candidate: Candidate) {
        self.held.retain(|held| held.candidate != candidate);
        self.pardoned.insert(candidate);
    }
}

/// What was held of a candidate counts.
fn convict(held: &mut Vec<Sample>, candidate: Candidate, clear: &mut Vec<Sample>) {
    clear.extend(held.extract_if(.., |held| held.candidate == candidate));
}

/// With one witness alone, only the system itself can tell its fault from ours.
fn witnesses_needed(no_route: bool) -> usize {
    if no_route { 1 } else { 2 }
}

fn hold(held: &mut Vec<Sample>, sample: &Sample) {
    if held.len() < HELD_BOUND {
        held.push(*sample);
    }
}

fn distinct(held: &[Sample]) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    let candidates = held.iter().map(|sample| sample.candidate);
    let distinct = candidates.filter(|candidate| seen.insert(*candidate));
    distinct.take(WITNESSES).collect()
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
