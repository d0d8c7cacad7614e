//! What the selector keeps of one service, and an evaluation of it.
//!
//! It reads the board and the candidates, and is the only one that publishes the service's active set. When it is to
//! evaluate is the thread's affair.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockReadGuard, Weak};
use std::time::Instant;

use super::decide::{self, Footing, Listed, Member, Ratings, Situation, Switch, SwitchReason, decide};
use super::record::{self, Course, Detail, Entry, MAX_WITHDRAWN_ROWS, Record};
use super::report;
use super::tiers::{Place, Tiers};
use crate::backend::{ActiveSet, Backend};
use crate::base::grid::Grid;
use crate::base::published::Reader;
use crate::base::told::Told;
use crate::candidates::CandidateSet;
use crate::config::{self, Strategy};
use crate::pools::targets;
use crate::scorer::board::ScoreBoard;
use crate::scorer::sample::Rated;
use crate::service::admin_state::{AdminState, AdminStates};
use crate::service::directory::Service;
use crate::service::events::Events;
use crate::service::slumber::Slumber;
use crate::service::uplink::{MAX_UPLINKS, UplinkId};

/// What the selector keeps of one service.
#[derive(Debug)]
pub(super) struct Choice {
    service: Arc<Service>,
    events: Arc<Events>,
    /// Who may be chosen.
    candidates: Reader<CandidateSet>,
    /// Whom somebody has taken out.
    admin: Reader<AdminStates>,
    /// Whether somebody asked, and was not heeded yet.
    pub(super) is_asked: bool,
    /// When it is evaluated unasked.
    due: Instant,
    told: Told,
    last_switch: Option<Instant>,
    /// How the members came in.
    entries: Vec<Entry>,
    /// Whether the service is asleep.
    slumber: Reader<Slumber>,
    /// Whether initial probing was over at the evaluation before: until then sets are made of whoever has answered so far,
    /// and better ones need not wait.
    is_settled: bool,
    /// Whom those turn to whom all members have failed, by address.
    reserve: Vec<SocketAddr>,
    /// Backends by address, as long as anybody holds them.
    known: HashMap<SocketAddr, Weak<Backend>>,
    /// On which way to the network the set was chosen.
    uplink: UplinkId,
    /// The sets of other ways, the one that was left last at the end.
    aside: Vec<(UplinkId, Vec<SocketAddr>)>,
    /// Whether the way is a new one, on which enough is to be known before the set changes.
    awaits_sweep: bool,
}

impl Choice {
    /// Nothing is chosen yet; it is looked at when it can be.
    pub(super) fn new(service: Arc<Service>, events: Arc<Events>, due: Instant) -> Self {
        Self {
            events,
            candidates: Reader::new(Arc::clone(&service.live.candidates)),
            admin: Reader::new(Arc::clone(&service.live.admin)),
            slumber: Reader::new(Arc::clone(&service.live.slumber)),
            service,
            is_asked: true,
            due,
            told: Told::default(),
            last_switch: None,
            entries: Vec::new(),
            is_settled: false,
            reserve: Vec::new(),
            known: HashMap::new(),
            uplink: 0,
            aside: Vec::new(),
            awaits_sweep: false,
        }
    }

    /// The rules of the choice.
    pub(super) fn rules(&self) -> &config::Selector {
        &self.service.spec.remotes.selector
    }

    /// When it is due next on the grid that began at `origin`.
    pub(super) fn plan(&mut self, origin: Instant, now: Instant) {
        self.due = Grid::new(origin, self.rules().evaluation_interval).next(now);
    }

    /// Follows the service under another configuration; whether that has other rules. A changed candidate list is no
    /// reason to look: its newcomers are to be probed first.
    pub(super) fn change(&mut self, service: &Arc<Service>) -> bool {
        debug_assert!(
            Arc::ptr_eq(&self.service.live, &service.live),
            "a service's number is that of its living state"
        );
        let before = std::mem::replace(&mut self.service, Arc::clone(service));
        let (before, after) = (&before.spec.remotes, &service.spec.remotes);
        let is_new = before.selector != after.selector
            || before.probing.initial.enabled != after.probing.initial.enabled;
        self.is_asked |= is_new;
        is_new
    }

