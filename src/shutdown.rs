//! The stop signal: Ctrl+C, SIGTERM, and sleeping so that a stop is seen at once.
//!
//! Owns the phase of the process (`Running -> Draining`), the condition variable that background threads
//! sleep on, and the signal handler. It knows nothing of what is being stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;

/// Exit status after a second signal, by shell convention 128 + SIGINT.
pub const EXIT_FORCED: i32 = 130;

/// Tells every thread that the process is to end.
#[derive(Debug, Default)]
pub struct Shutdown {
    begun: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Shutdown {
    /// Begins the stop and wakes every thread that sleeps here. Later calls change nothing.
    pub fn begin(&self) {
        // The flag moves under the lock, so that no sleeper can check it and then miss the wake-up.
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.begun.store(true, Ordering::Release);
        drop(guard);
        self.changed.notify_all();
    }

    /// Whether the stop has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Sleeps for `duration` or until the stop begins; true if it has begun.
    pub fn sleep(&self, duration: Duration) -> bool {
        let deadline = clock::now() + duration;
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Installs the handler for Ctrl+C and SIGTERM: the first signal calls `on_stop`, a second one ends the
/// process at once with status [`EXIT_FORCED`].
///
/// # Errors
/// When a handler is already installed or the system refuses one.
pub fn on_signal(on_stop: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    let mut stopping = false;
    ctrlc::set_handler(move || {
        if stopping {
            #[expect(clippy::exit, reason = "the second signal asks for exactly this")]
            std::process::exit(EXIT_FORCED);
        }
        stopping = true;
        on_stop();
    })
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
}
