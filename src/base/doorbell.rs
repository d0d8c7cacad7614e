//! Wakes one sleeping thread, from any thread.
//!
//! Owns the one bit that says whether somebody rang. A ring that comes while that bit is set costs nothing more, and a
//! ring that comes before its thread sleeps is not lost. It knows nothing of why it is rung: the thread looks
//! for itself.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mio::Waker;

use super::clock;

/// The doorbell of one thread, which sleeps either in a poll (after [`attach`](Self::attach)) or in
/// [`wait`](Self::wait).
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: AtomicBool,
    /// Of a thread that sleeps in a poll.
    waker: OnceLock<Waker>,
    sleeping: Mutex<()>,
    changed: Condvar,
}

impl Doorbell {
    /// Has rings wake a poll from now on; a doorbell is attached once, before its thread first sleeps.
    pub fn attach(&self, waker: Waker) {
        let attached = self.waker.set(waker);
        debug_assert!(attached.is_ok(), "a doorbell has one poll");
        // Who rang before is heard in the first turn.
        if self.rung.load(Ordering::Acquire) {
            self.wake();
        }
    }

    /// Wakes the thread, or keeps it from falling asleep.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Whether somebody rang since the last call.
    pub fn answer(&self) -> bool {
        // A look first: every turn of a reactor asks, and nearly none was rung for.
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Sleeps until somebody rings, or until `until` (none: for good); whether somebody rang.
    pub fn wait(&self, until: Option<Instant>) -> bool {
        let mut guard = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.answer() {
            let left = until.map_or(Duration::MAX, |until| {
                until.saturating_duration_since(clock::now())
            });
            if left.is_zero() {
                return false;
            }
            guard = if until.is_some() {
                let woken = self.changed.wait_timeout(guard, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
            };
        }
        true
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            if let Err(error) = waker.wake() {
                log::error!("a thread could not be woken: {error}");
            }
            return;
        }
        // Under the lock, so that no sleeper can look at the bit and then miss this.
        drop(self.sleeping.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// How somebody hears that there is something to look at: a [`Doorbell`], or one of many things of whoever sleeps at one.
pub trait Ring: Debug + Send + Sync {
    /// Says that there is.
    fn ring(&self);
}

impl Ring for Doorbell {
    fn ring(&self) {
        Self::ring(self);
    }
}

/// Those who hear of a value.
pub type Listeners = Arc<[Arc<dyn Ring>]>;

/// The threads that sleep at these, as listeners.
pub fn listeners<'a>(bells: impl IntoIterator<Item = &'a Arc<Doorbell>>) -> Listeners {
    let listener = |bell: &'a Arc<Doorbell>| Arc::clone(bell) as Arc<dyn Ring>;
    bells.into_iter().map(listener).collect()
}

/// Something that one thread is asked for, however often: it rings, and the thread takes it.
#[derive(Debug)]
pub struct Request {
    asked: AtomicBool,
    bell: Arc<dyn Ring>,
}

impl Request {
    /// Nobody has asked yet; whoever hears `bell` is to be asked.
    #[must_use]
    pub fn to(bell: Arc<impl Ring + 'static>) -> Self {
        Self {
            asked: AtomicBool::new(false),
            bell,
        }
    }

    /// Asks; requests that come before it is taken are one.
    pub fn ask(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }

    /// Whether somebody asked since the last call.
    pub fn take(&self) -> bool {
        self.asked.load(Ordering::Acquire) && self.asked.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_ring_before_the_sleep_is_not_lost_and_many_are_one() {
        let bell = Doorbell::default();
        bell.ring();
        bell.ring();
        assert!(bell.wait(Some(clock::now() + LONG)));
        assert!(!bell.wait(Some(clock::now() + Duration::from_millis(1))));
    }

    #[test]
    fn a_ring_ends_a_sleep() {
        let bell = Arc::new(Doorbell::default());
        let sleeper = {
            let bell = Arc::clone(&bell);
            std::thread::spawn(move || bell.wait(None))
        };
        bell.ring();
        assert!(sleeper.join().expect("no panic"));
    }

    #[test]
    fn a_ring_wakes_a_poll_even_if_it_came_before_that_was_attached() {
        let bell = Doorbell::default();
        bell.ring();
        let mut poll = Poll::new().expect("a poll");
        bell.attach(Waker::new(poll.registry(), Token(7)).expect("a waker"));
        let mut events = Events::with_capacity(4);
        for _ in 0..2 {
            poll.poll(&mut events, Some(LONG)).expect("polled");
            assert!(events.iter().any(|event| event.token() == Token(7)));
            assert!(bell.answer());
            assert!(!bell.answer());
            bell.ring();
        }
    }

    #[test]
    fn a_request_rings_once_until_it_is_taken() {
        let bell = Arc::new(Doorbell::default());
        let request = Request::to(Arc::clone(&bell));
        assert!(!request.take());
        request.ask();
        assert!(bell.answer());
        request.ask();
        assert!(!bell.answer(), "it has been asked already");
        assert!(request.take());
        assert!(!request.take());
    }
}
