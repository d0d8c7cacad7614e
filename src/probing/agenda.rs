//! When one service probes whom. Pure.
//!
//! Owns what one service still has to probe: initially (and after a change of its list) everybody that was never
//! touched, or of a large list an even sample; then rounds. Who is in a round is `schedule`'s
//! decision. It must not know other services, sockets, nor what a sample does to a score.
//!
//! ```text
//!          nobody is left and every probe has ended, or it took too long
//!   Sweep ──────────────────────────────────────────────────────────────► Rounds
//!     ▲                                                                     │
//!     └─────────────────────────────────────────────────────────────────────┘
//!                another list, if there is initial probing
//! ```
//!
//! Invariants: a sweep has at most `max_concurrency` probes in flight; nobody waits for a sweep for good; a round is
//! planned once, and none while our own link is down (a sweep goes on: whoever answers proves that the link works);
//! what could not begin in a whole interval is dropped, not kept.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::places::Places;
use super::probe::{Errand, Probe};
use super::schedule::{self, Finalists, Plan, Planned, Round};
use super::strangers::Strangers;
use crate::backend::ActiveSet;
use crate::base::grid::Grid;
use crate::candidates::CandidateSet;
use crate::config::{LatencySource, Probing, Remotes};
use crate::scorer::board::ScoreBoard;
use crate::scorer::link::Phase;
use crate::scorer::sample::{Sample, Touched};
use crate::scorer::score;
use crate::search::Space;
use crate::service::admin_state::AdminStates;
use crate::service::fleet::Share;
use crate::service::id::{Candidate, ServiceId};

/// End of a sweep that cannot get on, for want of descriptors or of room beside other services.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

/// What an agenda never changes.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Whose it is.
    pub service: ServiceId,
    /// What rounds are counted from.
    pub origin: Instant,
    /// Where their probes lie.
    pub places: Places,
}

/// What a service knows when it is asked whom to probe.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What is known of its candidates.
    pub board: &'a ScoreBoard,
    /// Who is probed in every round.
    pub active: &'a ActiveSet,
    /// Who is in maintenance, and not probed.
    pub admin: &'a AdminStates,
}

/// What one service has to probe.
#[derive(Debug)]
pub struct Agenda {
    frame: Frame,
    config: Probing,
    strangers: Strangers,
    /// What of the scores matters here.
    aims: Aims,
    /// How our own link stands.
    link: Phase,
    in_flight: usize,
    /// Whom others of the fleet probe.
    share: Share,
    /// Probes that may still confirm what others have found: whoever is to be a member is seen by each.
    confirmations: f64,
    /// Looks at members of others that were not yet made up for by asking fewer others.
    looks_owed: usize,
    initial: Initial,
    /// What of the open places of rounds proves.
    proof: Proof,
    state: State,
}

/// Whether initial probing is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Initial {
    UnderWay,
    /// It is, and nobody was told.
    Over,
    Told,
}

#[derive(Debug)]
enum State {
    Sweep(Sweep),
    Rounds(Rounds),
}

#[derive(Debug)]
struct Sweep {
    give_up_at: Instant,
    /// Probes that may still begin.
    left: usize,
    /// Who could not be asked for want of descriptors, and comes first.
    put_off: Vec<SocketAddr>,
    /// With whom it began: they are not asked twice before their samples are on the board.
    recalled: HashSet<SocketAddr>,
    proof: Proof,
}

/// What of a sweep proves those that were lucky.
#[derive(Debug)]
struct Proof {
    /// Probes since the last one that proved.
    since: usize,
    /// Who is to be asked again.
    finalists: Vec<SocketAddr>,
    looked_at: Instant,
}

