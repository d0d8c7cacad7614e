//! From the shared counters to series: which value stands behind which family.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::family;
use super::output::Output;
use super::sources::Sources;
use super::text::float;
use crate::admission::RejectReason;
use crate::backend::{ActiveSet, Backend, ReactorShare};
use crate::base::counters::{CONNECT_BOUNDS_MICROS, Cell, ConnectHistogram, HistogramReading};
use crate::config::Algorithm;
use crate::logging;
use crate::preface::Failure;
use crate::relay::close::CloseReason;
use crate::scorer::link::Phase;
use crate::scorer::probe_stats::ProbeReading;
use crate::selector::decide::SwitchReason;
use crate::service::Service;
use crate::service::fleet::Fleet;
use crate::service::provided::{Place, Standing};
use crate::service::traffic::{ErrorKind, HandshakeResult, ProxyKind, Traffic};

/// Adds every series but `process_*`.
pub(super) fn collect(sources: &Sources, now: Instant, output: &mut Output) {
    let hub = &sources.hub;
    let uptime = now.saturating_duration_since(hub.started_at);
    output.number(&family::UPTIME, &[], uptime.as_secs_f64());
    output.count(&family::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    let link = hub.link.load();
    output.count(&family::LINK_DOWN, &[], u64::from(link.phase == Phase::Down));
    output.count(&family::LINK_OUTAGES, &[], link.outages);
    let reloads = hub.reloads.load();
    output.count(&family::CONFIG_RELOADS, &["success"], reloads.applied);
    output.count(&family::CONFIG_RELOADS, &["failure"], reloads.refused);
    let needs_restart = u64::from(reloads.needs_restart);
    output.count(&family::CONFIG_RESTART_NEEDED, &[], needs_restart);
    let written_ms = Duration::from_millis(hub.state.written_ms.load(Relaxed));
    output.number(&family::STATE_WRITTEN, &[], written_ms.as_secs_f64());
    let failures = hub.state.failures.load(Relaxed);
    output.count(&family::STATE_WRITE_FAILURES, &[], failures);
    output.count(&family::ACCESS_LOG_LOST, &[], logging::lost_access_lines());
    let bad_requests = sources.bad_requests.load(Relaxed);
    output.count(&family::ERRORS, &["", family::METRICS_REQUEST], bad_requests);
    let dropped = hub.samples.dropped();
    output.count(&family::ERRORS, &["", family::SAMPLE_DROPPED], dropped);
    fleet(&hub.fleet, output);
    let standings = hub.provided.standings.load();
    for (service, _) in hub.directory.load().told() {
        of_service(&service, output);
        providers(&service, &standings, now, output);
    }
}

fn providers(service: &Service, standings: &BTreeMap<Place, Standing>, now: Instant, output: &mut Output) {
    let its_own = standings.range((service.name.clone(), 0)..=(service.name.clone(), usize::MAX));
    for ((_, index), standing) in its_own {
        let provider = standing.name(*index);
        let labels = [service.name.as_str(), provider.as_str()];
        let candidates = u64::try_from(standing.candidates).unwrap_or(u64::MAX);
        output.count(&family::PROVIDER_CANDIDATES, &labels, candidates);
        let is_failing = standing.error.is_some();
        output.count(&family::PROVIDER_FAILING, &labels, u64::from(is_failing));
        if let Some(answered_at) = standing.answered_at {
            let age = now.saturating_duration_since(answered_at);
            output.number(&family::PROVIDER_ANSWER_AGE, &labels, age.as_secs_f64());
        }
        output.count(&family::PROVIDER_ERRORS, &labels, standing.errors);
    }
}

fn fleet(fleet: &Fleet, output: &mut Output) {
    let (view, counts) = (fleet.view.load(), &fleet.counts);
    output.count(&family::CLUSTER_UP, &[], u64::from(view.is_connected));
    let nodes = u64::try_from(view.others.len()).unwrap_or(u64::MAX);
    output.count(&family::CLUSTER_NODES, &[], nodes);
    output.count(&family::CLUSTER_FAILURES, &[], counts.failures.load(Relaxed));
    for (result, count) in [
        ("told", &counts.told),
        ("heard", &counts.heard),
        ("refused", &counts.refused),
    ] {
        output.count(&family::CLUSTER_SAMPLES, &[result], count.load(Relaxed));
    }
    for (direction, count) in [("sent", &counts.sent_bytes), ("received", &counts.received_bytes)] {
        output.count(&family::CLUSTER_BYTES, &[direction], count.load(Relaxed));
    }
}

fn of_service(service: &Service, output: &mut Output) {
    let name = service.name.as_str();
    let active = service.live.active.load();
    traffic(name, &service.live.traffic, output);
    control(service, &active, output);
    probes(service, &active, output);
    for backend in &active.backends {
        let addr = backend.addr.to_string();
        let server = [name, addr.as_str()];
        pool(server, backend, service.spec.pools.algorithm, output);
        learned(server, backend, service.spec.pools.idle_timeout, output);
    }
}

fn sum<T>(parts: &[T], value: impl Fn(&T) -> u64) -> u64 {
    parts
        .iter()
        .fold(0, |total, part| total.wrapping_add(value(part)))
}

fn traffic(name: &str, reactors: &[Traffic], output: &mut Output) {
    let total = |cell: fn(&Traffic) -> &Cell| sum(reactors, |reactor| cell(reactor).value());
    output.count(&family::NEW_CONNECTIONS, &[name], total(|r| &r.accepted));
    output.count(&family::ACTIVE_CONNECTIONS, &[name], total(|r| &r.active));
    output.count(&family::ACCEPT_PAUSED, &[name], total(|r| &r.accept_paused));
    output.count(&family::RESCUED_CONNECTIONS, &[name], total(|r| &r.rescued));
    output.count(&family::RACE_DIALS, &[name, "won"], total(|r| &r.races_won));
    output.count(&family::RACE_DIALS, &[name, "lost"], total(|r| &r.races_lost));
    output.count(&family::QUEUED_CONNECTIONS, &[name], total(|r| &r.queued));
    let mut queued = HistogramReading::empty();
    for reactor in reactors {
        reactor.queue_durations.add_to(&mut queued);
    }
    output.histogram(&family::QUEUE_DURATION, &[name], &queued);
    let to_backend = total(|r| &r.bytes_to_backend);
    output.count(&family::BYTES_TRANSFERRED, &[name, "to_backend"], to_backend);
    let to_client = total(|r| &r.bytes_to_client);
    output.count(&family::BYTES_TRANSFERRED, &[name, "to_client"], to_client);
    let mut each = |family, labels: &[(&str, usize)], cells: fn(&Traffic) -> &[Cell]| {
        for (label, place) in labels {
            let value = sum(reactors, |one| cells(one).get(*place).map_or(0, Cell::value));
            output.count(family, &[name, label], value);
        }
    };
    let results = HandshakeResult::ALL.map(|one| (one.label(), one as usize));
    each(&family::TLS_HANDSHAKES, &results, |r| &r.handshakes);
    each(&family::BACKEND_TLS_HANDSHAKES, &results, |r| &r.securings);
    let reasons = CloseReason::ALL.map(|one| (one.label(), one as usize));
    each(&family::CONNECTIONS_CLOSED, &reasons, |r| &r.closed);
    let reasons = RejectReason::ALL.map(|one| (one.label(), one as usize));
    each(&family::CONNECTIONS_REJECTED, &reasons, |r| &r.rejected);
    let failures = Failure::ALL.map(|one| (one.label(), one as usize));
    each(&family::HANDSHAKE_FAILURES, &failures, |r| &r.failures);
    let kinds = ProxyKind::ALL.map(|one| (one.label(), one as usize));
    each(&family::PROXY_CONNECTIONS, &kinds, |r| &r.proxied);
    let kinds = ErrorKind::ALL.map(|one| (one.label(), one as usize));
    each(&family::ERRORS, &kinds, |r| &r.errors);
    let mut durations = HistogramReading::empty();
    for reactor in reactors {
        reactor.durations.add_to(&mut durations);
    }
    output.histogram(&family::CONNECTION_DURATION, &[name], &durations);
}

fn control(service: &Service, active: &ActiveSet, output: &mut Output) {
    let name = service.name.as_str();
    let counts = &service.live.counts;
    let ok = counts.probes_ok.load(Relaxed);
    output.count(&family::HEALTH_CHECKS, &[name, "success"], ok);
    let failed = counts.probes_failed.load(Relaxed);
    output.count(&family::HEALTH_CHECKS, &[name, "failure"], failed);
    for (result, count) in [("right", &counts.checks_right), ("wrong", &counts.checks_wrong)] {
        output.count(&family::CHECKS, &[name, result], count.load(Relaxed));
    }
    let unserved = counts.unserved.load(Relaxed);
    output.count(&family::UNSERVED_CONNECTIONS, &[name], unserved);
    for reason in SwitchReason::ALL {
        let switches = counts.switches.get(reason as usize);
        let switches = switches.map_or(0, |count| count.load(Relaxed));
        output.count(&family::SELECTOR_SWITCHES, &[name, reason.label()], switches);
    }
    let list_errors = counts.candidate_list_errors.load(Relaxed);
    output.count(&family::ERRORS, &[name, family::CANDIDATE_LIST], list_errors);
    let certificate_errors = counts.certificate_errors.load(Relaxed);
    output.count(&family::ERRORS, &[name, family::CERTIFICATE], certificate_errors);
    if let Some(termination) = &service.tls.termination {
        // A file that is named twice is one series.
        let shown = termination.shown().iter();
        let expiries: BTreeMap<_, _> = shown.map(|one| (&one.path, one.not_after)).collect();
        for (path, expiry) in expiries {
            let (path, expiry) = (
                path.display().to_string(),
                u64::try_from(expiry).unwrap_or_default(),
            );
            output.number(&family::TLS_CERTIFICATE_EXPIRY, &[name, &path], float(expiry));
        }
    }
    let is_fallback = u64::from(active.footing.is_fallback());
    output.count(&family::SELECTOR_FALLBACK, &[name], is_fallback);
    let is_asleep = u64::from(service.live.slumber.load().is_asleep());
    output.count(&family::SERVICE_ASLEEP, &[name], is_asleep);
    // 2^64 and more is beyond what a sample tells apart anyway.
    let candidates = u64::try_from(service.live.candidates.load().len()).unwrap_or(u64::MAX);
    output.number(&family::CANDIDATES, &[name], float(candidates));
    let board = service.live.board.read().unwrap_or_else(PoisonError::into_inner);
    let tracked = u64::try_from(board.len()).unwrap_or(u64::MAX);
    drop(board);
    output.count(&family::CANDIDATES_TRACKED, &[name], tracked);
}

fn connect_reading(histogram: &ConnectHistogram) -> HistogramReading {
    let mut reading = HistogramReading::empty();
    histogram.add_to(&mut reading);
    reading
}

/// The probe families: every member of the active set, probed or not, and the candidates probed last.
fn probes(service: &Service, active: &ActiveSet, output: &mut Output) {
    let name = service.name.as_str();
    let mut servers: BTreeMap<SocketAddr, ProbeReading> = service
        .live
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
        output.count(&family::PROBE_SUCCESS, &[name, &server], probed.successes);
        output.histogram(&family::PROBE_DURATION, &[name, &server], &probed.durations);
    }
    let board = service.live.board.read().unwrap_or_else(PoisonError::into_inner);
    let scores: Vec<_> = servers
        .keys()
        .filter_map(|addr| Some((addr, board.score(addr)?)))
        .collect();
    drop(board);
    for (addr, score) in scores {
        let server = addr.to_string();
        output.number(&family::SCORE, &[name, &server], score.total);
        output.count(&family::TRUSTED, &[name, &server], u64::from(score.is_trusted));
        let failures = score.consecutive_failures.into();
        output.count(&family::CONSECUTIVE_FAILURES, &[name, &server], failures);
    }
}

