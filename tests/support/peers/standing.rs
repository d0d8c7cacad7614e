//! What the process holds, and whether its books balance.

use std::time::Duration;

use crate::support::{Forwarder, PATIENCE, comes_to_rest, comes_true, sum, wait_for};

/// Descriptors by kind, threads and memory of the forwarder at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub sockets: usize,
    /// Descriptors of pipes: two for each.
    pub pipes: usize,
    /// Files, polls and the like.
    pub others: usize,
    pub threads: usize,
    /// Warm connections by the gauge.
    pub warm: usize,
    pub resident_kb: u64,
}

/// A gauge or counter as the whole number that it is.
pub fn whole(text: &str, name: &str) -> usize {
    let value = sum(text, name);
    assert!(value >= 0.0 && value.fract() == 0.0, "{name} is {value}");
    format!("{value:.0}").parse().unwrap()
}

impl Standing {
    /// As it is now; to be believed only when nothing goes on.
    pub fn of(forwarder: &Forwarder) -> Self {
        Self::beside(forwarder, &forwarder.scrape())
    }

    /// The same, beside metrics that have just been read.
    pub fn beside(forwarder: &Forwarder, seen: &str) -> Self {
        let folder = format!("/proc/{}", forwarder.pid());
        let (mut sockets, mut pipes, mut others) = (0, 0, 0);
        for entry in std::fs::read_dir(format!("{folder}/fd")).unwrap() {
            // Closed since it was listed: it does not count.
            let Ok(target) = std::fs::read_link(entry.unwrap().path()) else {
                continue;
            };
            let target = target.to_string_lossy();
            if target.starts_with("socket:") {
                sockets += 1;
            } else if target.starts_with("pipe:") {
                pipes += 1;
            } else {
                others += 1;
            }
        }
        Self {
            sockets,
            pipes,
            others,
            threads: std::fs::read_dir(format!("{folder}/task")).unwrap().count(),
            warm: whole(seen, "pool_available_connections"),
            resident_kb: forwarder.resident_kb(),
        }
    }

    /// Sockets that are no warm connections.
    pub fn own_sockets(&self) -> usize {
        self.sockets.saturating_sub(self.warm)
    }
}

/// Waits until nothing moves any more in what it holds, and says what that is; `None` if it does not come to rest.
pub fn settled(forwarder: &Forwarder) -> Option<Standing> {
    // A probe or a scrape that is looked at by chance is gone the next time.
    let mut last = None;
    let rests = comes_to_rest(PATIENCE, Duration::from_millis(100), || {
        let now = Standing::of(forwarder);
        last = Some(now);
        (now.own_sockets(), now.warm)
    });
    last.filter(|_| rests.is_some())
}

/// Waits until no client is connected, and none of the gauges says that one is.
pub fn wait_until_quiet(forwarder: &Forwarder) {
    const GAUGES: [&str; 4] = [
        "active_connections",
        "lb_backend_connections",
        "pool_active_connections",
        "pool_utilization_percent",
    ];
    let mut raised = String::new();
    let is_quiet = comes_true(PATIENCE, || {
        let seen = forwarder.scrape();
        let up: Vec<_> = GAUGES.iter().filter(|gauge| sum(&seen, gauge) != 0.0).collect();
        raised = format!("{up:?}");
        up.is_empty()
    });
    assert!(is_quiet, "gauges that stay up: {raised}\n{}", forwarder.log());
}

/// Waits until each connection that was accepted has been closed for exactly one reason.
pub fn wait_until_accounts_balance(forwarder: &Forwarder) {
    wait_for("accepted = closed, by whatever reason", || {
        let seen = forwarder.scrape();
        let accepted = whole(&seen, "new_connections_total");
        let durations = whole(&seen, "connection_duration_seconds_count");
        let ended = whole(&seen, "connections_closed_total");
        accepted == ended + whole(&seen, "active_connections") && durations == ended
    });
}
