//! One service of the simulated process, and what must hold of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLockReadGuard};
use std::time::{Duration, Instant};

use tcp_forwarder::backend::Backend;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{self, Spec, Strategy};
use tcp_forwarder::scorer::score::ceiling;
use tcp_forwarder::scorer::{Rated, ScoreBoard};
use tcp_forwarder::selector::decide::{self, Footing, SwitchReason};
use tcp_forwarder::service::{Candidate, Service};

use super::core::hold;
use super::world::{Candidate as Truth, World};

/// For so long a member that is down may stay: until probes alone have told (nobody dials at night).
const LEAVES_WITHIN: Duration = Duration::from_secs(180);
/// After so long a good candidate must be known as one.
const FOUND_WITHIN: Duration = Duration::from_secs(3_600);

/// A service, and what was seen of it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) service: Arc<Service>,
    /// Since when who is in the set.
    joined: HashMap<SocketAddr, Instant>,
    pub(crate) active: Vec<SocketAddr>,
    footing: Footing,
    last_switch: Option<Instant>,
    switches: [u64; SwitchReason::ALL.len()],
    last_probed: HashMap<SocketAddr, Instant>,
    /// Since when who is on the list.
    listed: HashMap<SocketAddr, Instant>,
    /// Clients that backends have, and which backends.
    clients: Vec<(Arc<Backend>, u32)>,
    pub(crate) fallbacks: usize,
    pub(crate) probes: usize,
    /// Every switch with its second; two runs of one seed have the same.
    pub(crate) trace: String,
}

/// What the set was before a turn of the selector.
#[derive(Debug)]
pub(crate) struct Before {
    mean: f64,
    /// The mean latency in seconds, if all were measured.
    latency: Option<f64>,
}

impl Watched {
    pub(crate) fn new(service: Arc<Service>, now: Instant) -> Self {
        let mut watched = Self {
            service,
            joined: HashMap::new(),
            active: Vec::new(),
            footing: Footing::Good,
            last_switch: None,
            switches: [0; SwitchReason::ALL.len()],
            last_probed: HashMap::new(),
            listed: HashMap::new(),
            clients: Vec::new(),
            fallbacks: 0,
            probes: 0,
            trace: String::new(),
        };
        watched.follow_list(now);
        watched
    }

    /// The service has another list: who is new on it is to be probed from now on.
    pub(crate) fn follow_list(&mut self, now: Instant) {
        let list = self.list();
        self.last_probed.retain(|addr, _| list.contains(addr));
        self.listed.retain(|addr, _| list.contains(addr));
        for place in 0..list.len() {
            let addr = list.at(place).expect("within the list");
            self.last_probed.entry(addr).or_insert(now);
            self.listed.entry(addr).or_insert(now);
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.service.spec
    }

    pub(crate) fn rules(&self) -> &config::Selector {
        &self.spec().remotes.selector
    }

    pub(crate) fn list(&self) -> Arc<CandidateSet> {
        self.service.live.candidates.load()
    }

    pub(crate) fn board(&self) -> RwLockReadGuard<'_, ScoreBoard> {
        self.service.live.board.read().expect("nobody panicked")
    }

    pub(crate) fn candidate(&self, addr: SocketAddr) -> Candidate {
        Candidate {
            service: self.service.live.id,
            addr,
        }
    }

    pub(crate) fn rated(&self, addr: &SocketAddr) -> Rated {
        self.board().rating(*addr)
    }

    /// The mean present latency of some candidates in seconds, if all were measured.
    fn mean_latency(&self, addrs: &[SocketAddr]) -> Option<f64> {
        let all: Option<Vec<f64>> = addrs
            .iter()
            .map(|addr| self.rated(addr).latency.map(|latency| latency.as_secs_f64()))
            .collect();
        all.map(|all| all.iter().sum::<f64>() / f64::from(u32::try_from(all.len().max(1)).expect("few")))
    }

    /// The mean present score of some candidates.
    fn mean(&self, addrs: &[SocketAddr]) -> f64 {
        decide::mean(&addrs.iter().map(|addr| self.rated(addr)).collect::<Vec<_>>())
    }

    pub(crate) fn probed(&mut self, addr: SocketAddr, now: Instant) -> Result<(), String> {
        self.probes += 1;
        let is_listed = self.list().contains(&addr);
        hold!(
            is_listed || self.active.contains(&addr),
            "{addr} is probed, which is neither listed nor active"
        );
        if is_listed {
            self.last_probed.insert(addr, now);
        }
        Ok(())
    }

