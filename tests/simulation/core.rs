//! The pure core in a loop of virtual seconds, with its invariants asked at every step.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tcp_forwarder::candidates::Sampler;
use tcp_forwarder::clock;
use tcp_forwarder::config;
use tcp_forwarder::metrics::counters::SwitchReason;
use tcp_forwarder::probing::schedule::{self, Planned, Round};
use tcp_forwarder::probing::sentinels::{Others, Sentinels};
use tcp_forwarder::scorer::link::{LinkWatch, News, Phase};
use tcp_forwarder::scorer::score::ceiling;
use tcp_forwarder::scorer::{FailingDials, Outcome, Rated, Sample, ScoreBoard, Source};
use tcp_forwarder::selector::decide::{self, Decision, Footing, Listed, Member, Situation};

use super::world::{Candidate, Weather, World};

/// For so long a member that is down may stay: until probes alone have told (nobody dials at night).
const LEAVES_WITHIN: Duration = Duration::from_secs(180);
/// After so long a good candidate must be known as one.
const FOUND_WITHIN: Duration = Duration::from_secs(3_600);

macro_rules! hold {
    ($condition:expr, $($text:tt)*) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use hold;

/// What a run came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) switches: [usize; SwitchReason::ALL.len()],
    pub(crate) fallbacks: usize,
    pub(crate) probes: usize,
    pub(crate) outages: usize,
    /// Every switch with its second; two runs of one seed have the same.
    pub(crate) trace: String,
}

pub(crate) struct Core {
    pub(crate) world: World,
    pub(crate) now: Instant,
    start: Instant,
    rng: fastrand::Rng,
    pub(crate) probing: config::Probing,
    pub(crate) selector: config::Selector,
    scoring: config::Scoring,
    pub(crate) board: ScoreBoard,
    sampler: Sampler,
    planned: Vec<Planned>,
    failing: FailingDials,
    link: LinkWatch,
    sentinels: Sentinels,
    pub(crate) phase: Phase,
    /// Somebody fails too many dials.
    is_asked: bool,
    pub(crate) active: Vec<SocketAddr>,
    joined: HashMap<SocketAddr, Instant>,
    footing: Footing,
    last_switch: Option<Instant>,
    last_probed: HashMap<SocketAddr, Instant>,
    pub(crate) tally: Tally,
}

