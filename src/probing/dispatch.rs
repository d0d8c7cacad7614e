//! Which probes begin now, over all services: a step from what ended to what begins, and when to go on.
//!
//! Owns the agendas of all services, the probes about our own link, and whose turn it is. It knows no sockets and reads
//! no clock: whoever connects tells what became of each probe.
//!
//! Invariants: at most `max_in_flight` probes at once; at most [`STARTS_PER_TURN`] begin in one step; no service
//! starves another: who has begun a probe and has another one due queues behind all whose probe is due already; a probe
//! that could not begin for want of descriptors is put off, never counted against its candidate; of a service that left
//! nothing is handed in any more; of a service that is asleep nobody is asked but members in their looks, and while all
//! are, nobody is asked whether a link that is down is back: the looks tell; the end of initial probing is handed in once, after its samples.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use super::agenda::{Agenda, Facts, Frame};
use super::check::Plan;
use super::looks::Looks;
use super::places::Places;
use super::probe::{Ending, Errand, Probe};
use super::probe_place::ProbePlace;
use super::sentinels::{Manners, Others, Sentinels};
use super::uplinks::is_landmark;
use crate::base::burst::Burst;
use crate::base::deadlines::Deadlines;
use crate::base::grid::Grid;
use crate::base::published::Reader;
use crate::candidates::{CandidateSet, unreached};
use crate::config::Bind;
use crate::scorer::board::ScoreBoard;
use crate::scorer::link::{Hints, LinkView, Look, Phase as LinkPhase};
use crate::scorer::sample::Touched;
use crate::service::admin_state::AdminStates;
use crate::service::directory::{Directory, Phase, Service};
use crate::service::fleet::FleetView;
use crate::service::hub::Hub;
use crate::service::id::{Candidate, ServiceId};
use crate::service::probe_requests::ProbeRequest;
use crate::service::slumber::Slumber;
use crate::state::snapshot::ServiceState;

/// Probes that begin between two looks at the poll: answers are timed when they are seen, so a long burst of
/// connects would make the first of them look slow.
pub const STARTS_PER_TURN: usize = 16;

/// Candidates of a list that are looked at for a landmark: so many from its beginning, and so many from all over it.
const LOOKED_AT: u128 = 16;

/// Pause of probing when descriptors ran out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Between two pictures of the searched space, which are for people to look at; and before the first one.
const SPACE_PAUSE: Duration = Duration::from_secs(10);
const FIRST_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// No place is free for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The prober without its sockets.
#[derive(Debug)]
pub struct Dispatch {
    hub: Arc<Hub>,
    directory: Reader<Directory>,
    link: Reader<LinkView>,
    fleet: Reader<FleetView>,
    /// What others of the fleet say of their links.
    hints: Hints,
    /// How often everybody was looked at anew.
    sweeps: u64,
    /// To whom our way to the network may be looked at, of each family: of each service that has one the first. Those of services that
    /// leave from an address of ours come last: that stays what it is on any way.
    landmarks: [BTreeMap<(bool, ServiceId), SocketAddr>; 2],
    max_in_flight: usize,
    in_flight: usize,
    places: Places,
    rng: fastrand::Rng,
    services: BTreeMap<ServiceId, Entry>,
    /// When agendas are to be asked, those that wait for longest first.
    queue: BTreeSet<Turn>,
    /// Services of which something is new; kept for its memory.
    marked: Vec<ServiceId>,
    /// When sweeps are given up.
    patience: Deadlines<ServiceId>,
    turns: u64,
    sentinels: Sentinels,
    /// No probe begins before; set while descriptors are out.
    held_until: Option<Instant>,
    shortages: Burst,
    given_up: Burst,
}

/// One service.
#[derive(Debug)]
struct Entry {
    service: Arc<Service>,
    candidates: Reader<CandidateSet>,
    /// Whom nobody is to probe.
    admin: Reader<AdminStates>,
    agenda: Agenda,
    slumber: Reader<Slumber>,
    /// What another process of the fleet knows, to begin with.
    outset: Reader<ServiceState>,
    /// What takes the place of the agenda while the service is asleep.
    looks: Option<Looks>,
    /// What its probes ask, if anything.
    plan: Option<Arc<Plan>>,
    /// Its place in the queue.
    turn: Option<Turn>,
    /// When what the search knows is shown again, if it has learned something.
    space_at: Instant,
}

