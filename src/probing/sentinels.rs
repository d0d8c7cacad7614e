//! Whom to ask about our own link, and when. Pure.
//!
//! Owns the probes that are made besides the rounds: to learn whether failures are our link's fault, to notice
//! that it is back, and to ask again who failed. It must not know who decides that, nor sockets.
//!
//! Invariants: a doubt costs one probe or two where others answer, [`WITNESSES`] (or [`FAILURES`]) at most where
//! nobody does; while the link is down there are at most half as many probes as in the rounds, once the pause
//! has grown, and everybody has a turn.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::schedule::Planned;
use crate::config::Probing;
use crate::scorer::link::{FAILURES, Phase, WITNESSES};
use crate::scorer::{LinkView, Touched};

/// Nobody is asked before a doubt is this old: most often somebody answers meanwhile.
pub const GRACE: Duration = Duration::from_millis(100);

/// The first pause while the link is down; doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause while the link is down, if half an interval is not shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The fewest and the most probes at a time while the link is down.
const WAVE: (usize, usize) = (3, 16);

/// The probes besides the rounds.
#[derive(Debug)]
pub struct Sentinels {
    timeout: Duration,
    /// Probes at a time, and the longest pause between, while the link is down.
    wave: usize,
    longest_pause: Duration,
    phase: Phase,
    /// Who failed, as the view says.
    failed: Vec<SocketAddr>,
    /// Who answered after they had failed.
    answered: Option<SocketAddr>,
    queue: VecDeque<Planned>,
    /// When the queue is to be planned.
    due: Option<Instant>,
    pause: Duration,
    /// Who is still to be asked before anybody is asked again, while the link is down.
    turns: Vec<SocketAddr>,
}

/// Who may be asked besides those of whom something is known.
#[derive(Debug, Clone, Copy)]
pub struct Others<'a> {
    /// The active set.
    pub active: &'a [SocketAddr],
    /// Anybody on the list.
    pub stranger: Option<SocketAddr>,
}

impl Sentinels {
    /// Nobody to ask yet.
    #[must_use]
    pub fn new(config: &Probing) -> Self {
        Self {
            timeout: config.timeout,
            wave: (config.probe_candidate_count / 4).clamp(WAVE.0, WAVE.1),
            longest_pause: (config.interval / 2).min(LONGEST_PAUSE),
            phase: Phase::Up,
            failed: Vec::new(),
            answered: None,
            queue: VecDeque::new(),
            due: None,
            pause: FIRST_PAUSE,
            turns: Vec::new(),
        }
    }

    /// Follows a changed view: what was planned for another phase is dropped.
    pub fn adopt(&mut self, view: &LinkView, now: Instant) {
        self.queue.clear();
        self.phase = view.phase;
        self.failed.clone_from(&view.failed);
        self.answered = view.answered;
        self.pause = FIRST_PAUSE.min(self.longest_pause);
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

    /// Whether [`plan`](Self::plan) is to be called.
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

    /// The next probe.
    #[must_use]
    pub fn front(&self) -> Option<Planned> {
        self.queue.front().copied()
    }

    /// The next probe has begun.
    pub fn begun(&mut self) {
        self.queue.pop_front();
    }

    /// Plans whom to ask: `known` are all candidates of which something is known.
    pub fn plan(
        &mut self,
        now: Instant,
        known: impl Iterator<Item = Touched>,
        others: &Others<'_>,
        rng: &mut fastrand::Rng,
    ) {
        match self.phase {
            Phase::Up => self.due = None,
            Phase::Suspect => self.ask(now, known, rng),
            Phase::Down => self.look(now, known, others, rng),
            Phase::Settling => self.ask_again(now),
        }
    }

    /// Witnesses, the one that answered last first, those that failed already last. Few at the beginning: their
    /// number grows with the square of the time, so that no more are asked than needed.
    fn ask(&mut self, now: Instant, known: impl Iterator<Item = Touched>, rng: &mut fastrand::Rng) {
        let mut witnesses: Vec<Touched> = known.filter(|touched| touched.answers).collect();
        rng.shuffle(&mut witnesses);
        let failed = std::mem::take(&mut self.failed);
        witnesses.sort_by_key(|touched| failed.contains(&touched.addr));
        let fresh = witnesses.partition_point(|touched| !failed.contains(&touched.addr));
        let latest = witnesses.iter().take(fresh).enumerate();
        if let Some((latest, _)) = latest.max_by_key(|(_, touched)| touched.last_sample_at) {
            witnesses.swap(0, latest);
        }
        self.failed = failed;
        // Few witnesses are asked several times, so that chance does not condemn the link.
        let count = witnesses.len().min(WITNESSES);
        let asked = count * FAILURES.div_ceil(count.max(1));
        let spread = (self.timeout / 2).as_secs_f64();
        let (mut number, total) = (0.0, f64::from(u32::try_from(asked).unwrap_or(u32::MAX).max(1)));
        let chosen = witnesses.iter().take(count).cycle().take(asked);
        for touched in chosen {
            self.queue.push_back(Planned {
                at: now + Duration::from_secs_f64(spread * f64::sqrt(number / total)),
                addr: touched.addr,
            });
            number += 1.0;
        }
        // Should that bring no verdict, everybody is asked once more.
        self.due = Some(now + self.timeout * 2);
    }

    /// A member of the active set, some of those that are known, each in its turn, and a stranger.
    fn look(
        &mut self,
        now: Instant,
        known: impl Iterator<Item = Touched>,
        others: &Others<'_>,
        rng: &mut fastrand::Rng,
    ) {
        let mut wave: Vec<SocketAddr> = rng.choice(others.active).copied().into_iter().collect();
        wave.extend(others.stranger);
        if self.turns.len() + wave.len() < self.wave {
            let mut everybody: Vec<SocketAddr> = known.map(|touched| touched.addr).collect();
            rng.shuffle(&mut everybody);
            everybody.append(&mut self.turns);
            self.turns = everybody;
        }
        while wave.len() < self.wave
            && let Some(next) = self.turns.pop()
        {
            wave.push(next);
        }
        self.queue
            .extend(wave.into_iter().map(|addr| Planned { at: now, addr }));
        self.due = Some(now + self.pause);
        self.pause = (self.pause * 2).min(self.longest_pause);
    }

    /// Everybody who failed; and who answered, before and after them, to see that the link works meanwhile. It may be
    /// one that was known to be dead, or not known at all: then this makes it known, while the dead become so.
    fn ask_again(&mut self, now: Instant) {
        let answered = self.answered;
        let failed = std::mem::take(&mut self.failed);
        let others = failed.into_iter().filter(|addr| Some(*addr) != answered);
        let asked = answered.into_iter().chain(others).chain(answered);
        self.queue.extend(asked.map(|addr| Planned { at: now, addr }));
        self.due = None;
    }
}

#[cfg(test)]
mod tests;
