//! The state file, with the program as a process: what one knew serves the clients of the next, and no file keeps it from starting.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tcp_forwarder::state::{State, format};
use tempfile::TempDir;

mod support;

use support::{Files, Forwarder, Silent, comes_true, echo_on, merge, patient, ping, settings, wait_for};

/// What a first client may wait for after the start. A release build takes some 10 ms; this is one with debug assertions, on a
/// machine that does other things, and the sweep that it must not wait for takes two minutes.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A folder for the state file, which outlives the processes.
struct Shelf(TempDir);

impl Shelf {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Settings that keep the state here, with `changes` on top.
    fn settings(&self, changes: &Value) -> Value {
        let mut all = json!({ "state": { "path": self.path() }, "server": { "reactors": 1 } });
        merge(&mut all, changes);
        all
    }

    fn start(&self, changes: &Value, list: &str) -> Forwarder {
        Forwarder::start(&self.settings(changes), list)
    }

    fn state(&self) -> State {
        format::decode(&std::fs::read(self.path()).unwrap()).expect("a whole file")
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn echo() -> SocketAddr {
    echo_on(Ipv4Addr::LOCALHOST)
}

fn lines(addrs: &[SocketAddr]) -> String {
    let all: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    all.join("\n")
}

/// A sweep that nobody should wait for: one probe after the other, a minute each.
fn slow_probing() -> Value {
    json!({ "remotes": {
        "probing": { "initial": { "max_concurrency": 1, "timeout": "60s" } },
        "selector": { "active_set_size": 2 },
    } })
}

/// Whether a client gets through once.
fn is_served(addr: SocketAddr) -> bool {
    let exchange = || {
        let mut stream = patient(TcpStream::connect(addr)?);
        stream.write_all(b"hello")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        Ok::<_, std::io::Error>(reply == *b"hello")
    };
    exchange().unwrap_or(false)
}

#[test]
fn a_restart_serves_its_first_client_from_the_old_set() {
    let shelf = Shelf::new();
    let backends = [echo(), echo()];
    let both = json!({ "remotes": { "selector": { "active_set_size": 2 } } });
    let first = shelf.start(&both, &lines(&backends));
    wait_for("both members", || {
        first.log().contains("listening on") && first.metric("pool_available_connections") > 4.5
    });
    first.stop();
    let state = shelf.state();
    let mut active = state.services["default"].active.clone();
    active.sort();
    let mut expected = backends.to_vec();
    expected.sort();
    assert_eq!(active, expected);
    assert_eq!(state.services["default"].rows.len(), 2);

    // Whoever else is on the list keeps silent, so that a sweep would last.
    let silent = Silent::on(Ipv4Addr::UNSPECIFIED);
    let list = format!("{}\n127.77.0.0/24:{}\n", lines(&backends), silent.addr.port());
    let files = Files::new(&settings(&shelf.settings(&slow_probing())), &list);
    let command = files.command();
    let start = Instant::now();
    let second = Forwarder::spawn(files, command).listening();
    ping(&mut second.connect(), b"who are you?");
    let took = start.elapsed();
    assert!(took < AT_ONCE, "{took:?}: {}", second.log());
    assert!(
        second.log().contains("recalled 2 candidates of 1 services"),
        "{}",
        second.log()
    );
    wait_for("both are confirmed", || {
        second.metric("health_checks_total{result=\"success\"}") > 1.5
    });
    second.stop();
    assert_eq!(shelf.names(), ["state"], "nothing else is left");
}

#[test]
fn a_start_after_a_scan_begins_with_what_that_has_found() {
    let shelf = Shelf::new();
    let backends = [echo(), echo()];
    // Whoever else is on the list keeps silent: the scan finds two, and a sweep would last.
    let silent = Silent::on(Ipv4Addr::UNSPECIFIED);
    let list = format!("{}\n127.78.0.0/26:{}\n", lines(&backends), silent.addr.port());
    let files = Files::new(&settings(&shelf.settings(&slow_probing())), &list);
    let mut scan = support::program();
    scan.args(["scan", "--timeout", "300ms", "--output", "state", "--config"]);
    scan.arg(files.path("config.yaml"));
    let found = scan.output().unwrap();
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    std::fs::write(shelf.path(), &found.stdout).unwrap();
    let known = &shelf.state().services["default"];
    assert!(
        backends.iter().all(|addr| known.active.contains(addr)),
        "{known:?}"
    );

    let command = files.command();
    let start = Instant::now();
    let forwarder = Forwarder::spawn(files, command).listening();
    ping(&mut forwarder.connect(), b"who are you?");
    let took = start.elapsed();
    assert!(took < AT_ONCE, "{took:?}: {}", forwarder.log());
    forwarder.stop();
}

#[test]
fn a_member_that_has_died_meanwhile_is_replaced() {
    let shelf = Shelf::new();
    let (dead, alive) = (TcpListener::bind("127.0.0.1:0").unwrap(), echo());
    let addr = dead.local_addr().unwrap();
    let both = json!({ "remotes": { "selector": { "active_set_size": 2 } } });
    let first = shelf.start(&both, &lines(&[addr, alive]));
    wait_for("both members", || {
        first.metric("pool_available_connections") > 4.5
    });
    first.stop();
    assert_eq!(shelf.state().services["default"].active.len(), 2);
    drop(dead);
    let second = shelf.start(&slow_probing(), &lines(&[addr, alive]));
    for _ in 0..8 {
        ping(&mut second.connect(), b"served all the same");
    }
    wait_for("the dead one leaves the set", || {
        let score = format!("server_score{{server=\"{addr}\"}}");
        second.metric("selector_switches_total{reason=\"emergency\"}") > 0.5 && second.metric(&score) < 1.0
    });
    second.stop();
    assert_eq!(shelf.state().services["default"].active, [alive]);
}

#[test]
fn when_all_have_died_others_are_found() {
    let shelf = Shelf::new();
    let (dead, alive) = (TcpListener::bind("127.0.0.1:0").unwrap(), echo());
    let addr = dead.local_addr().unwrap();
    shelf.start(&json!({}), &lines(&[addr])).stop();
    assert_eq!(shelf.state().services["default"].active, [addr]);
    drop(dead);
    let second = shelf.start(&json!({}), &lines(&[addr, alive]));
    wait_for("a client is served", || is_served(second.addr()));
}

#[test]
fn what_does_not_fit_is_left_out() {
    let shelf = Shelf::new();
    shelf.start(&json!({}), &lines(&[echo()])).stop();
    assert!(shelf.state().services.contains_key("default"));
    let other = shelf.start(&json!({}), &lines(&[echo()]));
    ping(&mut other.connect(), b"hello");
    other.stop();
    let services = json!({
        "server": { "listen_addr": null },
        "services": { "web": { "listen_addr": "127.0.0.1:0" } },
    });
    let mut all = settings(&shelf.settings(&services));
    all["server"].as_object_mut().unwrap().remove("listen_addr");
    let files = Files::new(&all, &lines(&[echo()]));
    let command = files.command();
    let other = Forwarder::spawn(files, command).listening();
    ping(&mut other.connect(), b"hello");
    other.stop();
    let state = shelf.state();
    assert_eq!(state.services.keys().collect::<Vec<_>>(), ["web"]);
}

#[test]
fn no_file_keeps_it_from_starting() {
    let backend = lines(&[echo()]);
    let whole = {
        let shelf = Shelf::new();
        shelf.start(&json!({}), &backend).stop();
        std::fs::read(shelf.path()).unwrap()
    };
    let future = [b"tcp-forwarder-state 3".as_slice(), &whole[21..]].concat();
    for (content, why) in [
        (whole[..whole.len() / 2].to_vec(), "it was cut"),
        (
            whole.iter().map(|byte| byte.wrapping_add(1)).collect(),
            "no state file",
        ),
        (future, "version 3"),
        (Vec::new(), "empty"),
    ] {
        let shelf = Shelf::new();
        std::fs::write(shelf.path(), content).unwrap();
        let forwarder = shelf.start(&json!({}), &backend);
        ping(&mut forwarder.connect(), b"hello");
        let log = forwarder.log();
        let said: Vec<_> = log.lines().filter(|line| line.contains("is not used")).collect();
        assert!(said.len() == 1 && said[0].contains(why), "{why}: {log}");
        forwarder.stop();
        assert_eq!(shelf.names(), ["state", "state.broken"], "{why}");
        assert_eq!(shelf.state().services["default"].active.len(), 1, "{why}");
    }
}

#[test]
fn a_huge_file_costs_no_memory() {
    let shelf = Shelf::new();
    std::fs::File::create(shelf.path())
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let forwarder = shelf.start(&json!({}), &lines(&[echo()]));
    ping(&mut forwarder.connect(), b"hello");
    assert!(forwarder.log().contains("longer than"), "{}", forwarder.log());
    assert!(forwarder.resident_kb() < 100_000);
}

/// Started with a state file that cannot be written, it serves, and warns of that once.
fn warns_once(path: &Path) {
    let settings = json!({
        "state": { "path": path, "interval": "100ms" },
        "remotes": { "probing": { "interval": "50ms" } },
    });
    let forwarder = Forwarder::start(&settings, &lines(&[echo()]));
    ping(&mut forwarder.connect(), b"hello");
    wait_for("three attempts", || {
        forwarder.metric("state_write_failures_total") > 2.5
    });
    assert!(forwarder.metric("state_written_timestamp_seconds") < 1.0);
    let ended = forwarder.stop();
    assert_eq!(ended.status, Some(0));
    let said = ended
        .stdout
        .lines()
        .filter(|line| line.contains("the state file"));
    assert_eq!(said.count(), 1, "{}", ended.stdout);
}

#[test]
fn what_cannot_be_written_is_one_warning() {
    let shelf = Shelf::new();
    warns_once(&shelf.0.path().join("no/such/folder"));
    let folder = shelf.0.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    warns_once(&folder);
    let pipe = shelf.0.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    warns_once(&pipe);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_may_not_be_written_is_one_warning() {
    // Nobody may make a file there, not even root.
    warns_once(Path::new("/proc/self/state"));
}

#[test]
fn of_two_processes_the_last_to_write_wins_as_a_whole() {
    let shelf = Shelf::new();
    let changes = json!({
        "state": { "interval": "100ms" },
        "remotes": { "probing": { "interval": "50ms" } },
    });
    let backends = [echo(), echo()];
    let both = backends.map(|backend| shelf.start(&changes, &lines(&[backend])));
    wait_for("the file", || shelf.path().exists());
    let mut seen = [false; 2];
    let all_seen = comes_true(support::PATIENCE, || {
        let state = shelf.state();
        let active = &state.services["default"].active;
        assert_eq!(active.len(), 1);
        let whose = backends.iter().position(|backend| *backend == active[0]);
        seen[whose.expect("one of them")] = true;
        seen == [true; 2]
    });
    assert!(all_seen, "{seen:?}");
    for one in both {
        one.stop();
    }
    assert_eq!(shelf.names(), ["state"]);
    assert_eq!(shelf.state().services["default"].rows.len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn who_takes_over_begins_with_what_the_old_process_knows_now() {
    let shelf = Shelf::new();
    let backend = echo();
    // A port that was free just now, of an address that nobody else has.
    let ip = Ipv4Addr::from((127 << 24) | (90 << 16) | (std::process::id() & 0xffff));
    let addr = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
    let changes = json!({
        "state": { "interval": "24h" },
        "server": { "listen_addr": addr, "control_socket": shelf.0.path().join("control") },
    });
    let old = shelf.start(&changes, &lines(&[backend]));
    assert!(!shelf.path().exists(), "it was never time to write");
    let mut slow = slow_probing();
    merge(&mut slow, &changes);
    let silent = Silent::on(Ipv4Addr::UNSPECIFIED);
    let list = format!("{backend}\n127.78.0.0/24:{}\n", silent.addr.port());
    let files = Files::new(&settings(&shelf.settings(&slow)), &list);
    let mut command = files.command();
    command.arg("--takeover");
    let new = Forwarder::spawn(files, command).listening();
    assert!(new.log().contains("recalled 1 candidates"), "{}", new.log());
    ping(&mut new.connect(), b"hello");
    assert_eq!(old.ended().status, Some(0));
    new.stop();
    assert_eq!(shelf.state().services["default"].active, [backend]);
}
