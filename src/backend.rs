//! One backend: a member of the active set, and its live counts.
//!
//! A [`Backend`] outlives snapshots: as long as its address stays active, or a relay to it lives, every set
//! shares the same one, so that a switch never loses a live count. Reactors write their own
//! [`ReactorShare`]; the pools thread writes targets; everybody reads.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::counters::{CONNECT_BOUNDS_MICROS, Cell, ConnectHistogram};
use crate::loadbalancer::slow_start::{self, FULL};
use crate::loadbalancer::weights::Weights;
use crate::pools::lifetime::{self, Ages};
use crate::pools::trial::Trial;
use crate::selector::decide::Footing;

/// A candidate in use.
#[derive(Debug)]
pub struct Backend {
    /// Where it is.
    pub addr: SocketAddr,
    /// When it joined the active set.
    pub joined_at: Instant,
    /// Relays that use it or wait for it, over all reactors; not those that it has finished.
    live: AtomicU32,
    /// Highest `live` since [`take_peak`](Self::take_peak).
    peak: AtomicU32,
    /// Places that are taken: connections to it that it has not finished, warm ones and dials included, over all reactors.
    taken: AtomicU32,
    /// Those of them that probes have.
    probed: AtomicU32,
    /// Places that there are. Written by the selector.
    places: Limit,
    /// How soon its answers begin, in microseconds; 0: not known. Written by the scorer.
    time_micros: AtomicU32,
    /// What the pools thread wants as the size of the pool over all reactors; what it counts depends on the
    /// strategy, see [`Counting`](crate::pools::sizing::Counting).
    pub target: AtomicU32,
    /// Highest concurrency of the last minute; written by the pools thread.
    pub recent_peak: AtomicU32,
    /// Times the target grew.
    pub scale_ups: AtomicU64,
    /// Times the target shrank.
    pub scale_downs: AtomicU64,
    /// How long successful dials took.
    pub dial_durations: ConnectHistogram,
    /// How long clients that had spoken first waited for its first byte.
    pub first_bytes: ConnectHistogram,
    /// What its warm connections have taught.
    pub learned: Learned,
    /// One entry a reactor.
    pub shares: Box<[ReactorShare]>,
}

/// What one reactor holds of a backend's pool. Written by that reactor, but for `target`.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ReactorShare {
    /// Warm connections.
    pub warm: AtomicU32,
    /// Dials under way for the pool.
    pub dialling: AtomicU32,
    /// Relays that use the backend or wait for it.
    pub in_use: AtomicU32,
    /// Highest `in_use` since the pools thread last took it (which sets it to 0).
    pub peak: AtomicU32,
    /// This reactor's part of the backend's target, which it follows by
    /// [`shortfall`](crate::pools::sizing::shortfall) and [`surplus`](crate::pools::sizing::surplus); written
    /// by the pools thread.
    pub target: AtomicU32,
    /// Warm connections that there may be, whatever the target; written by the pools thread, and by a reactor that finds
    /// them to be in the way.
    pub limit: Limit,
    /// Ages at which warm connections ended.
    pub ages: Ages,
    /// Warm connections that the backend closed, or would not have let live longer.
    pub unused: AtomicU32,
    /// Connections sent to the backend.
    pub requests: AtomicU64,
    /// Connections that found a warm connection.
    pub hits: AtomicU64,
    /// Connections that had to dial.
    pub misses: AtomicU64,
    /// What clients got.
    pub service: Tally,
}

/// A number of connections, or none: any number.
#[derive(Debug)]
pub struct Limit(AtomicU32);

impl Default for Limit {
    fn default() -> Self {
        Self(AtomicU32::new(u32::MAX))
    }
}

impl Limit {
    /// The number, at most.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it; whether it was another.
    pub fn set(&self, limit: Option<u32>) -> bool {
        let limit = limit.unwrap_or(u32::MAX);
        self.0.swap(limit, Ordering::Relaxed) != limit
    }
}

/// What the warm connections of a backend have taught, for all reactors.
#[derive(Debug, Default)]
pub struct Learned {
    /// How old they become, in milliseconds; 0: as old as any. Written by the pools thread.
    life_millis: AtomicU32,
    /// Whether they keep it from answering.
    trial: Mutex<Trial>,
    /// [`Trial::threshold`] in milliseconds, to be read without waiting; 0: that of a trial that never began.
    threshold_millis: AtomicU32,
    is_under_trial: AtomicBool,
    is_serial: AtomicBool,
    /// Times that all of them were to be closed.
    sheds: AtomicU32,
    /// Times that dials timed out one after the other while there were some.
    clogs: AtomicU32,
}

