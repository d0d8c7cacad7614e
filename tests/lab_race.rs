//! What a second dial is worth where connects stall: the packet that opens a connection is lost now and then, and sent
//! again only after a second.
//!
//! Needs root, `/dev/net/tun` and iproute2, and says so where it skips itself.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod lab;

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use lab::{Forwarder, LISTEN, Lab, Link, Load, LoadReport, Reading, Responder, Service, say};

const HTTP: u16 = 80;

/// The share of connects that stall.
const STALL: f64 = 0.05;

fn backends() -> [SocketAddr; 3] {
    [20, 21, 22].map(|number| SocketAddr::new(lab::server(number), HTTP))
}

fn config(width: u32, strategy: &str) -> String {
    format!(
        r#"
server: {{ listen_addr: "127.0.0.1:1234" }}
metrics: {{ listen_addr: "127.0.0.1:9099" }}
remotes:
  provider: {{ type: "file", file: {{ path: "./ip_list.txt" }} }}
  probing: {{ interval: "1s" }}
pools:
  common: {{ dial_timeout: "3s", race: {{ width: {width} }} }}
  strategy: {{ type: "{strategy}" }}
"#
    )
}

/// Second dials that won or lost.
fn raced(text: &str) -> f64 {
    let series = text
        .lines()
        .filter(|line| line.starts_with("tcp_forwarder_race_dials_total{"));
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// The first third of the clients teaches, the others are measured; with the share of dials that were second ones.
fn measure(lab: &Lab, width: u32, strategy: &str) -> (LoadReport, f64) {
    let mut list = String::new();
    for backend in backends() {
        writeln!(list, "{backend}").unwrap();
    }
    let mut forwarder = Forwarder::start(lab, &config(width, strategy), &list).unwrap();
    let listening = forwarder.wait_until_listening(lab, Duration::from_secs(5));
    assert!(listening, "{}", forwarder.program().output());
    let time = Duration::from_secs(6);
    let load = Load {
        target: LISTEN,
        per_second: 150,
        duration: time,
        hold: Duration::ZERO,
        patience: Duration::from_secs(5),
    };
    let report = load.run(lab.client()).unwrap();
    let reading = Reading::take(lab).unwrap();
    let dials = reading.sum("dial_duration_seconds_count").max(1.0);
    let second = raced(reading.text());
    let share = second / (dials - second).max(1.0);
    let measured = report.between(time / 3, time);
    say(&format!(
        "  width {width}, {strategy}: {}, {share:.3} dials more",
        measured.json()
    ));
    (measured, share)
}

#[test]
fn a_stall_of_one_connect_in_twenty_is_not_felt() {
    let Some(lab) = lab::open("a_stall_of_one_connect_in_twenty_is_not_felt") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(HTTP, Service::Http)]).unwrap();
    for backend in backends() {
        lab.links().set(backend.ip(), Link::millis(20).stalling(STALL));
    }
    let (alone, _) = measure(&lab, 1, "off");
    assert!(alone.percentiles().p99 >= Duration::from_secs(1), "it stalls");
    for strategy in ["off", "dynamic"] {
        let (raced, share) = measure(&lab, 2, strategy);
        let times = raced.percentiles();
        assert_eq!(raced.failed(), 0);
        assert!(times.p99 < 3 * times.p50, "{strategy}: {times:?}");
        assert!(share < 0.08, "{strategy}: {share} dials more");
    }
}
