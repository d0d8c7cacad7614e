//! Every family is there, has help text, and moves.

use super::*;
use crate::admission::RejectReason;
use crate::backend::{ActiveSet, Backend};
use crate::base::clock;
use crate::config::{ProviderKind, ServerTls, ServiceName};
use crate::relay::close::CloseReason;
use crate::scorer::inbox::INBOX_CAPACITY;
use crate::scorer::{Outcome, Sample, Source};
use crate::selector::decide::{Footing, SwitchReason};
use crate::service::hub::Hub;
use crate::service::provided::Standing;
use crate::service::traffic::ErrorKind;
use crate::service::{Candidate, Service, stage};
use crate::tls::{Credentials, Termination};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

mod movements;
mod openmetrics;

const REACTORS: usize = 2;

/// The names that the specification fixes, with their labels, and `process_*`.
const SPECIFIED: &[(&str, &str)] = &[
    ("new_connections_total", "service"),
    ("active_connections", "service"),
    ("connection_duration_seconds", "service"),
    ("bytes_transferred_total", "service,direction"),
    ("server_probe_success_total", "service,server"),
    ("server_probe_duration_seconds", "service,server"),
    ("server_score", "service,server"),
    ("server_consecutive_failures", "service,server"),
    ("pool_connections", "service,server,state"),
    ("pool_hits_total", "service,server"),
    ("pool_misses_total", "service,server"),
    ("pool_scale_up_total", "service,server"),
    ("pool_scale_down_total", "service,server"),
    ("pool_total_connections", "service,server"),
    ("pool_available_connections", "service,server"),
    ("pool_active_connections", "service,server"),
    ("pool_utilization_percent", "service,server"),
    ("pool_peak_concurrency", "service,server"),
    ("lb_requests_total", "service,algorithm,server"),
    ("lb_backend_connections", "service,server"),
    ("lb_backend_max_connections", "service,server"),
    ("lb_backend_open_connections", "service,server"),
    ("uptime_seconds", ""),
    ("errors_total", "service,kind"),
    ("health_checks_total", "service,result"),
    ("connections_closed_total", "service,reason"),
    ("selector_switches_total", "service,reason"),
    ("selector_fallback", "service"),
    ("service_asleep", "service"),
    ("link_down", ""),
    ("link_outages_total", ""),
    ("candidates", "service"),
    ("candidates_tracked", "service"),
    ("connections_rejected_total", "service,reason"),
    ("handshake_failures_total", "service,reason"),
    ("tls_handshakes_total", "service,result"),
    ("backend_tls_handshakes_total", "service,result"),
    ("tls_certificate_expiry_timestamp_seconds", "service,certificate"),
    ("proxy_connections_total", "service,client"),
    ("accept_paused_total", "service"),
    ("rescued_connections_total", "service"),
    ("dial_duration_seconds", "service,server"),
    ("first_byte_duration_seconds", "service,server"),
    ("unserved_connections_total", "service"),
    ("checks_total", "service,result"),
    ("queued_connections", "service"),
    ("queue_duration_seconds", "service"),
    ("race_dials_total", "service,result"),
    ("server_trusted", "service,server"),
    ("pool_lifetime_seconds", "service,server"),
    ("pool_restrained", "service,server"),
    ("build_info", "version"),
    ("config_reloads_total", "result"),
    ("config_restart_needed", ""),
    ("state_written_timestamp_seconds", ""),
    ("state_write_failures_total", ""),
    ("provider_candidates", "service,provider"),
    ("provider_failing", "service,provider"),
    ("provider_answer_age_seconds", "service,provider"),
    ("provider_errors_total", "service,provider"),
    ("cluster_up", ""),
    ("cluster_nodes", ""),
    ("cluster_failures_total", ""),
    ("cluster_samples_total", "result"),
    ("cluster_bytes_total", "direction"),
    ("access_log_lost_lines_total", ""),
    ("process_cpu_seconds_total", ""),
    ("process_open_fds", ""),
    ("process_max_fds", ""),
    ("process_virtual_memory_bytes", ""),
    ("process_resident_memory_bytes", ""),
    ("process_start_time_seconds", ""),
    ("process_threads", ""),
];