/// Of the probes of a round, this share confirms what others of the fleet have found.
const CONFIRMING_SHARE: f64 = 0.05;
/// A member that is somebody else's to ask is asked here all the same after so many intervals without a word of it.
const STALE_ROUNDS: u32 = 3;
/// And whatever is said of it, for anybody may say it, so often that these looks take one in so many of the fleet's probes.
const OWN_LOOKS_SHARE: usize = 20;
/// Of more nodes than these that share, each looks as often all the same: whoever pretends to be many puts off nobody's looks for
/// longer than that. So more nodes than these take a greater share for looks, out of what they have for others than members.
const MOST_SHARERS: usize = 16;

/// Probes that confirm at once: enough for a whole set.
fn confirmations_at_once(wanted: usize) -> f64 {
    f64::from(u32::try_from(wanted * 3).unwrap_or(u32::MAX))
}

/// Of the probes of a sweep, and of the open places of a round, up to one in so many proves.
const PROOF_SHARE_OF_SWEEP: usize = 8;
const PROOF_SHARE_OF_ROUND: usize = 2;
/// Between two looks for finalists: as long as most answers take, and no more than so many in a round.
const PROOF_PAUSE: Duration = Duration::from_millis(250);
const PROOF_LOOKS_A_ROUND: u32 = 5;

/// How often is proved in a sweep.
const PACE_OF_SWEEP: Pace = Pace {
    share: PROOF_SHARE_OF_SWEEP,
    pause: PROOF_PAUSE,
};

/// How often is proved.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Up to one in so many.
    share: usize,
    /// Between two looks for finalists.
    pause: Duration,
}

impl Proof {
    fn new(now: Instant) -> Self {
        Self {
            since: 0,
            finalists: Vec::new(),
            looked_at: now,
        }
    }

    /// Who of those for whom it holds is asked once more, if it is time for it.
    fn next(
        &mut self,
        now: Instant,
        facts: &Facts<'_>,
        (aims, pace): (Aims, Pace),
        is_one: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        self.since += 1;
        if self.since < pace.share {
            return None;
        }
        if self.finalists.is_empty() && self.looked_at + pace.pause <= now {
            self.looked_at = now;
            let mut finalists = Finalists::among(aims.wanted, aims.confirmed);
            facts
                .board
                .touched()
                .filter(|touched| is_one(&touched.addr) || facts.active.contains(&touched.addr))
                .for_each(|touched| finalists.consider(&touched));
            self.finalists = finalists.of(usize::MAX, is_one);
            // It is taken from the end.
            self.finalists.reverse();
        }
        let next = self.finalists.pop()?;
        self.since = 0;
        Some(next)
    }
}

/// What of scores and sets matters to who is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aims {
    /// Members that an active set has.
    wanted: usize,
    /// Answers that a candidate needs to become one.
    confirmed: u16,
    /// The latency that is scored.
    source: LatencySource,
}

impl Aims {
    /// Those of a configuration.
    fn of(remotes: &Remotes) -> Self {
        Self {
            wanted: remotes.selector.active_set_size,
            confirmed: u16::try_from(remotes.selector.confirm_probes).unwrap_or(u16::MAX),
            source: remotes.scoring.latency.source,
        }
    }
}

#[derive(Debug)]
struct Rounds {
    /// What is left of the round that was planned last.
    queue: VecDeque<Planned>,
    /// Who takes the places that nobody else takes, in this order.
    spare: VecDeque<SocketAddr>,
    /// The round that is planned next.
    number: u64,
}

impl Agenda {
    /// The agenda of a service of which nobody was touched yet.
    pub fn new(
        frame: Frame,
        remotes: &Remotes,
        list: Arc<CandidateSet>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let mut agenda = Self {
            frame,
            config: remotes.probing.clone(),
            strangers: Strangers::new(list, &remotes.probing.search, now, rng),
            aims: Aims::of(remotes),
            link: Phase::Up,
            in_flight: 0,
            share: Share::default(),
            confirmations: confirmations_at_once(remotes.selector.active_set_size),
            looks_owed: 0,
            initial: Initial::UnderWay,
            proof: Proof::new(now),
            state: State::Rounds(Rounds {
                queue: VecDeque::new(),
                spare: VecDeque::new(),
                number: 0,
            }),
        };
        agenda.begin_anew(now);
        agenda
    }

