//! The process: start, stop, exit statuses, the log, the metrics port, a watched list.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Files, Forwarder, Silent, echo_on, ping, program, settings, wait_for};

fn one_line(text: &str) -> bool {
    text.ends_with('\n') && text.lines().count() == 1
}

/// A list of one echoing backend.
fn echo_list() -> String {
    format!("{}\n", echo_on(Ipv4Addr::LOCALHOST))
}

/// Runs the program to its end with these arguments.
fn run(words: &[&str]) -> Output {
    program().args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs `check` on these files: its exit status and what it wrote.
fn check(files: &Files) -> (Option<i32>, String, String) {
    let output = files.command().arg("check").output().unwrap();
    (
        output.status.code(),
        text(&output.stdout).to_owned(),
        text(&output.stderr).to_owned(),
    )
}

#[test]
fn version_help_and_misuse() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        text(&version.stdout),
        concat!("tcp-forwarder ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["--config", "--version", "check", "demo"] {
        assert!(text(&help.stdout).contains(word), "{word} is missing");
    }
    for words in [
        &["--colour"][..],
        &["serve"],
        &["-c"],
        &["check", "more"],
        &["demo", "-c", "a"],
    ] {
        let misuse = run(words);
        assert_eq!(misuse.status.code(), Some(2), "{words:?}");
        assert_eq!(text(&misuse.stdout), "", "{words:?}");
        assert!(text(&misuse.stderr).contains("--help"), "{words:?}");
    }
}

#[test]
fn check_says_what_was_understood_and_binds_nothing() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let changes = json!({ "server": { "listen_addr": addr }, "metrics": { "listen_addr": addr } });
    let mut settings = settings(&changes);
    settings["metrics"]["enabled"] = json!(false);
    let files = Files::new(&settings, "127.0.0.0/24 # half of it\n127.0.0.9:81\n");
    let (status, stdout, stderr) = check(&files);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    for fact in [
        format!("listeners: {addr}"),
        "metrics: off".to_owned(),
        "candidates: 255 in 2 ranges".to_owned(),
        "list: 1 address, 1 network; 1 with a name".to_owned(),
        "active set: 3".to_owned(),
        "pools: static, 4".to_owned(),
    ] {
        assert!(stdout.contains(&fact), "{fact:?} is missing in\n{stdout}");
    }
}

#[test]
fn what_is_assumed_of_a_list_and_what_is_skipped_is_said() {
    let skip = json!({ "remotes": { "provider": { "on_bad_line": "skip" } } });
    let list = format!("oops\n{}127.0.0.9#7865\n", echo_list());
    let files = Files::new(&settings(&skip), &list);
    let (status, stdout, stderr) = check(&files);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("list: 2 addresses; 1 with a name"), "{stdout}");
    let told = [
        "skipped, line 1: `oops`: not an address",
        "`127.0.0.9#7865`: 7865 is taken for a remark",
    ];
    for what in told {
        assert!(stderr.contains(what), "{what:?} is missing in\n{stderr}");
    }
    let forwarder = Forwarder::start(&skip, &list);
    ping(&mut forwarder.connect(), b"the good line");
    let log = forwarder.log();
    for what in told {
        assert_eq!(log.matches(what).count(), 1, "{what:?} once in\n{log}");
    }
}

#[test]
fn every_error_of_configuration_and_list_is_said_at_once() {
    let config = "server:\n  listen_adr: \"127.0.0.1:0\"\nremotes:\n  default_remote_port: 70000\npools:\n  algorithm: best\n";
    let files = Files::of_text(config, "127.0.0.1\nnonsense\n127.0.0.300\n");
    for command in [&["check"][..], &[]] {
        let output = files.command().args(command).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let stderr = text(&output.stderr);
        for located in [
            "config.yaml:2: server.listen_adr: ",
            "config.yaml:4: remotes.default_remote_port: ",
            "config.yaml:6: pools.algorithm: ",
            "ip_list.txt: line 2: `nonsense`",
            "ip_list.txt: line 3: `127.0.0.300`",
        ] {
            assert!(stderr.contains(located), "{located:?} is missing in\n{stderr}");
        }
        assert_eq!(stderr.lines().count(), 5, "nothing else:\n{stderr}");
    }
}

#[test]
fn files_that_cannot_be_read_are_one_line_and_status_1() {
    let files = Files::new(&settings(&json!({})), "127.0.0.1\n");
    std::fs::remove_file(files.path("ip_list.txt")).unwrap();
    for command in [&["check"][..], &[]] {
        let output = files.command().args(command).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let stderr = text(&output.stderr);
        assert!(one_line(stderr) && stderr.contains("ip_list.txt"), "{stderr}");
    }
    for config in ["missing.yaml", "."] {
        let path = files.path(config);
        let path = path.to_str().unwrap();
        for words in [&["-c", path][..], &["-c", path, "check"]] {
            let output = run(words);
            assert_eq!(output.status.code(), Some(1), "{words:?}");
            let stderr = text(&output.stderr);
            assert!(one_line(stderr) && stderr.contains(path), "{stderr}");
        }
    }
}

