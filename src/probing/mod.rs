//! Probing: which candidates answer, and how fast.
//!
//! Owns the prober thread: the sweep before serving (and after a change of the candidate list), then rounds.
//! Who is next is [`schedule`]'s decision, sockets are [`connect`]'s. It must not know what a sample does to a
//! score, nor who becomes active; it hands in samples and reads snapshots.
//!
//! Invariants: at most `max_in_flight` probes at once; a probe that could not begin for want of descriptors
//! is put off, never counted against its candidate; the thread sleeps until a probe is due, ends, or times
//! out, or until it is woken for the stop.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use mio::Waker;

pub mod connect;
mod progress;
pub mod schedule;
pub mod sentinels;

pub use progress::InitialProgress;

use crate::backend::ActiveSet;
use crate::base::clock;
use crate::base::published::{Published, Reader};
use crate::candidates::{CandidateSet, Sampler};
use crate::config::Probing;
use crate::scorer::board::ScoreBoard;
use crate::scorer::link::Phase;
use crate::scorer::{LinkView, Sample, SampleInbox, score};
use crate::shutdown::Shutdown;
use connect::{Connector, Start};
use progress::Completion;
use schedule::{Planned, Round};
use sentinels::{Others, Sentinels};

/// Probes that begin between two looks at the poll: answers are timed when they are seen, so a long burst of
/// connects would make the first of them look slow.
const STARTS_PER_TURN: usize = 16;

/// Pause of probing when descriptors ran out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// End of a sweep that cannot get on, for want of descriptors.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

/// Pause after an error of the poll, which no retry is known to heal.
const POLL_FAILED_PAUSE: Duration = Duration::from_secs(1);

/// What the prober reads and where it hands in what it finds.
#[derive(Debug)]
pub struct Links {
    /// Who may be probed.
    pub candidates: Arc<Published<CandidateSet>>,
    /// Who is probed in every round.
    pub active: Arc<Published<ActiveSet>>,
    /// What is known of candidates; only read.
    pub board: Arc<RwLock<ScoreBoard>>,
    /// Takes the samples.
    pub inbox: Arc<SampleInbox>,
    /// How our own link stands.
    pub link: Arc<Published<LinkView>>,
}

/// The prober: made on any thread, run on one of its own.
#[derive(Debug)]
pub struct Prober {
    links: Links,
    candidates: Reader<CandidateSet>,
    link: Reader<LinkView>,
    sentinels: Sentinels,
    config: Probing,
    best_score: f64,
    connector: Connector,
    progress: Arc<InitialProgress>,
    rng: fastrand::Rng,
    /// Samples of one turn; kept for its memory.
    ended: Vec<Sample>,
    /// No probe begins before; set while descriptors are out.
    held_until: Option<Instant>,
}

impl Prober {
    /// A prober with at most `max_in_flight` probes at once (at least 1).
    ///
    /// # Errors
    /// When the system has no poll or descriptor to give.
    pub fn new(links: Links, config: Probing, max_in_flight: usize, rng: fastrand::Rng) -> io::Result<Self> {
        let best_score = score::ceiling(read_board(&links.board).rules());
        Ok(Self {
            candidates: Reader::new(Arc::clone(&links.candidates)),
            link: Reader::new(Arc::clone(&links.link)),
            sentinels: Sentinels::new(&config),
            links,
            config,
            best_score,
            connector: Connector::new(max_in_flight.max(1))?,
            progress: Arc::default(),
            rng,
            ended: Vec::new(),
            held_until: None,
        })
    }

    /// Wakes the thread, to be called after the stop has begun.
    pub fn waker(&self) -> Arc<Waker> {
        self.connector.waker()
    }

    /// How far initial probing has come, for whoever waits to serve.
    pub fn progress(&self) -> Arc<InitialProgress> {
        Arc::clone(&self.progress)
    }

    /// The body of the thread; returns when the stop begins.
    pub fn run(mut self, shutdown: &Shutdown) {
        // Whatever ends this thread, nobody waits for initial probing after it.
        let completion = Completion::of(&self.progress);
        let mut sampler = Sampler::new(self.candidates.shared(), &mut self.rng);
        if self.config.initial.enabled {
            self.sweep(&mut sampler, shutdown);
        }
        drop(completion);

        let mut due: VecDeque<Planned> = VecDeque::new();
        let mut next_round_at = clock::now();
        while !shutdown.has_begun() {
            if self.candidates.refresh() {
                sampler = Sampler::new(self.candidates.shared(), &mut self.rng);
                if self.config.initial.enabled {
                    self.sweep(&mut sampler, shutdown);
                }
            }
            let now = clock::now();
            if self.link.refresh() {
                self.sentinels.adopt(&self.link, now);
                match self.link.phase {
                    Phase::Up | Phase::Suspect => {}
                    Phase::Down => due.clear(),
                    Phase::Settling => next_round_at = now,
                }
            }
            if self.sentinels.is_due(now) {
                self.plan_sentinels(&mut sampler, now);
            }
            if self.link.phase == Phase::Down {
                next_round_at = next_round_at.max(now + self.config.interval);
            }
            if now >= next_round_at {
                due.extend(self.plan_round(&mut sampler, now));
                // What could not begin in a whole interval is planned anew, not kept.
                let surplus = due.len().saturating_sub(self.config.probe_candidate_count);
                due.drain(..surplus);
                next_round_at = now + self.config.interval;
            }
            self.start_due(&mut due, now);
            let next = [due.front().map(|next| next.at), self.sentinels.next_at()];
            let until = match next.into_iter().flatten().min() {
                Some(at) if self.connector.has_room() => self.held_until.map_or(at, |held| held.max(at)),
                _ => next_round_at,
            };
            self.turn(until.min(next_round_at), shutdown);
        }
    }

