//! What the scorer keeps of one service, and of all of them.
//!
//! A book follows its service's published values and is the only one that writes the service's board and probe counts.
//! It must not know whose fault a failure is: what it is given is the candidates' own doing.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::{Duration, Instant};

use log::{debug, info, trace};

use super::accused::{Accusations, Word};
use super::answer_time::AnswerTime;
use super::aside::Aside;
use super::board::{Heeded, ScoreBoard};
use super::conduct::Conduct;
use super::failing::FailingDials;
use super::link::Evidence;
use super::sample::{Heard, Sample, Served, Source, Unserved};
use super::tallies::{Look, Tallies};
use crate::backend::ActiveSet;
use crate::base::published::Reader;
use crate::candidates::CandidateSet;
use crate::config::CheckKind;
use crate::service::directory::{Directory, Service};
use crate::service::id::{Candidate, ServiceId};
use crate::service::probe_requests::ProbeRequest;
use crate::service::uplink::Uplink;
use crate::state::snapshot::ServiceState;

/// So often in a row others must find a member to be faster or slower than it was here before it is asked: jitter, which is
/// different for each, is no reason for all of a fleet to ask.
const OTHERWISE: u8 = 3;

/// What the scorer keeps of one service.
#[derive(Debug)]
pub(super) struct Book {
    service: Arc<Service>,
    /// Whom the board may not forget.
    active: Reader<ActiveSet>,
    /// Whom the board forgets once a new list is published.
    candidates: Reader<CandidateSet>,
    /// Failures of active backends' dials.
    failing: FailingDials,
    /// What clients get of backends.
    tallies: Tallies,
    /// Whose fault it is when they get nothing.
    conduct: Conduct,
    /// How soon backends answer clients, where balancing goes by it.
    times: HashMap<SocketAddr, AnswerTime>,
    /// What of wrong answers to checks the log was told of; there are a dozen reasons at most.
    told: Vec<&'static str>,
    /// What was learned on other ways to the network.
    aside: Aside,
    /// What began before is of another way, or of before a sleep.
    since: Instant,
    /// What another process of the fleet knows, to begin with.
    outset: Reader<ServiceState>,
    /// Members of whom others say that they fail.
    accusations: Accusations,
    /// Members that others have found to be faster or slower than they were here, and how often in a row.
    otherwise: HashMap<SocketAddr, u8>,
    /// Whether the way is a new one, on which enough is to be known before the set changes.
    awaits_sweep: bool,
    /// How many candidates answer, of all books together: whoever changes a board changes it as much.
    answering: Arc<AtomicUsize>,
}

/// Its candidates are nobody's any more.
impl Drop for Book {
    fn drop(&mut self) {
        let left = self.board().answering();
        self.answering.fetch_sub(left, Ordering::Relaxed);
    }
}

impl Book {
    fn new(service: Arc<Service>, uplink: &Uplink, answering: &Arc<AtomicUsize>) -> Self {
        let live = &service.live;
        let mut book = Self {
            active: Reader::new(Arc::clone(&live.active)),
            candidates: Reader::new(Arc::clone(&live.candidates)),
            failing: FailingDials::default(),
            tallies: Tallies::default(),
            conduct: Conduct::default(),
            times: HashMap::new(),
            told: Vec::new(),
            aside: Aside::default(),
            since: uplink.since,
            outset: Reader::unaware(Arc::clone(&live.outset)),
            accusations: Accusations::default(),
            otherwise: HashMap::new(),
            awaits_sweep: false,
            answering: Arc::clone(answering),
            service,
        };
        // What was known before there was a book.
        book.answering
            .fetch_add(book.board().answering(), Ordering::Relaxed);
        book.write(|board| board.turn_to(uplink.id));
        book.follow_spec();
        book.adopt();
        book
    }

