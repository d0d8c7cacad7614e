//! The stop of the process, and sleeping so that a stop is seen at once.
//!
//! Owns the phase of the process (`Running -> Draining`), the condition variable that background threads
//! sleep on, and the wakers of those that sleep elsewhere. It knows nothing of what is being stopped, nor of who
//! asked for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock;

/// Wakes a thread that does not sleep on [`Shutdown`] itself.
type Wake = Box<dyn Fn() + Send>;

/// Tells every thread that the process is to end.
#[derive(Default)]
pub struct Shutdown {
    begun: AtomicBool,
    wakes: Mutex<Vec<Wake>>,
    changed: Condvar,
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("begun", &self.has_begun())
            .finish_non_exhaustive()
    }
}

impl Shutdown {
    /// Begins the stop and wakes every thread, those that sleep here and those that left a way to be woken
    /// with [`on_begin`](Self::on_begin). Later calls change nothing.
    pub fn begin(&self) {
        // The flag moves under the lock, so that no sleeper can check it and then miss the wake-up.
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        self.begun.store(true, Ordering::Release);
        for wake in wakes.iter() {
            wake();
        }
        drop(wakes);
        self.changed.notify_all();
    }

    /// Has `wake` called when the stop begins; at once if it has begun already. It must not block, nor call
    /// this `Shutdown`.
    pub fn on_begin(&self, wake: impl Fn() + Send + 'static) {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has_begun() {
            wake();
        }
        wakes.push(Box::new(wake));
    }

    /// Whether the stop has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Sleeps for `duration` or until the stop begins; true if it has begun.
    pub fn sleep(&self, duration: Duration) -> bool {
        let deadline = clock::now() + duration;
        let mut guard = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.has_begun() {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return false;
            }
            guard = self
                .changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_sleeper_wakes_when_the_stop_begins() {
        let shutdown = Arc::new(Shutdown::default());
        assert!(!shutdown.sleep(Duration::from_millis(1)), "nothing stopped yet");
        let sleeper = {
            let shutdown = Arc::clone(&shutdown);
            std::thread::spawn(move || shutdown.sleep(Duration::from_secs(600)))
        };
        shutdown.begin();
        assert!(sleeper.join().expect("the sleeper does not panic"));
        assert!(shutdown.has_begun());
    }

    #[test]
    fn wakers_are_called_once_the_stop_begins_and_at_once_after() {
        let shutdown = Shutdown::default();
        let (told, calls) = std::sync::mpsc::channel();
        let early = told.clone();
        shutdown.on_begin(move || early.send("early").expect("the test listens"));
        assert!(calls.try_recv().is_err(), "nothing stopped yet");
        shutdown.begin();
        assert_eq!(calls.try_recv(), Ok("early"));
        shutdown.on_begin(move || told.send("late").expect("the test listens"));
        assert_eq!(calls.try_recv(), Ok("late"));
    }
}
