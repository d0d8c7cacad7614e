//! Values that many answers have, as they are written.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::admin::page::Page;
use crate::scorer::score::Score;
use crate::service::{AdminState, Service};

/// Seconds, to a millisecond.
pub(super) fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64())
}

/// Seconds since then, to a millisecond; none for what is still to come.
pub(super) fn ago(at: Instant, now: Instant) -> f64 {
    seconds(now.saturating_duration_since(at))
}

/// Milliseconds, to a microsecond.
pub(super) fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// Milliseconds of seconds, to a microsecond.
pub(super) fn millis_of(seconds: f64) -> f64 {
    rounded(seconds * 1e3)
}

/// Three digits behind the point.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A time of the day, by RFC 3339.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// The answer where a service is asked for that is not there.
pub(super) fn no_service(name: &str) -> Page {
    Page::error(404, &format!("there is no service {name:?}"))
}

/// What a score is made of, in points.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Parts {
    pub(super) latency: f64,
    pub(super) jitter: f64,
    pub(super) success: f64,
    pub(super) throughput: f64,
    pub(super) penalty: f64,
    pub(super) bonus: f64,
}

impl Parts {
    pub(super) fn of(score: &Score) -> Self {
        Self {
            latency: rounded(score.latency_part),
            jitter: rounded(score.jitter_part),
            success: rounded(score.success_part),
            throughput: rounded(score.throughput_part),
            penalty: rounded(score.penalty),
            bonus: rounded(score.bonus),
        }
    }
}

/// A candidate that somebody has taken out.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Withdrawn {
    pub(super) addr: SocketAddr,
    pub(super) name: Option<String>,
    pub(super) state: &'static str,
}

impl Withdrawn {
    /// All of a service.
    pub(in crate::admin) fn all(service: &Service) -> Vec<Self> {
        let (states, list) = (service.live.admin.load(), service.live.candidates.load());
        let one = |(addr, state): (SocketAddr, AdminState)| Self {
            addr,
            name: list.name_of(&addr).map(str::to_owned),
            state: state.label(),
        };
        states.withdrawn().map(one).collect()
    }
}
