//! The look at the process once the load is over, and at how it stops. What is not as it should be is put into
//! words, not panicked about: a report is wanted of that run above all.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::peers::backend::{Backend, Tally};
use crate::peers::client::Outcome;
use crate::peers::crowd::Crowd;
use crate::peers::rig::healthy;
use crate::peers::standing::{Standing, settled, whole};
use crate::support::{Forwarder, PATIENCE, comes_true, sum};

/// What must be 0 when nobody is connected.
const GAUGES: [&str; 3] = [
    "active_connections",
    "lb_backend_connections",
    "pool_active_connections",
];

/// A pipe of the reserve is two descriptors; 32 a reactor.
const MOST_PIPES: usize = 2 * 32 * 2;

/// Clients that are served one after another until all is well, and then all at once.
pub fn serve(forwarder: &Forwarder, rng: &mut fastrand::Rng, count: usize) -> bool {
    comes_true(PATIENCE, || {
        let mut crowd = Crowd::of(forwarder.addr(), healthy(rng, count));
        let deadline = Instant::now() + PATIENCE;
        while crowd.open() > 0 && Instant::now() < deadline {
            crowd.turn(Duration::from_millis(10));
        }
        crowd.count(Outcome::Whole) == count
    })
}

/// How the process stands when nobody is connected; `None` if it does not come to rest.
pub fn at_rest(forwarder: &Forwarder) -> Option<Standing> {
    let is_quiet = comes_true(PATIENCE, || {
        let seen = forwarder.scrape();
        GAUGES.iter().all(|gauge| sum(&seen, gauge) == 0.0)
    });
    settled(forwarder).filter(|_| is_quiet)
}

/// What is wrong at the end, in words, and the figures.
pub struct Rest {
    pub wrong: Vec<String>,
    pub figures: Value,
}

/// Looks at the process behind the load.
///
/// `opened` is how many clients connected since `before`, `base` how many connections had been accepted then.
pub fn look(forwarder: &Forwarder, before: Standing, (base, opened): (usize, u64)) -> Rest {
    let mut wrong = Vec::new();
    let Some(mut after) = at_rest(forwarder) else {
        let seen = forwarder.scrape();
        let up = GAUGES.map(|gauge| format!("{gauge} {}", sum(&seen, gauge)));
        return Rest {
            wrong: vec![format!("it does not come to rest: {up:?}")],
            figures: json!({ "gauges": up }),
        };
    };
    // A probe or a scrape that is looked at by chance is gone the next time.
    let returns = comes_true(PATIENCE, || {
        after = Standing::of(forwarder);
        (after.own_sockets(), after.others, after.threads)
            == (before.own_sockets(), before.others, before.threads)
    });
    if !returns || after.pipes > MOST_PIPES {
        wrong.push(format!("it held {before:?} before the load, {after:?} after it"));
    }
    let seen = forwarder.scrape();
    let accepted = whole(&seen, "new_connections_total");
    let closed = whole(&seen, "connections_closed_total");
    let durations = whole(&seen, "connection_duration_seconds_count");
    if accepted != closed || durations != closed {
        wrong.push(format!(
            "{accepted} connections accepted, {closed} closed, {durations} durations"
        ));
    }
    if (accepted - base) as u64 != opened {
        wrong.push(format!("{opened} clients, {} accepted", accepted - base));
    }
    let standing = |standing: Standing| {
        json!({
            "own_sockets": standing.own_sockets(),
            "warm": standing.warm,
            "pipes": standing.pipes,
            "others": standing.others,
            "threads": standing.threads,
            "resident_kb": standing.resident_kb,
        })
    };
    Rest {
        wrong,
        figures: json!({
            "before": standing(before),
            "after": standing(after),
            "accepted": accepted,
            "closed": closed,
            "gauges_at_zero": GAUGES,
            "warm_hits": whole(&seen, "pool_hits_total"),
            "warm_misses": whole(&seen, "pool_misses_total"),
        }),
    }
}

/// What the backends saw. Bytes that nobody had sent, and proper ends in the middle of an upload, are wrong.
pub fn backends(backends: &[Backend]) -> Rest {
    let sum = |count: &dyn Fn(&Tally) -> u64| -> u64 {
        backends.iter().map(|backend| count(backend.tally())).sum()
    };
    let corrupt = sum(&|tally| tally.corrupt.value());
    let cut = sum(&|tally| tally.cut.value());
    let mut wrong = Vec::new();
    if corrupt > 0 || cut > 0 {
        wrong.push(format!(
            "the backends saw {corrupt} uploads with other bytes, {cut} that ended too early"
        ));
    }
    Rest {
        wrong,
        figures: json!({
            "accepted": sum(&|tally| tally.accepted.value()),
            "orders": sum(&|tally| tally.orders.value()),
            "served": sum(&|tally| tally.served.value()),
            "reset": sum(&|tally| tally.reset.value()),
            "warm_closed": sum(&|tally| tally.closed_warm.value()),
            "requests_that_crossed_a_close": sum(&|tally| tally.crossed.value()),
            "deaths": sum(&|tally| tally.deaths.value()),
            "corrupt": corrupt,
            "cut": cut,
        }),
    }
}

/// Stops it with SIGINT, within so long.
pub fn stop(forwarder: Forwarder, within: Duration) -> Rest {
    let began = Instant::now();
    forwarder.signal(Signal::INT);
    let ended = forwarder.ended();
    let took = began.elapsed();
    let mut wrong = Vec::new();
    if ended.status != Some(0) || !ended.stderr.is_empty() || took > within {
        wrong.push(format!(
            "stopped with {:?} after {took:?}: {}",
            ended.status, ended.stderr
        ));
    }
    let lines = |level: &str| ended.stdout.lines().filter(|line| line.contains(level)).count();
    Rest {
        wrong,
        figures: json!({
            "exit_status": ended.status,
            "seconds": took.as_secs_f64(),
            "standard_error": ended.stderr,
            "log_lines": ended.stdout.lines().count(),
            "warnings": lines("WARN"),
            "errors": lines("ERROR"),
        }),
    }
}
