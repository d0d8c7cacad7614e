//! What moves each family.

use std::num::NonZeroU32;

use super::*;
use crate::backend::Place;
use crate::candidates::CandidateSet;
#[cfg(target_os = "linux")]
use crate::config::LogOutput;
#[cfg(target_os = "linux")]
use crate::logging::{Lines, flush_lines};
use crate::preface::Failure;
use crate::scorer::link::Phase;
use crate::selector::decide::Footing;
use crate::service::traffic::{HandshakeResult, ProxyKind};
use crate::service::{Reloads, Slumber};

/// One movement: what happens to the shared structures, the series that shows it, and its new value.
pub(super) type Movement = (fn(&World, &Arc<Backend>), &'static str, f64);

pub(super) const ALL: &[Movement] = &[
    (
        |w, _| w.live.traffic[0].accepted.add(2),
        "new_connections_total{service=\"web\"}",
        5.0,
    ),
    (
        |w, _| w.live.traffic[1].accepted.add(3),
        "new_connections_total{service=\"web\"}",
        5.0,
    ),
    (
        |w, _| w.live.traffic[1].active.add(4),
        "active_connections{service=\"web\"}",
        4.0,
    ),
    (
        |w, _| w.live.traffic[0].durations.observe(Duration::from_millis(20)),
        "connection_duration_seconds_bucket{service=\"web\",le=\"0.025\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[1].durations.observe(Duration::from_secs(7200)),
        "connection_duration_seconds_sum{service=\"web\"}",
        7200.02,
    ),
    (
        |w, _| w.live.traffic[0].bytes_to_backend.add(10),
        "bytes_transferred_total{service=\"web\",direction=\"to_backend\"}",
        10.0,
    ),
    (
        |w, _| w.live.traffic[1].bytes_to_client.add(20),
        "bytes_transferred_total{service=\"web\",direction=\"to_client\"}",
        20.0,
    ),
    (
        |w, _| w.live.traffic[0].count_rejection(RejectReason::Denied),
        "connections_rejected_total{service=\"web\",reason=\"denied\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[1].rejected[1].add(2),
        "connections_rejected_total{service=\"web\",reason=\"connection_limit\"}",
        2.0,
    ),
    (
        |w, _| w.live.traffic[1].rejected[2].add(3),
        "connections_rejected_total{service=\"web\",reason=\"rate_limit\"}",
        3.0,
    ),
    (
        |w, _| w.live.traffic[1].count_failure(Failure::ProxyChecksum),
        "handshake_failures_total{service=\"web\",reason=\"proxy_checksum\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[0].count_proxied(ProxyKind::Named),
        "proxy_connections_total{service=\"web\",client=\"named\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[1].count_handshake(HandshakeResult::Resumed),
        "tls_handshakes_total{service=\"web\",result=\"resumed\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[0].count_securing(HandshakeResult::Full),
        "backend_tls_handshakes_total{service=\"web\",result=\"full\"}",
        1.0,
    ),
    (
        |w, _| w.live.counts.certificate_errors.store(2, Relaxed),
        "errors_total{service=\"web\",kind=\"certificate\"}",
        2.0,
    ),
    (
        |w, _| w.live.traffic[0].accept_paused.add(1),
        "accept_paused_total{service=\"web\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[1].queued.add(4),
        "queued_connections{service=\"web\"}",
        4.0,
    ),
    (
        |w, _| {
            w.live.traffic[0]
                .queue_durations
                .observe(Duration::from_millis(3));
        },
        "queue_duration_seconds_count{service=\"web\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[0].races_won.add(2),
        "race_dials_total{service=\"web\",result=\"won\"}",
        2.0,
    ),
    (
        |w, _| w.live.traffic[1].races_lost.add(1),
        "race_dials_total{service=\"web\",result=\"lost\"}",
        1.0,
    ),
    (
        |w, _| w.live.traffic[1].rescued.add(3),
        "rescued_connections_total{service=\"web\"}",
        3.0,
    ),
    (
        |w, _| w.live.counts.probes_ok.store(7, Relaxed),
        "health_checks_total{service=\"web\",result=\"success\"}",
        7.0,
    ),
    (
        |w, _| w.live.counts.probes_failed.store(8, Relaxed),
        "health_checks_total{service=\"web\",result=\"failure\"}",
        8.0,
    ),
    (
        |w, _| {
            let set = w.live.active.load();
            w.live
                .active
                .publish(Arc::new(ActiveSet::new(set.backends.clone(), Footing::LastGood)));
        },
        "selector_fallback{service=\"web\"}",
        1.0,
    ),
    (
        |w, _| {
            let last_at = w.sources.hub.started_at;
            w.live.slumber.publish(Arc::new(Slumber::Asleep { last_at }));
        },
        "service_asleep{service=\"web\"}",
        1.0,
    ),
    (
        |w, _| {
            let hub = &w.sources.hub;
            let mut view = (*hub.link.load()).clone();
            view.phase = Phase::Down;
            view.outages = 6;
            hub.link.publish(Arc::new(view));
        },
        "link_down",
        1.0,
    ),
    (|_, _| (), "link_outages_total", 6.0),
    (
        |w, _| {
            w.sources.hub.reloads.publish(Arc::new(Reloads {
                applied: 2,
                refused: 3,
                needs_restart: true,
                last: None,
            }));
        },
        "config_reloads_total{result=\"success\"}",
        2.0,
    ),
    (|_, _| (), "config_reloads_total{result=\"failure\"}", 3.0),
    (|_, _| (), "config_restart_needed", 1.0),
    (
        |w, _| {
            let state = &w.sources.hub.state;
            state.written_ms.store(1_500, Relaxed);
            state.failures.store(4, Relaxed);
        },
        "state_written_timestamp_seconds",
        1.5,
    ),
    (|_, _| (), "state_write_failures_total", 4.0),
    (
        |w, _| {
            let fleet = &w.sources.hub.fleet;
            let node = crate::service::fleet::Node {
                id: 2,
                name: "other".to_owned(),
                vantage: String::new(),
                services: Vec::new(),
                is_down: false,
            };
            fleet.view.publish(Arc::new(crate::service::fleet::FleetView {
                is_connected: true,
                others: vec![node],
                ..Default::default()
            }));
            fleet.counts.failures.store(2, Relaxed);
            fleet.counts.told.store(3, Relaxed);
            fleet.counts.sent_bytes.store(4, Relaxed);
        },
        "cluster_up",
        1.0,
    ),
    (
        |w, _| provider(&w.sources.hub, 5, Some("nobody answers"), 6),
        "provider_candidates{service=\"web\",provider=\"1:dns\"}",
        5.0,
    ),
    (
        |_, _| (),
        "provider_failing{service=\"web\",provider=\"1:dns\"}",
        1.0,
    ),
    (
        |_, _| (),
        "provider_errors_total{service=\"web\",provider=\"1:dns\"}",
        6.0,
    ),
    (|_, _| (), "cluster_nodes", 1.0),
    (|_, _| (), "cluster_failures_total", 2.0),
    (|_, _| (), "cluster_samples_total{result=\"told\"}", 3.0),
    (|_, _| (), "cluster_bytes_total{direction=\"sent\"}", 4.0),
    #[cfg(target_os = "linux")]
    (
        |_, _| {
            let full = LogOutput::File("/dev/full".into());
            let lines = Lines::open(&full).expect("a device");
            lines.push(b"lost\n");
            flush_lines();
        },
        "access_log_lost_lines_total",
        1.0,
    ),
    (
        |w, _| {
            let set = CandidateSet::parse("10.0.0.0/8\n", 80).expect("a list");
            w.live.candidates.publish(Arc::new(set));
        },
        "candidates{service=\"web\"}",
        16_777_214.0,
    ),
    (
        |w, b| w.score(b.addr, Outcome::Success(Duration::from_millis(5))),
        "candidates_tracked{service=\"web\"}",
        1.0,
    ),
    (
        |_, _| (),
        "server_trusted{service=\"web\",server=\"127.0.0.2:80\"}",
        1.0,
    ),
    (
        |w, _| w.live.counts.checks_right.store(5, Relaxed),
        "checks_total{service=\"web\",result=\"right\"}",
        5.0,
    ),
    (
        |w, _| w.live.counts.checks_wrong.store(6, Relaxed),
        "checks_total{service=\"web\",result=\"wrong\"}",
        6.0,
    ),
    (
        |w, _| w.live.counts.unserved.store(3, Relaxed),
        "unserved_connections_total{service=\"web\"}",
        3.0,
    ),
    (
        |_, _| (),
        "server_score{service=\"web\",server=\"127.0.0.2:80\"}",
        100.0,
    ),
    (
        |w, _| w.sources.bad_requests.store(3, Relaxed),
        "errors_total{kind=\"metrics_request\"}",
        3.0,
    ),
    (
        |w, _| w.live.counts.candidate_list_errors.store(4, Relaxed),
        "errors_total{service=\"web\",kind=\"candidate_list\"}",
        4.0,
    ),
    (
        |w, b| {
            let sample = w.sample(b.addr, Outcome::Failure);
            (0..INBOX_CAPACITY + 5).for_each(|_| w.sources.hub.samples.push(sample));
        },
        "errors_total{kind=\"sample_dropped\"}",
        5.0,
    ),
    (
        |w, b| w.live.probes.record(b.addr, Some(Duration::from_micros(1500))),
        "server_probe_success_total{service=\"web\",server=\"127.0.0.2:80\"}",
        1.0,
    ),
    (
        |w, b| w.live.probes.record(b.addr, None),
        "server_probe_duration_seconds_bucket{service=\"web\",server=\"127.0.0.2:80\",le=\"0.0025\"}",
        1.0,
    ),
    (
        |_, b| b.shares[0].warm.store(6, Relaxed),
        "pool_connections{service=\"web\",server=\"127.0.0.2:80\",state=\"warm\"}",
        6.0,
    ),
    (
        |_, _| (),
        "pool_available_connections{service=\"web\",server=\"127.0.0.2:80\"}",
        6.0,
    ),
    (
        |_, b| b.shares[1].in_use.store(2, Relaxed),
        "pool_connections{service=\"web\",server=\"127.0.0.2:80\",state=\"in_use\"}",
        2.0,
    ),
    (
        |_, _| (),
        "pool_active_connections{service=\"web\",server=\"127.0.0.2:80\"}",
        2.0,
    ),
    (
        |_, _| (),
        "pool_total_connections{service=\"web\",server=\"127.0.0.2:80\"}",
        8.0,
    ),
    (
        |_, _| (),
        "pool_utilization_percent{service=\"web\",server=\"127.0.0.2:80\"}",
        25.0,
    ),
    (
        |_, b| b.shares[1].dialling.store(1, Relaxed),
        "pool_connections{service=\"web\",server=\"127.0.0.2:80\",state=\"dialling\"}",
        1.0,
    ),
    (
        |_, b| b.shares[0].hits.store(11, Relaxed),
        "pool_hits_total{service=\"web\",server=\"127.0.0.2:80\"}",
        11.0,
    ),
    (
        |_, b| b.shares[0].misses.store(12, Relaxed),
        "pool_misses_total{service=\"web\",server=\"127.0.0.2:80\"}",
        12.0,
    ),
    (
        |_, b| b.scale_ups.store(13, Relaxed),
        "pool_scale_up_total{service=\"web\",server=\"127.0.0.2:80\"}",
        13.0,
    ),
    (
        |_, b| b.scale_downs.store(14, Relaxed),
        "pool_scale_down_total{service=\"web\",server=\"127.0.0.2:80\"}",
        14.0,
    ),
    (
        |_, b| {
            b.learned.shorten_life(Some(Duration::from_secs(9)));
        },
        "pool_lifetime_seconds{service=\"web\",server=\"127.0.0.2:80\"}",
        9.0,
    ),
    (
        |_, b| {
            b.target.store(4, Relaxed);
            b.shares.iter().for_each(|share| {
                share.limit.set(Some(1));
            });
        },
        "pool_restrained{service=\"web\",server=\"127.0.0.2:80\"}",
        1.0,
    ),
    (
        |_, b| b.recent_peak.store(15, Relaxed),
        "pool_peak_concurrency{service=\"web\",server=\"127.0.0.2:80\"}",
        15.0,
    ),
    (
        |_, b| b.shares[1].requests.store(16, Relaxed),
        "lb_requests_total{service=\"web\",algorithm=\"least_connections\",server=\"127.0.0.2:80\"}",
        16.0,
    ),
    (
        |_, b| b.join(),
        "lb_backend_connections{service=\"web\",server=\"127.0.0.2:80\"}",
        1.0,
    ),
    (
        |_, b| b.set_max_connections(NonZeroU32::new(3)),
        "lb_backend_max_connections{service=\"web\",server=\"127.0.0.2:80\"}",
        3.0,
    ),
    (
        // It stays open.
        |_, b| std::mem::forget(Place::take(b)),
        "lb_backend_open_connections{service=\"web\",server=\"127.0.0.2:80\"}",
        1.0,
    ),
    (
        |_, b| b.dial_durations.observe(Duration::from_secs(3)),
        "dial_duration_seconds_count{service=\"web\",server=\"127.0.0.2:80\"}",
        1.0,
    ),
    (
        |_, b| b.first_bytes.observe(Duration::from_secs(3)),
        "first_byte_duration_seconds_count{service=\"web\",server=\"127.0.0.2:80\"}",
        1.0,
    ),
];

#[test]
fn every_series_moves_with_its_counter() {
    let backend = backend(2);
    let world = World::new(&[Arc::clone(&backend)]);
    let before = world.scrape();
    for (movement, _, _) in ALL {
        movement(&world, &backend);
    }
    let after = world.scrape();
    for (_, series, expected) in ALL {
        let was = before.value(series).unwrap_or(0.0);
        let is = after
            .value(series)
            .unwrap_or_else(|| panic!("no series {series}"));
        assert!((was - expected).abs() > 1e-9, "{series} was {was} already");
        assert!((is - expected).abs() < 1e-9, "{series} is {is}, not {expected}");
    }
    let expiries = |scrape: &Scrape| {
        let is_it = |series: &&String| series.contains("tls_certificate_expiry_timestamp_seconds{");
        scrape
            .samples
            .keys()
            .filter(is_it)
            .filter_map(|series| scrape.samples.get(series).copied())
            .collect::<Vec<_>>()
    };
    // Of the file that the world shows, until 2120.
    let expected = if cfg!(feature = "tls") {
        vec![4_733_510_400.0]
    } else {
        Vec::new()
    };
    assert_eq!(expiries(&after), expected);
    assert!(after.value("uptime_seconds") > before.value("uptime_seconds"));
    let age = "provider_answer_age_seconds{service=\"web\",provider=\"1:dns\"}";
    assert!(after.value(age) > before.value(age) && before.value(age) > Some(0.0));
    let version = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(after.value(&version), Some(1.0));
    // Every family that is no constant or process value is moved by the table above.
    for family in family::ALL {
        let name = family.name.trim_start_matches("tcp_forwarder_");
        let elsewhere = [
            "uptime_seconds",
            "provider_answer_age_seconds",
            "build_info",
            "tls_certificate_expiry_timestamp_seconds",
            "connections_closed_total",
            "selector_switches_total",
            "server_consecutive_failures",
        ];
        assert!(
            name.starts_with("process_")
                || elsewhere.contains(&name)
                || ALL.iter().any(|(_, series, _)| series.starts_with(name)),
            "nothing moves {name}"
        );
    }
}
