//! Whom to ask about our own link, and when. Pure.
//!
//! Owns the probes that are made besides the rounds: to learn whether failures are our link's fault, to notice
//! that it is back, and to ask again who failed. There is one link, so there is one of these for the candidates of all
//! services. It must not know who decides how the link stands, nor sockets.
//!
//! A plan is made in three steps, since what is known lies on the boards of many services: a [`Census`] is begun, it
//! looks at one board after another for as long as it wants more, and it is handed in.
//!
//! Invariants: a doubt costs one probe or two where others answer, [`WITNESSES`] (or [`FAILURES`]) at most where
//! nobody does; while the link is down there are at most half as many probes as in the rounds, once the pause
//! has grown, and everybody has a turn; what is kept of boards is bounded, however many services there are.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::probe::Probe;
use crate::config::Probing;
use crate::scorer::link::{FAILURES, LinkView, Phase, WITNESSES};
use crate::scorer::sample::Touched;
use crate::service::id::{Candidate, ServiceId};

/// Nobody is asked before a doubt is this old: most often somebody answers meanwhile.
pub const GRACE: Duration = Duration::from_millis(100);

/// The first pause while the link is down; doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause while the link is down, if half an interval is not shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The shortest pause there is, however short an interval or a time-out.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// The fewest and the most probes at a time while the link is down.
const WAVE: (usize, usize) = (3, 16);

/// Turns that are given out at once while the link is down; a board is given whole, so there may be as many more as are
/// on one.
const TURNS: usize = 1024;

/// How much is asked, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// No probe takes longer.
    timeout: Duration,
    /// Probes at a time while the link is down.
    wave: usize,
    /// The longest pause between, while the link is down.
    longest_pause: Duration,
}

impl Manners {
    /// Those of services that are probed like this: the longest time-out, and the pace of whoever is probed most
    /// often, so that there are no more probes than half of the rounds of that one alone.
    #[must_use]
    pub fn of<'a>(services: impl Iterator<Item = &'a Probing>) -> Self {
        let mut most = None;
        let mut timeout = Duration::ZERO;
        for config in services {
            timeout = timeout.max(config.timeout);
            let rate = rate(config);
            if most.is_none_or(|(highest, _)| rate > highest) {
                most = Some((rate, config));
            }
        }
        let (count, interval) = most.map_or((0, LONGEST_PAUSE), |(_, config)| {
            (config.probe_candidate_count, config.interval)
        });
        Self {
            timeout,
            wave: (count / 4).clamp(WAVE.0, WAVE.1),
            longest_pause: (interval / 2).min(LONGEST_PAUSE),
        }
    }
}

/// Probes a second.
fn rate(config: &Probing) -> f64 {
    let count = u32::try_from(config.probe_candidate_count).unwrap_or(u32::MAX);
    f64::from(count) / config.interval.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Whom to ask, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// Whom.
    pub candidate: Candidate,
}

/// The probes besides the rounds.
#[derive(Debug)]
pub struct Sentinels {
    manners: Manners,
    phase: Phase,
    /// Who failed, as the view says.
    failed: Vec<Candidate>,
    /// Who answered after they had failed.
    answered: Option<Candidate>,
    queue: VecDeque<Asked>,
    /// When the queue is to be planned.
    due: Option<Instant>,
    pause: Duration,
    /// Who is still to be asked before anybody is asked again, while the link is down.
    turns: Vec<Candidate>,
    /// Whose candidates had their turns given out last.
    turned: Option<ServiceId>,
}

/// Who may be asked besides those of whom something is known.
#[derive(Debug, Clone, Copy)]
pub struct Others {
    /// Anybody who is active.
    pub member: Option<Candidate>,
    /// Anybody on a list.
    pub stranger: Option<Candidate>,
}

impl Sentinels {
    /// Nobody to ask yet.
    #[must_use]
    pub fn new(manners: Manners) -> Self {
        Self {
            manners,
            phase: Phase::Up,
            failed: Vec::new(),
            answered: None,
            queue: VecDeque::new(),
            due: None,
            pause: FIRST_PAUSE,
            turns: Vec::new(),
            turned: None,
        }
    }

    /// From now on with these manners.
    pub fn mind(&mut self, manners: Manners) {
        self.manners = manners;
        self.pause = self.pause.min(manners.longest_pause);
    }