fn full_name(name: &str) -> String {
    if name.starts_with("process_") {
        name.to_owned()
    } else {
        format!("tcp_forwarder_{name}")
    }
}

/// A hub with one service called `web`, and an exporter over it.
pub(crate) struct World {
    pub(crate) sources: Sources,
    pub(crate) service: Arc<Service>,
    exporter: Exporter,
}

impl Deref for World {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

/// What clients of a service that speaks TLS are shown; none in a build without.
fn termination() -> Option<Arc<Termination>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    let tls = ServerTls {
        cert: Some(folder.join("server.pem")),
        key: Some(folder.join("server.key")),
        ..ServerTls::default()
    };
    Termination::load(&tls, None).expect("good files")
}

/// How the one provider fares that is asked over the network.
fn provider(hub: &Hub, candidates: u128, error: Option<&str>, errors: u64) {
    let standing = Standing {
        kind: ProviderKind::Dns,
        candidates,
        answered_at: Some(hub.started_at),
        next_at: None,
        error: error.map(str::to_owned),
        errors,
    };
    let place = (ServiceName::parse("web").expect("a name"), 1);
    let standings = BTreeMap::from([(place, standing)]);
    hub.provided.standings.publish(Arc::new(standings));
}

impl World {
    pub(crate) fn new(backends: &[Arc<Backend>]) -> Self {
        let hub = stage::hub();
        assert_eq!(hub.gauges.len(), REACTORS);
        let service = stage::service(&hub, "web", [80], stage::spec(|_| ()));
        let service = Arc::try_unwrap(service).expect("nobody else has it yet");
        let service = Arc::new(service.speaking(Credentials {
            termination: termination(),
            ..Credentials::default()
        }));
        service
            .live
            .active
            .publish(Arc::new(ActiveSet::new(backends.to_vec(), Footing::Good)));
        stage::publish(&hub, &[&service]);
        provider(&hub, 0, None, 0);
        let sources = Sources {
            hub,
            bad_requests: Arc::default(),
        };
        Self {
            exporter: Exporter::new(sources.clone()).expect("every family is valid"),
            sources,
            service,
        }
    }

    fn sample(&self, addr: SocketAddr, outcome: Outcome) -> Sample {
        Sample {
            candidate: Candidate {
                service: self.live.id,
                addr,
            },
            outcome,
            heard: crate::scorer::Heard::NotAsked,
            source: Source::Dial,
            began_at: clock::now(),
            at: clock::now(),
        }
    }

    /// Puts one sample on the score board.
    fn score(&self, addr: SocketAddr, outcome: Outcome) {
        let sample = self.sample(addr, outcome);
        self.live.board.write().expect("sound").record(&sample);
    }

    fn scrape(&self) -> Scrape {
        Scrape::of(&self.exporter.text(Format::Text).concat())
    }
}

/// A scrape, taken apart.
#[derive(Debug)]
struct Scrape {
    help: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
    /// By name and labels.
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    fn of(text: &str) -> Self {
        let mut scrape = Self {
            help: BTreeMap::new(),
            kinds: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                scrape.help.insert(name.to_owned(), help.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                scrape.kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a sample");
                let value = value.parse().expect("a number");
                let before = scrape.samples.insert(series.to_owned(), value);
                assert_eq!(before, None, "{series} appears twice");
            }
        }
        scrape
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(&format!("tcp_forwarder_{series}")).copied()
    }
}

fn backend(i: u8) -> Arc<Backend> {
    let addr = SocketAddr::from(([127, 0, 0, i], 80));
    Arc::new(Backend::new(addr, clock::now(), REACTORS))
}