impl Core {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let start = clock::now();
        let world = World::new(seed, weather, start);
        let mut rng = fastrand::Rng::with_seed(!seed);
        let scoring = config::Scoring::default();
        let (probing, selector) = match weather {
            Weather::Stormy => (
                config::Probing {
                    probe_candidate_count: rng.usize(6..25),
                    ..config::Probing::default()
                },
                config::Selector {
                    active_set_size: rng.usize(1..6),
                    ..config::Selector::default()
                },
            ),
            Weather::Calm | Weather::Equal => (config::Probing::default(), config::Selector::default()),
        };
        let longest = probing.timeout.max(Duration::from_secs(1));
        Self {
            sampler: Sampler::new(world.set.clone(), &mut rng),
            last_probed: world.candidates.iter().map(|one| (one.addr, start)).collect(),
            world,
            now: start,
            start,
            rng,
            sentinels: Sentinels::new(&probing),
            probing,
            selector,
            board: ScoreBoard::new(scoring.clone()),
            scoring,
            planned: Vec::new(),
            link: LinkWatch::new(longest),
            phase: Phase::Up,
            is_asked: false,
            failing: FailingDials::new(config::Pools::default().dial_attempts),
            active: Vec::new(),
            joined: HashMap::new(),
            footing: Footing::Good,
            last_switch: None,
            tally: Tally::default(),
        }
    }

    /// Initial probing of everybody, and the first set.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        while let Some(addr) = self.sampler.next(&mut self.rng) {
            self.connect(addr, Source::Probe, self.probing.initial.timeout);
        }
        self.evaluate()?;
        hold!(!self.active.is_empty(), "no first set");
        Ok(())
    }

    /// One second: what happens in the world, probes, dials, and what the selector makes of them.
    pub(crate) fn second(&mut self) -> Result<(), String> {
        self.now += Duration::from_secs(1);
        let second = (self.now - self.start).as_secs();
        self.world.advance(self.now);
        self.judge(None);
        self.follow_link();
        if self.phase == Phase::Down {
            // Nobody has a right to be probed while nobody can be reached.
            self.last_probed
                .values_mut()
                .for_each(|at| *at += Duration::from_secs(1));
        } else if second.is_multiple_of(self.probing.interval.as_secs()) {
            self.plan()?;
        }
        while let Some(planned) = self.sentinels.front().filter(|planned| planned.at <= self.now) {
            self.sentinels.begun();
            self.connect(planned.addr, Source::Probe, self.probing.timeout);
        }
        while let Some(planned) = self
            .planned
            .first()
            .filter(|planned| planned.at <= self.now)
            .copied()
        {
            self.planned.remove(0);
            self.connect(planned.addr, Source::Probe, self.probing.timeout);
        }
        // Traffic by day: one dial a second to each backend.
        if second % 86_400 < 57_600 {
            for addr in self.active.clone() {
                self.connect(addr, Source::Dial, Duration::from_secs(1));
            }
        }
        let is_asked = std::mem::take(&mut self.is_asked);
        let is_due = is_asked || second.is_multiple_of(self.selector.evaluation_interval.as_secs());
        if is_due && self.phase != Phase::Down {
            self.evaluate()?;
        }
        Ok(())
    }

    /// Nobody was to be probed, or replaced, in so long a time, which has just passed.
    pub(crate) fn excuse(&mut self, gap: Duration) {
        let of_set = self.joined.values_mut();
        of_set
            .chain(self.last_probed.values_mut())
            .for_each(|at| *at += gap);
        self.world.excuse(gap);
    }

    /// As the scorer does: what is clear goes on the board.
    fn judge(&mut self, sample: Option<&Sample>) {
        let mut clear = Vec::new();
        match sample {
            Some(sample) => self.link.observe(sample, &self.board, &mut clear),
            None => self.link.on_time(self.now, &self.board, &mut clear),
        }
        for sample in clear {
            self.board.record(&sample);
            if sample.source == Source::Dial && self.active.contains(&sample.addr) {
                self.is_asked |= self.failing.record(&sample);
            }
        }
        let is_down = |news: &News| matches!(news, News::Down { .. });
        self.tally.outages += self.link.take_news().iter().filter(|news| is_down(news)).count();
    }

    /// As the prober does.
    fn follow_link(&mut self) {
        if self.link.phase() != self.phase {
            self.phase = self.link.phase();
            self.sentinels.adopt(&self.link.view(self.now), self.now);
            if self.phase == Phase::Down {
                self.planned.clear();
            }
        }
        if self.sentinels.is_due(self.now) {
            let others = Others {
                active: &self.active,
                stranger: self.sampler.next(&mut self.rng),
            };
            self.sentinels
                .plan(self.now, self.board.touched(), &others, &mut self.rng);
        }
    }

    fn connect(&mut self, addr: SocketAddr, source: Source, timeout: Duration) {
        let outcome: Outcome = self.world.connect(addr, timeout);
        let sample = Sample {
            addr,
            outcome,
            source,
            began_at: self.now,
            at: self.now,
        };
        self.judge(Some(&sample));
        if source == Source::Probe {
            self.last_probed.insert(addr, self.now);
            self.tally.probes += 1;
        }
    }

    fn plan(&mut self) -> Result<(), String> {
        let round = Round {
            now: self.now,
            interval: self.probing.interval,
            count: self.probing.probe_candidate_count,
            active: &self.active,
            best_score: ceiling(&self.scoring),
        };
        let board = &self.board;
        let is_known = |addr: &SocketAddr| board.contains(addr);
        let planned = schedule::plan(
            &round,
            board.touched(),
            is_known,
            &mut self.sampler,
            &mut self.rng,
        );
        hold!(
            planned.len() <= self.probing.probe_candidate_count,
            "{} probes in a round",
            planned.len()
        );
        hold!(
            planned.is_sorted_by_key(|planned| planned.at),
            "probes out of order"
        );
        for planned in &planned {
            let within = self.now..=self.now + self.probing.interval;
            hold!(within.contains(&planned.at), "a probe outside its round");
        }
        self.planned.extend(planned);
        self.nobody_starves()
    }

    /// Whoever is chosen before one that has waited for `t` has waited for at least `t / 4` (the weights are 1
    /// to 4). So nobody is chosen twice within the last fifth of a wait, and in that fifth everybody else
    /// had a turn: the longest wait is that of plain turns times five, and a few rounds for the rounding.
    fn nobody_starves(&self) -> Result<(), String> {
        let room = self.probing.probe_candidate_count - self.selector.active_set_size;
        let rounds = self.world.candidates.len().div_ceil(room) * 5 + 4;
        let longest = self.probing.interval * u32::try_from(rounds).expect("small");
        for (addr, probed) in &self.last_probed {
            let waited = self.now - *probed;
            hold!(
                waited <= longest,
                "{addr} was not probed for {waited:?}, allowed are {longest:?}"
            );
        }
        Ok(())
    }

    fn rated(&self, addr: &SocketAddr) -> Rated {
        self.board
            .score(addr)
            .map_or(Rated::unknown(*addr), |score| Rated::new(*addr, &score))
    }

    /// The mean present score of some candidates.
    fn mean(&self, addrs: &[SocketAddr]) -> f64 {
        decide::mean(&addrs.iter().map(|addr| self.rated(addr)).collect::<Vec<_>>())
    }

    fn evaluate(&mut self) -> Result<(), String> {
        let size = self.selector.active_set_size;
        let rated: Vec<Rated> = self.board.rated().collect();
        let ranked = decide::best(size, rated.iter().copied(), |addr| self.world.set.contains(addr));
        let member = |addr: &SocketAddr| Member {
            rated: self.rated(addr),
            listed: Listed::Yes,
        };
        let current: Vec<_> = self.active.iter().map(member).collect();
        let situation = Situation {
            ranked: &ranked,
            current: &current,
            footing: self.footing,
            last_switch: self.last_switch,
            now: self.now,
        };
        let decision = decide::decide(&situation, &self.selector);
        self.obey(&decision)?;
        self.the_set_is_sound(&rated)
    }

    fn obey(&mut self, decision: &Decision) -> Result<(), String> {
        if decision.footing.is_fallback() && !self.footing.is_fallback() {
            self.tally.fallbacks += 1;
        }
        self.footing = decision.footing;
        let Some(switch) = &decision.switch else {
            return Ok(());
        };
        let members: Vec<_> = switch.members.iter().map(|member| member.addr).collect();
        if switch.reason == SwitchReason::Better {
            let rested = self
                .last_switch
                .is_none_or(|at| self.now - at >= self.selector.debounce_interval);
            hold!(rested, "a switch within the debounce interval");
            let gain = self.mean(&members) - self.mean(&self.active);
            let margin = self.selector.score_improvement_threshold;
            hold!(
                gain >= margin - 1e-9,
                "a switch for a gain of {gain}, inside the margin"
            );
        }
        let second = (self.now - self.start).as_secs();
        writeln!(self.tally.trace, "{second} {} {members:?}", switch.reason.label()).expect("a string");
        self.tally.switches[switch.reason as usize] += 1;
        if !self.active.is_empty() {
            self.last_switch = Some(self.now);
        }
        let stayed = std::mem::take(&mut self.joined);
        let joined = |addr: &SocketAddr| (*addr, stayed.get(addr).copied().unwrap_or(self.now));
        self.joined = members.iter().map(joined).collect();
        self.active = members;
        self.board.set_active(&self.active);
        Ok(())
    }

    /// By what the board says, and by the truth.
    fn the_set_is_sound(&self, rated: &[Rated]) -> Result<(), String> {
        let limits = 0.0..=ceiling(&self.scoring);
        let stray = rated.iter().find(|rated| !limits.contains(&rated.score));
        hold!(stray.is_none(), "{stray:?} is outside {limits:?}");
        let threshold = self.selector.min_score_threshold;
        let size = self.selector.active_set_size;
        let passing = rated.iter().filter(|rated| rated.score >= threshold).count();
        hold!(!self.active.is_empty(), "the set is empty");
        hold!(self.active.len() <= size, "the set is too large");
        hold!(
            self.footing.is_fallback() == (passing == 0),
            "fallback with {passing} that pass"
        );
        if passing > 0 {
            hold!(
                self.active.len() == passing.min(size),
                "{} members of {passing}",
                self.active.len()
            );
            let lowest = self
                .active
                .iter()
                .map(|addr| self.rated(addr).score)
                .fold(f64::INFINITY, f64::min);
            hold!(lowest >= threshold, "a member has score {lowest}");
        }
        // Who replaces a member may have died unseen since its last probe; so time counts from joining.
        let is_lost = |addr: &&SocketAddr| {
            let truth = self.world.truth(addr);
            truth.is_down() && self.now - truth.since.max(self.joined[*addr]) > LEAVES_WITHIN
        };
        let lost: Vec<_> = self.active.iter().filter(is_lost).collect();
        let good = |one: &&Candidate| one.is_good_for(FOUND_WITHIN, self.now);
        let good = self.world.candidates.iter().filter(good).count();
        hold!(
            good < size || lost.is_empty(),
            "{lost:?} are down for long, and still in the set"
        );
        hold!(
            good == 0 || lost.len() < self.active.len(),
            "only dead members, and {good} are good"
        );
        Ok(())
    }
}