impl Entry {
    /// Whether an address is the service's to probe.
    fn has(&self, addr: &SocketAddr) -> bool {
        let is_its = self.candidates.contains(addr) || self.service.live.active.load().contains(addr);
        is_its && !self.admin.is_in_maintenance(addr)
    }

    /// Looks at everybody anew, at first at those that are known.
    fn sweep_anew(&mut self, rng: &mut fastrand::Rng, now: Instant) {
        self.agenda.sweep_anew(now, rng);
        self.agenda
            .remember(read(&self.service.live.board).touched(), rng);
        self.agenda.begin_with(recalled(&self.service).into_iter());
        tell_sweep(self);
    }

    /// Shows what the search knows, now and then. Whoever learns nothing shows nothing, so rest is not disturbed.
    fn show_space(&mut self, now: Instant) {
        if now < self.space_at {
            return;
        }
        self.space_at = now + SPACE_PAUSE;
        let (space, shown) = (self.agenda.space(now), &self.service.live.space);
        if space.is_some() || shown.load().is_some() {
            shown.publish(Arc::new(space));
        }
    }

    /// Does what somebody asked for by hand, unless the service is asleep.
    fn hear_requests(&mut self, rng: &mut fastrand::Rng, now: Instant) {
        for request in self.service.live.probe_requests.take() {
            match request {
                _ if self.looks.is_some() => {}
                ProbeRequest::One(addr) => self.agenda.hasten(addr, now),
                ProbeRequest::All => self.sweep_anew(rng, now),
            }
        }
    }

    /// When the service is to be asked whom to probe.
    fn next_at(&self, now: Instant) -> Option<Instant> {
        match &self.looks {
            Some(looks) => Some(looks.next_at(now).max(now)),
            None => self.agenda.next_at(now),
        }
    }

    /// When a sweep is given up, if there is one.
    fn gives_up_at(&self) -> Option<Instant> {
        self.agenda.gives_up_at().filter(|_| self.looks.is_none())
    }

    /// Falls asleep or wakes with its service.
    fn follow_slumber(&mut self, origin: Instant, now: Instant) {
        self.slumber.refresh();
        let grid = Grid::new(origin, self.service.spec.sleep.interval);
        match (&mut self.looks, self.slumber.is_asleep()) {
            (None, true) => {
                self.agenda.rest(now);
                self.looks = Some(Looks::new(grid, now));
            }
            (Some(_), false) => {
                self.looks = None;
                self.agenda.wake(recalled(&self.service).into_iter(), now);
                tell_sweep(self);
            }
            (Some(looks), true) => looks.adopt(grid, now),
            (None, false) => {}
        }
    }
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: Instant,
    /// Who came first; never the same twice.
    number: u64,
    service: ServiceId,
}

impl Dispatch {
    /// A dispatch that knows no service yet, for at most `max_in_flight` probes at once (at least 1).
    #[must_use]
    pub fn new(hub: Arc<Hub>, max_in_flight: usize, mut rng: fastrand::Rng) -> Self {
        Self {
            directory: Reader::unaware(Arc::clone(&hub.directory)),
            link: Reader::unaware(Arc::clone(&hub.link)),
            fleet: Reader::unaware(Arc::clone(&hub.fleet.view)),
            hints: Hints::default(),
            sweeps: 0,
            landmarks: Default::default(),
            max_in_flight: max_in_flight.max(1),
            in_flight: 0,
            places: Places::new(rng.u64(..)),
            rng,
            services: BTreeMap::new(),
            queue: BTreeSet::new(),
            marked: Vec::new(),
            patience: Deadlines::default(),
            turns: 0,
            sentinels: Sentinels::new(Manners::of(std::iter::empty())),
            held_until: None,
            shortages: Burst::default(),
            given_up: Burst::default(),
            hub,
        }
    }