    /// Follows the fleet: these share the probes of rounds, and those of a sweep that begins from now on.
    pub fn follow_fleet(&mut self, share: Share) {
        if let State::Sweep(sweep) = &mut self.state
            && self.strangers.are_searched()
            && self.share != share
            && self.in_flight == 0
        {
            sweep.left = budget(&self.config, &self.strangers).div_ceil(share.nodes());
        }
        self.share = share;
    }

    /// Learns from what another process of the fleet has seen.
    pub fn overhear(&mut self, sample: &Sample, rng: &mut fastrand::Rng) {
        // Others alone never put all that is known in doubt.
        self.strangers.learn(sample, self.aims.source, rng);
    }

    /// How many candidates are on the list.
    pub fn listed(&self) -> u128 {
        self.strangers.list().len()
    }

    /// Probes that may still begin in a sweep; none in rounds.
    pub fn sweeps(&self) -> Option<usize> {
        match &self.state {
            State::Sweep(sweep) => Some(sweep.left),
            State::Rounds(_) => None,
        }
    }

    /// Has a sweep begin with those of which something is known from a process before this one, in this order; they take up
    /// to half of it, unless all of the list are asked. Rounds have their own order.
    pub fn begin_with(&mut self, recalled: impl Iterator<Item = SocketAddr>) {
        let list = self.strangers.list();
        let State::Sweep(sweep) = &mut self.state else {
            return;
        };
        let is_whole = u128::try_from(sweep.left).is_ok_and(|left| left >= list.len());
        let most = if is_whole {
            sweep.left
        } else {
            sweep.left.div_ceil(2)
        };
        let mut first = Vec::new();
        for addr in recalled.filter(|addr| list.contains(addr)) {
            if first.len() < most && sweep.recalled.insert(addr) {
                first.push(addr);
            }
        }
        sweep.left -= first.len();
        // It is taken from the end.
        sweep.put_off.extend(first.into_iter().rev());
    }

    /// What is known from before this process, or from an earlier stay on this way to the network, is a beginning for the
    /// search.
    pub fn remember(&mut self, known: impl Iterator<Item = Touched>, rng: &mut fastrand::Rng) {
        self.strangers.remember(known, rng);
    }

    /// Whether initial probing is over (or was never begun); tells so once.
    pub fn take_swept(&mut self) -> bool {
        let is_news = self.initial == Initial::Over;
        if is_news {
            self.initial = Initial::Told;
        }
        is_news
    }

    /// Somebody on the list, to ask about our own link.
    pub fn stranger(&mut self, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        self.strangers.anybody(rng)
    }

    /// A probe of a candidate of this service that is to learn of our own link: a connect is enough.
    pub fn sentinel(&self, addr: SocketAddr) -> Probe {
        self.probe(addr, Errand::Sentinel, false)
    }

    /// Follows a changed list: whoever was never touched is probed.
    pub fn relist(&mut self, list: Arc<CandidateSet>, now: Instant, rng: &mut fastrand::Rng) {
        self.strangers.relist(list, now, rng);
        let left = self.budget();
        let list = self.strangers.list();
        match &mut self.state {
            // Its time is not prolonged: somebody may wait for its end.
            State::Sweep(sweep) => {
                sweep.left = left;
                sweep.put_off.retain(|addr| list.contains(addr));
                sweep.proof.finalists.retain(|addr| list.contains(addr));
            }
            State::Rounds(_) if self.config.initial.enabled => self.begin_anew(now),
            State::Rounds(rounds) => {
                rounds
                    .queue
                    .retain(|planned| planned.addr.is_none_or(|addr| list.contains(&addr)));
                rounds.spare.retain(|addr| list.contains(addr));
            }
        }
    }