#[test]
fn a_port_in_use_is_one_line_and_leaves_nothing_behind() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = taken.local_addr().unwrap();
    let holder = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 77), 0)).unwrap();
    let held = holder.local_addr().unwrap();
    // The second address is taken: the first one must not stay open, nor must the metrics port.
    let free = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 78), held.port()));
    for (key, changes) in [
        (
            "server.listen_addr",
            json!({ "server": { "listen_addr": [free.to_string(), held.to_string()] } }),
        ),
        (
            "metrics.listen_addr",
            json!({ "server": { "listen_addr": free.to_string() }, "metrics": { "listen_addr": held.to_string() } }),
        ),
    ] {
        let files = Files::new(&settings(&changes), &format!("{taken}\n"));
        let command = files.command();
        let ended = Forwarder::spawn(files, command).ended();
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(one_line(&ended.stderr), "{ended:?}");
        assert!(
            ended.stderr.contains(&held.to_string()) && ended.stderr.contains(key),
            "{ended:?}"
        );
        assert!(TcpStream::connect(free).is_err(), "nobody listens");
        assert!(!ended.stdout.contains("listening on"), "{ended:?}");
    }
}

#[test]
fn a_stop_lets_relays_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let forwarder = Forwarder::start(&json!({}), &echo_list());
        let addr = forwarder.addr();
        let mut relays: Vec<_> = (0..3).map(|_| forwarder.connect()).collect();
        for relay in &mut relays {
            ping(relay, b"before");
        }
        forwarder.signal(signal);
        let mut knocks = 0;
        wait_for("listeners are closed", || {
            knocks += 1;
            TcpStream::connect(addr).is_err()
        });
        for relay in &mut relays {
            ping(relay, b"while it drains");
        }
        drop(relays);
        let ended = forwarder.ended();
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{signal:?}");
        // What was accepted of the knocking may have finished before the listeners were closed, or after.
        let finished = |count| format!("stopped: {count} connections finished, 0 were cut");
        assert!(
            (3..3 + knocks).any(|count| ended.stdout.contains(&finished(count))),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn what_does_not_finish_is_cut_at_the_end_of_the_drain() {
    let changes = json!({ "pools": { "common": { "drain_timeout": "300ms" } } });
    let forwarder = Forwarder::start(&changes, &echo_list());
    let mut relay = forwarder.connect();
    ping(&mut relay, b"x");
    let began = Instant::now();
    let ended = forwarder.stop();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(ended.status, Some(0));
    assert!(
        ended.stdout.contains("0 connections finished, 1 were cut"),
        "{}",
        ended.stdout
    );
    // A cut must not look like an end.
    let error = relay.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_second_signal_ends_at_once() {
    let forwarder = Forwarder::start(&json!({}), &echo_list());
    let mut relay = forwarder.connect();
    ping(&mut relay, b"x");
    forwarder.signal(Signal::INT);
    wait_for("it is stopping", || forwarder.log().contains("stopping"));
    let began = Instant::now();
    forwarder.signal(Signal::TERM);
    assert_eq!(forwarder.ended().status, Some(130));
    assert!(began.elapsed() < Duration::from_secs(10), "the drain takes 30 s");
}

#[test]
fn a_second_signal_loses_no_line_of_the_access_log() {
    let changes = json!({ "access_log": { "output": "access.log" }, "logging": { "level": "debug" } });
    let forwarder = Forwarder::start(&changes, &echo_list());
    let mut stays = forwarder.connect();
    ping(&mut stays, b"x");
    let mut ends = forwarder.connect();
    ping(&mut ends, b"x");
    forwarder.signal(Signal::INT);
    wait_for("it is stopping", || forwarder.log().contains("stopping"));
    drop(ends);
    // Its line is handed in with that, and would be gathered for a while yet.
    wait_for("it is told", || forwarder.log().contains("connection closed"));
    // Opened while it is there: the files go with the forwarder.
    let mut file = std::fs::File::open(forwarder.files().path("access.log")).unwrap();
    forwarder.signal(Signal::TERM);
    assert_eq!(forwarder.ended().status, Some(130));
    let mut lines = String::new();
    file.read_to_string(&mut lines).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

#[test]
fn a_stop_while_initial_probing_is_under_way_is_prompt() {
    let silent = Silent::on(Ipv4Addr::UNSPECIFIED);
    let changes = json!({ "remotes": { "probing": { "initial": { "timeout": "60s" } } } });
    let files = Files::new(
        &settings(&changes),
        &format!("127.9.0.0/16:{}\n", silent.addr.port()),
    );
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command);
    wait_for("it is up", || forwarder.log().contains("reactors, up to"));
    assert!(
        !forwarder.log().contains("listening on"),
        "nobody answers a probe"
    );
    let began = Instant::now();
    let ended = forwarder.stop();
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_watched_list_is_followed() {
    let list = echo_list();
    let changes = json!({ "remotes": { "provider": { "file": { "watch": true } } } });
    let forwarder = Forwarder::start(&changes, &list);
    let old = list.trim().to_owned();
    let new = echo_on(Ipv4Addr::new(127, 0, 0, 3)).to_string();
    let active = |addr: &str| {
        let series = format!("tcp_forwarder_lb_backend_connections{{server=\"{addr}\"}}");
        forwarder.scrape().contains(&series)
    };
    assert!(active(&old));
    let mut relay = forwarder.connect();
    ping(&mut relay, b"old");
    std::fs::write(forwarder.files().path("ip_list.txt"), format!("{new}\n")).unwrap();
    wait_for("the new list is in use", || active(&new) && !active(&old));
    ping(&mut relay, b"the old relay goes on");
    ping(&mut forwarder.connect(), b"new");
    // A list that has turned bad replaces nothing.
    std::fs::write(forwarder.files().path("ip_list.txt"), "nonsense\n").unwrap();
    wait_for("it is counted", || {
        forwarder.metric("errors_total{kind=\"candidate_list\"}") == 1.0
    });
    assert!(active(&new));
    assert!(forwarder.log().contains("line 1: `nonsense`"));
}