#[test]
fn every_specified_family_is_there_with_help_text() {
    let limited = backend(2);
    limited.set_max_connections(std::num::NonZeroU32::new(9));
    let world = World::new(&[limited]);
    world.score("127.0.0.2:80".parse().expect("address"), Outcome::Failure);
    let scrape = world.scrape();
    let is_linux = std::path::Path::new("/proc/self/stat").exists();
    for (name, labels) in SPECIFIED {
        let name = full_name(name);
        let family = family::ALL.iter().find(|family| family.name == name);
        let family = family.unwrap_or_else(|| panic!("{name} is not defined"));
        assert_eq!(family.labels.join(","), *labels, "{name}");
        let is_without_tls = name.contains("tls_certificate") && !cfg!(feature = "tls");
        if name.starts_with("process_") && !is_linux || is_without_tls {
            continue;
        }
        let help = scrape
            .help
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not in a scrape"));
        assert!(help.len() > 10, "{name}: {help}");
        assert!(scrape.kinds.contains_key(&name), "{name}");
    }
    assert_eq!(
        family::ALL.len(),
        SPECIFIED.len(),
        "nothing beyond the specification"
    );
}

#[test]
fn failures_in_a_row_and_the_score_move() {
    let backend = backend(2);
    let world = World::new(&[Arc::clone(&backend)]);
    let read = || {
        let scrape = world.scrape();
        let failures = scrape.value("server_consecutive_failures{service=\"web\",server=\"127.0.0.2:80\"}");
        (
            failures,
            scrape.value("server_score{service=\"web\",server=\"127.0.0.2:80\"}"),
        )
    };
    assert_eq!(read(), (None, None), "nothing is known yet");
    world.score(backend.addr, Outcome::Success(Duration::from_millis(5)));
    let (failures, best) = read();
    assert_eq!(failures, Some(0.0));
    world.score(backend.addr, Outcome::Failure);
    world.score(backend.addr, Outcome::Failure);
    let (failures, worse) = read();
    assert_eq!(failures, Some(2.0));
    assert!(worse < best, "{worse:?} {best:?}");
}

#[test]
fn every_reason_and_kind_moves() {
    let world = World::new(&[]);
    for (i, reason) in (1..).zip(CloseReason::ALL) {
        (0..i).for_each(|_| world.live.traffic[i % REACTORS].count_close(reason));
    }
    for (i, kind) in (1..).zip(ErrorKind::ALL) {
        (0..i).for_each(|_| world.live.traffic[i % REACTORS].count_error(kind));
    }
    for (i, reason) in (1..).zip(SwitchReason::ALL) {
        world.live.counts.switches[reason as usize].store(i, Relaxed);
    }
    let scrape = world.scrape();
    let value = |series: String| scrape.value(&series).unwrap_or_else(|| panic!("no {series}"));
    for (i, reason) in (1_u32..).zip(CloseReason::ALL) {
        let closed = value(format!(
            "connections_closed_total{{service=\"web\",reason=\"{}\"}}",
            reason.label()
        ));
        assert!((closed - f64::from(i)).abs() < 1e-9, "{reason:?}: {closed}");
    }
    for (i, kind) in (1_u32..).zip(ErrorKind::ALL) {
        let errors = value(format!(
            "errors_total{{service=\"web\",kind=\"{}\"}}",
            kind.label()
        ));
        assert!((errors - f64::from(i)).abs() < 1e-9, "{kind:?}: {errors}");
    }
    for (i, reason) in (1_u32..).zip(SwitchReason::ALL) {
        let switches = value(format!(
            "selector_switches_total{{service=\"web\",reason=\"{}\"}}",
            reason.label()
        ));
        assert!((switches - f64::from(i)).abs() < 1e-9, "{reason:?}: {switches}");
    }
}