    /// Follows the service under another configuration.
    fn change(&mut self, service: &Arc<Service>) {
        debug_assert!(
            Arc::ptr_eq(&self.service.live, &service.live),
            "a service's number is that of its living state"
        );
        if !Arc::ptr_eq(&self.service, service) {
            let (before, after) = (&self.service.spec.remotes, &service.spec.remotes);
            if before.probing.check != after.probing.check {
                self.write(ScoreBoard::forget_checks);
                self.told.clear();
            }
            self.service = Arc::clone(service);
            self.follow_spec();
        }
    }

    fn follow_spec(&mut self) {
        let remotes = &self.service.spec.remotes;
        if *self.board().rules() != remotes.scoring {
            self.write(|board| board.set_rules(remotes.scoring.clone()));
        }
        if !remotes.probing.initial.enabled {
            self.swept();
        }
    }

    /// Follows our way to the network: what was learned on the one before is put aside, and what was on this one taken up.
    fn turn(&mut self, uplink: &Uplink, now: Instant) {
        let service = Arc::clone(&self.service);
        let mut aside = std::mem::take(&mut self.aside);
        let is_new = self.write(|board| aside.turn(board, uplink, now));
        self.aside = aside;
        self.since = uplink.since;
        // How soon clients were answered, and how often, says nothing of this way.
        self.conduct = Conduct::default();
        self.times.clear();
        self.accusations = Accusations::default();
        self.otherwise.clear();
        self.adopt();
        if is_new && self.service.spec.remotes.probing.initial.enabled {
            self.awaits_sweep = true;
            service.live.is_swept.store(false, Ordering::Release);
        }
    }

    /// Follows a changed active set or candidate list, and takes in what others know to begin with.
    fn follow(&mut self, now: Instant) {
        if self.outset.refresh() && !self.awaits_sweep && !self.outset.rows.is_empty() {
            let rows = &self.outset.rows;
            self.write(|board| board.believe(rows, now));
            self.service.live.evaluation.ask();
        }
        if self.active.refresh() | self.candidates.refresh() {
            self.adopt();
        }
    }

    fn adopt(&mut self) {
        let active: Vec<_> = self.active.backends.iter().map(|backend| backend.addr).collect();
        self.write(|board| {
            board.set_active(&active);
            board.retain(|addr| self.candidates.contains(addr) || active.contains(addr));
        });
        self.service.live.probes.set_active(&active);
        self.failing.retain(|addr| active.contains(addr));
        self.conduct.retain(|addr| active.contains(addr));
        self.times.retain(|addr, _| active.contains(addr));
        self.accusations.retain(|addr| active.contains(addr));
        self.otherwise.retain(|addr, _| active.contains(addr));
        self.tallies.follow(&self.active);
    }