    /// Takes the request of whoever asked, and follows whether the service is asleep: when it wakes, times of evaluations
    /// that have passed meanwhile are none to catch up with.
    pub(super) fn hear(&mut self, origin: Instant, now: Instant) {
        self.is_asked |= self.service.live.evaluation.take() | self.admin.refresh();
        if self.candidates.refresh() {
            // What entries say of members holds at once.
            let present = self.service.live.active.load();
            if !present.backends.is_empty() {
                self.publish(present.backends.clone(), present.footing, now);
            }
        }
        if self.slumber.refresh() && !self.slumber.is_asleep() {
            self.plan(origin, now);
        }
    }

    /// When it is evaluated unasked; none while the service is asleep, for nothing is new then.
    pub(super) fn next_at(&self) -> Option<Instant> {
        (!self.slumber.is_asleep()).then_some(self.due)
    }

    /// Looks at all scores and publishes another set if one is due, unless it is too early for the first.
    pub(super) fn evaluate(&mut self, now: Instant) {
        self.is_asked = false;
        self.candidates.refresh();
        self.follow_uplink(now);
        let has_set = !self.service.live.active.load().backends.is_empty() || self.recall(now);
        if (!has_set || self.awaits_sweep) && !self.is_ready() {
            let course = if has_set {
                Course::AwaitsSweep
            } else {
                Course::AwaitsFirstSet
            };
            return self.note(course, Vec::new(), now);
        }
        // The first set on a way to the network is no switch.
        let is_first = std::mem::take(&mut self.awaits_sweep);
        let present = self.service.live.active.load();
        let Seen {
            ratings,
            current,
            details,
            reserve,
        } = self.rate(&present);
        self.reserve = reserve;
        let situation = Situation {
            ratings: &ratings,
            current: &current,
            footing: present.footing,
            last_switch: self.last_switch,
            now,
        };
        let decision = decide(&situation, self.rules());
        if self.told.is_due(decision.footing.is_fallback(), now) {
            let threshold = self.rules().min_score_threshold;
            report::footing(&self.events, &self.service.name, decision.footing, threshold);
        }
        match &decision.switch {
            Some(switch) => {
                let who = (&self.service.name, &*self.candidates);
                report::switch(&self.events, who, switch, &current);
                self.switch(switch, decision.footing, &present, now);
                if !current.is_empty() && self.is_settled && !is_first {
                    self.last_switch = Some(now);
                }
            }
            None => self.publish(present.backends.clone(), decision.footing, now),
        }
        let aim = (self.rules(), self.confirmed());
        let rows = record::rows(&situation, &decision, &details, &self.entries, aim);
        let course = Course::Decided {
            switch: decision.switch.map(|switch| switch.reason),
            footing: decision.footing,
            contests: decision.contests,
        };
        self.note(course, rows, now);
        self.is_settled = self.service.live.is_swept.load(Ordering::Acquire);
    }

    /// Publishes what an evaluation came to.
    fn note(&self, course: Course, rows: Vec<record::Row>, now: Instant) {
        let record = Record {
            at: now,
            rules: self.rules().clone(),
            confirmed: self.confirmed(),
            course,
            last_switch: self.last_switch,
            rows,
        };
        self.service.live.record.publish(Arc::new(Some(record)));
    }

    /// Whether a candidate may be chosen.
    fn may_serve(&self, addr: &SocketAddr) -> bool {
        self.candidates.contains(addr) && self.admin.is_ready(addr)
    }

    /// Follows the board to another way to the network: the set of that way is back in force at once, if it has one. Else the
    /// present one stays until enough is known there.
    fn follow_uplink(&mut self, now: Instant) {
        let uplink = self.board().uplink();
        let present = self.service.live.active.load();
        let before = std::mem::replace(&mut self.uplink, uplink);
        if before == uplink || present.backends.is_empty() {
            return;
        }
        let members = present.backends.iter().map(|backend| backend.addr);
        self.aside.push((before, members.collect()));
        let back = self.aside.iter().position(|(known, _)| *known == uplink);
        let back = back.map(|back| self.aside.remove(back).1);
        if self.aside.len() >= MAX_UPLINKS {
            self.aside.remove(0);
        }
        self.last_switch = None;
        self.awaits_sweep = !back.is_some_and(|members| self.begin_with(&members, &present, now));
    }

