//! Waiting, with a deadline; and time that passes because the world under test takes it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]
#![expect(
    clippy::disallowed_methods,
    reason = "the one place where tests let time pass"
)]

use std::time::{Duration, Instant};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(5);

/// Looks that must see the same before something is at rest.
const FEWEST_LOOKS: usize = 5;

/// Waits until `condition` holds; false when it does not within `patience`.
pub fn comes_true(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        pause(STEP);
    }
    true
}

/// Waits until `condition` holds, or fails the test saying `what` did not come.
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    assert!(comes_true(PATIENCE, condition), "{what}: not within {PATIENCE:?}");
}

/// Waits until what `look` sees has stayed the same for so long, and for a few looks, however long those take; `None`
/// when it does not within `patience`.
pub fn comes_to_rest<T: PartialEq>(
    patience: Duration,
    still: Duration,
    mut look: impl FnMut() -> T,
) -> Option<T> {
    let mut last = look();
    let (mut since, mut same) = (Instant::now(), 0);
    let rests = comes_true(patience, || {
        let now = look();
        if now != last {
            last = now;
            (since, same) = (Instant::now(), 0);
        }
        same += 1;
        since.elapsed() >= still && same >= FEWEST_LOOKS
    });
    rests.then_some(last)
}

/// Lets time pass in the world under test: a client's pace, a backend's whim, the length of a fault. Never to
/// wait for a condition.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