    /// Counts a probe, whosever fault it is if it failed.
    pub(super) fn count_probe(&self, sample: &Sample) {
        debug_assert!(sample.source == Source::Probe, "a dial is no probe");
        let live = &self.service.live;
        let counts = &live.counts;
        let counter = if sample.outcome.is_success() && !matches!(sample.heard, Heard::Wrong(_)) {
            &counts.probes_ok
        } else {
            &counts.probes_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
        match sample.heard {
            Heard::NotAsked => {}
            Heard::Answer(_) => drop(counts.checks_right.fetch_add(1, Ordering::Relaxed)),
            Heard::Wrong(_) => drop(counts.checks_wrong.fetch_add(1, Ordering::Relaxed)),
        }
        live.probes
            .record(sample.candidate.addr, sample.outcome.latency());
    }

    /// Puts a sample on the board.
    pub(super) fn record(&mut self, sample: &Sample) {
        debug_assert!(
            sample.candidate.service == self.service.live.id,
            "it is of another service"
        );
        if sample.began_at < self.since {
            return;
        }
        let sample = &self.as_asked(sample);
        self.take(sample);
        self.hear_out(sample);
    }

    fn take(&mut self, sample: &Sample) {
        let addr = sample.candidate.addr;
        let Heard::Wrong(why) = sample.heard else {
            return self.write(|board| board.record(sample));
        };
        let was_trusted = self.is_trusted(&addr);
        self.write(|board| board.record(sample));
        if was_trusted && !self.is_trusted(&addr) {
            self.tell_wrong(&addr, why);
            if self.active.contains(&addr) {
                self.service.live.evaluation.ask();
            }
        }
    }

    /// Takes in what another process of the fleet has seen; whether that counts for anything. A member that fails there and not
    /// here is asked at once, and one whose latency is another one again and again; one that fails here, too, has failed once more.
    pub(super) fn hear(&mut self, sample: &Sample, now: Instant) -> bool {
        let addr = sample.candidate.addr;
        let is_member = self.active.contains(&addr);
        if sample.at < self.since || !(is_member || self.candidates.contains(&addr)) {
            return false;
        }
        let sample = self.as_asked(sample);
        let heeded = self.write(|board| board.hear(&sample));
        if heeded != Heeded::Differs {
            self.otherwise.remove(&addr);
        }
        if is_member {
            self.hear_of_member(&sample, heeded, now);
        }
        heeded != Heeded::Ignored
    }

    fn hear_of_member(&mut self, sample: &Sample, heeded: Heeded, now: Instant) {
        let addr = sample.candidate.addr;
        match heeded {
            Heeded::Differs | Heeded::Agrees if !sample.outcome.is_success() => {
                match self.accusations.accuse(addr, now) {
                    Word::Counts => self.count_as_seen(sample, 1),
                    Word::Waits => self.ask_at_once(addr),
                    Word::Spent => {}
                }
            }
            Heeded::Differs if self.is_otherwise_again(&addr) => self.ask_at_once(addr),
            Heeded::Differs | Heeded::Agrees | Heeded::Taken | Heeded::Ignored => {}
        }
    }

    /// Whether others have said often enough that a member answers otherwise than here; once is enough if it does not answer here.
    fn is_otherwise_again(&mut self, addr: &SocketAddr) -> bool {
        if !self.board().answers(addr) {
            return true;
        }
        let times = self.otherwise.entry(*addr).or_insert(0);
        *times += 1;
        let is_enough = *times >= OTHERWISE;
        if is_enough {
            self.otherwise.remove(addr);
        }
        is_enough
    }

    fn ask_at_once(&self, addr: SocketAddr) {
        self.service.live.probe_requests.ask(ProbeRequest::One(addr));
    }

    /// Once a sample of our own is on the board: others who have said before that this member fails were right, and what
    /// they saw counts as if it had been seen here; or they were not.
    fn hear_out(&mut self, sample: &Sample) {
        let addr = sample.candidate.addr;
        self.otherwise.remove(&addr);
        if sample.outcome.is_success() {
            self.accusations.answers(&addr);
        } else if self.active.contains(&addr) {
            let times = self.accusations.fails(addr, sample.at);
            self.count_as_seen(sample, times);
        }
    }

    /// Puts on the board so often what others have seen.
    fn count_as_seen(&mut self, sample: &Sample, times: u8) {
        if times > 0 {
            self.write(|board| (0..times).for_each(|_| board.record(sample)));
            self.service.live.evaluation.ask();
        }
    }

    /// A sample without its answer, if nothing is asked any more: it was on its way when that changed, and no other answer
    /// would ever take it back.
    fn as_asked(&self, sample: &Sample) -> Sample {
        let asks = self.service.spec.remotes.probing.check.kind != CheckKind::Connect;
        Sample {
            heard: if asks { sample.heard } else { Heard::NotAsked },
            ..*sample
        }
    }

    /// Logs that a candidate is set aside for its answer to a check: each member of the active set, and of the others the
    /// first for each reason; a list may have millions that answer otherwise.
    fn tell_wrong(&mut self, addr: &SocketAddr, why: &'static str) {
        let service = self.service.name.as_str();
        let name = || self.candidates.name_behind(addr);
        if self.active.contains(addr) {
            info!(
                target: "tcp_forwarder::scorer",
                service, backend:% = addr;
                "backend {addr}{} accepts but answers checks wrongly ({why}); it is set aside", name()
            );
        } else if self.told.contains(&why) {
            debug!(
                target: "tcp_forwarder::scorer",
                service, candidate:% = addr;
                "candidate {addr}{} accepts but answers checks wrongly ({why}); it is set aside", name()
            );
        } else {
            info!(
                target: "tcp_forwarder::scorer",
                service, candidate:% = addr;
                "candidate {addr}{} accepts but answers checks wrongly ({why}); it is set aside; more of them are told of at debug",
                name()
            );
            self.told.push(why);
        }
    }

    /// Initial probing is over, and its samples are on the board; or there is none.
    pub(super) fn swept(&mut self) {
        // Published by the request or the lock of whoever asks.
        self.service.live.is_swept.store(true, Ordering::Release);
        // A set that there is already was made of the first that answered.
        self.service.live.evaluation.ask();
        self.awaits_sweep = false;
    }

    /// Candidates no longer answer as they did.
    pub(super) fn doubted(&self) {
        self.write(ScoreBoard::disbelieve);
    }

    /// Whether it has clients.
    fn has_clients(&self) -> bool {
        let traffic = self.service.live.traffic.iter();
        traffic.map(|one| one.active.value()).any(|active| active > 0)
    }

    /// Whether it is to be looked at when a sample comes, too: what is said of its backends follows both.
    pub(super) fn follows_samples(&self) -> bool {
        self.service.spec.pools.algorithm.compares_times()
    }

    /// Takes in what clients got since the last look; whether any got anything.
    fn look(&mut self, now: Instant) -> bool {
        let passive = &self.service.spec.remotes.passive;
        let looks = self.tallies.look();
        for Look {
            addr,
            served,
            slowest,
        } in &looks
        {
            self.conduct.served(*addr, served.clients, *slowest, now);
            let served = if passive.enabled {
                *served
            } else {
                Served {
                    clients: 0,
                    ..*served
                }
            };
            self.write(|board| board.served(addr, &served));
        }
        let patience = if passive.enabled {
            self.conduct.patience(passive.silence, now)
        } else {
            Duration::ZERO
        };
        self.service.live.set_patience(patience);
        if self.follows_samples() {
            self.learn_times(&looks, now);
        }
        looks.iter().any(|look| look.served.clients > 0)
    }

    /// Takes in how soon clients were answered, and says what is to be expected of each backend.
    fn learn_times(&mut self, looks: &[Look], now: Instant) {
        for look in looks {
            if let Some(waited) = look.served.first_byte {
                let known = self.times.entry(look.addr);
                known
                    .and_modify(|time| time.heard(waited, now))
                    .or_insert_with(|| AnswerTime::first(waited, now));
            }
        }
        let board = self.board();
        for backend in &self.active.backends {
            let connect = board.score(&backend.addr).and_then(|score| score.connect);
            let time = self.times.get(&backend.addr);
            backend.set_time(time.map(|time| time.expected(connect, now)).or(connect));
        }
    }

    /// Takes in that a client was not served, and asks for an evaluation if that is its backend's fault.
    pub(super) fn unserved(&mut self, unserved: &Unserved) {
        if unserved.asked_at < self.since {
            return;
        }
        let addr = unserved.candidate.addr;
        let faults = self.conduct.unserved(unserved);
        debug!(
            target: "tcp_forwarder::scorer",
            service = self.service.name.as_str(), backend:% = addr, faults;
            "a client was not served{}: {}", self.candidates.name_behind(&addr), unserved.how.label()
        );
        if faults == 0 {
            return;
        }
        let live = &self.service.live;
        live.counts.unserved.fetch_add(faults.into(), Ordering::Relaxed);
        let was_trusted = self.is_trusted(&addr);
        self.write(|board| (0..faults).for_each(|_| board.unserved(&addr, unserved.at)));
        if was_trusted && !self.is_trusted(&addr) {
            info!(
                target: "tcp_forwarder::scorer",
                service = self.service.name.as_str(), backend:% = addr;
                "backend {addr}{} accepts but does not serve clients ({}); it is set aside",
                self.candidates.name_behind(&addr), unserved.how.label()
            );
        }
        if self.active.contains(&addr) {
            self.service.live.evaluation.ask();
        }
    }

    /// Whether it is a member of the active set.
    pub(super) fn has_active(&self, addr: &SocketAddr) -> bool {
        self.active.contains(addr)
    }

    fn is_trusted(&self, addr: &SocketAddr) -> bool {
        self.board().rating(*addr).is_trusted()
    }

    /// Asks for an evaluation if a sample that is on the board is a reason.
    pub(super) fn consider(&mut self, sample: &Sample) {
        let addr = &sample.candidate.addr;
        let limit = self.service.spec.pools.dial_attempts;
        let is_members_dial = sample.source == Source::Dial && self.active.contains(addr);
        let fails = is_members_dial && self.failing.record(sample, limit);
        if fails {
            debug!(
                target: "tcp_forwarder::scorer",
                service = self.service.name.as_str(), backend:% = addr;
                "too many dials failed in a row{}; the active set is looked at",
                self.candidates.name_behind(addr)
            );
        }
        if fails || (sample.outcome.is_success() && self.waits_for_answers()) {
            self.service.live.evaluation.ask();
        }
    }

    /// Whether the active set might be another one now that somebody answers.
    fn waits_for_answers(&self) -> bool {
        let enough = || self.board().answering() >= self.service.spec.remotes.selector.active_set_size;
        self.active.footing.is_fallback()
            || (self.awaits_a_set() && (self.service.live.is_swept.load(Ordering::Acquire) || enough()))
    }

    /// Whether there is no set, or none yet that was chosen on this way to the network.
    fn awaits_a_set(&self) -> bool {
        self.active.backends.is_empty() || self.awaits_sweep
    }

    /// The longest that a connect to one of its candidates takes.
    fn longest_connect(&self) -> Duration {
        let spec = &self.service.spec;
        spec.remotes.probing.timeout.max(spec.pools.dial_timeout)
    }

    /// Logs a sample and the score that it came to.
    pub(super) fn tell(&self, sample: &Sample) {
        let addr = &sample.candidate.addr;
        let Some(score) = self.board().score(addr) else {
            return;
        };
        let latency = sample.outcome.latency();
        trace!(
            target: "tcp_forwarder::scorer",
            service = self.service.name.as_str(),
            candidate:% = addr,
            outcome = sample.outcome.label(),
            latency_ms = latency.map(|latency| latency.as_secs_f64() * 1e3),
            score = score.total;
            "sample taken in"
        );
    }

    fn board(&self) -> RwLockReadGuard<'_, ScoreBoard> {
        let board = self.service.live.board.read();
        board.unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, change: impl FnOnce(&mut ScoreBoard) -> T) -> T {
        let board = self.service.live.board.write();
        let mut board = board.unwrap_or_else(PoisonError::into_inner);
        let before = board.answering();
        let outcome = change(&mut board);
        let after = board.answering();
        if after != before {
            self.answering.fetch_add(after, Ordering::Relaxed);
            self.answering.fetch_sub(before, Ordering::Relaxed);
        }
        outcome
    }
}