#[test]
fn series_of_a_server_go_when_it_leaves() {
    let (stays, leaves) = (backend(2), backend(3));
    let world = World::new(&[Arc::clone(&stays), leaves]);
    stays.shares[0].hits.store(5, Relaxed);
    let has = |scrape: &Scrape, label: &str| scrape.samples.keys().any(|series| series.contains(label));
    assert!(has(&world.scrape(), "127.0.0.3:80"));
    world
        .live
        .active
        .publish(Arc::new(ActiveSet::new(vec![stays], Footing::Good)));
    let after = world.scrape();
    assert!(!has(&after, "127.0.0.3:80"));
    assert_eq!(
        after.value("pool_hits_total{service=\"web\",server=\"127.0.0.2:80\"}"),
        Some(5.0)
    );
}

#[test]
fn services_are_told_apart_and_their_series_go_with_them() {
    let world = World::new(&[]);
    let hub = &world.sources.hub;
    let other = stage::service(hub, "other", [2], stage::spec(|_| ()));
    stage::publish(hub, &[&world.service, &other]);
    world.live.traffic[0].accepted.add(1);
    other.live.traffic[1].accepted.add(2);
    let accepted = |scrape: &Scrape| {
        ["web", "other"].map(|name| scrape.value(&format!("new_connections_total{{service=\"{name}\"}}")))
    };
    let of_process = |scrape: &Scrape| {
        let series = scrape.samples.keys();
        series.filter(|series| !series.contains("service=")).count()
    };
    let both = world.scrape();
    assert_eq!(accepted(&both), [Some(1.0), Some(2.0)]);
    stage::publish(hub, &[&other]);
    let one = world.scrape();
    assert_eq!(accepted(&one), [None, Some(2.0)]);
    let names_another = |series: &&String| series.contains("service=\"web\"") || series.contains("=\"\"");
    assert_eq!(one.samples.keys().find(names_another), None);
    assert_eq!(of_process(&one), of_process(&both), "the process is the same");
}

#[test]
fn who_leaves_has_series_for_as_long_as_somebody_has_relays_of_it() {
    let world = World::new(&[backend(2)]);
    let hub = &world.sources.hub;
    let other = stage::service(hub, "other", [2], stage::spec(|_| ()));
    stage::publish(hub, &[&world.service, &other]);
    world.live.traffic[0].active.add(3);
    let active = |scrape: &Scrape| {
        ["web", "other"].map(|name| scrape.value(&format!("active_connections{{service=\"{name}\"}}")))
    };
    let before = world.scrape();
    hub.stop();
    let stopping = world.scrape();
    assert_eq!(active(&stopping), [Some(3.0), Some(0.0)]);
    assert!(
        stopping.samples.keys().eq(before.samples.keys()),
        "a drain is seen in the same series"
    );
    drop(other);
    assert_eq!(active(&world.scrape()), [Some(3.0), None]);
}

#[test]
fn a_scrape_stays_small_however_many_were_probed() {
    let longest = |i: u32| {
        format!("[2001:db8:1111:2222:3333:4444:{i:x}:6666]:65535")
            .parse()
            .expect("address")
    };
    let backends: Vec<_> = (0..10)
        .map(|i| Arc::new(Backend::new(longest(0xff00 + i), clock::now(), REACTORS)))
        .collect();
    let world = World::new(&backends);
    let active: Vec<SocketAddr> = backends.iter().map(|backend| backend.addr).collect();
    world.live.probes.set_active(&active);
    for i in 0..65_536 {
        let addr = longest(i);
        let duration = Duration::from_micros(u64::from(i) * 10 + 1);
        world.live.probes.record(addr, Some(duration));
        world.score(addr, Outcome::Success(duration));
    }
    let text = world.exporter.text(Format::Text).concat();
    assert!(text.len() < 200_000, "{} bytes", text.len());
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let world = World::new(&[backend(2), backend(3)]);
    for (movement, _, _) in movements::ALL {
        movement(&world, &backend(2));
    }
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            println!("SKIPPED: promtool cannot be started: {error}");
            return;
        }
    };
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(world.exporter.text(Format::Text).concat().as_bytes())
        .expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
}
