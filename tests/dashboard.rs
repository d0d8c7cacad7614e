//! The dashboard of `contrib/grafana/`: a real Prometheus that scrapes a running forwarder has data for each of its queries.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, free_addr, programs};
use support::{Forwarder, comes_true, echo_on, http_body, ping};

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/grafana/dashboard.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_else(|| panic!("no {name} in {of}"))
}

/// Each query with the title of its panel, its variables as Grafana fills them in when all is chosen.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| {
        let targets = list(panel, "targets").iter();
        let asked = targets.map(|target| (text(panel, "title").to_owned(), filled_in(text(target, "expr"))));
        asked.collect::<Vec<_>>()
    };
    list(dashboard, "panels").iter().flat_map(of_panel).collect()
}

fn filled_in(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "20s");
    for variable in ["$job", "$instance", "$service"] {
        query = query.replace(variable, ".*");
    }
    assert!(!query.contains('$'), "{query}");
    query
}

/// What a Prometheus has for a query: the number of series.
fn series(prometheus: SocketAddr, query: &str) -> usize {
    let mut path = "/api/v1/query?query=".to_owned();
    for byte in query.bytes() {
        write!(path, "%{byte:02x}").unwrap();
    }
    let reply: Value = serde_json::from_str(&http_body(prometheus, &path).unwrap()).unwrap();
    assert_eq!(reply["status"], "success", "{query}: {reply}");
    list(&reply["data"], "result").len()
}

#[test]
fn each_query_of_the_dashboard_has_data() {
    let Some([program]) = programs("each_query_of_the_dashboard_has_data", ["prometheus"]) else {
        return;
    };
    let backends = [1, 2].map(|last| echo_on(Ipv4Addr::new(127, 0, 0, last)));
    let candidates = backends.map(|addr| format!("{addr}\n")).concat();
    let forwarder = Forwarder::start(
        &json!({ "remotes": { "probing": { "interval": "1s" } } }),
        &candidates,
    );
    let folder = TempDir::new().unwrap();
    let config = json!({
        "global": { "scrape_interval": "1s" },
        "scrape_configs": [{
            "job_name": "tcp-forwarder",
            "static_configs": [{ "targets": [forwarder.metrics_addr().to_string()] }],
        }],
    });
    std::fs::write(folder.path().join("prometheus.yml"), config.to_string()).unwrap();
    let addr = free_addr(1);
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={addr}"));
    let prometheus = Server::start(command, addr, folder.path());
    support::wait_for("it answers", || http_body(addr, "/-/ready").is_ok());
    let mut open = forwarder.connect();
    let mut missing = queries(&dashboard());
    assert!(missing.len() > 25, "{}", missing.len());
    let has_all = comes_true(support::PATIENCE, || {
        ping(&mut open, b"traffic");
        ping(&mut forwarder.connect(), b"a new connection");
        missing.retain(|(_, query)| series(prometheus.addr, query) == 0);
        missing.is_empty()
    });
    assert!(has_all, "no data: {missing:#?}");
    // It asks for OpenMetrics, and reads units there alone.
    let known: Value = serde_json::from_str(&http_body(addr, "/api/v1/metadata").unwrap()).unwrap();
    let uptime = &known["data"]["tcp_forwarder_uptime_seconds"][0];
    assert_eq!(
        (&uptime["unit"], &uptime["type"]),
        (&json!("seconds"), &json!("gauge")),
        "{known}"
    );
    for note in list(&dashboard()["annotations"], "list") {
        series(prometheus.addr, &filled_in(text(note, "expr")));
    }
    for variable in list(&dashboard()["templating"], "list") {
        if variable["type"] == "query" {
            let query = filled_in(text(variable, "definition"));
            let (of, label) = query
                .strip_prefix("label_values(")
                .unwrap()
                .rsplit_once(", ")
                .unwrap();
            let by = format!("count by ({}) ({of})", label.trim_end_matches(')'));
            assert!(series(prometheus.addr, &by) > 0, "{by}");
        }
    }
}

/// What Grafana's schema asks of a dashboard that it is to load, as far as this one uses it.
#[test]
fn the_dashboard_has_the_shape_that_grafana_loads() {
    let dashboard = dashboard();
    assert!(text(&dashboard, "title") == "tcp-forwarder" && text(&dashboard, "uid") == "tcp-forwarder");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(
                    x < 24 && taken.insert((x, y)),
                    "{} overlaps",
                    text(panel, "title")
                );
            }
        }
        let kind = text(panel, "type");
        assert!(["row", "stat", "timeseries"].contains(&kind) && !text(panel, "title").is_empty());
        if kind == "row" {
            continue;
        }
        assert!(panel["datasource"] == source && !text(&panel["fieldConfig"]["defaults"], "unit").is_empty());
        let letters: BTreeSet<_> = list(panel, "targets")
            .iter()
            .map(|target| text(target, "refId"))
            .collect();
        assert!(!letters.is_empty() && letters.len() == list(panel, "targets").len());
        assert!(
            list(panel, "targets")
                .iter()
                .all(|target| target["datasource"] == source)
        );
    }
    let variables = list(&dashboard["templating"], "list").iter();
    let names: Vec<&str> = variables.map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "job", "instance", "service"]);
}
