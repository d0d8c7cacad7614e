//! What a signal asks for, and what the second stop does.

use std::sync::atomic::{AtomicBool, Ordering};

use log::info;

/// Exit status after a second stop, by shell convention 128 + SIGINT.
pub const EXIT_FORCED: i32 = 130;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl+C or SIGTERM, for the first time: stop, and let relays finish.
    Stop,
    /// SIGHUP: read the configuration again, and open the log files again.
    Reload,
    /// SIGUSR1: open the log files again, for they were renamed.
    ReopenLogs,
    /// Ctrl+C or SIGTERM once more: the process ends as soon as this has been heard.
    End,
}

/// Tells one listener what all threads hear that await signals.
#[derive(Debug)]
pub(super) struct Teller<F> {
    tell: F,
    is_stopping: AtomicBool,
}

/// What to do about a signal.
#[derive(Debug, PartialEq, Eq)]
enum Duty {
    Tell,
    EndAtOnce,
}

impl<F: Fn(Signal)> Teller<F> {
    pub(super) fn new(tell: F) -> Self {
        Self {
            tell,
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Tells `signal`; a second stop is told as an end, and does not return.
    pub(super) fn hear(&self, signal: Signal) {
        match self.duty(signal) {
            Duty::Tell => {
                match signal {
                    // Whoever stops says so.
                    Signal::Stop => {}
                    Signal::Reload => info!("asked to reload by a signal"),
                    Signal::ReopenLogs => info!("asked to open log files again by a signal"),
                    Signal::End => debug_assert!(false, "no signal by itself"),
                }
                (self.tell)(signal);
            }
            Duty::EndAtOnce => {
                (self.tell)(Signal::End);
                log::logger().flush();
                std::process::exit(EXIT_FORCED);
            }
        }
    }

    fn duty(&self, signal: Signal) -> Duty {
        match signal {
            Signal::Stop if self.is_stopping.swap(true, Ordering::Relaxed) => Duty::EndAtOnce,
            Signal::Stop | Signal::Reload | Signal::ReopenLogs | Signal::End => Duty::Tell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_stop_ends_the_process_and_nothing_else_does() {
        let teller = Teller::new(|_| {});
        for signal in [Signal::Reload, Signal::ReopenLogs, Signal::Reload, Signal::Stop] {
            assert_eq!(teller.duty(signal), Duty::Tell, "{signal:?}");
        }
        assert_eq!(teller.duty(Signal::Reload), Duty::Tell);
        assert_eq!(teller.duty(Signal::Stop), Duty::EndAtOnce);
    }
}
