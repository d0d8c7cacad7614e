//! The connections that one reactor holds to one backend.
//!
//! Bookkeeping only: which connections are warm, how many are dialled and in use, when a refused refill may
//! be tried again. Sockets stay with the reactor. Every change is copied to the backend's [`ReactorShare`],
//! where the pools thread, the balancer and the metrics read it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::race::DialTimes;
use super::refills::Refills;
use crate::backend::{Backend, ReactorShare};

/// First pause after a refused refill; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between refills of a backend that refuses them.
const BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// Dials in a row that time out, from which on it is no single packet that was lost.
const TIMEOUTS: u32 = 3;

/// A warm connection that its backend closes sooner than this counts as a refused refill: a server that
/// accepts and closes must not be dialled in a tight loop.
pub const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// The warm connections of one reactor to one backend; `K` names a connection in the reactor.
#[derive(Debug)]
pub struct Pool<K> {
    /// Whom the connections go to.
    pub backend: Arc<Backend>,
    /// Whose pool it is; named by the reactor.
    pub tenant: K,
    /// When the backend left the active set, or its service left, if it has.
    pub retired_at: Option<Instant>,
    /// Whether the reactor is to bring it to its size.
    pub is_due: bool,
    /// So many of the oldest warm connections are not what is wanted any more.
    pub outdated: u32,
    /// How long the last dials took.
    pub dial_times: DialTimes,
    /// Which refills its clients have earned.
    pub refills: Refills,
    /// [`Learned::sheds`](crate::backend::Learned::sheds) that it has followed.
    sheds: u32,
    reactor: usize,
    /// Newest last.
    warm: VecDeque<K>,
    dialling: u32,
    in_use: u32,
    /// Those of them whose backend has finished.
    unloaded: u32,
    refusals: u32,
    /// Dials in a row that timed out.
    timeouts: u32,
    retry_at: Option<Instant>,
}

impl<K: Copy + PartialEq> Pool<K> {
    /// A pool without connections, of the reactor with this index.
    #[must_use]
    pub fn new(backend: Arc<Backend>, reactor: usize, tenant: K) -> Self {
        Self {
            sheds: backend.learned.sheds(),
            backend,
            tenant,
            retired_at: None,
            is_due: false,
            outdated: 0,
            dial_times: DialTimes::default(),
            refills: Refills::default(),
            reactor,
            warm: VecDeque::new(),
            dialling: 0,
            in_use: 0,
            unloaded: 0,
            refusals: 0,
            timeouts: 0,
            retry_at: None,
        }
    }

    /// What others see of this pool.
    #[must_use]
    pub fn share(&self) -> Option<&ReactorShare> {
        self.backend.shares.get(self.reactor)
    }

    /// Relays that use the backend or wait for it.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Warm connections.
    #[must_use]
    pub fn warm_count(&self) -> u32 {
        u32::try_from(self.warm.len()).unwrap_or(u32::MAX)
    }

    /// Warm connections that are to be closed, the oldest first: all of a pool that has retired.
    #[must_use]
    pub fn unwanted(&self) -> u32 {
        match self.retired_at {
            Some(_) => self.warm_count(),
            None => self.outdated.min(self.warm_count()),
        }
    }