    /// Begins with the active set of the process before this one, if there was any, or with that of another process of the fleet; it
    /// is probed while it serves.
    fn recall(&mut self, now: Instant) -> bool {
        let live = Arc::clone(&self.service.live);
        self.begin_with(&live.recalled.members, &ActiveSet::default(), now)
            || self.begin_with(&live.outset.load().active, &ActiveSet::default(), now)
    }

    /// Publishes a set that was chosen before, without those who are candidates no more; whether anybody is left.
    fn begin_with(&mut self, addrs: &[SocketAddr], before: &ActiveSet, now: Instant) -> bool {
        let board = self.board();
        let mut members: Vec<Rated> = Vec::new();
        for addr in addrs {
            let is_new = members.iter().all(|member| member.addr != *addr);
            if is_new && members.len() < self.rules().active_set_size && self.may_serve(addr) {
                members.push(board.rating(*addr));
            }
        }
        let current: Vec<Member> = before
            .backends
            .iter()
            .map(|backend| Member {
                rated: board.rating(backend.addr),
                listed: Listed::Yes,
            })
            .collect();
        drop(board);
        if members.is_empty() {
            return false;
        }
        let first = Switch {
            members,
            reason: SwitchReason::Initial,
        };
        report::switch(
            &self.events,
            (&self.service.name, &self.candidates),
            &first,
            &current,
        );
        self.switch(&first, Footing::Good, before, now);
        true
    }

    fn board(&self) -> RwLockReadGuard<'_, ScoreBoard> {
        let board = self.service.live.board.read();
        board.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a first set can be chosen: nobody is probed at first, or all were, or enough of them answer.
    fn is_ready(&self) -> bool {
        let Service { spec, live, .. } = &*self.service;
        let enough = || self.board().answering() >= spec.remotes.selector.active_set_size;
        !spec.remotes.probing.initial.enabled || live.is_swept.load(Ordering::Acquire) || enough()
    }

    /// Answers that confirm a candidate. Just after a sweep of a list that is looked at whole nobody has given more than one, and
    /// the best of all that answered are better than the first that did.
    fn confirmed(&self) -> usize {
        let search = &self.service.spec.remotes.probing.search;
        let is_long = self.candidates.len() > u128::try_from(search.start_budget).unwrap_or(u128::MAX);
        if self.is_settled || (search.enabled && is_long) {
            self.rules().confirm_probes
        } else {
            1
        }
    }

    /// The best candidates, and the members of the present set, with their scores.
    fn rate(&self, present: &ActiveSet) -> Seen {
        let size = self.rules().active_set_size;
        let board = self.board();
        // What is only recalled makes no set better; it does for the place of who fails, if nothing else does.
        let members = || board.recalled().filter(|rated| present.contains(&rated.addr));
        let all = || board.rated().chain(members());
        let tiers = self.tiers(all(), present);
        let mut current: Vec<_> = present
            .backends
            .iter()
            .map(|backend| self.member(board.rating(backend.addr), tiers))
            .collect();
        let may_serve = |rated: &Rated| self.may_serve_in(rated, tiers);
        let aim = (size, self.confirmed());
        let mut ratings = Ratings::of(all, &current, aim, may_serve);
        let ranked = &ratings.ranked;
        let known = |addr: &SocketAddr| ranked.iter().any(|rated| rated.addr == *addr);
        let others = decide::best(size, board.recalled(), decide::by_rank, |rated| {
            may_serve(rated) && !known(&rated.addr)
        });
        ratings.ranked.extend(others);
        let reserve = self.reserve_of(all(), tiers);
        let mut details = self.details(&board, record::subjects(&ratings, &current, &reserve), tiers);
        drop(board);
        strike_surplus(&mut current, size);
        // Too few were touched (initial probing is off): strangers rank last, and only a set that
        // cannot be chosen by score is made of them.
        for unknown in self.strangers(size, &ratings.ranked, tiers) {
            ratings.ranked.push(unknown);
            details.push((unknown, Detail::default()));
        }
        let mut reserve: Vec<_> = reserve.iter().map(|rated| rated.addr).collect();
        // Who is there changes less often than who is better.
        reserve.sort_unstable();
        Seen {
            ratings,
            current,
            details,
            reserve,
        }
    }

