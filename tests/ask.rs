//! The commands that ask a running process: `status`, `explain`, `drain` and its kin, `top` in a pipe.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

mod support;

use support::{Files, Forwarder, program, settings, wait_for};

/// What a command came to.
#[derive(Debug)]
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command to its end, which has to come; without UTF-8, and with its output in pipes.
fn run(mut command: Command) -> Said {
    command.env("LC_ALL", "C");
    run_in(command)
}

/// The same in the locale that it has.
fn run_in(mut command: Command) -> Said {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let ended = support::comes_true(support::PATIENCE, || child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended, "it does not end: {output:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said {
        status: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

fn said(words: &[&str]) -> Said {
    let mut command = program();
    command.args(words).env_remove("TCP_FORWARDER_ADMIN_TOKEN");
    run(command)
}

/// Candidates that accept: the kernel does.
fn backends(count: usize) -> (Vec<TcpListener>, Vec<SocketAddr>) {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addrs = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
    (listeners, addrs)
}

/// A forwarder with both doors.
fn forwarder(backends: &[SocketAddr]) -> Forwarder {
    let list: Vec<String> = backends.iter().map(ToString::to_string).collect();
    let changes = json!({
        "server": { "control_socket": "control" },
        "metrics": { "admin_token": "hush" },
    });
    Forwarder::start(&changes, &list.join("\n"))
}

/// The three ways in which the command line says where a process is.
fn addresses(forwarder: &Forwarder) -> [[String; 2]; 3] {
    let path = |name: &str| forwarder.files().path(name).to_str().unwrap().to_owned();
    [
        ["--config".to_owned(), path("config.yaml")],
        ["--socket".to_owned(), path("control")],
        ["--url".to_owned(), format!("http://{}", forwarder.metrics_addr())],
    ]
}

#[test]
fn status_and_explain_say_the_same_through_each_door() {
    let (_listeners, addrs) = backends(3);
    let forwarder = forwarder(&addrs);
    for [how, place] in addresses(&forwarder) {
        wait_for("all three are members", || {
            said(&["status", &how, &place])
                .out
                .contains("default: 0 connections, 3 members\n")
        });
        let status = said(&["status", &how, &place]);
        assert_eq!((status.status, status.err.as_str()), (Some(0), ""), "{how}");
        assert!(
            status
                .out
                .starts_with(concat!("tcp-forwarder ", env!("CARGO_PKG_VERSION"), ", process "))
        );
        assert!(
            status
                .out
                .contains(&format!("\n  listens  {}\n", forwarder.addr())),
            "{}",
            status.out
        );
        let json: Value = serde_json::from_str(&said(&["status", "--json", &how, &place]).out).unwrap();
        assert_eq!(json["pid"], forwarder.pid());

        let explained = said(&["explain", &how, &place, "default"]);
        let json = said(&["explain", &how, &place, "default", "--json"]);
        let json: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["members"].as_array().map(Vec::len), Some(3));
        for addr in &addrs {
            assert!(
                explained.out.contains(&format!("\n    {addr}, ")),
                "{}",
                explained.out
            );
        }
        assert!(explained.out.contains("\n      In for "), "{}", explained.out);
        assert!(
            explained.out.contains("\n  All members pass the threshold"),
            "{}",
            explained.out
        );
        assert!(explained.out.is_ascii() && status.out.is_ascii());
        let all: Value = serde_json::from_str(&said(&["explain", &how, &place, "--json"]).out).unwrap();
        assert_eq!(all[0]["service"], "default");
    }
    forwarder.stop();
}

/// A process that stops is told of as before at its metrics port, until its last connection has ended.
#[test]
fn a_stop_is_watched_to_its_end() {
    let echo = support::echo_on(std::net::Ipv4Addr::LOCALHOST);
    let forwarder = forwarder(&[echo]);
    let mut open = forwarder.connect();
    support::ping(&mut open, b"before");
    forwarder.signal(rustix::process::Signal::TERM);
    let [_, _, [how, place]] = addresses(&forwarder);
    let mut told = String::new();
    wait_for("it stops", || {
        told = said(&["status", &how, &place]).out;
        told.contains("\nit stops: ")
    });
    assert!(
        told.contains("\ndefault: 1 connection, 1 member, leaving\n  listens  none\n"),
        "{told}"
    );
    let bytes = forwarder.metric("bytes_transferred_total");
    support::ping(&mut open, b"meanwhile");
    wait_for("bytes are counted on", || {
        forwarder.metric("bytes_transferred_total") >= bytes + 18.0
    });
    for gauge in ["active_connections", "lb_backend_connections"] {
        let open = forwarder.metric(gauge);
        assert!((open - 1.0).abs() < 0.5, "{gauge}: {open}");
    }
    let services = forwarder.api("services");
    assert_eq!(services["services"][0]["is_leaving"], true, "{services}");
    assert!(
        said(&["explain", &how, &place, "default"])
            .out
            .contains("In for ")
    );
    let mut drain = program();
    drain
        .args(["drain", &how, &place, &echo.to_string(), "--service", "default"])
        .env("TCP_FORWARDER_ADMIN_TOKEN", "hush");
    let drain = run(drain);
    assert!(
        drain.status == Some(1) && drain.err.contains("no service"),
        "nothing is to be changed any more: {drain:?}"
    );
    drop(open);
    assert_eq!(forwarder.ended().status, Some(0));
}

#[test]
fn names_of_entries_are_shown_to_people_and_never_in_metrics() {
    let (_listeners, addrs) = backends(2);
    let changes = json!({
        "server": { "control_socket": "control", "half_close_timeout": "100ms" },
        "metrics": { "admin_token": "hush" },
        "access_log": { "output": "access.log", "fields": ["backend", "backend_name"] },
    });
    let forwarder = Forwarder::start(&changes, &format!("{} # 香港 1\n{}\n", addrs[0], addrs[1]));
    let [config, ..] = addresses(&forwarder);
    let named = format!("{} (香港 1)", addrs[0]);
    let shown = |words: &[&str]| {
        let mut command = program();
        command.args(words).args(&config).env("LC_ALL", "C.UTF-8");
        let status = run_in(command);
        assert_eq!(status.status, Some(0), "{status:?}");
        status.out
    };
    wait_for("both are members", || shown(&["status"]).contains(" 2 members"));
    assert!(shown(&["status"]).contains(&named), "{}", shown(&["status"]));
    assert!(shown(&["explain"]).contains(&format!("{named}, ")));
    assert!(
        said(&["explain", &config[0], &config[1]])
            .out
            .contains("(\\u{9999}\\u{6e2f} 1)")
    );
    #[cfg(feature = "tui")]
    assert!(shown(&["top"]).contains("ready  香港 1"), "{}", shown(&["top"]));
    assert!(forwarder.log().contains(&format!("{} (香港 1, score ", addrs[0])));
    let first = addrs[1].to_string();
    assert!(shown(&["drain", &first]).contains(&format!("{first} is drain now")));
    let is_alone = || !shown(&["status"]).contains(" 2 members");
    wait_for("one member is left", is_alone);
    drop(forwarder.connect());
    let lines = || std::fs::read_to_string(forwarder.files().path("access.log")).unwrap_or_default();
    let line = format!("backend={} backend_name=\"香港 1\"\n", addrs[0]);
    wait_for("a line", || lines().contains(&line));
    assert!(!forwarder.scrape().contains("香港"), "a name is no label");
    forwarder.stop();
}

#[test]
fn a_list_that_is_refused_is_told_of_until_it_is_good() {
    let (_listeners, addrs) = backends(2);
    let forwarder = forwarder(&addrs[..1]);
    let [[how, place], _, _] = addresses(&forwarder);
    let provider = || {
        let told = said(&["status", &how, &place]).out;
        let line = told.lines().find(|line| line.starts_with("  provider 0:file "));
        line.expect("a provider").to_owned()
    };
    assert!(provider().ends_with(": 1 candidate"), "{}", provider());
    let write = |text: String| std::fs::write(forwarder.files().path("ip_list.txt"), text).unwrap();
    write("999.1.1.1\n".to_owned());
    wait_for("it says so", || provider().contains(": 1 candidate; it fails: "));
    assert!(provider().contains("line 1: `999.1.1.1`"), "{}", provider());
    write(format!("{}\n{}\n", addrs[0], addrs[1]));
    wait_for("all is well again", || provider().ends_with(": 2 candidates"));
    forwarder.stop();
}

#[test]
fn a_candidate_is_taken_out_and_comes_back() {
    let (_listeners, addrs) = backends(2);
    let forwarder = forwarder(&addrs);
    let [config, _, [_, url]] = addresses(&forwarder);
    let first = addrs[0].to_string();
    let members = || said(&["status", &config[0], &config[1]]).out;
    wait_for("both are members", || members().contains(" 2 members"));
    for (word, before, after) in [
        ("drain", "ready", 1),
        ("maintenance", "drain", 1),
        ("ready", "maintenance", 2),
    ] {
        let steered = said(&[word, &config[0], &config[1], &first]);
        assert_eq!(
            (steered.status, steered.out),
            (
                Some(0),
                format!("default: {first} is {word} now, and was {before}\n")
            )
        );
        wait_for("the set follows", || {
            members().contains(&format!(" {after} member"))
        });
        let told = members();
        let out = match word {
            "ready" => !told.contains("taken out"),
            _ => told.contains(&format!("\n  taken out {first} ({word})\n")),
        };
        assert!(out, "{word}: {told}");
    }
    let drain = ["drain", &first, "--service", "default", "--url", &url];
    let refused = said(&drain);
    assert_eq!(refused.status, Some(1));
    assert_eq!(
        refused.err,
        "tcp-forwarder: refused: the token is missing or wrong (401)\n"
    );
    let mut with_token = program();
    with_token.args(drain).env("TCP_FORWARDER_ADMIN_TOKEN", "hush");
    assert_eq!(run(with_token).status, Some(0));
    let last = said(&["drain", &config[0], &config[1], &addrs[1].to_string()]);
    assert_eq!(last.status, Some(1));
    assert!(last.err.contains("the last candidate"), "{}", last.err);
    forwarder.stop();
}

#[test]
fn what_goes_wrong_is_said_with_its_exit_status() {
    let (_listeners, addrs) = backends(1);
    let list = addrs[0].to_string();
    let mut two = settings(&json!({ "server": { "control_socket": "control" } }));
    two["server"].as_object_mut().unwrap().remove("listen_addr");
    two["services"] =
        json!({ "one": { "listen_addr": "127.0.0.1:0" }, "two": { "listen_addr": "127.0.0.1:0" } });
    let files = Files::new(&two, &list);
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command).listening();
    let [[_, config], [_, socket], _] = addresses(&forwarder);
    let unnamed = said(&["drain", "-c", &config, &list]);
    assert_eq!(unnamed.status, Some(2));
    assert!(
        unnamed.err.contains("--service is one of: one, two"),
        "{}",
        unnamed.err
    );
    let unknown = said(&["explain", "-c", &config, "three"]);
    assert_eq!(unknown.status, Some(1));
    assert!(unknown.err.contains("there is no service"), "{}", unknown.err);
    assert!(
        said(&["explain", "-c", &config])
            .out
            .contains("\n\ntwo, evaluated ")
    );
    assert_eq!(said(&["status", "-c", "nowhere.yaml"]).status, Some(1));
    let elsewhere = tempfile::tempdir().unwrap();
    let mut without = program();
    without.arg("status").current_dir(elsewhere.path());
    let without = run(without);
    assert_eq!(without.status, Some(1));
    assert!(without.err.contains("by --config FILE"), "{}", without.err);
    let portless = said(&["drain", "-c", &config, "192.0.2.7"]);
    assert_eq!(portless.status, Some(2));
    assert!(
        portless.err.contains("not an address with its port, such as"),
        "{}",
        portless.err
    );
    forwarder.stop();
    for words in [["status", "--socket", &socket], ["status", "-c", &config]] {
        let nobody = said(&words);
        assert_eq!(nobody.status, Some(1), "{nobody:?}");
    }
}

