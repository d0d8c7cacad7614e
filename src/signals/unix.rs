//! Signals of Unix: SIGINT by `ctrlc`; SIGTERM, SIGHUP and SIGUSR1 are blocked in every thread and awaited by one.

use std::io;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal as Number};

use super::event::{Signal, Teller};

/// What is blocked and awaited, and what it means.
const MEANINGS: [(Number, Signal); 3] = [
    (Number::SIGTERM, Signal::Stop),
    (Number::SIGHUP, Signal::Reload),
    (Number::SIGUSR1, Signal::ReopenLogs),
];

/// Proof that the signals are blocked in this thread and all that it makes; what comes meanwhile waits.
#[derive(Debug)]
#[must_use = "signals that are blocked and never listened to are lost"]
pub struct Blocked {
    awaited: SigSet,
}

/// Blocks SIGTERM, SIGHUP and SIGUSR1, until [`Blocked::listen`] hears them. To be called before any thread is made,
/// for a thread that does not block them would end the process by the system's default.
///
/// # Errors
/// When the system refuses.
pub fn block() -> io::Result<Blocked> {
    let is_heard = |number: &Number| *number != Number::SIGHUP || !is_hang_up_ignored();
    let awaited: SigSet = MEANINGS
        .map(|(number, _)| number)
        .into_iter()
        .filter(is_heard)
        .collect();
    awaited.thread_block()?;
    Ok(Blocked { awaited })
}

impl Blocked {
    /// Has `tell` called for each signal from now on, and for what came since the signals were blocked; by two threads,
    /// one for SIGINT and one for the others. A second stop ends the process with
    /// [`EXIT_FORCED`](super::EXIT_FORCED) instead.
    ///
    /// # Errors
    /// When the system gives no thread, or somebody listens already.
    pub fn listen(self, tell: impl Fn(Signal) + Send + Sync + 'static) -> io::Result<()> {
        let teller = Arc::new(Teller::new(tell));
        let at_keyboard = Arc::clone(&teller);
        ctrlc::set_handler(move || at_keyboard.hear(Signal::Stop)).map_err(io::Error::other)?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                loop {
                    // It fails by interruption only: the set is a valid one.
                    if let Some(signal) = self.awaited.wait().ok().and_then(meaning) {
                        teller.hear(signal);
                    }
                }
            })?;
        Ok(())
    }
}

fn meaning(number: Number) -> Option<Signal> {
    let meaning = MEANINGS.iter().find(|(known, _)| *known == number);
    debug_assert!(meaning.is_some(), "{number} is not awaited");
    meaning.map(|(_, signal)| *signal)
}

/// Whether whoever started the process had SIGHUP ignored.
///
/// Asked of Linux only, where a blocked signal waits though it is ignored. Other systems drop what is ignored, so
/// there it may be awaited in vain.
fn is_hang_up_ignored() -> bool {
    cfg!(any(target_os = "linux", target_os = "android"))
        && std::fs::read_to_string("/proc/self/status")
            .is_ok_and(|status| ignores(&status, Number::SIGHUP as u32))
}

/// Whether a process with this `/proc/PID/status` ignores the signal `number`.
fn ignores(status: &str, number: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (number - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stands_in_the_status() {
        let status =
            |mask: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        assert!(ignores(&status("0000000000001001"), 1));
        assert!(!ignores(&status("0000000000001000"), 1));
        assert!(ignores(&status("0000000000001000"), 13), "SIGPIPE");
        for broken in ["", "Name:\tx\n", "SigIgn:\tnonsense\n"] {
            assert!(!ignores(broken, 1), "{broken:?}");
        }
    }
}
