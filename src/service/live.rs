//! What of a service outlives a reload: its candidates, scores, active set and counts.
//!
//! Handed on from one configuration to the next by name. Each value in it has exactly one writer; it decides
//! nothing itself.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::admin_state::AdminStates;
use super::doorbells::{Doorbells, Marks};
use super::id::ServiceId;
use super::probe_requests::ProbeRequests;
use super::slumber::Slumber;
use super::traffic::Traffic;
use crate::backend::ActiveSet;
use crate::base::burst::Burst;
use crate::base::doorbell::{Request, Ring};
use crate::base::published::Published;
use crate::candidates::CandidateSet;
use crate::config::Scoring;
use crate::scorer::board::ScoreBoard;
use crate::scorer::probe_stats::ProbeStats;
use crate::search::Space;
use crate::selector::decide::SwitchReason;
use crate::selector::record::Record;
use crate::state::snapshot::ServiceState;

/// The living state of one service.
#[derive(Debug)]
pub struct Live {
    /// Which service.
    pub id: ServiceId,
    /// Who may be probed. Written by the worker; prober, scorer, selector and pools listen.
    pub candidates: Arc<Published<CandidateSet>>,
    /// How many candidates each of its providers names, in their order. Written by the worker.
    pub named: Published<Vec<u128>>,
    /// Why the file of a provider, which has changed, is not used; by the place of the provider, until it is. Written by the
    /// worker.
    pub refused: Published<BTreeMap<usize, String>>,
    /// What is known of the candidates that were touched. Written by the scorer.
    pub board: RwLock<ScoreBoard>,
    /// The members that connections go to. Written by the selector; reactors, scorer and pools listen.
    pub active: Arc<Published<ActiveSet>>,
    /// Whether the service is asleep. Written by the pools thread; prober, selector, worker, providers and reactors
    /// listen.
    pub slumber: Arc<Published<Slumber>>,
    /// Whom somebody has taken out by hand. Written by the admin port; prober and selector listen.
    pub admin: Arc<Published<AdminStates>>,
    /// Whom somebody wants probed before the time. Asked for by the admin port, taken by the prober.
    pub probe_requests: ProbeRequests,
    /// What the last evaluation came to, once there was one. Written by the selector.
    pub record: Published<Option<Record>>,
    /// What the search knows of the list, prefix by prefix, as it was not long ago; none where nothing is searched. Written by
    /// the prober.
    pub space: Published<Option<Space>>,
    /// Asks the selector to look before its time: a member fails its dials, somebody answers while the set is a
    /// fallback, the first set can be chosen, or a service that was woken has been swept.
    pub evaluation: Request,
    /// Whether initial probing is over (or was never begun), and its samples are on the board. Written by the scorer.
    pub is_swept: AtomicBool,
    /// Whose turn it is in `round_robin`.
    pub turn: Arc<AtomicUsize>,
    /// What connections come to; one entry a reactor, which writes it.
    pub traffic: Box<[Traffic]>,
    /// Probes of single servers. Written by the scorer.
    pub probes: ProbeStats,
    /// How long a backend may be silent after its client spoke; zero: for ever. Written by the scorer.
    patience_micros: AtomicU64,
    /// What reactors log once a burst.
    pub bursts: ServiceBursts,
    /// What the control threads count.
    pub counts: ControlCounts,
    /// What a process before this one knew, besides the rows that are on the board. Never changes.
    pub recalled: Recalled,
    /// How each thread hears that there is something to look at here.
    pub marks: Marks,
    /// What another process of the fleet knows, if that was asked. Written by the fleet thread; scorer, selector and prober
    /// begin with it.
    pub outset: Arc<Published<ServiceState>>,
}

/// What reactors log of a service once a burst, over all of them: what is wrong with one backend is mostly wrong with all of
/// its service, and not with those of another.
#[derive(Debug, Default)]
pub struct ServiceBursts {
    /// Clients that ended before they had a backend.
    pub failures: Burst,
    /// TLS handshakes with backends that failed.
    pub handshakes: Burst,
    /// Clients that found all backends full, for too long.
    pub full: Burst,
}

/// What is known of a service from a process before this one.
#[derive(Debug, Default)]
pub struct Recalled {
    /// The members of its last active set that are candidates still, best first.
    pub members: Vec<SocketAddr>,
    /// How old backends let warm connections become, where that was learned.
    pub lifetimes: HashMap<SocketAddr, Duration>,
}

/// What the control threads count of one service.
#[derive(Debug, Default)]
pub struct ControlCounts {
    /// Successful probes; the scorer's.
    pub probes_ok: AtomicU64,
    /// Failed probes; the scorer's.
    pub probes_failed: AtomicU64,
    /// Checks that were answered rightly; the scorer's.
    pub checks_right: AtomicU64,
    /// Checks that were not; the scorer's.
    pub checks_wrong: AtomicU64,
    /// Clients that were not served and whose backend was blamed for it; the scorer's.
    pub unserved: AtomicU64,
    /// Switches of the active set, by [`SwitchReason`]; the selector's.
    pub switches: [AtomicU64; SwitchReason::ALL.len()],
    /// Changed candidate lists that could not be read; the worker's.
    pub candidate_list_errors: AtomicU64,
    /// Changed certificates and keys that could not be used.
    pub certificate_errors: AtomicU64,
}