    fn tier(&self, addr: &SocketAddr) -> u16 {
        self.candidates.options_of(addr).tier
    }

    /// Which tiers are in use, by all who may be chosen.
    fn tiers(&self, all: impl Iterator<Item = Rated>, present: &ActiveSet) -> Tiers {
        let confirmed = self.confirmed();
        let rules = self.rules();
        let passing = all.filter(|rated| decide::passes(rated, rules) && self.may_serve(&rated.addr));
        Tiers::of(passing.map(|rated| {
            let is_confirmed = usize::from(rated.successes) >= confirmed || present.contains(&rated.addr);
            (self.tier(&rated.addr), is_confirmed)
        }))
    }

    /// Whether a candidate may be chosen, as far as tiers go too: nobody behind the one that serves, and of those before it
    /// nobody who passes, for that is not confirmed; who does not pass is only told of.
    fn may_serve_in(&self, rated: &Rated, tiers: Tiers) -> bool {
        let has_place = || match tiers.place(self.tier(&rated.addr)) {
            Place::Serving => true,
            Place::Before => !decide::passes(rated, self.rules()),
            Place::Behind => false,
        };
        self.may_serve(&rated.addr) && has_place()
    }

    /// A member as it is now.
    fn member(&self, rated: Rated, tiers: Tiers) -> Member {
        let addr = &rated.addr;
        let listed = match (self.candidates.contains(addr), self.admin.of(addr)) {
            (false, _) => Listed::No,
            (true, AdminState::Ready) => match tiers.place(self.tier(addr)) {
                Place::Behind => Listed::Behind,
                Place::Serving | Place::Before => Listed::Yes,
            },
            (true, AdminState::Drain | AdminState::Maintenance) => Listed::Withdrawn,
        };
        Member { rated, listed }
    }

    /// The best of the tier behind the one that serves.
    fn reserve_of(&self, all: impl Iterator<Item = Rated>, tiers: Tiers) -> Vec<Rated> {
        let Some(tier) = tiers.reserve else {
            return Vec::new();
        };
        decide::best(self.rules().active_set_size, all, decide::by_rank, |rated| {
            decide::passes(rated, self.rules())
                && self.may_serve(&rated.addr)
                && self.tier(&rated.addr) == tier
        })
    }

    /// Candidates that nobody has asked yet, for a set of this size that would be smaller; of the first tier that has any.
    fn strangers(&self, size: usize, ranked: &[Rated], tiers: Tiers) -> Vec<Rated> {
        let missing = size.saturating_sub(ranked.len());
        if missing == 0 {
            return Vec::new();
        }
        let is_new = |addr: &SocketAddr| ranked.iter().all(|rated| rated.addr != *addr);
        let sample = even_sample(&self.candidates, size);
        let mut strangers: Vec<_> = sample
            .filter(|addr| self.may_serve_in(&Rated::unknown(*addr), tiers) && is_new(addr))
            .collect();
        let first = strangers.iter().map(|addr| self.tier(addr)).min();
        strangers.retain(|addr| Some(self.tier(addr)) == first);
        strangers.into_iter().take(missing).map(Rated::unknown).collect()
    }

    /// What is known of those who are looked at, and of some who were taken out.
    fn details(&self, board: &ScoreBoard, mut subjects: Vec<Rated>, tiers: Tiers) -> Vec<(Rated, Detail)> {
        let withdrawn = self.admin.withdrawn().take(MAX_WITHDRAWN_ROWS);
        for (addr, _) in withdrawn.filter(|(addr, _)| self.candidates.contains(addr)) {
            if subjects.iter().all(|known| known.addr != addr) {
                subjects.push(board.rating(addr));
            }
        }
        let detail = |rated: Rated| {
            let addr = rated.addr;
            let detail = Detail {
                score: board.score(&addr),
                is_fresh: board.is_fresh(&addr),
                admin: self.admin.of(&addr),
                place: tiers.place(self.tier(&addr)),
            };
            (rated, detail)
        };
        subjects.into_iter().map(detail).collect()
    }