    /// Whether there is nothing to do any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.directory.phase == Phase::Stopping
    }

    /// Probes that have begun and did not end.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// What a probe asks, if anything.
    #[must_use]
    pub fn plan(&self, probe: &Probe) -> Option<Arc<Plan>> {
        let entry = self.services.get(&probe.candidate.service)?;
        entry.plan.clone().filter(|_| probe.asks)
    }

    /// Where probes of a candidate leave from; none if its service has gone.
    #[must_use]
    pub fn bind(&self, candidate: &Candidate) -> Option<&Bind> {
        let entry = self.services.get(&candidate.service)?;
        Some(&entry.service.spec.remotes.bind)
    }

    /// The place that a probe needs: of a member that takes only so many connections a probe is one. None if it needs none.
    ///
    /// # Errors
    /// All are taken, or clients wait for one, who go first. What serves so many needs no probe to show that it does.
    pub fn place(&self, probe: &Probe) -> Result<Option<ProbePlace>, Full> {
        let Some(entry) = self.services.get(&probe.candidate.service) else {
            return Ok(None);
        };
        let live = &entry.service.live;
        let active = live.active.load();
        if !active.has_limits() {
            return Ok(None);
        }
        // A probe of another port is a connection to somebody else.
        let mut limited = active.everybody().filter(|one| one.max_connections().is_some());
        match limited.find(|one| one.addr == probe.to()) {
            None => Ok(None),
            Some(_) if live.longest_queued().is_some() => Err(Full),
            Some(backend) => ProbePlace::take(backend, live).map(Some).ok_or(Full),
        }
    }

    /// Follows what was published; to be called at first, and whenever the prober is rung. Services of which nothing is new cost
    /// nothing.
    pub fn hear(&mut self, now: Instant) {
        let mut marked = std::mem::take(&mut self.marked);
        self.hub.bells.ready.prober.take(&mut marked);
        let is_other_fleet = self.fleet.refresh();
        let is_other_directory = self.directory.refresh();
        if is_other_directory {
            self.adopt(now);
        }
        let is_other_link = self.link.refresh();
        let is_turned = self.sweeps != self.link.sweeps;
        self.sweeps = self.link.sweeps;
        if is_other_fleet || is_other_directory || is_other_link {
            marked.clear();
            marked.extend(self.services.keys());
        }
        for id in &marked {
            self.hear_of(*id, now);
        }
        if is_other_fleet {
            for entry in self.services.values_mut() {
                let share = self.fleet.share(entry.service.key);
                entry.agenda.follow_fleet(share);
            }
        }
        self.overhear(&mut marked);
        if is_other_fleet {
            self.heed_links(now);
        }
        if is_other_link {
            self.sentinels.adopt(&self.link, now);
            for entry in self.services.values_mut() {
                entry.agenda.follow_link(self.link.phase, now);
            }
        }
        if is_turned {
            for entry in self.services.values_mut() {
                entry.sweep_anew(&mut self.rng, now);
            }
        }
        for id in marked.drain(..) {
            self.enlist(id, now);
        }
        self.marked = marked;
    }

    /// Follows what was published of one service.
    fn hear_of(&mut self, id: ServiceId, now: Instant) {
        let Some(entry) = self.services.get_mut(&id) else {
            // It has left, or is of a directory that is to come.
            return;
        };
        if entry.candidates.refresh() {
            mark_out(&mut self.landmarks, id, Some(&*entry));
            let list = entry.candidates.shared();
            entry.agenda.relist(list, now, &mut self.rng);
            entry
                .agenda
                .remember(read(&entry.service.live.board).touched(), &mut self.rng);
            tell_sweep(entry);
            tell_unreached(&entry.service, &entry.candidates);
        }
        entry.admin.refresh();
        if entry.outset.refresh() {
            let members = entry.outset.active.clone();
            entry.agenda.begin_with(members.into_iter());
        }
        entry.follow_slumber(self.hub.started_at, now);
        entry.hear_requests(&mut self.rng, now);
    }

    /// Learns from what others of the fleet have seen; of which services that was.
    fn overhear(&mut self, heard_of: &mut Vec<ServiceId>) {
        for sample in self.hub.fleet.take_heard() {
            let id = sample.candidate.service;
            if let Some(entry) = self.services.get_mut(&id) {
                entry.agenda.overhear(&sample, &mut self.rng);
                if heard_of.last() != Some(&id) {
                    heard_of.push(id);
                }
            }
        }
    }

    /// Looks sooner where others say that their links have changed.
    fn heed_links(&mut self, now: Instant) {
        match self.hints.hear(self.fleet.links(), self.link.phase, now) {
            None => {}
            Some(Look::Link) => self.sentinels.look_now(now),
            Some(Look::Member) => {
                if let Some(member) = self.any_member()
                    && let Some(entry) = self.services.get_mut(&member.service)
                    && entry.looks.is_none()
                    && entry.has(&member.addr)
                {
                    entry.agenda.hasten(member.addr, now);
                }
            }
        }
    }

    /// How our own link stands.
    #[must_use]
    pub fn link(&self) -> LinkPhase {
        self.link.phase
    }

    /// To whom our way to the network is to be looked at: of each family the first of a few candidates of any service that is
    /// beyond this machine.
    #[must_use]
    pub fn landmarks(&self) -> [Option<Candidate>; 2] {
        self.landmarks.each_ref().map(|of_family| {
            let ((_, service), addr) = of_family.first_key_value()?;
            Some(Candidate {
                service: *service,
                addr: *addr,
            })
        })
    }

    /// One step: takes all `endings`, and adds to `begins` the probes that begin now; when to go on, if not at the next
    /// ending.
    pub fn step(
        &mut self,
        now: Instant,
        endings: &mut Vec<Ending>,
        begins: &mut Vec<Probe>,
    ) -> Option<Instant> {
        for ending in endings.drain(..) {
            self.end(ending, now);
        }
        self.give_up(now);
        if self.sentinels.is_due(now) && !self.is_all_asleep_while_down() {
            self.plan_sentinels(now);
        }
        if self.held_until.is_some_and(|held| held <= now) {
            self.held_until = None;
        }
        let mut starts = 0;
        while starts < STARTS_PER_TURN
            && self.can_begin()
            && let Some(probe) = self.next_probe(now)
        {
            self.in_flight += 1;
            starts += 1;
            begins.push(probe);
        }
        debug_assert!(self.in_flight <= self.max_in_flight, "the bound holds");
        let next = if self.can_begin() {
            let turn = self.queue.first().map(|turn| turn.at);
            let sentinel = self.sentinels.next_at();
            let sentinel = sentinel.filter(|_| !self.is_all_asleep_while_down());
            [turn, sentinel].into_iter().flatten().min()
        } else {
            self.held_until
        };
        let next = [self.patience.next(), next].into_iter().flatten().min();
        // Who waits since then is asked as soon as possible.
        next.map(|next| next.max(now))
    }

    fn can_begin(&self) -> bool {
        self.held_until.is_none() && self.in_flight < self.max_in_flight
    }

    /// Whether our own link is down while nobody needs it.
    fn is_all_asleep_while_down(&self) -> bool {
        self.link.phase == LinkPhase::Down && self.services.values().all(|entry| entry.looks.is_some())
    }

    /// The probe that begins next, if any is due.
    fn next_probe(&mut self, now: Instant) -> Option<Probe> {
        while let Some(candidate) = self.sentinels.begin(now) {
            // Who left meanwhile is not asked.
            if let Some(entry) = self.services.get_mut(&candidate.service)
                && entry.has(&candidate.addr)
            {
                entry.agenda.joined();
                let probe = entry.agenda.sentinel(candidate.addr);
                self.enlist(candidate.service, now);
                return Some(probe);
            }
        }
        while let Some(turn) = self.queue.first().copied()
            && turn.at <= now
        {
            let probe = self.ask(turn.service, now);
            self.enlist_last(turn.service, now);
            if probe.is_some() {
                return probe;
            }
        }
        None
    }

    fn ask(&mut self, id: ServiceId, now: Instant) -> Option<Probe> {
        let entry = self.services.get_mut(&id);
        debug_assert!(entry.is_some(), "who is in the queue is served");
        let entry = entry?;
        let live = &entry.service.live;
        let active = live.active.load();
        if let Some(looks) = &mut entry.looks {
            let addr = looks.begin(now, &active)?;
            if entry.admin.is_in_maintenance(&addr) {
                return None;
            }
            return Some(entry.agenda.look(addr, now));
        }
        let board = read(&live.board);
        let facts = Facts {
            board: &board,
            active: &active,
            admin: &entry.admin,
        };
        entry.agenda.begin(now, &facts, &mut self.rng)
    }

    /// Takes in what became of a probe.
    fn end(&mut self, ending: Ending, now: Instant) {
        debug_assert!(self.in_flight > 0, "what ends has begun");
        self.in_flight = self.in_flight.saturating_sub(1);
        let service = match &ending {
            Ending::Ended(sample) => sample.candidate.service,
            Ending::PutOff(probe) | Ending::LeftOut(probe) => probe.candidate.service,
        };
        if let Ending::PutOff(_) = ending {
            if self.shortages.begins(now) {
                warn!(target: "tcp_forwarder::probing", "probing pauses: out of descriptors or memory");
            }
            self.held_until = Some(now + EXHAUSTED_PAUSE);
        }
        let Some(entry) = self.services.get_mut(&service) else {
            return;
        };
        match ending {
            Ending::Ended(sample) => {
                self.hub.samples.push(sample);
                if entry.agenda.learn(&sample, &mut self.rng) {
                    tell_doubt(entry);
                    self.hub.samples.doubted(service);
                }
                entry.agenda.ended(now);
                entry.show_space(now);
            }
            Ending::LeftOut(_) => entry.agenda.ended(now),
            Ending::PutOff(probe) => {
                if probe.errand == Errand::Sentinel {
                    self.sentinels.put_off(&probe, now);
                }
                entry.agenda.put_off(&probe, now);
            }
        }
        self.enlist(service, now);
    }

    /// Gives up sweeps that took too long.
    fn give_up(&mut self, now: Instant) {
        while let Some((at, id)) = self.patience.due(now) {
            let Some(entry) = self.services.get_mut(&id) else {
                debug_assert!(false, "who sweeps is served");
                self.patience.set(id, None);
                continue;
            };
            if entry.agenda.give_up(now) && self.given_up.begins(now) {
                warn!(
                    target: "tcp_forwarder::probing",
                    service = entry.service.name.as_str();
                    "initial probing of service {} is given up: it had to pause for too long",
                    entry.service.name.as_str()
                );
            }
            self.enlist(id, now);
            debug_assert!(
                self.patience.due(now).is_none_or(|next| next > (at, id)),
                "time goes on"
            );
        }
    }

    fn plan_sentinels(&mut self, now: Instant) {
        let mut census = self.sentinels.census();
        for id in census.route(self.services.keys().copied()) {
            if !census.wants_more() {
                break;
            }
            if let Some(entry) = self.services.get(&id) {
                let board = read(&entry.service.live.board);
                census.look_at(id, board.touched(), &mut self.rng);
            }
        }
        let others = Others {
            member: self.any_member(),
            stranger: self.any_stranger(),
        };
        self.sentinels.plan(now, census, &others, &mut self.rng);
    }

    /// A member of an active set: of the first service that has any, from a random one on.
    fn any_member(&mut self) -> Option<Candidate> {
        let offset = self.rng.usize(0..self.services.len().max(1));
        let from = self.services.iter().skip(offset);
        let all = from.chain(self.services.iter().take(offset));
        for (service, entry) in all {
            let active = entry.service.live.active.load();
            if let Some(backend) = self.rng.choice(&active.backends) {
                return Some(Candidate {
                    service: *service,
                    addr: backend.addr,
                });
            }
        }
        None
    }

    /// Somebody on the list of a random service.
    fn any_stranger(&mut self) -> Option<Candidate> {
        let offset = self.rng.usize(0..self.services.len().max(1));
        let (service, entry) = self.services.iter_mut().nth(offset)?;
        let addr = entry.agenda.stranger(&mut self.rng)?;
        Some(Candidate {
            service: *service,
            addr,
        })
    }

    /// Follows a changed directory.
    fn adopt(&mut self, now: Instant) {
        let directory = self.directory.shared();
        let mut before = std::mem::take(&mut self.services);
        for service in &directory.services {
            let id = service.live.id;
            let mut entry = match before.remove(&id) {
                Some(known) => known,
                None => self.entry(service, now),
            };
            entry.agenda.follow_fleet(self.fleet.share(service.key));
            entry.agenda.adopt(&service.spec.remotes, now, &mut self.rng);
            entry
                .agenda
                .remember(read(&service.live.board).touched(), &mut self.rng);
            if !Plan::is_same(&entry.service, service) {
                entry.plan = Plan::of_service(service).map(Arc::new);
            }
            if entry.service.spec.remotes.bind != service.spec.remotes.bind {
                tell_unreached(service, &entry.candidates);
            }
            entry.service = Arc::clone(service);
            mark_out(&mut self.landmarks, id, Some(&entry));
            let twin = self.services.insert(id, entry);
            debug_assert!(twin.is_none(), "a service is in the directory once");
        }
        for (id, gone) in before {
            gone.turn.map(|turn| self.queue.remove(&turn));
            self.patience.set(id, None);
            mark_out(&mut self.landmarks, id, None);
        }
        let configs = self
            .services
            .values()
            .map(|entry| &entry.service.spec.remotes.probing);
        self.sentinels.mind(Manners::of(configs));
    }

    fn entry(&mut self, service: &Arc<Service>, now: Instant) -> Entry {
        let candidates = Reader::new(Arc::clone(&service.live.candidates));
        let frame = Frame {
            service: service.live.id,
            origin: self.hub.started_at,
            places: self.places,
        };
        let remotes = &service.spec.remotes;
        let mut agenda = Agenda::new(frame, remotes, candidates.shared(), now, &mut self.rng);
        agenda.follow_link(self.link.phase, now);
        agenda.follow_fleet(self.fleet.share(service.key));
        agenda.remember(read(&service.live.board).touched(), &mut self.rng);
        agenda.begin_with(recalled(service).into_iter());
        let entry = Entry {
            service: Arc::clone(service),
            candidates,
            admin: Reader::new(Arc::clone(&service.live.admin)),
            agenda,
            slumber: Reader::new(Arc::clone(&service.live.slumber)),
            outset: Reader::unaware(Arc::clone(&service.live.outset)),
            looks: None,
            plan: Plan::of_service(service).map(Arc::new),
            turn: None,
            space_at: now + FIRST_SPACE_PAUSE,
        };
        tell_sweep(&entry);
        tell_unreached(service, &entry.candidates);
        entry
    }

    /// Has a service queue for when its agenda is to be asked, unless it does already; and tells if its initial probing
    /// is over.
    fn enlist(&mut self, id: ServiceId, now: Instant) {
        let Some(entry) = self.services.get_mut(&id) else {
            return;
        };
        if entry.agenda.take_swept() {
            self.hub.samples.swept(id);
        }
        self.patience.set(id, entry.gives_up_at());
        let at = entry.next_at(now);
        // Who waits keeps its place.
        let is_kept = match (entry.turn, at) {
            (Some(turn), Some(at)) => turn.at == at || (turn.at <= now && at <= now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_kept {
            return;
        }
        entry.turn.take().map(|turn| self.queue.remove(&turn));
        entry.turn = at.map(|at| Turn {
            at,
            number: self.turns,
            service: id,
        });
        self.turns += 1;
        self.queue.extend(entry.turn);
    }

    /// The same, behind all that wait.
    fn enlist_last(&mut self, id: ServiceId, now: Instant) {
        if let Some(entry) = self.services.get_mut(&id) {
            entry.turn.take().map(|turn| self.queue.remove(&turn));
        }
        self.enlist(id, now);
    }
}

/// Looks at a few candidates of a service for landmarks, in the place of those that it had; of one that left there are none.
fn mark_out(
    landmarks: &mut [BTreeMap<(bool, ServiceId), SocketAddr>; 2],
    id: ServiceId,
    entry: Option<&Entry>,
) {
    for of_family in landmarks.iter_mut() {
        of_family.remove(&(false, id));
        of_family.remove(&(true, id));
    }
    let Some(Entry {
        candidates: list,
        service,
        ..
    }) = entry
    else {
        return;
    };
    let is_bound = !service.spec.remotes.bind.addresses.is_empty();
    let step = (list.len() / LOOKED_AT).max(1);
    let places = (0..LOOKED_AT).chain((0..LOOKED_AT).map(|i| i * step));
    for addr in places.filter_map(|place| list.at(place)).filter(is_landmark) {
        landmarks[usize::from(addr.is_ipv6())]
            .entry((is_bound, id))
            .or_insert(addr);
    }
}

/// Tells of candidates that are never reached from where probes and dials of their service leave.
fn tell_unreached(service: &Service, candidates: &CandidateSet) {
    if let Some(family) = unreached(&service.spec.remotes.bind, candidates) {
        warn!(
            target: "tcp_forwarder::probing",
            service = service.name.as_str();
            "no candidate of {family} is reached, for remotes.bind.address has none of that"
        );
    }
}

/// Of whom something is known that is to be confirmed: members of the active set, then of the one of the process before, then
/// others, the best first.
fn recalled(service: &Service) -> Vec<SocketAddr> {
    let live = &service.live;
    let mut known: Vec<Touched> = read(&live.board).touched().collect();
    known.sort_by(|a, b| b.score.total_cmp(&a.score));
    let active = live.active.load();
    let members = active.backends.iter().map(|backend| backend.addr);
    let members = members.chain(live.recalled.members.iter().copied());
    members.chain(known.iter().map(|row| row.addr)).collect()
}

fn tell_doubt(entry: &Entry) {
    let service = entry.service.name.as_str();
    info!(
        target: "tcp_forwarder::probing", service;
        "candidates of service {service} no longer answer as they did: what was learned of them is confirmed anew"
    );
}

fn tell_sweep(entry: &Entry) {
    if let Some(left) = entry.agenda.sweeps() {
        debug!(
            target: "tcp_forwarder::probing",
            service = entry.service.name.as_str();
            "sweep begins: up to {left} of {} candidates", entry.agenda.listed()
        );
    }
}

fn read(board: &RwLock<ScoreBoard>) -> RwLockReadGuard<'_, ScoreBoard> {
    board.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