    /// Nobody was to be probed, or replaced, in so long a time, which has just passed.
    pub(crate) fn excuse(&mut self, gap: Duration) {
        let of_set = self.joined.values_mut();
        let of_list = self.last_probed.values_mut().chain(self.listed.values_mut());
        of_set.chain(of_list).for_each(|at| *at += gap);
    }

    /// other rules begin now.
    pub(crate) fn forgive(&mut self, now: Instant) {
        self.last_probed.values_mut().for_each(|at| *at = now);
    }

    /// Nobody had a right to be probed in so long a time.
    pub(crate) fn excuse_probes(&mut self, gap: Duration) {
        self.last_probed.values_mut().for_each(|at| *at += gap);
    }

    /// Whoever is chosen before one that has waited for `t` has waited for at least `t / 4` (the weights are 1
    /// to 4). So nobody is chosen twice within the last fifth of a wait, and in that fifth everybody else
    /// had a turn: the longest wait is that of plain turns times five, and a few rounds for the rounding.
    pub(crate) fn nobody_starves(&self, now: Instant) -> Result<(), String> {
        let probing = &self.spec().remotes.probing;
        let room = probing
            .probe_candidate_count
            .saturating_sub(self.active.len())
            .max(1);
        let rounds = self.last_probed.len().div_ceil(room) * 5 + 6;
        let longest = probing.interval * u32::try_from(rounds).expect("small");
        for (addr, probed) in &self.last_probed {
            let waited = now.saturating_duration_since(*probed);
            hold!(
                waited <= longest,
                "{addr} was not probed for {waited:?}, allowed are {longest:?}"
            );
        }
        Ok(())
    }

    /// To be called before a turn of the selector.
    pub(crate) fn before(&self) -> Before {
        Before {
            mean: self.mean(&self.active),
            latency: self.mean_latency(&self.active),
        }
    }

    /// After a turn of the selector: whether it changed the set as it may; whether it did.
    pub(crate) fn after(&mut self, before: &Before, seconds: u64, now: Instant) -> Result<bool, String> {
        let set = self.service.live.active.load();
        let is_fallback = set.footing.is_fallback();
        self.fallbacks += usize::from(is_fallback && !self.footing.is_fallback());
        let has_moved = set.footing != self.footing;
        self.footing = set.footing;
        let counters = self.service.live.counts.switches.iter();
        let switches: Vec<u64> = counters.map(|counter| counter.load(Ordering::Relaxed)).collect();
        let mut moved = (0..).zip(&switches).filter(|(i, now)| self.switches[*i] != **now);
        let Some((reason, count)) = moved.next() else {
            return Ok(has_moved);
        };
        hold!(moved.next().is_none(), "two switches in one turn");
        hold!(*count == self.switches[reason] + 1, "a switch counts once");
        self.switches[reason] = *count;
        let reason = SwitchReason::ALL[reason];
        let members: Vec<_> = set.backends.iter().map(|backend| backend.addr).collect();
        if reason == SwitchReason::Better {
            let debounce = self.rules().debounce_interval;
            let rested = self.last_switch.is_none_or(|at| now - at >= debounce);
            hold!(rested, "a switch within the debounce interval");
            let gain = self.mean(&members) - before.mean;
            let margin = self.rules().score_improvement_threshold;
            let ratio = self.rules().latency_improvement_ratio;
            let sooner = before.latency.zip(self.mean_latency(&members));
            let is_sooner = sooner.is_some_and(|(before, now)| now <= before * (1.0 - ratio) + 1e-9);
            hold!(
                gain >= margin - 1e-9 || (gain >= -1e-9 && is_sooner),
                "a switch for a gain of {gain}, inside the margin, and of {sooner:?} s"
            );
        }
        writeln!(self.trace, "{seconds} {} {members:?}", reason.label()).expect("a string");
        if !self.active.is_empty() {
            self.last_switch = Some(now);
        }
        let stayed = std::mem::take(&mut self.joined);
        let joined = |addr: &SocketAddr| (*addr, stayed.get(addr).copied().unwrap_or(now));
        self.joined = members.iter().map(joined).collect();
        self.active = members;
        Ok(true)
    }

    /// Switches by reason.
    pub(crate) fn switches(&self) -> [u64; SwitchReason::ALL.len()] {
        self.switches
    }