fn never_probed(addr: SocketAddr) -> ProbeReading {
    ProbeReading {
        addr,
        successes: 0,
        durations: connect_reading(&ConnectHistogram::new(&CONNECT_BOUNDS_MICROS)),
    }
}

/// The families of what the warm connections of one member have taught.
fn learned(server: [&str; 2], backend: &Backend, fixed: Option<Duration>, output: &mut Output) {
    let life = fixed.unwrap_or_else(|| backend.learned.life());
    output.number(&family::POOL_LIFETIME, &server, life.as_secs_f64());
    let target = backend.target.load(Relaxed);
    let limit = backend
        .shares
        .iter()
        .fold(0_u32, |sum, share| sum.saturating_add(share.limit.get()));
    output.count(&family::POOL_RESTRAINED, &server, u64::from(limit < target));
}

/// The families of one member of the active set.
fn pool(labels: [&str; 2], backend: &Backend, algorithm: Algorithm, output: &mut Output) {
    let [name, addr] = labels;
    let server: &[&str] = &labels;
    let total = |value: fn(&ReactorShare) -> u64| sum(&backend.shares, value);
    let warm = total(|share| share.warm.load(Relaxed).into());
    let in_use = total(|share| share.in_use.load(Relaxed).into());
    let dialling = total(|share| share.dialling.load(Relaxed).into());
    for (state, count) in [("warm", warm), ("in_use", in_use), ("dialling", dialling)] {
        output.count(&family::POOL_CONNECTIONS, &[name, addr, state], count);
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
    if let Some(max) = backend.max_connections() {
        output.count(&family::LB_BACKEND_MAX_CONNECTIONS, server, max.get().into());
        output.count(
            &family::LB_BACKEND_OPEN_CONNECTIONS,
            server,
            backend.open().into(),
        );
    }
    let requests = total(|share| share.requests.load(Relaxed));
    output.count(&family::LB_REQUESTS, &[name, algorithm.name(), addr], requests);
    let dials = connect_reading(&backend.dial_durations);
    output.histogram(&family::DIAL_DURATION, server, &dials);
    let first_bytes = connect_reading(&backend.first_bytes);
    output.histogram(&family::FIRST_BYTE_DURATION, server, &first_bytes);
}
