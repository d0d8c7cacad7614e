//! A new process takes the place of an old one while clients are served; or fails to, and nobody notices.
//!
//! `TCP_FORWARDER_OTHER` names another build of the program, which then takes turns with this one.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[path = "support/peers/mod.rs"]
mod peers;
mod support;

use peers::backend::{Backend, Behaviour};
use peers::client::{Conduct, Outcome, Plan};
use peers::crowd::Crowd;
use peers::rig::{fault_settings, healthy, list_of, order};
use peers::stream::Rounds;
use support::{Files, PATIENCE, Silent, comes_true, http_body, merge, pause, program, sum, wait_for};

/// Hand-overs in a row.
const TURNS: usize = 10;

/// What a process may have more than its predecessor, in kB.
const ROOM_KB: u64 = 6_000;

/// An address that nobody else has: the loopback address is this process's, and the port was free just now.
fn own_addr(place: u32) -> SocketAddr {
    let block = 128 + std::process::id() % 96;
    let ip = Ipv4Addr::from((127 << 24) | (block << 16) | (2 << 12) | place);
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// One process of the family, killed when dropped.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end, which must be a good one.
    fn ends_well(mut self) {
        wait_for("the end of a process", || self.has_ended());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let row = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        row.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Its descriptors that are no connections of clients, nor warm ones; and its threads.
    fn holds(&self, metrics: SocketAddr) -> (usize, usize) {
        let scrape = http_body(metrics, "/metrics").unwrap();
        let folder = format!("/proc/{}", self.child.id());
        let count = |name: &str| std::fs::read_dir(format!("{folder}/{name}")).unwrap().count();
        let warm = sum(&scrape, "pool_available_connections").round().to_string();
        (count("fd") - warm.parse::<usize>().unwrap(), count("task"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Processes that follow one another under one configuration.
struct Family {
    files: Files,
    backends: Vec<Backend>,
    left: SocketAddr,
    right: SocketAddr,
    metrics: SocketAddr,
    born: usize,
}

impl Family {
    fn new(place: u32) -> Self {
        let backends: Vec<_> = Backend::several::<3>(u64::from(place)).into();
        let [left, right, metrics] = [0, 1, 2].map(|one| own_addr(place * 8 + one));
        let mut settings = fault_settings(&json!({
            "server": { "control_socket": "control" },
            "metrics": { "listen_addr": metrics },
            // Seldom enough for moments without a probe, in which descriptors can be counted.
            "remotes": { "probing": { "interval": "3s" } },
            "services": { "left": { "listen_addr": left }, "right": { "listen_addr": right } },
            "pools": { "common": { "drain_timeout": "60s" } },
        }));
        settings["server"].as_object_mut().unwrap().remove("listen_addr");
        let files = Files::new(&settings, &list_of(&backends));
        Self {
            files,
            backends,
            left,
            right,
            metrics,
            born: 0,
        }
    }

    /// The next process, as it was just started.
    fn spawn(&mut self, args: &[&str]) -> Process {
        self.spawn_under("config.yaml", args)
    }

    /// The same, under another configuration than the ones before it.
    fn spawn_under(&mut self, config: &str, args: &[&str]) -> Process {
        let other = std::env::var("TCP_FORWARDER_OTHER")
            .ok()
            .filter(|_| self.born % 2 == 1);
        let mut command = other.map_or_else(program, Command::new);
        let log = self.files.path(&format!("log-{}", self.born));
        self.born += 1;
        let out = std::fs::File::create(&log).unwrap();
        let child = command
            .arg("--config")
            .arg(self.files.path(config))
            .args(args)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Process { child, log }
    }

    fn first(&mut self) -> Process {
        let mut process = self.spawn(&[]);
        let listens = comes_true(PATIENCE, || {
            process.log().matches("listening on ").count() == 2 || process.has_ended()
        });
        assert!(listens && !process.has_ended(), "{}", process.log());
        process
    }

    /// The next process, once it serves.
    fn successor(&mut self) -> Process {
        let mut process = self.spawn(&["--takeover"]);
        let serves = comes_true(PATIENCE, || {
            process.log().matches("listening on ").count() == 2 || process.has_ended()
        });
        assert!(serves && !process.has_ended(), "{}", process.log());
        process
    }

    /// Waits until this one answers there; the one before may still have taken a request of ours from the queue.
    fn is_led_by(&self, process: &Process) {
        wait_for("the new one answers", || {
            self.pid() == u64::from(process.child.id())
        });
    }

    /// The number of the process that answers at the metrics port's status page.
    fn pid(&self) -> u64 {
        let page = http_body(self.metrics, "/api/v1/status").unwrap();
        let status: Value = serde_json::from_str(&page).unwrap();
        status["pid"].as_u64().unwrap()
    }
}

fn plans(rng: &mut fastrand::Rng) -> Vec<Plan> {
    let mut plans = healthy(rng, 12);
    for _ in 0..4 {
        let rounds = Conduct::KeepAlive {
            rounds: Rounds(20),
            pause: Duration::from_millis(20),
        };
        plans.push(Plan::new(rounds, order(rng, 20_000)));
        plans.push(Plan::new(
            Conduct::ReadSlowly {
                pause: Duration::from_millis(5),
            },
            order(rng, 200_000),
        ));
        plans.push(Plan::new(Conduct::LeaveAtOnce, order(rng, 0)));
    }
    plans
}

/// Clients that come all the time until it ends; how many came. Each must be served whole, or leave as it meant to.
fn serve(addrs: [SocketAddr; 2], seed: u64, ends: &AtomicBool) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed);
    let long = |rng: &mut fastrand::Rng| {
        let steady = Conduct::KeepAlive {
            rounds: Rounds(60),
            pause: Duration::from_millis(50),
        };
        let mut plans: Vec<_> = (0..4).map(|_| Plan::new(steady, order(rng, 60_000))).collect();
        plans.extend((0..4).map(|_| Plan::new(Conduct::Silent, order(rng, 20_000))));
        plans
    };
    let mut long = addrs.map(|addr| Crowd::of(addr, long(&mut rng)));
    let mut came = 0;
    let check = |crowd: &Crowd| {
        let well = crowd.count(Outcome::Whole) + crowd.count(Outcome::Left);
        let lost =
            |client: &&peers::client::Client| !matches!(client.outcome, Outcome::Whole | Outcome::Left);
        let lost: Vec<_> = crowd
            .clients()
            .iter()
            .filter(lost)
            .map(|one| (one.plan.conduct, one.outcome, one.received))
            .collect();
        assert_eq!(well, crowd.clients().len(), "{} {lost:?}", crowd.outcomes());
        well
    };
    while !ends.load(Ordering::Relaxed) {
        let mut wave = addrs.map(|addr| Crowd::of(addr, plans(&mut rng)));
        let deadline = Instant::now() + PATIENCE;
        while wave.iter().any(|crowd| crowd.open() > 0) {
            wave.iter_mut()
                .chain(&mut long)
                .for_each(|crowd| crowd.turn(Duration::from_millis(1)));
            assert!(
                Instant::now() < deadline,
                "{} {}",
                wave[0].outcomes(),
                wave[1].outcomes()
            );
        }
        came += wave.iter().map(check).sum::<usize>();
    }
    for crowd in &mut long {
        crowd.release();
        crowd.finish();
    }
    came + long.iter().map(check).sum::<usize>()
}

/// Does `act` while clients come all the time.
fn under_load<T>(family: &mut Family, act: impl FnOnce(&mut Family) -> T) -> T {
    let seed = fastrand::u64(..);
    note(&format!("seed {seed}"));
    let addrs = [family.left, family.right];
    let ends = AtomicBool::new(false);
    let (result, came) = std::thread::scope(|scope| {
        let clients = scope.spawn(|| serve(addrs, seed, &ends));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(family)));
        ends.store(true, Ordering::Relaxed);
        (result, clients.join())
    });
    let logs = |family: &Family| {
        let log = |born| std::fs::read_to_string(family.files.path(&format!("log-{born}"))).unwrap();
        (0..family.born).map(log).collect::<Vec<_>>().join("---\n")
    };
    let came = came.unwrap_or_else(|_| panic!("clients were lost:\n{}", logs(family)));
    note(&format!("{came} connections"));
    for backend in &family.backends {
        assert_eq!(
            (backend.tally().corrupt.value(), backend.tally().cut.value()),
            (0, 0)
        );
    }
    result.unwrap_or_else(|_| panic!("it failed:\n{}", logs(family)))
}

#[expect(clippy::print_stdout, reason = "the test harness shows it with a failure")]
fn note(words: &str) {
    println!("{words}");
}

/// What a process holds once nobody is connected.
fn at_rest(process: &Process, metrics: SocketAddr) -> (usize, usize) {
    let mut last = (0, 0);
    let rests = support::comes_to_rest(PATIENCE, Duration::from_millis(200), || {
        last = process.holds(metrics);
        last
    });
    rests.unwrap_or(last)
}

#[test]
fn ten_in_a_row_lose_nothing() {
    let mut family = Family::new(1);
    let first = family.first();
    let metrics = family.metrics;
    let (descriptors, threads) = at_rest(&first, metrics);
    let resident_kb = first.resident_kb();
    let last = under_load(&mut family, |family| {
        let mut present = first;
        let mut old = Vec::new();
        for _ in 0..TURNS {
            let next = family.successor();
            wait_for("the old one stops", || {
                present.log().contains("handed over to process")
            });
            family.is_led_by(&next);
            old.push(std::mem::replace(&mut present, next));
        }
        (present, old)
    });
    let (last, old) = last;
    // With their clients gone, those that were relieved end by themselves.
    old.into_iter().for_each(Process::ends_well);
    wait_for("nobody is connected", || {
        let seen = http_body(metrics, "/metrics").unwrap();
        sum(&seen, "active_connections") == 0.0
    });
    let (now, threads_now) = at_rest(&last, metrics);
    assert_eq!(threads_now, threads);
    // Pipes that are kept; a family that collects sockets would have ten times as many.
    note(&format!("{descriptors} descriptors at first, {now} at last"));
    let kept = now.saturating_sub(descriptors);
    assert!(kept <= 130, "{descriptors} descriptors at first, {now} at last");
    assert!(
        last.resident_kb() <= resident_kb + ROOM_KB,
        "{resident_kb} kB at first, {} kB at last",
        last.resident_kb()
    );
    let control = family.files.path("control");
    assert!(UnixStream::connect(&control).is_ok());
    last.signal(Signal::TERM);
    last.ends_well();
    assert!(!control.exists(), "the last one removes the socket's file");
}

#[test]
fn a_new_process_that_dies_anywhere_changes_nothing() {
    let mut family = Family::new(2);
    let old = family.first();
    let pid = u64::from(old.child.id());
    let metrics = family.metrics;
    let before = at_rest(&old, metrics).1;
    // The new ones wait for one that does not answer, to make up their set.
    let silent = Silent::on(Ipv4Addr::new(127, 3, 2, 1));
    let list = format!("{}{}\n", list_of(&family.backends), silent.addr);
    std::fs::write(family.files.path("ip_list.txt"), list).unwrap();
    let text = std::fs::read_to_string(family.files.path("config.yaml")).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    merge(
        &mut settings,
        &json!({ "remotes": {
        "selector": { "active_set_size": 4 },
        "probing": { "initial": { "timeout": "2s" } },
    } }),
    );
    std::fs::write(family.files.path("config.yaml"), settings.to_string()).unwrap();
    under_load(&mut family, |family| {
        for turn in 0..12 {
            let mut new = family.spawn(&["--takeover"]);
            // At several points: before it asks, before it has what it asked for, while it probes.
            pause(Duration::from_millis(turn * 7));
            assert!(!new.log().contains("listening on "), "it is slow enough");
            new.child.kill().unwrap();
            new.child.wait().unwrap();
            assert_eq!(family.pid(), pid);
        }
        let mut wrong = family.spawn(&["--takeover"]);
        wrong.signal(Signal::STOP);
        assert_eq!(family.pid(), pid);
        wrong.child.kill().unwrap();
        wrong.child.wait().unwrap();
    });
    assert_eq!(family.pid(), pid);
    wait_for("no thread waits for those that died", || {
        at_rest(&old, metrics).1 == before
    });
    let next = under_load(&mut family, Family::successor);
    old.ends_well();
    next.signal(Signal::TERM);
    next.ends_well();
}

#[test]
fn a_new_process_that_hangs_is_not_waited_for() {
    let mut family = Family::new(3);
    let old = family.first();
    let pid = u64::from(old.child.id());
    // What hangs must not be ready before it is stopped: it finds nobody who answers until then.
    let nobody = Backend::start(3);
    nobody.behave(Behaviour::TimeOut);
    let config = std::fs::read_to_string(family.files.path("config.yaml")).unwrap();
    std::fs::write(
        family.files.path("nobody.txt"),
        list_of(std::slice::from_ref(&nobody)),
    )
    .unwrap();
    std::fs::write(
        family.files.path("hanging.yaml"),
        config.replace("ip_list.txt", "nobody.txt"),
    )
    .unwrap();
    under_load(&mut family, |family| {
        let hanging = family.spawn_under("hanging.yaml", &["--takeover"]);
        wait_for("it has asked", || old.log().contains("a new process asks"));
        hanging.signal(Signal::STOP);
        assert_eq!(family.pid(), pid);
        pause(Duration::from_millis(500));
        assert_eq!(family.pid(), pid);
        // Another one does what that one could not, and the one that hangs gets nothing when it wakes up.
        let next = family.successor();
        family.is_led_by(&next);
        nobody.behave(Behaviour::Serve);
        hanging.signal(Signal::CONT);
        let mut hanging = hanging;
        wait_for("it gives up", || hanging.has_ended());
        let status = hanging.child.wait().unwrap();
        assert!(!status.success(), "{status}: {}", hanging.log());
        assert!(
            family.files.path("control").exists(),
            "the next one is asked there"
        );
        family.is_led_by(&next);
        next.signal(Signal::HUP);
        wait_for("the new one reloads", || next.log().contains("reloaded: "));
        next
    });
    old.ends_well();
}

/// Asks by hand, as a new process does.
fn ask_to_take_over(control: &Path, upgrade: &str) -> UnixStream {
    let mut stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /api/v1/takeover HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    stream
}

/// The next line; empty at the end. Descriptors that come with it are lost.
fn line_of(mut stream: &UnixStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && stream.read(&mut byte).unwrap() > 0 {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn of_two_that_are_ready_at_once_one_gets_everything() {
    let mut family = Family::new(6);
    let old = family.first();
    let control = family.files.path("control");
    let [mut first, mut second] = [(), ()].map(|()| {
        let stream = ask_to_take_over(&control, "tcp-forwarder-takeover/1");
        while !line_of(&stream).starts_with("{\"descriptors\"") {}
        stream
    });
    let ready = json!({ "ready": { "pid": 1, "taken": [family.left, family.right] } });
    writeln!(first, "{ready}").unwrap();
    assert_eq!(line_of(&first), "\"yours\"\n");
    // The old process waits for the word of the first one; the second one is ready meanwhile.
    writeln!(second, "{ready}").unwrap();
    pause(Duration::from_millis(500));
    writeln!(first, "\"mine\"").unwrap();
    let answer = line_of(&second);
    assert!(answer.starts_with("{\"refused\""), "{answer}");
    old.ends_well();
}

#[test]
fn whoever_speaks_another_version_or_nonsense_is_turned_away() {
    let mut family = Family::new(4);
    let old = family.first();
    let pid = u64::from(old.child.id());
    let control = family.files.path("control");
    let ask = |upgrade: &str| ask_to_take_over(&control, upgrade);
    for version in [
        "tcp-forwarder-takeover/2",
        "tcp-forwarder-takeover/0",
        "websocket",
    ] {
        let line = line_of(&ask(version));
        assert!(line.starts_with("HTTP/1.1 426 "), "{version}: {line}");
    }
    // And nonsense behind the right word.
    for nonsense in ["", "\n", "{\n", "\"mine\"\n", "{\"ready\":{\"pid\":1}}\n"] {
        let mut stream = ask("tcp-forwarder-takeover/1");
        assert!(line_of(&stream).starts_with("HTTP/1.1 101 "));
        stream.write_all(nonsense.as_bytes()).unwrap();
        drop(stream);
    }
    under_load(&mut family, |family| {
        assert_eq!(family.pid(), pid);
        pause(Duration::from_millis(300));
        assert_eq!(family.pid(), pid);
    });
    let next = family.successor();
    old.ends_well();
    next.signal(Signal::TERM);
    next.ends_well();
}

/// Settings that the successor is not to have.
#[test]
fn a_successor_with_other_settings_takes_what_it_wants() {
    let mut family = Family::new(5);
    let old = family.first();
    let text = std::fs::read_to_string(family.files.path("config.yaml")).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    let added = own_addr(5 * 8 + 5);
    merge(
        &mut settings,
        &json!({
            "server": { "reactors": 3 },
            "services": { "right": { "listen_addr": [family.right, added] } },
        }),
    );
    std::fs::write(family.files.path("config.yaml"), settings.to_string()).unwrap();
    let next = under_load(&mut family, |family| {
        let mut process = family.spawn(&["--takeover"]);
        let serves = comes_true(PATIENCE, || {
            process.log().matches("listening on ").count() == 3 || process.has_ended()
        });
        assert!(serves && !process.has_ended(), "{}", process.log());
        process
    });
    let mut crowd = Crowd::of(added, healthy(&mut fastrand::Rng::with_seed(1), 12));
    crowd.finish();
    assert_eq!(crowd.count(Outcome::Whole), 12, "{}", crowd.outcomes());
    old.ends_well();
    next.signal(Signal::TERM);
    next.ends_well();
}