    /// Looks at everybody anew, if there is initial probing: what is known may have become untrue.
    pub fn sweep_anew(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.strangers.forget(now, rng);
        self.initial = Initial::UnderWay;
        self.begin_anew(now);
    }

    /// Follows a changed configuration. A sweep that is under way goes on; none begins.
    pub fn adopt(&mut self, remotes: &Remotes, now: Instant, rng: &mut fastrand::Rng) {
        self.aims = Aims::of(remotes);
        let config = &remotes.probing;
        if self.config == *config {
            return;
        }
        self.config = config.clone();
        self.strangers.adopt(&config.search, now, rng);
        let left = self.budget();
        match &mut self.state {
            State::Sweep(sweep) if self.config.initial.enabled => {
                sweep.left = sweep.left.min(left);
            }
            State::Sweep(_) | State::Rounds(_) => self.begin_rounds(now),
        }
    }

    /// Drops all that is planned: the service falls asleep, and is not asked before it [wakes](Self::wake).
    pub fn rest(&mut self, now: Instant) {
        self.begin_rounds(now);
    }

    /// The service wakes: a sweep begins with those that are known, in this order, or a round of them at once where there
    /// is no initial probing.
    pub fn wake(&mut self, known: impl Iterator<Item = SocketAddr>, now: Instant) {
        self.initial = Initial::UnderWay;
        self.begin_anew(now);
        let (count, number) = (self.config.probe_candidate_count, self.grid().number(now));
        match &mut self.state {
            State::Sweep(_) => self.begin_with(known),
            State::Rounds(rounds) => {
                let list = self.strangers.list();
                let mut seen = HashSet::new();
                let known = known.filter(|addr| list.contains(addr) && seen.insert(*addr));
                let planned = known.take(count).map(|addr| Planned {
                    at: now,
                    addr: Some(addr),
                });
                rounds.queue = planned.collect();
                rounds.number = number + 1;
            }
        }
    }

    /// Somebody wants a candidate probed before its time: it is next.
    pub fn hasten(&mut self, addr: SocketAddr, now: Instant) {
        match &mut self.state {
            State::Sweep(sweep) => sweep.put_off.push(addr),
            State::Rounds(rounds) => rounds.queue.push_front(Planned {
                at: now,
                addr: Some(addr),
            }),
        }
    }

    /// A look at a member while the service is asleep; it counts as one that has [joined](Self::joined).
    pub fn look(&mut self, addr: SocketAddr, now: Instant) -> Probe {
        self.joined();
        // It is all that is heard of it for long.
        self.probe(addr, Errand::Round { at: now }, true)
    }

    /// Follows our own link: what was planned when it went down is dropped, and once it is back a round begins.
    pub fn follow_link(&mut self, phase: Phase, now: Instant) {
        self.link = phase;
        let number = self.grid().number(now);
        let State::Rounds(rounds) = &mut self.state else {
            return;
        };
        match phase {
            Phase::Up | Phase::Suspect => {}
            Phase::Down => rounds.queue.clear(),
            Phase::Settling => rounds.number = number,
        }
    }