impl Live {
    /// A service that is new: nobody touched, nobody chosen.
    #[must_use]
    pub fn new(candidates: Arc<CandidateSet>, scoring: &Scoring, bells: &Doorbells) -> Self {
        let id = ServiceId::fresh();
        let marks = bells.marks(id);
        let (prober, scorer) = (&marks.prober, &marks.scorer);
        let (selector, pools) = (&marks.selector, &marks.pools);
        let of_candidates: [Arc<dyn Ring>; 4] =
            [prober.clone(), scorer.clone(), selector.clone(), pools.clone()];
        let of_active = marks.with_reactors([scorer.clone(), pools.clone(), bells.main.clone()]);
        let of_slumber = marks.with_reactors([
            prober.clone(),
            selector.clone(),
            bells.worker.clone(),
            bells.providers.clone(),
            bells.fleet.clone(),
        ]);
        let of_outset: [Arc<dyn Ring>; 2] = [scorer.clone(), prober.clone()];
        let of_admin: [Arc<dyn Ring>; 2] = [prober.clone(), selector.clone()];
        Self {
            id,
            candidates: Arc::new(Published::heard_by(Arc::from(of_candidates), candidates)),
            named: Published::new(Vec::new()),
            refused: Published::new(BTreeMap::new()),
            board: RwLock::new(ScoreBoard::new(scoring.clone())),
            active: Arc::new(Published::heard_by(of_active, ActiveSet::default())),
            slumber: Arc::new(Published::heard_by(of_slumber, Slumber::NEW)),
            admin: Arc::new(Published::heard_by(Arc::from(of_admin), AdminStates::default())),
            probe_requests: ProbeRequests::to(Arc::clone(prober)),
            record: Published::new(None),
            space: Published::new(None),
            evaluation: Request::to(Arc::clone(selector)),
            is_swept: AtomicBool::new(false),
            turn: Arc::default(),
            traffic: bells.reactors.iter().map(|_| Traffic::default()).collect(),
            probes: ProbeStats::default(),
            patience_micros: AtomicU64::new(0),
            bursts: ServiceBursts::default(),
            counts: ControlCounts::default(),
            recalled: Recalled::default(),
            marks,
            outset: Arc::new(Published::heard_by(Arc::from(of_outset), ServiceState::default())),
        }
    }

    /// The same, with what was saved so long ago. Of whom is no candidate any more nothing is kept.
    #[must_use]
    pub fn recalling(mut self, saved: &ServiceState, elapsed: Duration, now: Instant) -> Self {
        let list = self.candidates.load();
        let rows: Vec<_> = saved
            .rows
            .iter()
            .filter(|row| list.contains(&row.addr))
            .copied()
            .collect();
        let board = self.board.get_mut().unwrap_or_else(PoisonError::into_inner);
        board.recall(&rows, elapsed, now);
        let mut members = saved.active.clone();
        members.retain(|addr| list.contains(addr));
        let lifetimes = saved.lifetimes.iter();
        self.recalled = Recalled {
            members,
            lifetimes: lifetimes
                .map(|one| (one.addr, Duration::from_millis(one.life_ms)))
                .collect(),
        };
        self
    }

    /// The name of a candidate as it stands behind its address in a text: ` (hk1)`; nothing if it has none.
    #[must_use]
    pub fn name_behind(&self, addr: &SocketAddr) -> String {
        self.candidates.load().name_behind(addr)
    }

    /// The reactor in which somebody waits for a place at a backend for longest; none if nobody does.
    #[must_use]
    pub fn longest_queued(&self) -> Option<usize> {
        let head = |traffic: &Traffic| traffic.queue_head.load(Ordering::SeqCst);
        let heads = self.traffic.iter().map(head).enumerate();
        let waiting = heads.filter(|(_, head)| *head > 0).min_by_key(|(_, head)| *head);
        waiting.map(|(reactor, _)| reactor)
    }

    /// Clients' connections that are open now, in all reactors.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let active = self.traffic.iter().map(|traffic| traffic.active.value());
        active.fold(0, u64::wrapping_add)
    }

    /// Has that reactor look whether one is free, if there is one. For whoever has given a place back.
    pub fn call_longest_queued(&self) {
        let longest = self.longest_queued();
        if let Some(mark) = longest.and_then(|reactor| self.marks.reactors.get(reactor)) {
            mark.ring();
        }
    }

    /// Clients that wait for a place at a backend, in all reactors.
    #[must_use]
    pub fn queued(&self) -> u64 {
        let waiting = self.traffic.iter().map(|traffic| traffic.queued.value());
        waiting.fold(0, u64::wrapping_add)
    }

    /// How long a backend may be silent after its client spoke; none: for ever.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        match self.patience_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// Says how long that is; zero: for ever. For the scorer alone.
    pub fn set_patience(&self, patience: Duration) {
        let micros = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        self.patience_micros.store(micros, Ordering::Relaxed);
    }
}