/// Looks at a service that nobody uses any more, so that what its last clients got is seen whichever way they left.
const LAST_LOOKS: u8 = 2;

/// The books of all services. What is looked at again and again is what is in use; the others cost nothing.
#[derive(Debug)]
pub(super) struct Books {
    all: HashMap<ServiceId, Book>,
    uplink: Arc<Uplink>,
    /// Services that clients use, or did, or of which something else is new; and how many looks they get after that.
    in_use: HashMap<ServiceId, u8>,
    /// Services that await a set.
    awaiting: HashSet<ServiceId>,
    /// How many candidates answer, of all services.
    answering: Arc<AtomicUsize>,
}

impl Books {
    /// No books yet, on this way to the network.
    pub(super) fn new(uplink: Arc<Uplink>) -> Self {
        Self {
            all: HashMap::new(),
            uplink,
            in_use: HashMap::new(),
            awaiting: HashSet::new(),
            answering: Arc::default(),
        }
    }

    /// Follows our way to the network.
    pub(super) fn turn(&mut self, uplink: Arc<Uplink>, now: Instant) {
        self.all.values_mut().for_each(|book| book.turn(&uplink, now));
        self.uplink = uplink;
        self.note_all();
    }

    /// Follows another directory: of services that left nothing is kept.
    pub(super) fn change(&mut self, directory: &Directory) {
        let mut before = std::mem::take(&mut self.all);
        for service in &directory.services {
            let book = if let Some(mut book) = before.remove(&service.live.id) {
                book.change(service);
                book
            } else {
                // What was said before there was a book is looked at now.
                service.live.marks.scorer.set();
                Book::new(Arc::clone(service), &self.uplink, &self.answering)
            };
            let other = self.all.insert(service.live.id, book);
            debug_assert!(other.is_none(), "no two services have the same number");
        }
        let all = &self.all;
        self.in_use.retain(|id, _| all.contains_key(id));
        self.awaiting.retain(|id| all.contains_key(id));
        self.note_all();
    }