    /// Whether nothing is warm, on its way or in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_use == 0 && self.dialling == 0 && self.warm.is_empty()
    }

    /// Dials under way for the pool itself.
    #[must_use]
    pub fn dialling(&self) -> u32 {
        self.dialling
    }

    /// A connection was sent to the backend.
    pub fn join(&mut self) {
        self.in_use += 1;
        self.backend.join();
        if let Some(share) = self.share() {
            share.in_use.store(self.in_use, Ordering::Relaxed);
            if self.in_use > share.peak.load(Ordering::Relaxed) {
                share.peak.fetch_max(self.in_use, Ordering::Relaxed);
            }
        }
    }

    /// Counts a connection that was sent to the backend, and whether it found a warm connection.
    pub fn count_request(&mut self, warm: Option<K>) {
        self.refills.earn();
        let Some(share) = self.share() else { return };
        share.requests.fetch_add(1, Ordering::Relaxed);
        let found = if warm.is_some() {
            &share.hits
        } else {
            &share.misses
        };
        found.fetch_add(1, Ordering::Relaxed);
    }

    /// The backend has finished one of the connections: whatever its client still does, that is no load of the backend any
    /// more.
    pub fn unload(&mut self) {
        debug_assert!(self.unloaded < self.in_use, "who is unloaded has joined");
        self.unloaded += 1;
        self.backend.leave();
    }

    /// Connections in use that are no load of the backend any more.
    #[must_use]
    pub fn unloaded(&self) -> u32 {
        self.unloaded
    }

    /// A connection that was [unloaded](Self::unload) has gone.
    pub fn leave_unloaded(&mut self) {
        debug_assert!(self.unloaded > 0, "who leaves so was unloaded");
        self.unloaded = self.unloaded.saturating_sub(1);
        self.in_use = self.in_use.saturating_sub(1);
        self.publish(self.in_use, |share| &share.in_use);
    }

    /// A connection has left the backend.
    pub fn leave(&mut self) {
        debug_assert!(self.in_use > self.unloaded, "who leaves has joined");
        self.in_use = self.in_use.saturating_sub(1);
        self.backend.leave();
        self.publish(self.in_use, |share| &share.in_use);
    }

    /// Takes the newest warm connection for a client.
    pub fn checkout(&mut self) -> Option<K> {
        let newest = self.warm.pop_back();
        // It may be an outdated one: good for this client, and no other will take its place in the count.
        self.outdated = self.outdated.min(self.warm_count());
        self.publish(self.warm_count(), |share| &share.warm);
        newest
    }

    /// The warm connection that the next client would get.
    #[must_use]
    pub fn newest(&self) -> Option<K> {
        self.warm.back().copied()
    }

    /// Adds an established connection.
    pub fn add(&mut self, key: K) {
        self.warm.push_back(key);
        self.publish(self.warm_count(), |share| &share.warm);
    }

    /// Takes a warm connection out that has died or grown too old.
    pub fn remove(&mut self, key: K) {
        // From the end: what dies soon is mostly young.
        if let Some(place) = self.warm.iter().rposition(|warm| *warm == key) {
            self.warm.remove(place);
            if u32::try_from(place).is_ok_and(|place| place < self.outdated) {
                self.outdated -= 1;
            }
            debug_assert!(!self.warm.contains(&key), "a connection is warm once");
            self.publish(self.warm_count(), |share| &share.warm);
        }
    }

    /// Takes the oldest warm connection out.
    pub fn remove_oldest(&mut self) -> Option<K> {
        let oldest = self.warm.pop_front();
        self.outdated = self.outdated.saturating_sub(1);
        self.publish(self.warm_count(), |share| &share.warm);
        oldest
    }

    /// A dial for the pool has begun.
    pub fn dial_begun(&mut self) {
        self.dialling += 1;
        self.publish(self.dialling, |share| &share.dialling);
    }

    /// A dial for the pool has ended, one way or the other.
    pub fn dial_ended(&mut self) {
        debug_assert!(self.dialling > 0, "a dial that ends has begun");
        self.dialling = self.dialling.saturating_sub(1);
        self.publish(self.dialling, |share| &share.dialling);
    }

    /// A refill was refused: none is tried for a while, twice as long as the last time, give or take half.
    ///
    /// Refusals during the pause belong to the same wave and change nothing.
    pub fn refused(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        if self.retry_at(now).is_some() {
            return;
        }
        let doubled = BACKOFF_FIRST
            .saturating_mul(1 << self.refusals.min(16))
            .min(BACKOFF_LONGEST);
        self.refusals = self.refusals.saturating_add(1);
        self.retry_at = Some(now + doubled.mul_f64(0.5 + rng.f64()));
    }

    /// A dial to the backend was answered.
    pub fn dial_answered(&mut self) {
        self.timeouts = 0;
    }

    /// A dial to the backend timed out: if that is not the first in a row, its warm connections may leave it no room.
    pub fn dial_timed_out(&mut self) {
        self.timeouts += 1;
        if self.timeouts >= TIMEOUTS {
            self.timeouts = 0;
            if self.backend.has_warm() {
                self.backend.learned.clogged();
            }
        }
    }

    /// Whether all that is warm is to be closed since this was last asked.
    pub fn is_to_shed(&mut self) -> bool {
        let sheds = self.backend.learned.sheds();
        std::mem::replace(&mut self.sheds, sheds) != sheds
    }

    /// No refill is made before this time.
    pub fn pause_until(&mut self, at: Instant) {
        self.retry_at = Some(self.retry_at.map_or(at, |present| present.max(at)));
    }

    /// Takes a refill that was earned.
    ///
    /// # Errors
    /// When there is none: when there will be.
    pub fn take_refill(&mut self, now: Instant) -> Result<(), Instant> {
        let size = self
            .share()
            .map_or(0, |share| share.target.load(Ordering::Relaxed));
        let reactors = u32::try_from(self.backend.shares.len()).unwrap_or(u32::MAX);
        self.refills.take(size, reactors, now)
    }

    /// A refill proved good: the next refusal starts from the first pause again.
    pub fn proved(&mut self) {
        self.refusals = 0;
        self.retry_at = None;
    }

    /// When a refill may be tried again, if none may be now.
    #[must_use]
    pub fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.retry_at.filter(|at| *at > now)
    }

    fn publish(&self, value: u32, field: impl Fn(&ReactorShare) -> &AtomicU32) {
        if let Some(share) = self.share() {
            field(share).store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn pool() -> Pool<u32> {
        let addr = "127.0.0.1:80".parse().expect("address");
        Pool::new(Arc::new(Backend::new(addr, clock::now(), 1)), 0, 0)
    }

    #[test]
    fn the_newest_goes_first_and_the_oldest_is_given_up_first() {
        let mut pool = pool();
        for key in 0..4 {
            pool.add(key);
        }
        let newest = pool.checkout();
        pool.count_request(newest);
        assert_eq!(newest, Some(3));
        assert_eq!(pool.remove_oldest(), Some(0));
        pool.remove(1);
        for expected in [Some(2), None] {
            let warm = pool.checkout();
            pool.count_request(warm);
            assert_eq!(warm, expected);
        }
        let share = pool.share().expect("one reactor");
        assert_eq!(share.hits.load(Ordering::Relaxed), 2);
        assert_eq!(share.misses.load(Ordering::Relaxed), 1);
        assert_eq!(share.warm.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn exactly_what_was_outdated_is_unwanted() {
        let mut pool = pool();
        (0..5).for_each(|key| pool.add(key));
        pool.outdated = pool.warm_count();
        assert_eq!((pool.unwanted(), pool.checkout()), (5, Some(4)));
        pool.add(5);
        pool.remove(5);
        pool.remove(0);
        pool.add(6);
        assert_eq!((pool.unwanted(), pool.remove_oldest()), (3, Some(1)));
        assert_eq!((pool.checkout(), pool.checkout()), (Some(6), Some(3)));
        pool.add(7);
        assert_eq!((pool.unwanted(), pool.remove_oldest()), (1, Some(2)));
        assert_eq!((pool.unwanted(), pool.warm_count()), (0, 1));
        pool.retired_at = Some(clock::now());
        assert_eq!(pool.unwanted(), 1, "all of a pool that has retired");
    }

    #[test]
    fn refusals_double_the_pause_up_to_a_bound() {
        let mut now = clock::now();
        let mut rng = fastrand::Rng::with_seed(3);
        let mut pool = pool();
        for refusal in 0..20 {
            pool.refused(now, &mut rng);
            let pause = pool.retry_at(now).expect("paused") - now;
            pool.refused(now, &mut rng);
            assert_eq!(pool.retry_at(now), Some(now + pause), "one wave, one refusal");
            now += pause;
            let middle = BACKOFF_FIRST
                .saturating_mul(1 << refusal.min(16))
                .min(BACKOFF_LONGEST);
            assert!(
                pause >= middle / 2 && pause <= middle * 3 / 2,
                "refusal {refusal}: {pause:?}"
            );
        }
        pool.proved();
        assert_eq!(pool.retry_at(now), None);
        pool.refused(now, &mut rng);
        assert!(pool.retry_at(now).expect("paused") - now <= BACKOFF_FIRST * 3 / 2);
    }

    #[test]
    fn counts_are_seen_by_others() {
        let mut pool = pool();
        pool.join();
        pool.join();
        pool.leave();
        assert_eq!((pool.in_use(), pool.backend.live()), (1, 1));
        let share = pool.share().expect("one reactor");
        assert_eq!(share.in_use.load(Ordering::Relaxed), 1);
        assert_eq!(share.peak.load(Ordering::Relaxed), 2);
    }
}
