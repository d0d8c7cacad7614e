//! How the process ends when it must: what it says then, and that saying it cannot keep it from ending.
//!
//! Owns the panic hook and the exit status of a failure. Invariants: a thread that panics takes the process with
//! it, never half a forwarder; an output that nobody reads delays an end by [`PATIENCE`] at most.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::base::clock;

/// Exit status of a failure at start-up or while running.
pub const EXIT_FAILURE: u8 = 1;

/// Time for last words.
const PATIENCE: Duration = Duration::from_secs(2);

/// From now on a thread that panics ends the process with [`EXIT_FAILURE`], whether panics unwind or abort, once
/// it has said so on standard error and in the log.
pub fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        end_soon(EXIT_FAILURE);
        report(panic);
        // A panic of the logger itself may hold what this waits for: then the process ends without these words.
        log::error!("the process ends: {panic}");
        log::logger().flush();
        exit(EXIT_FAILURE);
    }));
}

/// Says on standard error why the process ends with `status`, which the caller is about to do; and has `flush` write what waits
/// to be written elsewhere.
pub fn say(text: &impl Display, status: u8, flush: impl FnOnce()) {
    end_soon(status);
    flush();
    log::logger().flush();
    // Standard error may be closed; then the status has to do.
    drop(writeln!(io::stderr(), "{}", text.to_string().trim_end()));
}

/// Ends the process with `status` after [`PATIENCE`], unless it has ended by then.
fn end_soon(status: u8) {
    let until = clock::now() + PATIENCE;
    let wait = move || {
        let left = |now: Instant| until.saturating_duration_since(now);
        while !left(clock::now()).is_zero() {
            std::thread::park_timeout(left(clock::now()));
        }
        exit(status);
    };
    // Without a thread to be had, saying it is worth the risk.
    drop(
        std::thread::Builder::new()
            .name("last-words".to_owned())
            .spawn(wait),
    );
}

fn exit(status: u8) -> ! {
    #[expect(clippy::exit, reason = "whatever is left of the process cannot be trusted")]
    std::process::exit(i32::from(status))
}