    /// Follows the published values of these services, or takes them up because clients use them.
    pub(super) fn follow(&mut self, marked: &[ServiceId], now: Instant) {
        for id in marked {
            if let Some(book) = self.all.get_mut(id) {
                book.follow(now);
                self.note(*id);
            }
        }
    }

    /// Takes in what clients of the services in use got since the last look; whether any got anything.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let (all, mut any) = (&mut self.all, false);
        self.in_use.retain(|id, looks| {
            let Some(book) = all.get_mut(id) else {
                return false;
            };
            // Before the look: who comes while it lasts marks the service anew.
            *looks = if book.has_clients() {
                LAST_LOOKS
            } else {
                *looks - 1
            };
            any |= book.look(now);
            *looks > 0
        });
        any
    }

    /// Something of a service is new: it gets a look, and may await a set from now on, or none any more.
    pub(super) fn note(&mut self, id: ServiceId) {
        let Some(book) = self.all.get(&id) else { return };
        self.in_use.insert(id, LAST_LOOKS);
        if book.awaits_a_set() {
            self.awaiting.insert(id);
        } else {
            self.awaiting.remove(&id);
        }
    }

    fn note_all(&mut self) {
        let all: Vec<ServiceId> = self.all.keys().copied().collect();
        for id in all {
            self.note(id);
        }
    }

    /// The book of a service, unless that has left.
    pub(super) fn of(&mut self, service: ServiceId) -> Option<&mut Book> {
        self.all.get_mut(&service)
    }

    /// The longest that a connect takes; none without services.
    pub(super) fn longest_connect(&self) -> Option<Duration> {
        self.all.values().map(Book::longest_connect).max()
    }

    /// Whether some service has no active set yet.
    pub(super) fn awaits_a_set(&self) -> bool {
        debug_assert!(
            self.all.len() > 64
                || self.awaiting.len() == self.all.values().filter(|book| book.awaits_a_set()).count(),
            "whoever awaits a set is known"
        );
        !self.awaiting.is_empty()
    }
}

impl Evidence for Books {
    fn answers(&self, candidate: &Candidate) -> bool {
        let book = self.all.get(&candidate.service);
        book.is_some_and(|book| book.board().answers(&candidate.addr))
    }

    fn answering(&self) -> usize {
        let answering = self.answering.load(Ordering::Relaxed);
        debug_assert!(
            self.all.len() > 64
                || answering
                    == self
                        .all
                        .values()
                        .map(|book| book.board().answering())
                        .sum::<usize>(),
            "whoever answers is counted"
        );
        answering
    }
}