#[test]
fn nobody_there_is_said_with_every_door_that_was_tried() {
    let files = Files::new(
        &json!({ "server": { "control_socket": "control" }, "metrics": { "listen_addr": "127.0.0.1:1" } }),
        "127.0.0.1:9",
    );
    let config = files.path("config.yaml");
    let nobody = said(&["status", "-c", config.to_str().unwrap()]);
    assert_eq!(nobody.status, Some(1));
    for door in [files.path("control").to_str().unwrap(), "http://127.0.0.1:1"] {
        assert!(nobody.err.contains(&format!("; {door}: ")), "{}", nobody.err);
    }
}

#[cfg(feature = "tui")]
#[test]
fn top_in_a_pipe_says_once_how_things_stand() {
    let (_listeners, addrs) = backends(2);
    let forwarder = forwarder(&addrs);
    let [[_, config], ..] = addresses(&forwarder);
    wait_for("both are shown", || {
        let shown = said(&["top", "-c", &config]);
        assert_eq!((shown.status, shown.err.as_str()), (Some(0), ""));
        assert!(
            shown.out.is_ascii() && !shown.out.contains('\x1b'),
            "{}",
            shown.out
        );
        let lines: Vec<&str> = shown.out.lines().collect();
        assert!(
            lines.contains(&"MEMBER           SCORE  LATENCY  LIVE  WARM  REQ/S  STATE") || lines.len() < 8,
            "{lines:#?}"
        );
        addrs.iter().all(|addr| shown.out.contains(&addr.to_string()))
    });
    assert_eq!(said(&["top", "-c", &config, "nobody"]).status, Some(2));
    forwarder.stop();
}