    /// Follows a changed view: what was planned for another phase is dropped.
    pub fn adopt(&mut self, view: &LinkView, now: Instant) {
        self.queue.clear();
        self.phase = view.phase;
        self.failed.clone_from(&view.failed);
        self.answered = view.answered;
        self.pause = FIRST_PAUSE.min(self.manners.longest_pause);
        self.due = match view.phase {
            Phase::Up => None,
            Phase::Suspect => Some(view.since + GRACE),
            Phase::Down => Some(now + self.pause),
            Phase::Settling => Some(now),
        };
        if view.phase != Phase::Down {
            self.turns = Vec::new();
        }
    }

    /// Looks at once whether our own link is back, if it is down.
    pub fn look_now(&mut self, now: Instant) {
        if self.phase == Phase::Down {
            self.queue.clear();
            self.pause = FIRST_PAUSE.min(self.manners.longest_pause);
            self.due = Some(now);
        }
    }

    /// Whether a plan is to be made.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// When there is something to do.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.queue
            .front()
            .map(|next| next.at)
            .into_iter()
            .chain(self.due)
            .min()
    }

    /// Takes whom to ask now.
    pub fn begin(&mut self, now: Instant) -> Option<Candidate> {
        if self.queue.front()?.at > now {
            return None;
        }
        self.queue.pop_front().map(|asked| asked.candidate)
    }

    /// A probe could not begin: it comes first when one can, unless the phase is another by then.
    pub fn put_off(&mut self, probe: &Probe, now: Instant) {
        if self.phase != Phase::Up {
            self.queue.push_front(Asked {
                at: now,
                candidate: probe.candidate,
            });
        }
    }

    /// Begins a look at what is known.
    #[must_use]
    pub fn census(&self) -> Census {
        match self.phase {
            Phase::Suspect => Census::Witnesses(Witnesses {
                failed: self.failed.iter().copied().collect(),
                seen: 0,
                chosen: Vec::new(),
                latest: None,
                chosen_failed: Vec::new(),
            }),
            Phase::Down if self.turns.len() < self.manners.wave => Census::Turns(Turns {
                after: self.turned,
                given: Vec::new(),
                last: None,
            }),
            Phase::Up | Phase::Down | Phase::Settling => Census::Nobody,
        }
    }

    /// Plans whom to ask, by what a census found.
    pub fn plan(&mut self, now: Instant, census: Census, others: &Others, rng: &mut fastrand::Rng) {
        match (self.phase, census) {
            (Phase::Suspect, Census::Witnesses(witnesses)) => self.ask(now, &witnesses.in_order(rng)),
            (Phase::Down, census) => self.look(now, census, others, rng),
            (Phase::Settling, _) => self.ask_again(now),
            (Phase::Up | Phase::Suspect, _) => self.due = None,
        }
        debug_assert!(self.due.is_none_or(|due| due > now), "a plan has its time");
    }

    /// Witnesses, few at the beginning: their number grows with the square of the time, so that no more are asked than
    /// needed.
    fn ask(&mut self, now: Instant, witnesses: &[Candidate]) {
        // Few witnesses are asked several times, so that chance does not condemn the link.
        let count = witnesses.len();
        debug_assert!(count <= WITNESSES, "no more than are needed");
        let asked = count * FAILURES.div_ceil(count.max(1));
        let spread = (self.manners.timeout / 2).as_secs_f64();
        let (mut number, total) = (0.0, f64::from(u32::try_from(asked).unwrap_or(u32::MAX).max(1)));
        for candidate in witnesses.iter().cycle().take(asked) {
            self.queue.push_back(Asked {
                at: now + Duration::from_secs_f64(spread * f64::sqrt(number / total)),
                candidate: *candidate,
            });
            number += 1.0;
        }
        // Should that bring no verdict, everybody is asked once more.
        self.due = Some(now + (self.manners.timeout * 2).max(LEAST_PAUSE));
    }

    /// A member of an active set, some of those that are known, each in its turn, and a stranger.
    fn look(&mut self, now: Instant, census: Census, others: &Others, rng: &mut fastrand::Rng) {
        if let Census::Turns(Turns { mut given, last, .. }) = census {
            rng.shuffle(&mut given);
            given.append(&mut self.turns);
            self.turns = given;
            self.turned = last.or(self.turned);
        }
        let mut wave: Vec<Candidate> = others.member.into_iter().chain(others.stranger).collect();
        while wave.len() < self.manners.wave
            && let Some(next) = self.turns.pop()
        {
            wave.push(next);
        }
        let asked = wave.into_iter().map(|candidate| Asked { at: now, candidate });
        self.queue.extend(asked);
        self.due = Some(now + self.pause.max(LEAST_PAUSE));
        self.pause = (self.pause * 2).min(self.manners.longest_pause);
    }

    /// Everybody who failed; and who answered, before and after them, to see that the link works meanwhile. It may be
    /// one that was known to be dead, or not known at all: then this makes it known, while the dead become so.
    fn ask_again(&mut self, now: Instant) {
        let answered = self.answered;
        let failed = std::mem::take(&mut self.failed);
        let others = failed.into_iter().filter(|one| Some(*one) != answered);
        let asked = answered.into_iter().chain(others).chain(answered);
        self.queue
            .extend(asked.map(|candidate| Asked { at: now, candidate }));
        self.due = None;
    }
}

