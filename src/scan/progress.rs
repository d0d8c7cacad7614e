//! How far a scan is, told while it runs: a line that is drawn anew on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const WIDTH: usize = 20;

/// Tells on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    is_drawn: bool,
    began_at: Instant,
    next_at: Instant,
}

/// What is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Probes that have begun, and those that may.
    pub(super) begun: u64,
    pub(super) most: u64,
    /// The lowest latency so far, in seconds.
    pub(super) best: Option<f64>,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            is_drawn: std::io::stderr().is_terminal(),
            began_at: now,
            next_at: now + Duration::from_millis(200),
        }
    }

    /// When something is told next.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Tells, if it is time.
    pub(super) fn tell(&mut self, standing: Standing, now: Instant) {
        if now < self.next_at {
            return;
        }
        let every = if self.is_drawn {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(5)
        };
        self.next_at = now + every;
        let text = words(standing, now.saturating_duration_since(self.began_at));
        let mut out = std::io::stderr().lock();
        // Whoever closed it does not want to know.
        drop(if self.is_drawn {
            write!(out, "\r\x1b[K{text}")
        } else {
            writeln!(out, "{text}")
        });
    }

    /// Says how it ended, in place of what was drawn.
    pub(super) fn end(&self, text: &str) {
        let mut out = std::io::stderr().lock();
        let begin = if self.is_drawn { "\r\x1b[K" } else { "" };
        drop(writeln!(out, "{begin}{text}"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn words(standing: Standing, passed: Duration) -> String {
    let share = (standing.begun as f64 / standing.most.max(1) as f64).min(1.0);
    let rate = standing.begun as f64 / passed.as_secs_f64().max(0.1);
    let left = standing.most.saturating_sub(standing.begun) as f64 / rate.max(0.1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to WIDTH"
    )]
    let full = (share * WIDTH as f64) as usize;
    let bar = "#".repeat(full) + &"-".repeat(WIDTH - full);
    let best = standing
        .best
        .map_or("nobody yet".to_owned(), |best| format!("{:.2} ms", best * 1e3));
    format!(
        "[{bar}] {} of at most {} probes, {rate:.0}/s, {left:.0} s left at most, best {best}",
        standing.begun, standing.most
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_far_it_is_and_how_long_it_takes() {
        let standing = Standing {
            begun: 250,
            most: 1_000,
            best: Some(0.0123),
        };
        assert_eq!(
            words(standing, Duration::from_secs(5)),
            "[#####---------------] 250 of at most 1000 probes, 50/s, 15 s left at most, best 12.30 ms"
        );
        let proving = Standing {
            begun: 1_100,
            most: 1_000,
            best: None,
        };
        assert!(words(proving, Duration::ZERO).contains("nobody yet"));
    }
}