    /// Probes every candidate that was never touched, or of a large set an even sample; returns when all
    /// probes have ended.
    fn sweep(&mut self, sampler: &mut Sampler, shutdown: &Shutdown) {
        let initial = self.config.initial.clone();
        let mut left = schedule::initial_budget(initial.max_concurrency, initial.timeout);
        let give_up_at = clock::now() + SWEEP_LIMIT.max(initial.timeout * 2);
        let mut next = self.next_untouched(sampler);
        log::debug!("sweep begins: up to {left} of {} candidates", sampler.set().len());
        while !shutdown.has_begun() && (next.is_some() || self.connector.in_flight() > 0) {
            let now = clock::now();
            if now >= give_up_at {
                log::warn!("initial probing is given up: it had to pause for too long");
                return;
            }
            let mut starts = 0;
            while let Some(addr) = next
                && starts < STARTS_PER_TURN
                && self.connector.in_flight() < initial.max_concurrency
                && self.start(addr, initial.timeout, now)
            {
                starts += 1;
                left = left.saturating_sub(1);
                next = if left > 0 {
                    self.next_untouched(sampler)
                } else {
                    None
                };
            }
            // A full burst goes on at once; else an answer or a deadline makes room, or the pause ends.
            let until = match self.held_until {
                _ if starts == STARTS_PER_TURN => now,
                Some(held) if next.is_some() && self.connector.has_room() => held.min(give_up_at),
                _ => give_up_at,
            };
            self.turn(until, shutdown);
        }
    }

    fn next_untouched(&mut self, sampler: &mut Sampler) -> Option<SocketAddr> {
        let board = read_board(&self.links.board);
        std::iter::from_fn(|| sampler.next(&mut self.rng)).find(|addr| !board.contains(addr))
    }

    fn plan_round(&mut self, sampler: &mut Sampler, now: Instant) -> Vec<Planned> {
        let active = self.links.active.load();
        let active: Vec<SocketAddr> = active.backends.iter().map(|backend| backend.addr).collect();
        let round = Round {
            now,
            interval: self.config.interval,
            count: self.config.probe_candidate_count,
            active: &active,
            best_score: self.best_score,
        };
        let board = read_board(&self.links.board);
        let is_known = |addr: &SocketAddr| board.contains(addr);
        schedule::plan(&round, board.touched(), is_known, sampler, &mut self.rng)
    }

    fn plan_sentinels(&mut self, sampler: &mut Sampler, now: Instant) {
        let active = self.links.active.load();
        let active: Vec<SocketAddr> = active.backends.iter().map(|backend| backend.addr).collect();
        let stranger = sampler.next(&mut self.rng).or_else(|| {
            *sampler = Sampler::new(self.candidates.shared(), &mut self.rng);
            sampler.next(&mut self.rng)
        });
        let others = Others {
            active: &active,
            stranger,
        };
        let known = read_board(&self.links.board);
        self.sentinels.plan(now, known.touched(), &others, &mut self.rng);
    }

    fn start_due(&mut self, due: &mut VecDeque<Planned>, now: Instant) {
        for _ in 0..STARTS_PER_TURN {
            match self.sentinels.front() {
                Some(probe) if probe.at <= now && self.start(probe.addr, self.config.timeout, now) => {
                    self.sentinels.begun();
                    continue;
                }
                Some(probe) if probe.at <= now => return,
                _ => {}
            }
            match due.front() {
                Some(probe) if probe.at <= now && self.start(probe.addr, self.config.timeout, now) => {
                    due.pop_front();
                }
                _ => return,
            }
        }
    }

    /// Begins a probe; false if none can begin now: before `held_until`, or before another one ends.
    fn start(&mut self, addr: SocketAddr, timeout: Duration, now: Instant) -> bool {
        if self.held_until.is_some_and(|held| now < held) || !self.connector.has_room() {
            return false;
        }
        match self.connector.start(addr, timeout) {
            // Without a port it has its turn in a later round; those behind it need not wait for that.
            Start::Begun | Start::NoPort => {}
            Start::Ended(sample) => self.ended.push(sample),
            Start::Exhausted => {
                if self.held_until.is_none() {
                    log::warn!("probing pauses: out of descriptors or memory");
                }
                self.held_until = Some(now + EXHAUSTED_PAUSE);
                return false;
            }
        }
        self.held_until = None;
        true
    }

    /// Waits for probes to end, at most until `until`, and hands in their samples.
    fn turn(&mut self, until: Instant, shutdown: &Shutdown) {
        // What ended at its start is handed in without waiting.
        let until = if self.ended.is_empty() {
            until
        } else {
            clock::now()
        };
        if let Err(error) = self.connector.turn(Some(until), &mut self.ended) {
            log::error!("probing pauses: the poll failed: {error}");
            shutdown.sleep(POLL_FAILED_PAUSE);
        }
        let mut passed = 0;
        for sample in self.ended.drain(..) {
            passed += usize::from(sample.outcome.is_success());
            self.links.inbox.push(sample);
        }
        // After the samples: who waits for the number finds them in the inbox.
        self.progress.add(passed);
    }
}

fn read_board(board: &RwLock<ScoreBoard>) -> std::sync::RwLockReadGuard<'_, ScoreBoard> {
    board.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