    /// By what the board says, right after an evaluation.
    pub(crate) fn the_set_is_sound(&self) -> Result<(), String> {
        let rated: Vec<Rated> = self.board().rated().collect();
        let limits = 0.0..=ceiling(self.board().rules());
        let stray = rated.iter().find(|rated| !limits.contains(&rated.score));
        hold!(stray.is_none(), "{stray:?} is outside {limits:?}");
        let (threshold, size) = (self.rules().min_score_threshold, self.rules().active_set_size);
        let list = self.list();
        let passes =
            |rated: &&Rated| rated.is_trusted() && rated.score >= threshold && list.contains(&rated.addr);
        let passing = rated.iter().filter(passes).count();
        hold!(!self.active.is_empty(), "the set is empty");
        hold!(
            self.active.len() <= size,
            "{} members, {size} are allowed",
            self.active.len()
        );
        hold!(
            self.footing.is_fallback() == (passing == 0),
            "{:?} with {passing} that pass",
            self.footing
        );
        if passing > 0 {
            hold!(
                self.active.len() == passing.min(size),
                "{} members of {passing}",
                self.active.len()
            );
            let scores = self.active.iter().map(|addr| self.rated(addr).score);
            let lowest = scores.fold(f64::INFINITY, f64::min);
            hold!(lowest >= threshold, "a member has score {lowest}");
        }
        Ok(())
    }

    /// By the truth.
    pub(crate) fn the_set_is_good(&self, world: &World, now: Instant) -> Result<(), String> {
        // Who replaces a member may have died unseen since its last probe; so time counts from joining.
        let is_lost = |addr: &&SocketAddr| {
            let truth = world.truth(addr);
            truth.is_down()
                && now.saturating_duration_since(truth.since.max(self.joined[*addr])) > LEAVES_WITHIN
        };
        let lost: Vec<_> = self.active.iter().filter(is_lost).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let is_known = |since: &Instant| now.saturating_duration_since(*since) >= FOUND_WITHIN;
        let good = |one: &&Truth| {
            one.is_good_for(FOUND_WITHIN, now) && self.listed.get(&one.addr).is_some_and(is_known)
        };
        let good = world.candidates.iter().filter(good).count();
        hold!(
            good < self.rules().active_set_size,
            "{lost:?} are down for long, and still in the set"
        );
        hold!(
            good == 0 || lost.len() < self.active.len(),
            "only dead members, and {good} are good"
        );
        Ok(())
    }

    /// Clients come and go.
    pub(crate) fn serve(&mut self, rng: &mut fastrand::Rng) {
        let set = self.service.live.active.load();
        for (backend, clients) in &mut self.clients {
            let is_member = set.backends.iter().any(|member| Arc::ptr_eq(member, backend));
            let wanted = if is_member { *clients } else { 0 };
            (wanted..*clients).for_each(|_| backend.leave());
            *clients = wanted;
        }
        self.clients.retain(|(_, clients)| *clients > 0);
        for member in &set.backends {
            let known = self
                .clients
                .iter_mut()
                .find(|(backend, _)| Arc::ptr_eq(backend, member));
            let come = rng.u32(0..3);
            (0..come).for_each(|_| member.join());
            match known {
                Some((_, clients)) => {
                    let leave = rng.u32(0..3).min(*clients);
                    (0..leave).for_each(|_| member.leave());
                    *clients = *clients + come - leave;
                }
                None => self.clients.push((Arc::clone(member), come)),
            }
        }
    }

    /// All clients of [`serve`](Self::serve) leave.
    pub(crate) fn dismiss(&mut self) {
        for (backend, clients) in self.clients.drain(..) {
            (0..clients).for_each(|_| backend.leave());
        }
    }

    /// Targets are what the strategy allows, and shares add up to them.
    pub(crate) fn pools_are_sound(&self) -> Result<(), String> {
        for backend in &self.service.live.active.load().backends {
            let target = backend.target.load(Ordering::Relaxed);
            let shares = backend.shares.iter();
            let sum: u32 = shares.map(|share| share.target.load(Ordering::Relaxed)).sum();
            hold!(
                sum == target,
                "shares of {} are {sum}, not {target}",
                backend.addr
            );
            let size = usize::try_from(target).expect("small");
            let is_allowed = match &self.spec().pools.strategy {
                Strategy::Off => size == 0,
                Strategy::Static { size_per_remote } => size == *size_per_remote,
                Strategy::Dynamic(rules) => (rules.min_size..=rules.max_size).contains(&size),
            };
            hold!(
                is_allowed,
                "a target of {size} under {:?}",
                self.spec().pools.strategy
            );
        }
        Ok(())
    }
}