impl Learned {
    /// How old warm connections become before they are replaced.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.shortened_life().unwrap_or(lifetime::LONGEST)
    }

    /// The same, if the backend closes them sooner than others do.
    #[must_use]
    pub fn shortened_life(&self) -> Option<Duration> {
        match self.life_millis.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis.into())),
        }
    }

    /// Says so; for the pools thread alone. Whether it was another.
    pub fn shorten_life(&self, life: Option<Duration>) -> bool {
        let millis = life.map_or(0, |life| u32::try_from(life.as_millis()).unwrap_or(u32::MAX));
        self.life_millis.swap(millis, Ordering::Relaxed) != millis
    }

    /// Whether warm connections keep it from answering.
    #[must_use]
    pub fn is_serial(&self) -> bool {
        self.is_serial.load(Ordering::Relaxed)
    }

    /// How long a client must have waited for a trial of that.
    #[must_use]
    pub fn threshold(&self) -> Duration {
        match self.threshold_millis.load(Ordering::Relaxed) {
            0 => Trial::default().threshold(),
            millis => Duration::from_millis(millis.into()),
        }
    }

    /// Dials timed out one after the other while there were warm connections.
    pub fn clogged(&self) {
        self.clogs.fetch_add(1, Ordering::Relaxed);
    }

    /// Times that this was so.
    #[must_use]
    pub fn clogs(&self) -> u32 {
        self.clogs.load(Ordering::Relaxed)
    }

    /// For how long no connection is to be warm once a trial begins.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.trial().window()
    }

    /// Times that all warm connections were to be closed: whoever holds some compares.
    #[must_use]
    pub fn sheds(&self) -> u32 {
        self.sheds.load(Ordering::Relaxed)
    }

    /// A client has waited for so long: whether all warm connections are to be closed, for a trial.
    pub fn begin_trial(&self, waited: Duration, now: Instant) -> bool {
        let mut trial = self.trial();
        let begins = trial.begin(waited, now);
        self.show(&trial);
        if begins {
            self.is_under_trial.store(true, Ordering::Relaxed);
            self.sheds.fetch_add(1, Ordering::Relaxed);
        }
        begins
    }

    /// A client that had last spoken at `asked_at` is answered; true if that proves warm connections to be in the way, so
    /// that all are to be closed and none made.
    pub fn answered(&self, asked_at: Instant, now: Instant) -> bool {
        if !self.is_under_trial.load(Ordering::Relaxed) {
            return false;
        }
        let mut trial = self.trial();
        let is_proof = trial.answered(asked_at, now);
        self.show(&trial);
        self.is_under_trial
            .store(trial.is_under_way(now), Ordering::Relaxed);
        if is_proof {
            self.is_serial.store(true, Ordering::Relaxed);
            self.sheds.fetch_add(1, Ordering::Relaxed);
        }
        is_proof
    }

    fn show(&self, trial: &Trial) {
        let millis = u32::try_from(trial.threshold().as_millis()).unwrap_or(u32::MAX);
        self.threshold_millis.store(millis, Ordering::Relaxed);
    }

    fn trial(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What clients of one reactor got of a backend; read by the scorer, and written by the reactor alone but for the slowest
/// answer, which whoever reads it takes.
#[derive(Debug, Default)]
pub struct Tally {
    /// Clients that got a first byte.
    pub answered: Cell,
    /// Those of them that had spoken first.
    pub timed: Cell,
    /// What those waited for it, together, in microseconds.
    pub waited_micros: Cell,
    /// The longest of it since it was last taken, in microseconds.
    slowest_micros: AtomicU32,
    /// Bytes of directions that moved much.
    pub bulk_bytes: Cell,
    /// What those took, in microseconds.
    pub bulk_micros: Cell,
}

impl Tally {
    /// A client got a first byte, so long after it had spoken if it had.
    pub fn answered(&self, waited: Option<Duration>) {
        self.answered.add(1);
        if let Some(waited) = waited {
            self.timed.add(1);
            self.waited_micros.add(micros(waited));
            let waited = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
            // A load first: the slowest moves rarely.
            if waited > self.slowest_micros.load(Ordering::Relaxed) {
                self.slowest_micros.fetch_max(waited, Ordering::Relaxed);
            }
        }
    }

    /// A direction moved much, in this time.
    pub fn moved(&self, bytes: u64, time: Duration) {
        self.bulk_bytes.add(bytes);
        self.bulk_micros.add(micros(time));
    }

    /// The slowest answer since this was last asked; zero if there was none. For the scorer alone.
    pub fn take_slowest(&self) -> Duration {
        match self.slowest_micros.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => Duration::from_micros(self.slowest_micros.swap(0, Ordering::Relaxed).into()),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Backend {
    /// A backend without connections, for a process with this many reactors.
    #[must_use]
    pub fn new(addr: SocketAddr, joined_at: Instant, reactors: usize) -> Self {
        Self {
            addr,
            joined_at,
            live: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            probed: AtomicU32::new(0),
            places: Limit::default(),
            time_micros: AtomicU32::new(0),
            target: AtomicU32::new(0),
            recent_peak: AtomicU32::new(0),
            scale_ups: AtomicU64::new(0),
            scale_downs: AtomicU64::new(0),
            dial_durations: ConnectHistogram::new(&CONNECT_BOUNDS_MICROS),
            first_bytes: ConnectHistogram::new(&CONNECT_BOUNDS_MICROS),
            learned: Learned::default(),
            shares: (0..reactors).map(|_| ReactorShare::default()).collect(),
        }
    }

    /// Relays that use the backend or wait for it, over all reactors; not those that it has finished, whatever their clients still
    /// do.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// Counts one relay more.
    pub fn join(&self) {
        let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
        // A load first: the peak moves rarely, and a shared cache line is only taken over when it does.
        if live > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(live, Ordering::Relaxed);
        }
    }

    /// How soon its answers begin, in microseconds: the moving average of first bytes, or of connects where nobody has heard
    /// anything yet; none while neither is known.
    pub fn time_micros(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.time_micros.load(Ordering::Relaxed))
    }

    /// Says how soon that is, at least a microsecond; for the scorer alone.
    pub fn set_time(&self, time: Option<Duration>) {
        let micros = time.map_or(0, |time| {
            u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1)
        });
        self.time_micros.store(micros, Ordering::Relaxed);
    }

    /// Connections that it takes at once, over all reactors; none: as many as come.
    pub fn max_connections(&self) -> Option<NonZeroU32> {
        let places = self.places.get();
        NonZeroU32::new(places).filter(|_| places != u32::MAX)
    }

    /// Says how many that are; for the selector alone. What is open beyond them goes on.
    pub fn set_max_connections(&self, max: Option<NonZeroU32>) {
        self.places.set(max.map(NonZeroU32::get));
    }

    /// Connections to it that it has not finished: in use, warm and dialled, over all reactors, and those of probes.
    pub fn open(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Whether all places are taken: clients find a connection only where one is warm.
    pub fn is_full(&self) -> bool {
        self.open() >= self.places.get()
    }

    /// Whether more places are taken than there are, for there were more before.
    pub fn is_beyond(&self) -> bool {
        self.open() > self.places.get()
    }

    /// Whether a client of this reactor would find a connection: a place for one, or a warm one.
    pub fn has_room(&self, reactor: usize) -> bool {
        let warm = || {
            self.shares
                .get(reactor)
                .map(|share| share.warm.load(Ordering::Relaxed))
        };
        !self.is_full() || warm() > Some(0)
    }

    /// Places that may be taken by warm connections: half of what is free, so that clients of other reactors, who cannot
    /// have them, find some; none where there is one place only.
    pub fn spare(&self) -> u32 {
        match self.max_connections() {
            None => u32::MAX,
            Some(max) => {
                let live = self.live();
                let kept = self.open().saturating_sub(live);
                (max.get().saturating_sub(live) / 2).saturating_sub(kept)
            }
        }
    }

    /// Takes a place, if one is free.
    fn occupy(&self) -> bool {
        let places = self.places.get();
        if places == u32::MAX {
            self.taken.fetch_add(1, Ordering::SeqCst);
            return true;
        }
        let one_more = |taken: u32| (taken < places).then(|| taken + 1);
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    /// Whether any reactor has a warm connection.
    pub fn has_warm(&self) -> bool {
        self.shares
            .iter()
            .any(|share| share.warm.load(Ordering::Relaxed) > 0)
    }

    /// Counts one probe more that has a place.
    pub fn probe_joins(&self) {
        self.probed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less.
    pub fn probe_leaves(&self) {
        self.probed.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a probe has a place, which is free again before long.
    pub fn is_probed(&self) -> bool {
        self.probed.load(Ordering::Relaxed) > 0
    }

    /// Counts one relay less.
    pub fn leave(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// The highest live count since the last call (at least the present one); for the pools thread alone.
    pub fn take_peak(&self) -> u32 {
        let live = self.live();
        self.peak.swap(live, Ordering::Relaxed).max(live)
    }
}

/// A place at a backend: whoever opens a connection to it has one, as long as the connection is open and the backend has not
/// finished it. Free again when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Backend>);

impl Place {
    /// Takes one; none if all are taken. Never more are taken than there are, however many reactors ask at once; only those
    /// that were before a limit was lowered stay.
    #[must_use]
    pub fn take(backend: &Arc<Backend>) -> Option<Self> {
        backend.occupy().then(|| Self(Arc::clone(backend)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.taken.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "who leaves a place has taken it");
    }
}

/// The members that connections go to now.
#[derive(Debug, Default)]
pub struct ActiveSet {
    /// The members, best first; never empty once serving has started.
    pub backends: Vec<Arc<Backend>>,
    /// What the set stands on.
    pub footing: Footing,
    /// What each member weighs.
    weights: Weights,
    /// How many connections each takes at once; none if all take as many as come.
    limits: Option<Box<[Option<NonZeroU32>]>>,
    /// Until when somebody has not started who joined others.
    starts_until: Option<Instant>,
    /// Whom those turn to whom all members have failed: members of the tier behind, which are no members of this one.
    reserve: Option<Box<ActiveSet>>,
}

impl ActiveSet {
    /// A set whose members all weigh the same.
    #[must_use]
    pub fn new(backends: Vec<Arc<Backend>>, footing: Footing) -> Self {
        let weights = Weights::even(backends.len());
        Self {
            starts_until: slow_start::until(backends.iter().map(|backend| backend.joined_at)),
            limits: limits(&backends),
            backends,
            footing,
            weights,
            reserve: None,
        }
    }

    /// A set of members that weigh so much.
    #[must_use]
    pub fn weighted(members: Vec<(Arc<Backend>, NonZeroU16)>, footing: Footing) -> Self {
        let (backends, weights): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        Self {
            weights: Weights::of(&weights),
            ..Self::new(backends, footing)
        }
    }

    /// The same set with others behind it, if there are any.
    #[must_use]
    pub fn with_reserve(self, reserve: Self) -> Self {
        let has_any = !reserve.backends.is_empty();
        Self {
            reserve: has_any.then(|| Box::new(reserve)),
            ..self
        }
    }

    /// Who is behind the members, if anybody is.
    #[must_use]
    pub fn reserve(&self) -> Option<&Self> {
        self.reserve.as_deref()
    }

    /// The members, then those behind them.
    pub fn everybody(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let behind = self.reserve().map_or(&[][..], |reserve| &reserve.backends);
        self.backends.iter().chain(behind)
    }

    /// Whether another set is this one over again.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let pairs = || self.backends.iter().zip(&other.backends);
        self.footing == other.footing
            && self.weights == other.weights
            && self.limits == other.limits
            && pairs().all(|(one, its)| Arc::ptr_eq(one, its))
            && match (self.reserve(), other.reserve()) {
                (Some(one), Some(its)) => one.is_like(its),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    }

    /// Whether any of the members has a limit of connections.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether anybody has, the reserve included.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        self.is_limited() || self.reserve().is_some_and(Self::is_limited)
    }

    /// Members that are full.
    #[must_use]
    pub fn full(&self) -> usize {
        self.backends.iter().filter(|backend| backend.is_full()).count()
    }

    /// Whether a client of this reactor would find a connection to a member.
    #[must_use]
    pub fn has_room(&self, reactor: usize) -> bool {
        self.backends.iter().any(|backend| backend.has_room(reactor))
    }

    /// Whether the address is a member.
    #[must_use]
    pub fn contains(&self, addr: &SocketAddr) -> bool {
        self.backends.iter().any(|backend| backend.addr == *addr)
    }

    /// What the members weigh, in their order.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Whether all members count as what they weigh: nobody starts slowly.
    #[must_use]
    pub fn is_settled(&self, now: Instant) -> bool {
        self.starts_until.is_none_or(|until| until <= now)
    }

    /// The share of its weight that a member counts for, of [`FULL`].
    #[must_use]
    pub fn growth(&self, member: usize, now: Instant) -> u64 {
        let backend = self.backends.get(member);
        backend.map_or(FULL, |backend| {
            slow_start::growth(now.saturating_duration_since(backend.joined_at))
        })
    }
}

/// The limits of backends, if any has one.
fn limits(backends: &[Arc<Backend>]) -> Option<Box<[Option<NonZeroU32>]>> {
    let limits: Box<[_]> = backends.iter().map(|backend| backend.max_connections()).collect();
    limits.iter().any(Option::is_some).then_some(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use std::sync::atomic::AtomicBool;

    fn backend(max: u32) -> Arc<Backend> {
        let backend = Backend::new("192.0.2.1:80".parse().expect("address"), clock::now(), 3);
        backend.set_max_connections(NonZeroU32::new(max));
        Arc::new(backend)
    }

    #[test]
    fn never_more_places_are_taken_than_there_are() {
        const PLACES: u32 = 3;
        let backend = backend(PLACES);
        let (taken, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut got = 0_u32;
                    while got < 2_000 {
                        let Some(place) = Place::take(&backend) else {
                            std::thread::yield_now();
                            continue;
                        };
                        let now = taken.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        is_over.fetch_or(now > PLACES, Ordering::SeqCst);
                        std::thread::yield_now();
                        taken.fetch_sub(1, Ordering::SeqCst);
                        drop(place);
                        got += 1;
                    }
                });
            }
        });
        assert!(!is_over.load(Ordering::SeqCst), "{most:?} of {PLACES}");
        assert_eq!((backend.open(), most.load(Ordering::SeqCst)), (0, PLACES));
    }

    #[test]
    fn who_has_no_place_may_have_what_is_warm() {
        let backend = backend(1);
        let place = Place::take(&backend).expect("one place");
        assert!(Place::take(&backend).is_none());
        assert!(!backend.has_room(0) && !backend.has_room(1));
        backend.shares[1].warm.store(1, Ordering::Relaxed);
        assert!(!backend.has_room(0) && backend.has_room(1) && !backend.has_room(9));
        drop(place);
        assert!(backend.has_room(0));
        backend.set_max_connections(None);
        let many: Vec<_> = (0..9).map(|_| Place::take(&backend)).collect();
        backend.set_max_connections(NonZeroU32::new(2));
        assert_eq!(backend.open(), 9, "who is there stays");
        assert!(many.iter().all(Option::is_some) && Place::take(&backend).is_none());
    }

    #[test]
    fn warm_connections_leave_half_of_what_is_free() {
        assert_eq!(backend(0).spare(), u32::MAX, "no limit");
        assert_eq!(backend(1).spare(), 0, "the one place is for clients");
        let backend = backend(10);
        assert_eq!(backend.spare(), 5);
        let warm: Vec<_> = (0..3).map(|_| Place::take(&backend)).collect();
        assert_eq!(backend.spare(), 2);
        backend.join();
        let used = Place::take(&backend);
        assert_eq!(backend.spare(), 1, "(10 - 1) / 2 - 3");
        drop((warm, used));
        assert_eq!(backend.spare(), 4);
    }

    #[test]
    fn sets_with_other_limits_are_others() {
        let one = backend(0);
        let set = || ActiveSet::new(vec![Arc::clone(&one)], Footing::Good);
        let before = set();
        assert!(before.is_like(&set()) && !before.has_limits());
        one.set_max_connections(NonZeroU32::new(4));
        let after = set();
        assert!(!before.is_like(&after) && after.is_like(&set()) && after.is_limited());
        let front = ActiveSet::new(vec![backend(0)], Footing::Good).with_reserve(set());
        assert!(front.has_limits() && !front.is_limited());
    }
}