    /// When [`begin`](Self::begin) should be asked, if there is no ending to wait for; never before `now`.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Sweep(sweep) => {
                let has_work = sweep.left > 0 || !sweep.put_off.is_empty();
                (has_work && self.in_flight < self.config.initial.max_concurrency).then_some(now)
            }
            State::Rounds(_) if self.link == Phase::Down => None,
            State::Rounds(rounds) => {
                let next_round = self.grid().time(rounds.number);
                let next = rounds.queue.front().map_or(next_round, |next| next.at);
                Some(next.min(next_round).max(now))
            }
        }
    }

    /// When [`give_up`](Self::give_up) is due.
    pub fn gives_up_at(&self) -> Option<Instant> {
        match &self.state {
            State::Sweep(sweep) => Some(sweep.give_up_at),
            State::Rounds(_) => None,
        }
    }

    /// Gives a sweep up that took too long; whether it did.
    pub fn give_up(&mut self, now: Instant) -> bool {
        let is_over = self.gives_up_at().is_some_and(|at| at <= now);
        if is_over {
            self.begin_rounds(now);
        }
        is_over
    }

    /// The probe that begins now, if any does.
    pub fn begin(&mut self, now: Instant, facts: &Facts<'_>, rng: &mut fastrand::Rng) -> Option<Probe> {
        let probe = match &self.state {
            State::Sweep(_) => self.go_on_sweeping(now, facts, rng),
            State::Rounds(_) => None,
        };
        let probe = probe.or_else(|| self.go_round(now, facts, rng));
        self.in_flight += usize::from(probe.is_some());
        debug_assert!(
            probe.is_some() || self.next_at(now).is_none_or(|at| at > now),
            "who has nothing to begin is not asked again at once"
        );
        probe
    }

    /// A probe of this service has begun that is none of the agenda's.
    pub fn joined(&mut self) {
        self.in_flight += 1;
    }

    /// A probe has ended, whosever it was.
    pub fn ended(&mut self, now: Instant) {
        debug_assert!(self.in_flight > 0, "what ends has begun");
        self.in_flight = self.in_flight.saturating_sub(1);
        if let State::Sweep(sweep) = &self.state
            && self.in_flight == 0
            && sweep.left == 0
            && sweep.put_off.is_empty()
        {
            self.begin_rounds(now);
        }
    }

    /// Learns from what a probe came to, whosever it was. While our own link is in doubt, who does not answer is not to blame.
    /// Whether answers have become so unlike what was expected of them that all that is known is in doubt.
    pub fn learn(&mut self, sample: &Sample, rng: &mut fastrand::Rng) -> bool {
        (self.link == Phase::Up || sample.outcome.is_answer())
            && self.strangers.learn(sample, self.aims.source, rng)
    }

    /// What the search knows of the list, if there is one.
    pub fn space(&self, now: Instant) -> Option<Space> {
        self.strangers.space(now)
    }

    /// A probe of the agenda could not begin: it comes first when one can.
    pub fn put_off(&mut self, probe: &Probe, now: Instant) {
        let addr = probe.candidate.addr;
        let is_listed = self.strangers.list().contains(&addr);
        match (&mut self.state, probe.errand) {
            (State::Sweep(sweep), Errand::Sweep) if is_listed => sweep.put_off.push(addr),
            (State::Rounds(rounds), Errand::Round { at }) => {
                rounds.queue.push_front(Planned { at, addr: Some(addr) });
            }
            // It was planned before a change, or it is somebody else's.
            (State::Sweep(_) | State::Rounds(_), Errand::Sweep | Errand::Round { .. } | Errand::Sentinel) => {
            }
        }
        self.ended(now);
    }

    /// How many probes a sweep makes. A list that is not looked at whole is a budget that is shared.
    fn budget(&self) -> usize {
        let all = budget(&self.config, &self.strangers);
        if self.strangers.are_searched() {
            all.div_ceil(self.share.nodes())
        } else {
            all
        }
    }

    fn grid(&self) -> Grid {
        Grid::new(self.frame.origin, self.config.interval)
    }

    /// A sweep, if there is initial probing, or rounds.
    fn begin_anew(&mut self, now: Instant) {
        if !self.config.initial.enabled {
            self.begin_rounds(now);
            return;
        }
        let left = self.budget();
        let initial = &self.config.initial;
        let waves = left.div_ceil(initial.max_concurrency.max(1)) + 1;
        let longest = initial.timeout * u32::try_from(waves).unwrap_or(u32::MAX);
        self.state = State::Sweep(Sweep {
            give_up_at: now + SWEEP_LIMIT.max(longest),
            left,
            put_off: Vec::new(),
            recalled: HashSet::new(),
            proof: Proof::new(now),
        });
    }

    fn begin_rounds(&mut self, now: Instant) {
        if self.initial == Initial::UnderWay {
            self.initial = Initial::Over;
        }
        self.state = State::Rounds(Rounds {
            queue: VecDeque::new(),
            spare: VecDeque::new(),
            number: self.grid().number(now),
        });
    }

    fn go_on_sweeping(&mut self, now: Instant, facts: &Facts<'_>, rng: &mut fastrand::Rng) -> Option<Probe> {
        if self.in_flight >= self.config.initial.max_concurrency {
            return None;
        }
        let addr = loop {
            match self.next_of_sweep(now, facts, rng) {
                Some(addr) if facts.admin.is_in_maintenance(&addr) => {}
                next => break next,
            }
        };
        if addr.is_none() && self.in_flight == 0 {
            self.begin_rounds(now);
        }
        addr.map(|addr| self.probe(addr, Errand::Sweep, true))
    }

    /// Who is next in a sweep, if anybody is left.
    fn next_of_sweep(
        &mut self,
        now: Instant,
        facts: &Facts<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<SocketAddr> {
        let State::Sweep(sweep) = &mut self.state else {
            return None;
        };
        if let Some(addr) = sweep.put_off.pop() {
            return Some(addr);
        }
        if sweep.left == 0 {
            return None;
        }
        let share = &self.share;
        let is_known = |addr: &SocketAddr| {
            facts.board.is_fresh(addr) || sweep.recalled.contains(addr) || !share.is_mine(addr)
        };
        let proof = if self.strangers.are_searched() {
            sweep.proof.next(now, facts, (self.aims, PACE_OF_SWEEP), |_| true)
        } else {
            None
        };
        let next = proof.or_else(|| self.strangers.next(is_known, rng));
        sweep.left = next.map_or(0, |_| sweep.left - 1);
        next
    }

    fn go_round(&mut self, now: Instant, facts: &Facts<'_>, rng: &mut fastrand::Rng) -> Option<Probe> {
        loop {
            // What is due of the round before is begun before another one is planned, which may have been due for a moment.
            if let Some((at, addr)) = self.next_planned(now, facts, rng) {
                let asks = self.asks(&addr, at, facts);
                return Some(self.probe(addr, Errand::Round { at }, asks));
            }
            match &self.state {
                State::Rounds(rounds)
                    if self.link != Phase::Down && self.grid().time(rounds.number) <= now =>
                {
                    self.state = State::Rounds(self.plan(now, facts, rng));
                }
                State::Rounds(_) | State::Sweep(_) => return None,
            }
        }
    }

    /// The next probe of the present round that is due, and whom it is about. What could not begin in a whole interval is
    /// dropped, and who left meanwhile is not asked.
    fn next_planned(
        &mut self,
        now: Instant,
        facts: &Facts<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<(Instant, SocketAddr)> {
        while let State::Rounds(rounds) = &mut self.state
            && let Some(next) = rounds.queue.front().copied()
            && next.at <= now
        {
            rounds.queue.pop_front();
            if next.at + self.config.interval <= now {
                continue;
            }
            let addr = match next.addr {
                Some(addr) => Some(addr),
                None => self.whoever(now, facts, rng),
            };
            let list = self.strangers.list();
            if let Some(addr) = addr
                && !facts.admin.is_in_maintenance(&addr)
                && (list.contains(&addr) || facts.active.contains(&addr))
            {
                return Some((next.at, addr));
            }
        }
        None
    }

    /// Who is worth an open place: a finalist, a stranger, or who is spare.
    fn whoever(&mut self, now: Instant, facts: &Facts<'_>, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        let (list, share) = (Arc::clone(self.strangers.list()), &self.share);
        let is_one = |addr: &SocketAddr| {
            share.is_mine(addr)
                && list.contains(addr)
                && !facts.active.contains(addr)
                && !facts.admin.is_in_maintenance(addr)
        };
        let pace = Pace {
            share: PROOF_SHARE_OF_ROUND,
            pause: PROOF_PAUSE.max(self.config.interval / PROOF_LOOKS_A_ROUND),
        };
        let finalist = self.proof.next(now, facts, (self.aims, pace), is_one);
        let is_known = |addr: &SocketAddr| {
            facts.active.contains(addr)
                || facts.admin.is_in_maintenance(addr)
                // Who never answered is remembered by the model, for as long as that is worth anything.
                || facts.board.rating(*addr).successes > 0
                || !share.is_mine(addr)
        };
        let next = finalist.or_else(|| self.strangers.next(is_known, rng));
        next.or_else(|| match &mut self.state {
            State::Rounds(rounds) => rounds.spare.pop_front(),
            State::Sweep(_) => None,
        })
    }

    /// What is left of the present round.
    fn plan(&mut self, now: Instant, facts: &Facts<'_>, rng: &mut fastrand::Rng) -> Rounds {
        let members = facts.active.backends.iter().map(|backend| backend.addr);
        // Who drains is to be known as well as members are, for it may become one again.
        let draining = facts.admin.draining().take(self.aims.wanted);
        let draining = draining.filter(|addr| self.strangers.list().contains(addr));
        let draining = draining.filter(|addr| !facts.active.contains(addr));
        let mut active: Vec<SocketAddr> = members.chain(draining).collect();
        let number = self.grid().number(now);
        let nodes = self.share.nodes();
        let others = self.config.probe_candidate_count.saturating_sub(active.len());
        let mut count = self.config.probe_candidate_count;
        // Where nodes share, others have their part of all rounds already; where members are all that is asked, one node's turn it is.
        let is_shared_with_others = nodes == 1 || (others == 0 && rng.usize(0..nodes) == 0);
        let mut confirmed_here = Vec::new();
        if nodes > 1 {
            confirmed_here = self.unconfirmed(facts);
            let looks = self.keep_own(&mut active, now, facts, rng);
            let part = others / nodes + usize::from(rng.usize(0..nodes) < others % nodes);
            let owed = self.looks_owed + looks;
            self.looks_owed = owed.saturating_sub(part).min(self.aims.wanted);
            count = active.len() + part.saturating_sub(owed);
        }
        let share = &self.share;
        let round = Round {
            now,
            grid: self.grid(),
            number,
            places: self.frame.places,
            count,
            is_shared_with_others,
            active: &active,
            best_score: score::ceiling(facts.board.rules()),
            wanted: self.aims.wanted,
            confirmed: self.aims.confirmed,
        };
        let is_known = |addr: &SocketAddr| facts.board.contains(addr) || !share.is_mine(addr);
        let touched = facts.board.touched();
        let touched = touched.filter(|row| !facts.admin.is_in_maintenance(&row.addr));
        let touched = touched.filter(|row| share.is_mine(&row.addr) || active.contains(&row.addr));
        let Plan { probes, spare } = schedule::plan(&round, touched, is_known, &mut self.strangers, rng);
        let mut queue = VecDeque::from(probes);
        for addr in confirmed_here.into_iter().map(Some) {
            if !queue.iter().any(|planned| planned.addr == addr) {
                queue.push_front(Planned { at: now, addr });
            }
        }
        Rounds {
            queue,
            spare: spare.into(),
            number: number + 1,
        }
    }

    /// Keeps the members that this process asks in this round: its own, those of which nobody says anything, and those that it has
    /// not seen answer for too long, whatever is said of them. How many of the last there are.
    fn keep_own(
        &self,
        active: &mut Vec<SocketAddr>,
        now: Instant,
        facts: &Facts<'_>,
        rng: &mut fastrand::Rng,
    ) -> usize {
        let rounds = self.own_look_rounds(active.len());
        let is_older = |at: Option<Instant>, rounds: u32| {
            at.is_none_or(|at| {
                now.saturating_duration_since(at) > self.config.interval.saturating_mul(rounds)
            })
        };
        let mut looks = 0;
        active.retain(|addr| {
            if self.share.is_mine(addr) || is_older(facts.board.sampled_at(addr), STALE_ROUNDS) {
                return true;
            }
            let proved_at = facts.board.proved_at(addr);
            // Not all in one round, nor all nodes.
            let mut is_drawn = || is_older(proved_at, rounds / 2) && rng.u32(0..rounds.div_ceil(2)) == 0;
            let is_looked_at = is_older(proved_at, rounds - 1) || is_drawn();
            looks += usize::from(is_looked_at);
            is_looked_at
        });
        looks
    }

    /// Rounds after which each process looks for itself at a member, of so many, that is somebody else's to ask.
    fn own_look_rounds(&self, members: usize) -> u32 {
        let nodes = self.share.nodes().min(MOST_SHARERS);
        let rounds = (OWN_LOOKS_SHARE * nodes * members).div_ceil(self.config.probe_candidate_count.max(1));
        u32::try_from(rounds).unwrap_or(u32::MAX).max(STALE_ROUNDS)
    }

    /// Who is to be a member by the word of others, and is asked here before it is believed; so many that the fleet makes hardly
    /// more probes by that.
    fn unconfirmed(&mut self, facts: &Facts<'_>) -> Vec<SocketAddr> {
        let nodes = f64::from(u32::try_from(self.share.nodes()).unwrap_or(u32::MAX));
        let count = f64::from(u32::try_from(self.config.probe_candidate_count).unwrap_or(u32::MAX));
        let most = confirmations_at_once(self.aims.wanted);
        self.confirmations = (self.confirmations + count * CONFIRMING_SHARE / nodes).min(most);
        let mut finalists = Finalists::among(self.aims.wanted, self.aims.confirmed);
        for touched in facts.board.touched() {
            let addr = &touched.addr;
            if !self.share.is_mine(addr)
                && !facts.active.contains(addr)
                && !facts.admin.is_in_maintenance(addr)
                && self.strangers.list().contains(addr)
            {
                finalists.consider(&touched);
            }
        }
        let mut chosen = finalists.of(self.aims.wanted, |_| true);
        let mut left = self.confirmations;
        chosen.retain(|_| {
            left -= 1.0;
            left >= 0.0
        });
        for _ in &chosen {
            self.confirmations -= 1.0;
        }
        chosen
    }

    /// Whether a probe of a round asks for more than a connect: a look at a member of somebody else does.
    fn asks(&self, addr: &SocketAddr, at: Instant, facts: &Facts<'_>) -> bool {
        let every = u64::from(self.config.check.every.max(1));
        self.grid().number(at).is_multiple_of(every)
            || !facts.board.answers_checks(addr)
            || (facts.active.contains(addr) && !self.share.is_mine(addr))
    }

    fn probe(&self, addr: SocketAddr, errand: Errand, asks: bool) -> Probe {
        Probe {
            candidate: Candidate {
                service: self.frame.service,
                addr,
            },
            timeout: match errand {
                Errand::Sweep => self.config.initial.timeout,
                Errand::Round { .. } | Errand::Sentinel => self.config.timeout,
            },
            errand,
            port: self.config.check.port,
            asks,
        }
    }
}

/// How many probes a sweep makes.
fn budget(config: &Probing, strangers: &Strangers) -> usize {
    if config.search.enabled {
        // A list that is no longer is looked at whole.
        let listed = usize::try_from(strangers.list().len()).unwrap_or(usize::MAX);
        return config.search.start_budget.min(listed);
    }
    schedule::initial_budget(config.initial.max_concurrency, config.initial.timeout)
}

#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod tests;