    fn switch(&mut self, switch: &Switch, footing: Footing, before: &ActiveSet, now: Instant) {
        self.known.retain(|_, backend| backend.strong_count() > 0);
        let members = switch.members.iter();
        let backends: Vec<_> = members.map(|member| self.backend(member.addr, now)).collect();
        let strategy = if self.slumber.is_asleep() {
            &Strategy::Off
        } else {
            &self.service.spec.pools.strategy
        };
        for backend in &backends {
            if !before.contains(&backend.addr) {
                targets::prepare(backend, strategy);
            }
        }
        self.publish(backends, footing, now);
        self.entries = record::entries(&self.entries, switch, now);
        let counter = self.service.live.counts.switches.get(switch.reason as usize);
        debug_assert!(counter.is_some(), "each reason has its counter");
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Publishes a set, if it is another one.
    fn publish(&mut self, backends: Vec<Arc<Backend>>, footing: Footing, now: Instant) {
        debug_assert!(
            !backends.is_empty() || self.candidates.is_empty(),
            "whoever has candidates has members"
        );
        let is_member = |addr: &SocketAddr| backends.iter().any(|backend| backend.addr == *addr);
        let mut reserve = std::mem::take(&mut self.reserve);
        reserve.retain(|addr| self.candidates.contains(addr) && !is_member(addr));
        let behind = reserve.iter().map(|addr| self.backend(*addr, now)).collect();
        self.reserve = reserve;
        let set = ActiveSet::weighted(self.weigh(backends), footing)
            .with_reserve(ActiveSet::weighted(self.weigh(behind), footing));
        self.service
            .live
            .active
            .replace(|present| (!present.is_like(&set)).then(|| Arc::new(set)));
    }

    /// Backends with what they weigh, and told how many connections they take.
    fn weigh(&self, backends: Vec<Arc<Backend>>) -> Vec<(Arc<Backend>, NonZeroU16)> {
        let weigh = |backend: Arc<Backend>| {
            let options = self.candidates.options_of(&backend.addr);
            // Who is on the list no more keeps what it had: it is about to leave, and not for as many as wait.
            if self.candidates.contains(&backend.addr) {
                backend.set_max_connections(options.max_connections);
            }
            (backend, options.weight)
        };
        backends.into_iter().map(weigh).collect()
    }

    /// The one backend of an address.
    fn backend(&mut self, addr: SocketAddr, now: Instant) -> Arc<Backend> {
        if let Some(known) = self.known.get(&addr).and_then(Weak::upgrade) {
            return known;
        }
        let backend = Arc::new(Backend::new(addr, now, self.service.live.traffic.len()));
        if self.service.spec.pools.idle_timeout.is_none() {
            let life = self.service.live.recalled.lifetimes.get(&addr);
            backend.learned.shorten_life(life.copied());
        }
        self.known.insert(addr, Arc::downgrade(&backend));
        backend
    }
}

/// What an evaluation looks at.
struct Seen {
    ratings: Ratings,
    current: Vec<Member>,
    details: Vec<(Rated, Detail)>,
    /// The reserve, by address.
    reserve: Vec<SocketAddr>,
}

/// Marks whom a set that has become smaller has no place for.
fn strike_surplus(current: &mut [Member], size: usize) {
    let is_listed = |member: &&mut Member| member.listed == Listed::Yes;
    let mut listed: Vec<_> = current.iter_mut().filter(is_listed).collect();
    listed.sort_by(|a, b| decide::by_rank(&a.rated, &b.rated));
    for member in listed.into_iter().skip(size) {
        member.listed = Listed::Surplus;
    }
}

/// Up to `count` candidates, evenly spread over the list.
pub(super) fn even_sample(candidates: &CandidateSet, count: usize) -> impl Iterator<Item = SocketAddr> {
    let len = candidates.len();
    let count = u128::try_from(count).unwrap_or(u128::MAX).min(len);
    // Quotient and remainder apart, so that a list of 2^127 addresses does not overflow.
    let place = move |i: u128| (len / count) * i + (len % count) * i / count;
    (0..count).filter_map(move |i| candidates.at(place(i)))
}
