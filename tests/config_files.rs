//! Whole configuration files: each bad one carries the errors that it must give, each good one its meaning.
//!
//! A bad file begins with comments `# expect: LINE: KEY: MESSAGE`, one per error, in order; the lines count
//! these comments as well.

#![expect(clippy::panic, clippy::expect_used, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{
    self, Algorithm, Config, LoadError, LogFormat, LogOutput, Provider, ServiceName, Spec, Splice, Strategy,
    Supply,
};

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(kind)
}

fn good(name: &str) -> Config {
    config::load(&folder("good").join(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// What a file says of its only service.
fn spec(name: &str) -> Spec {
    good(name).only().expect("one service").clone()
}

fn defaults() -> Config {
    let mut config = Config::default();
    config.edit(|spec| {
        if let Some(Provider::File(list)) = spec.remotes.providers.first_mut().map(|one| &mut one.provider) {
            list.path = folder("good").join("ip_list.txt");
        }
    });
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
    assert!(files >= 24, "only {files} files");
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(good("empty.yaml"), defaults());
    assert_eq!(good("sections_only.yaml"), defaults());
}

#[test]
#[expect(clippy::float_cmp, reason = "the scores are exact")]
fn flow_style_lists_and_weights() {
    let Config { process, .. } = good("flow.yaml");
    let spec = spec("flow.yaml");
    let any_port = |ip: &str| -> SocketAddr { format!("{ip}:0").parse().unwrap() };
    assert_eq!(
        spec.server.listen_addrs,
        [any_port("127.0.0.1"), any_port("[::1]")]
    );
    assert_eq!(spec.server.splice, Splice::Off);
    assert_eq!(process.logging.level, log::LevelFilter::Debug);
    assert_eq!(process.logging.format, LogFormat::Json);
    assert_eq!(process.logging.output, LogOutput::Stderr);
    assert!(!process.metrics.enabled);
    assert_eq!(spec.remotes.probing.interval, Duration::from_secs(90));
    let scoring = &spec.remotes.scoring;
    let scores = [
        scoring.latency.max_score,
        scoring.jitter.max_score,
        scoring.success_rate.max_score,
    ];
    assert!(scores == [60.0, 10.0, 30.0], "{scores:?}");
    assert_eq!(spec.pools.algorithm, Algorithm::RoundRobin);
    assert_eq!(spec.pools.strategy, Strategy::Static { size_per_remote: 2 });
}

#[test]
#[expect(clippy::float_cmp, reason = "written as it is stored")]
fn limits_of_clients() {
    let server = spec("protection.yaml").server;
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
    let probing = spec("anchors.yaml").remotes.probing;
    assert_eq!(probing.timeout, Duration::from_millis(250));
    assert_eq!(probing.initial.timeout, probing.timeout);
}

#[test]
fn variables_are_those_of_the_environment() {
    let Config { process, .. } = good("variables.yaml");
    let spec = spec("variables.yaml");
    assert_eq!(process.reactors, 3);
    assert_eq!(spec.server.idle_timeout, Duration::from_secs(90));
    assert_eq!(spec.server.listen_addrs.len(), 1);
    assert!(!process.metrics.enabled);
    assert_eq!(process.metrics.admin_token.as_deref(), Some("12345"));
    let path = std::env::var_os("PATH").expect("every process has one");
    assert_eq!(process.state.path, Some(folder("good").join(path)));
    assert_eq!(spec.remotes.probing.check.send.text, "${PATH} costs $5");
}

#[test]
fn a_metrics_port_that_is_not_opened_takes_nothing() {
    assert_eq!(spec("same_port_elsewhere.yaml").server.listen_addrs.len(), 2);
}

#[test]
fn services_inherit_and_differ() {
    let config = good("services.yaml");
    let names: Vec<&str> = config.services.keys().map(ServiceName::as_str).collect();
    assert_eq!(names, ["redis", "web", "web-2"]);
    let spec = |name: &str| config.services.get(name).expect("the service");
    for name in names {
        assert_eq!(spec(name).server.idle_timeout, Duration::from_secs(600), "{name}");
    }
    assert_eq!(spec("web").server.keepalive.idle, Duration::from_secs(30));
    assert_eq!(spec("web-2").server.keepalive.idle, Duration::from_secs(120));
    assert_eq!(spec("web").server.keepalive.probes, 5);
    assert_eq!(spec("redis").pools.strategy, Strategy::Off);
    assert_eq!(spec("redis").remotes.default_remote_port, 6379);
    assert_eq!(spec("web").remotes, spec("web-2").remotes, "an alias");
    let web = spec("web");
    let file = web.remotes.providers.first().and_then(Supply::file);
    assert_eq!(file.expect("a file").path, folder("good").join("web.txt"));
    assert_eq!(
        config.process.control_socket,
        Some(folder("good").join("run/socket"))
    );
    assert_eq!(config.process.metrics.admin_token.as_deref(), Some("open-sesame"));
    assert!(config.process.reload.watch);
    assert_eq!(config.process.state.path, Some(folder("good").join("run/state")));
    assert_eq!(config.process.state.interval.as_secs(), 90);
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
