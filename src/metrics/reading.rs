//! From the shared counters to series: which value stands behind which family.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::counters::{
    CONNECT_BOUNDS_MICROS, Cell, CloseReason, ConnectHistogram, ErrorKind, HistogramReading, ReactorCounters,
    RejectReason, SwitchReason,
};
use super::family;
use super::output::Output;
use super::sources::Sources;
use super::text::float;
use crate::backend::{ActiveSet, Backend, ReactorShare};
use crate::config::Algorithm;
use crate::scorer::probe_stats::ProbeReading;

/// Adds every series but `process_*`.
pub(super) fn collect(sources: &Sources, now: Instant, output: &mut Output) {
    let active = sources.active.load();
    let uptime = now.saturating_duration_since(sources.started_at);
    output.number(&family::UPTIME, &[], uptime.as_secs_f64());
    output.count(&family::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    data_path(&sources.reactors, output);
    control(sources, output);
    errors(sources, output);
    probes(sources, &active, output);
    for backend in &active.backends {
        pool(backend, sources.algorithm, output);
    }
}

fn sum<T>(parts: &[T], value: impl Fn(&T) -> u64) -> u64 {
    parts
        .iter()
        .fold(0, |total, part| total.wrapping_add(value(part)))
}

fn data_path(reactors: &[ReactorCounters], output: &mut Output) {
    let total = |cell: fn(&ReactorCounters) -> &Cell| sum(reactors, |reactor| cell(reactor).value());
    output.count(&family::NEW_CONNECTIONS, &[], total(|r| &r.accepted));
    output.count(&family::ACTIVE_CONNECTIONS, &[], total(|r| &r.active));
    output.count(&family::ACCEPT_PAUSED, &[], total(|r| &r.accept_paused));
    output.count(&family::RESCUED_CONNECTIONS, &[], total(|r| &r.rescued));
    let to_backend = total(|r| &r.bytes_to_backend);
    output.count(&family::BYTES_TRANSFERRED, &["to_backend"], to_backend);
    let to_client = total(|r| &r.bytes_to_client);
    output.count(&family::BYTES_TRANSFERRED, &["to_client"], to_client);
    for reason in CloseReason::ALL {
        let closed = sum(reactors, |reactor| {
            reactor.closed.get(reason as usize).map_or(0, Cell::value)
        });
        output.count(&family::CONNECTIONS_CLOSED, &[reason.label()], closed);
    }
    for reason in RejectReason::ALL {
        let rejected = sum(reactors, |reactor| {
            reactor.rejected.get(reason as usize).map_or(0, Cell::value)
        });
        output.count(&family::CONNECTIONS_REJECTED, &[reason.label()], rejected);
    }
    let mut durations = HistogramReading::empty();
    for reactor in reactors {
        reactor.durations.add_to(&mut durations);
    }
    output.histogram(&family::CONNECTION_DURATION, &[], &durations);
}

fn control(sources: &Sources, output: &mut Output) {
    let control = &sources.control;
    let ok = control.probes_ok.load(Relaxed);
    output.count(&family::HEALTH_CHECKS, &["success"], ok);
    let failed = control.probes_failed.load(Relaxed);
    output.count(&family::HEALTH_CHECKS, &["failure"], failed);
    for reason in SwitchReason::ALL {
        let switches = control
            .switches
            .get(reason as usize)
            .map_or(0, |c| c.load(Relaxed));
        output.count(&family::SELECTOR_SWITCHES, &[reason.label()], switches);
    }
    output.count(&family::SELECTOR_FALLBACK, &[], control.fallback.load(Relaxed));
    output.count(&family::LINK_DOWN, &[], control.link_down.load(Relaxed));
    output.count(&family::LINK_OUTAGES, &[], control.link_outages.load(Relaxed));
    // 2^64 and more is beyond what a sample tells apart anyway.
    let candidates = float(u64::try_from(sources.candidates.load().len()).unwrap_or(u64::MAX));
    output.number(&family::CANDIDATES, &[], candidates);
    let board = sources.board.read().unwrap_or_else(PoisonError::into_inner);
    let tracked = u64::try_from(board.len()).unwrap_or(u64::MAX);
    drop(board);
    output.count(&family::CANDIDATES_TRACKED, &[], tracked);
}

fn errors(sources: &Sources, output: &mut Output) {
    for kind in ErrorKind::ALL {
        let reactors = sum(&sources.reactors, |reactor| {
            reactor.errors.get(kind as usize).map_or(0, Cell::value)
        });
        let elsewhere = match kind {
            ErrorKind::MetricsRequest => sources.control.bad_metrics_requests.load(Relaxed),
            ErrorKind::SampleDropped => sources.inbox.dropped(),
            ErrorKind::CandidateList => sources.control.candidate_list_errors.load(Relaxed),
            ErrorKind::Accept | ErrorKind::Dial | ErrorKind::DialTimeout | ErrorKind::Relay => 0,
        };
        output.count(&family::ERRORS, &[kind.label()], reactors.wrapping_add(elsewhere));
    }
}

fn connect_reading(histogram: &ConnectHistogram) -> HistogramReading {
    let mut reading = HistogramReading::empty();
    histogram.add_to(&mut reading);
    reading
}

/// The probe families: every member of the active set, probed or not, and the candidates probed last.
fn probes(sources: &Sources, active: &ActiveSet, output: &mut Output) {
    let mut servers: BTreeMap<SocketAddr, ProbeReading> = sources
        .probes
        .read()
        .into_iter()
        .map(|reading| (reading.addr, reading))
        .collect();
    for backend in &active.backends {
        servers
            .entry(backend.addr)
            .or_insert_with(|| never_probed(backend.addr));
    }
    for (addr, probed) in &servers {
        let server = addr.to_string();
        output.count(&family::PROBE_SUCCESS, &[&server], probed.successes);
        output.histogram(&family::PROBE_DURATION, &[&server], &probed.durations);
    }
    let board = sources.board.read().unwrap_or_else(PoisonError::into_inner);
    let scores: Vec<_> = servers
        .keys()
        .filter_map(|addr| Some((addr, board.score(addr)?)))
        .collect();
    drop(board);
    for (addr, score) in scores {
        let server = addr.to_string();
        output.number(&family::SCORE, &[&server], score.total);
        let failures = score.consecutive_failures.into();
        output.count(&family::CONSECUTIVE_FAILURES, &[&server], failures);
    }
}

fn never_probed(addr: SocketAddr) -> ProbeReading {
    ProbeReading {
        addr,
        successes: 0,
        durations: connect_reading(&ConnectHistogram::new(&CONNECT_BOUNDS_MICROS)),
    }
}

/// The families of one member of the active set.
fn pool(backend: &Backend, algorithm: Algorithm, output: &mut Output) {
    let server = backend.addr.to_string();
    let server: &[&str] = &[&server];
    let total = |value: fn(&ReactorShare) -> u64| sum(&backend.shares, value);
    let warm = total(|share| share.warm.load(Relaxed).into());
    let in_use = total(|share| share.in_use.load(Relaxed).into());
    let dialling = total(|share| share.dialling.load(Relaxed).into());
    for (state, count) in [("warm", warm), ("in_use", in_use), ("dialling", dialling)] {
        let labels: Vec<&str> = server.iter().copied().chain([state]).collect();
        output.count(&family::POOL_CONNECTIONS, &labels, count);
    }
    let size = warm + in_use;
    output.count(&family::POOL_TOTAL, server, size);
    output.count(&family::POOL_AVAILABLE, server, warm);
    output.count(&family::POOL_ACTIVE, server, in_use);
    let utilization = match size {
        0 => 0.0,
        size => 100.0 * float(in_use) / float(size),
    };
    output.number(&family::POOL_UTILIZATION, server, utilization);
    let hits = total(|share| share.hits.load(Relaxed));
    output.count(&family::POOL_HITS, server, hits);
    let misses = total(|share| share.misses.load(Relaxed));
    output.count(&family::POOL_MISSES, server, misses);
    output.count(&family::POOL_SCALE_UP, server, backend.scale_ups.load(Relaxed));
    output.count(
        &family::POOL_SCALE_DOWN,
        server,
        backend.scale_downs.load(Relaxed),
    );
    let live = backend.live();
    // The pools thread looks once per scaling interval; what rose since counts already.
    let peak = backend.recent_peak.load(Relaxed).max(live);
    output.count(&family::POOL_PEAK, server, peak.into());
    output.count(&family::LB_BACKEND_CONNECTIONS, server, live.into());
    let requests = total(|share| share.requests.load(Relaxed));
    let labels: Vec<&str> = [algorithm.name()]
        .into_iter()
        .chain(server.iter().copied())
        .collect();
    output.count(&family::LB_REQUESTS, &labels, requests);
    let dials = connect_reading(&backend.dial_durations);
    output.histogram(&family::DIAL_DURATION, server, &dials);
}
