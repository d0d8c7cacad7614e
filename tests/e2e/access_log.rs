//! The access log of the program: rotation, reload, samples, what is left out, and an output that is full.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::routes::hello;
use crate::support::{Files, Forwarder, echo_on, ping, settings, wait_for};

fn with(access_log: &Value) -> Value {
    json!({ "access_log": access_log })
}

fn list() -> String {
    format!("{}\n", echo_on(Ipv4Addr::LOCALHOST))
}

/// Serves so many clients, one after the other; who they were.
fn serve(forwarder: &Forwarder, count: usize) -> BTreeSet<SocketAddr> {
    let mut served = BTreeSet::new();
    for _ in 0..count {
        let mut client = forwarder.connect();
        ping(&mut client, b"hello");
        served.insert(client.local_addr().unwrap());
    }
    served
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The clients in lines that have nothing but them.
fn clients(text: &str) -> Vec<SocketAddr> {
    let addr = |line: &str| line.strip_prefix("client=").unwrap().parse().unwrap();
    text.lines().map(addr).collect()
}

fn reload(forwarder: &Forwarder, changes: &Value) {
    let before = forwarder.log().matches("reloaded: ").count();
    let text = serde_json::to_string(&settings(changes)).unwrap();
    std::fs::write(forwarder.files().path("config.yaml"), text).unwrap();
    forwarder.signal(Signal::HUP);
    wait_for("it is in force", || {
        forwarder.log().matches("reloaded: ").count() > before
    });
}

#[test]
fn no_line_is_lost_or_doubled_over_rotation_truncation_and_reload() {
    let config = |file: &str| with(&json!({ "output": file, "fields": ["client"] }));
    let forwarder = Forwarder::start(&config("access.log"), &list());
    let path = |name: &str| forwarder.files().path(name);
    let mut served = serve(&forwarder, 20);
    wait_for("lines", || read(&path("access.log")).lines().count() == 20);
    // Copied and cut, as `copytruncate` does: the next line is at the beginning.
    std::fs::copy(path("access.log"), path("copy.log")).unwrap();
    std::fs::write(path("access.log"), "").unwrap();
    served.extend(serve(&forwarder, 20));
    // Renamed.
    std::fs::rename(path("access.log"), path("old.log")).unwrap();
    forwarder.signal(Signal::USR1);
    wait_for("it is opened again", || path("access.log").exists());
    served.extend(serve(&forwarder, 20));
    // Another file.
    reload(&forwarder, &config("other.log"));
    served.extend(serve(&forwarder, 20));
    // None.
    reload(&forwarder, &json!({}));
    serve(&forwarder, 5);
    reload(&forwarder, &config("other.log"));
    served.extend(serve(&forwarder, 20));
    let (copy, old, access, other) = (
        path("copy.log"),
        path("old.log"),
        path("access.log"),
        path("other.log"),
    );
    wait_for("the last lines", || read(&other).lines().count() >= 40);
    let all = [copy, old, access, other].map(|path| read(&path)).concat();
    let mut found = clients(&all);
    found.sort();
    assert_eq!(found, served.into_iter().collect::<Vec<_>>());
    assert_eq!(forwarder.metric("access_log_lost_lines_total"), 0.0);
    assert_eq!(forwarder.stop().status, Some(0));
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let forwarder = Forwarder::start(&with(&json!({ "output": "stderr", "format": "json" })), &list());
    let mut client = forwarder.connect();
    ping(&mut client, b"hello");
    forwarder.signal(Signal::TERM);
    wait_for("it stops", || forwarder.log().contains("stopping"));
    drop(client);
    let ended = forwarder.ended();
    assert_eq!(ended.status, Some(0));
    let line: Value = serde_json::from_str(ended.stderr.trim()).unwrap();
    assert_eq!(line["bytes_up"], 5, "{line}");
}

#[test]
fn services_share_an_output_or_have_none_and_routes_lead_to_the_one_that_serves() {
    let changes = json!({
        "access_log": { "output": "access.log", "fields": ["service", "sni", "end"] },
        "services": {
            "front": {
                "listen_addr": "127.0.0.1:0",
                "routes": [{ "sni": "a.example", "to": "web" }],
                "plain": "quiet",
            },
            "web": { "listen_addr": "127.0.0.1:0" },
            "quiet": { "listen_addr": "127.0.0.1:0", "access_log": { "output": "off" } },
        },
    });
    let mut all = settings(&changes);
    all["server"].as_object_mut().unwrap().remove("listen_addr");
    let files = Files::new(&all, &list());
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command).listening();
    wait_for("all listen", || {
        forwarder.log().matches("listening on ").count() == 3
    });
    // The first one in the log is that of `front`, the first by its name.
    for words in [b"hello".to_vec(), hello("a.example", &["h2"])] {
        let mut client = forwarder.connect();
        ping(&mut client, &words);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    let path = forwarder.files().path("access.log");
    wait_for("a line", || !read(&path).is_empty());
    assert_eq!(read(&path), "service=web sni=a.example end=--\n");
}

#[test]
fn a_sample_a_shortest_duration_and_what_cannot_be_opened() {
    let forwarder = Forwarder::start(
        &with(&json!({ "output": "access.log", "sample": 0.5, "fields": ["client"] })),
        &list(),
    );
    serve(&forwarder, 200);
    let path = forwarder.files().path("access.log");
    wait_for("about half of them", || read(&path).lines().count() > 50);
    reload(
        &forwarder,
        &with(&json!({ "output": "access.log", "min_duration": "1h" })),
    );
    let before = read(&path).lines().count();
    assert!(before < 150, "{before} of 200");
    serve(&forwarder, 20);
    // Refused as a whole.
    let text = serde_json::to_string(&settings(&with(&json!({ "output": "no/such/folder.log" })))).unwrap();
    std::fs::write(forwarder.files().path("config.yaml"), text).unwrap();
    forwarder.signal(Signal::HUP);
    wait_for("it is told", || {
        forwarder.log().contains("cannot write the log to")
    });
    assert_eq!(forwarder.stop().status, Some(0));

    let files = Files::new(
        &settings(&with(&json!({ "output": "no/such/folder.log" }))),
        &list(),
    );
    let output = files.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("access_log.output: cannot write the log to "),
        "{said}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_is_full_costs_lines_and_nothing_else() {
    let forwarder = Forwarder::start(&with(&json!({ "output": "/dev/full" })), &list());
    serve(&forwarder, 10);
    wait_for("they are counted", || {
        forwarder.metric("access_log_lost_lines_total") == 10.0
    });
    serve(&forwarder, 10);
    assert_eq!(forwarder.stop().status, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_reader_that_stops_holds_nobody_up() {
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};

    let folder = tempfile::TempDir::new().unwrap();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _reader = open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let forwarder = Forwarder::start(&with(&json!({ "output": pipe })), &list());
    // More than a pipe holds.
    serve(&forwarder, 500);
    wait_for("all have ended", || forwarder.metric("active_connections") == 0.0);
    assert_eq!(forwarder.stop().status, Some(0));
}
