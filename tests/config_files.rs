//! Whole configuration files: each bad one carries the errors that it must give, each good one its meaning.
//!
//! A bad file begins with comments `# expect: LINE: KEY: MESSAGE`, one per error, in order; the lines count
//! these comments as well.

#![expect(clippy::panic, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{self, Algorithm, Config, LoadError, LogFormat, LogOutput, Splice, Strategy};

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(kind)
}

fn good(name: &str) -> Config {
    config::load(&folder("good").join(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn defaults() -> Config {
    let mut config = Config::default();
    config.remotes.provider.path = folder("good").join("ip_list.txt");
    config
}

#[test]
fn each_bad_file_gives_exactly_the_errors_it_names() {
    let mut files = 0;
    for entry in fs::read_dir(folder("bad")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let expected: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# expect: "))
            .map(|error| format!("{}:{error}", path.display()))
            .collect();
        let error = config::load(&path).expect_err("a bad file");
        assert_eq!(error.exit_status(), 2, "{error}");
        let found: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
        assert!(
            found == expected && !found.is_empty(),
            "{}\nexpected:\n{}\nfound:\n{}",
            path.display(),
            expected.join("\n"),
            found.join("\n")
        );
        files += 1;
    }
    assert!(files >= 15, "only {files} files");
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(good("empty.yaml"), defaults());
    assert_eq!(good("sections_only.yaml"), defaults());
}

#[test]
#[expect(clippy::float_cmp, reason = "the scores are exact")]
fn flow_style_lists_and_weights() {
    let config = good("flow.yaml");
    let any_port = |ip: &str| -> SocketAddr { format!("{ip}:0").parse().unwrap() };
    assert_eq!(
        config.server.listen_addrs,
        [any_port("127.0.0.1"), any_port("[::1]")]
    );
    assert_eq!(config.server.splice, Splice::Off);
    assert_eq!(config.logging.level, log::LevelFilter::Debug);
    assert_eq!(config.logging.format, LogFormat::Json);
    assert_eq!(config.logging.output, LogOutput::Stderr);
    assert!(!config.metrics.enabled);
    assert_eq!(config.remotes.probing.interval, Duration::from_secs(90));
    let scoring = &config.remotes.scoring;
    let scores = [
        scoring.latency.max_score,
        scoring.jitter.max_score,
        scoring.success_rate.max_score,
    ];
    assert!(scores == [60.0, 10.0, 30.0], "{scores:?}");
    assert_eq!(config.pools.algorithm, Algorithm::RoundRobin);
    assert_eq!(config.pools.strategy, Strategy::Static { size_per_remote: 2 });
}

#[test]
#[expect(clippy::float_cmp, reason = "written as it is stored")]
fn limits_of_clients() {
    let server = good("protection.yaml").server;
    assert_eq!(server.max_connections_per_ip, 100);
    assert_eq!(server.connection_rate_per_ip, 2.5);
    assert_eq!(server.connection_burst_per_ip, 20);
    let shown = |networks: &[ipnet::IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&server.allow), ["192.0.2.0/24", "2001:db8::/32", "::1/128"]);
    assert_eq!(shown(&server.deny), ["192.0.2.7/32"]);
    assert_eq!(server.bandwidth.per_connection, 10 * 1024 * 1024);
    assert_eq!(server.bandwidth.total, 125_000_000);
}

#[test]
fn an_alias_is_what_its_anchor_is() {
    let probing = good("anchors.yaml").remotes.probing;
    assert_eq!(probing.timeout, Duration::from_millis(250));
    assert_eq!(probing.initial.timeout, probing.timeout);
}

#[test]
fn a_metrics_port_that_is_not_opened_takes_nothing() {
    assert_eq!(good("same_port_elsewhere.yaml").server.listen_addrs.len(), 2);
}

#[test]
fn a_missing_file_is_one_line_and_status_1() {
    let error = config::load(&folder("none.yaml")).expect_err("missing");
    assert!(matches!(error, LoadError::Unreadable { .. }));
    assert_eq!(error.exit_status(), 1);
    assert!(error.to_string().contains("none.yaml"));
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn the_shipped_list_names_this_machine_only_and_its_examples_are_entries() {
    let text = include_str!("../ip_list.txt");
    let set = CandidateSet::parse(text, 80).expect("a list");
    assert!(!set.is_empty());
    for index in 0..set.len() {
        let candidate = set.at(index).expect("inside");
        assert!(candidate.ip().is_loopback(), "{candidate}");
    }
    let examples: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .filter_map(|example| example.split_whitespace().next())
        .collect();
    assert_eq!(examples.len(), 8, "{examples:?}");
    for example in examples {
        CandidateSet::parse(example, 80).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}