/// A look at the boards, one after another, for a plan.
#[derive(Debug)]
pub enum Census {
    /// What is known does not matter.
    Nobody,
    /// Who used to answer is looked for, on all boards.
    Witnesses(Witnesses),
    /// Turns are given out, board by board.
    Turns(Turns),
}

/// Some of those who used to answer.
#[derive(Debug)]
pub struct Witnesses {
    /// Who failed already.
    failed: BTreeSet<Candidate>,
    /// Witnesses so far that have not failed yet.
    seen: usize,
    /// At most [`WITNESSES`] of these, each as likely as any other.
    chosen: Vec<Candidate>,
    /// Who of them answered last.
    latest: Option<(Instant, Candidate)>,
    /// Those that failed already.
    chosen_failed: Vec<Candidate>,
}

/// Turns that are given out.
#[derive(Debug)]
pub struct Turns {
    /// Whose were given out last.
    after: Option<ServiceId>,
    given: Vec<Candidate>,
    last: Option<ServiceId>,
}

impl Census {
    /// The boards of which services are to be looked at, in their order, for as long as more are
    /// [wanted](Self::wants_more).
    pub fn route(&self, services: impl Iterator<Item = ServiceId>) -> Vec<ServiceId> {
        let mut route: Vec<ServiceId> = services.collect();
        match self {
            Self::Nobody => route.clear(),
            Self::Witnesses(_) => {}
            Self::Turns(turns) => {
                let after = turns.after;
                let first = route.partition_point(|service| after.is_some_and(|after| *service <= after));
                // Nobody comes again before everybody had a turn.
                if first < route.len() {
                    route.drain(..first);
                }
            }
        }
        route
    }

    /// Whether another board is to be looked at.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        match self {
            Self::Nobody => false,
            Self::Witnesses(_) => true,
            Self::Turns(turns) => turns.given.len() < TURNS,
        }
    }

    /// Looks at the board of a service.
    pub fn look_at(
        &mut self,
        service: ServiceId,
        known: impl Iterator<Item = Touched>,
        rng: &mut fastrand::Rng,
    ) {
        match self {
            Self::Nobody => {}
            Self::Witnesses(witnesses) => {
                for touched in known.filter(|touched| touched.answers) {
                    witnesses.consider(service, &touched, rng);
                }
            }
            Self::Turns(turns) => {
                turns.given.extend(known.map(|touched| Candidate {
                    service,
                    addr: touched.addr,
                }));
                turns.last = Some(service);
            }
        }
    }
}

impl Witnesses {
    fn consider(&mut self, service: ServiceId, touched: &Touched, rng: &mut fastrand::Rng) {
        let candidate = Candidate {
            service,
            addr: touched.addr,
        };
        if self.failed.contains(&candidate) {
            self.chosen_failed.push(candidate);
            return;
        }
        if self.latest.is_none_or(|(at, _)| touched.last_sample_at > at) {
            self.latest = Some((touched.last_sample_at, candidate));
        }
        self.seen += 1;
        // The n-th takes the place of another with a chance of WITNESSES in n (reservoir sampling).
        if self.chosen.len() < WITNESSES {
            self.chosen.push(candidate);
        } else if let Some(place) = self.chosen.get_mut(rng.usize(0..self.seen)) {
            *place = candidate;
        }
    }

    /// In a random order, but the one that answered last first, those that failed already last.
    fn in_order(mut self, rng: &mut fastrand::Rng) -> Vec<Candidate> {
        rng.shuffle(&mut self.chosen);
        rng.shuffle(&mut self.chosen_failed);
        if let Some((_, latest)) = self.latest {
            match self.chosen.iter().position(|one| *one == latest) {
                Some(place) => self.chosen.swap(0, place),
                None => self.chosen.insert(0, latest),
            }
        }
        self.chosen.append(&mut self.chosen_failed);
        self.chosen.truncate(WITNESSES);
        self.chosen
    }
}

#[cfg(test)]
mod tests;
