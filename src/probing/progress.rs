//! How far initial probing has come, so that serving can start as soon as enough candidates have passed.
//!
//! Written by the prober thread, waited for by whoever starts the process.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A count of passed probes that can be waited for.
#[derive(Debug, Default)]
pub struct InitialProgress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    passed: usize,
    is_complete: bool,
}

impl InitialProgress {
    /// Waits until `enough` probes have succeeded or initial probing is over (done, disabled, or stopped);
    /// the number of those that have succeeded. Their samples are in the inbox by then.
    pub fn wait_for(&self, enough: usize) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed
            .wait_while(state, |state| state.passed < enough && !state.is_complete)
            .unwrap_or_else(PoisonError::into_inner)
            .passed
    }

    /// Counts probes that succeeded, while initial probing lasts.
    pub(super) fn add(&self, passed: usize) {
        if passed == 0 {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_complete {
            state.passed += passed;
            self.changed.notify_all();
        }
    }
}

/// Says that initial probing is over when it is dropped, so that a panic says it too.
#[derive(Debug)]
pub(super) struct Completion(Arc<InitialProgress>);

impl Completion {
    pub(super) fn of(progress: &Arc<InitialProgress>) -> Self {
        Self(Arc::clone(progress))
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_complete = true;
        self.0.changed.notify_all();
    }
}
