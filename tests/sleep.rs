//! Sleep, with the program as a process: what a service costs that nobody uses, what wakes it, and what its first client
//! gets.
#![cfg(target_os = "linux")]
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
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use socket2::SockRef;

mod support;

use support::{Files, Forwarder, PATIENCE, http_body, merge, pause, ping, settings, sum, wait_for};

/// How long a dial may take: nobody waits for that here.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// What a first client may wait for when two members of three are dead. A tenth of a second is promised; this is a build with debug
/// assertions, on a machine that does other things.
const SOON: Duration = Duration::from_secs(2);

/// An echo server that counts, and may die.
struct Peer {
    addr: SocketAddr,
    listener: Option<Arc<TcpListener>>,
    seen: Arc<Seen>,
    door: Option<JoinHandle<()>>,
    /// What fills its queue.
    fillers: Vec<TcpStream>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    stops: AtomicBool,
}

impl Peer {
    fn start() -> Self {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let (accepting, watch) = (Arc::clone(&listener), Arc::clone(&seen));
        let door = std::thread::spawn(move || {
            for stream in accepting.incoming() {
                if watch.stops.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), watch) = (stream, Arc::clone(&watch)) else {
                    continue;
                };
                watch.accepted.fetch_add(1, Ordering::SeqCst);
                watch.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    echo(stream);
                    watch.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            addr,
            listener: Some(listener),
            seen,
            door: Some(door),
            fillers: Vec::new(),
        }
    }

    fn several<const N: usize>() -> [Self; N] {
        std::array::from_fn(|_| Self::start())
    }

    fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Accepts nobody any more; the queue is as long as it was.
    fn stop_accepting(&mut self) {
        self.seen.stops.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.addr).unwrap());
        // Or it would make room in the queue later on.
        self.door.take().expect("it accepts").join().unwrap();
    }

    /// Refuses connects from now on.
    fn close(&mut self) {
        self.stop_accepting();
        self.listener = None;
        wait_for("its port is closed", || TcpStream::connect(self.addr).is_err());
    }

    /// Drops connects without a word from now on: its queue is full.
    fn fall_mute(&mut self) {
        self.stop_accepting();
        let listener = self.listener.as_ref().expect("it listens");
        // Long enough that no cookies are sent for it.
        SockRef::from(&**listener).listen(64).unwrap();
        while let Ok(filler) = TcpStream::connect_timeout(&self.addr, Duration::from_millis(200)) {
            self.fillers.push(filler);
        }
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 || stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn list(peers: &[Peer]) -> String {
    let lines: Vec<String> = peers.iter().map(|peer| peer.addr.to_string()).collect();
    lines.join("\n")
}

/// A service that falls asleep after a second, of short intervals otherwise.
fn sleepy(changes: &Value) -> Value {
    let mut all = json!({
        "sleep": { "after": "1s" },
        "remotes": { "probing": { "interval": "200ms" }, "selector": { "evaluation_interval": "200ms" } },
        "pools": {
            "common": { "dial_timeout": format!("{}s", DIAL_TIMEOUT.as_secs()), "race": { "width": 1 } },
            "strategy": { "type": "dynamic", "dynamic": { "min_size": 4, "scaling": { "interval": "200ms" } } },
        },
    });
    merge(&mut all, changes);
    all
}

fn is_asleep(forwarder: &Forwarder) -> bool {
    forwarder.metric("service_asleep") > 0.5
}

fn falls_asleep(forwarder: &Forwarder) {
    wait_for("it falls asleep", || is_asleep(forwarder));
}

/// How often the log says so.
fn said(forwarder: &Forwarder, what: &str) -> usize {
    forwarder.log().matches(what).count()
}

#[test]
fn the_first_client_is_served_past_dead_members_and_a_sweep_begins_behind_it() {
    let mut peers: [Peer; 4] = Peer::several();
    // Nothing is learned of them while it sleeps.
    let changes = sleepy(&json!({ "sleep": { "interval": "1h" } }));
    let forwarder = Forwarder::start(&changes, &list(&peers[..3]));
    ping(&mut forwarder.connect(), b"awake");
    wait_for("pools are filled", || {
        peers[..3].iter().all(|peer| peer.open() >= 4)
    });
    falls_asleep(&forwarder);
    wait_for("pools are empty", || peers.iter().all(|peer| peer.open() == 0));
    wait_for("it says so", || {
        said(&forwarder, "service default falls asleep") == 1
    });
    assert_eq!(said(&forwarder, "service default wakes up"), 0);

    let [closed, mute, alive, _] = &mut peers;
    closed.close();
    mute.fall_mute();
    let before = alive.accepted();
    let began = Instant::now();
    let mut client = forwarder.connect();
    ping(&mut client, b"the first one");
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
    wait_for("it is awake", || !is_asleep(&forwarder));
    wait_for("it says so", || said(&forwarder, "service default wakes up") == 1);
    // The dial of the client, the sweep, and then the pool again.
    wait_for("it is used as before", || {
        alive.accepted() >= before + 6 && alive.open() >= 4
    });
    ping(&mut client, b"and it goes on");
    wait_for("the sweep has found out who is dead", || {
        forwarder.metric("server_consecutive_failures") > 1.5
    });
    drop(client);
    falls_asleep(&forwarder);
    assert_eq!(forwarder.stop().status, Some(0), "a stop while it sleeps");
}

/// Who is asked first is chosen at random: all orders of one that refuses, one that is mute and one that lives.
#[test]
fn whichever_member_is_asked_first_the_client_is_served_soon() {
    for _ in 0..8 {
        let mut peers: [Peer; 3] = Peer::several();
        let changes =
            sleepy(&json!({ "sleep": { "interval": "1h" }, "pools": { "strategy": { "type": "off" } } }));
        let forwarder = Forwarder::start(&changes, &list(&peers));
        falls_asleep(&forwarder);
        let [closed, mute, _] = &mut peers;
        closed.close();
        mute.fall_mute();
        let began = Instant::now();
        ping(&mut forwarder.connect(), b"the first one");
        let took = began.elapsed();
        assert!(took < SOON, "{took:?}");
    }
}

#[test]
fn one_dial_serves_the_first_client_where_nobody_is_dead() {
    let peers: [Peer; 3] = Peer::several();
    let changes = sleepy(
        &json!({ "sleep": { "interval": "1h" }, "pools": { "strategy": { "type": "off" } },
        "remotes": { "probing": { "interval": "1h" } } }),
    );
    let forwarder = Forwarder::start(&changes, &list(&peers));
    falls_asleep(&forwarder);
    ping(&mut forwarder.connect(), b"the first one");
    let page = forwarder.scrape();
    assert!(
        (sum(&page, "dial_duration_seconds_count") - 1.0).abs() < 0.1,
        "{page}"
    );
    assert!(sum(&page, "race_dials_total") < 0.5);
}

#[test]
fn asleep_nobody_is_probed_but_members_in_their_looks() {
    let peers: [Peer; 5] = Peer::several();
    let changes = sleepy(&json!({
        "sleep": { "interval": "1s" },
        "remotes": { "selector": { "active_set_size": 2 } },
    }));
    let forwarder = Forwarder::start(&changes, &list(&peers));
    falls_asleep(&forwarder);
    wait_for("pools are empty", || peers.iter().all(|peer| peer.open() == 0));
    let before: Vec<usize> = peers.iter().map(Peer::accepted).collect();
    let began = Instant::now();
    pause(Duration::from_secs(6));
    let mut looks: Vec<usize> = peers
        .iter()
        .zip(before)
        .map(|(peer, before)| peer.accepted() - before)
        .collect();
    let most = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    looks.sort_unstable();
    assert_eq!(looks[..3], [0, 0, 0], "{looks:?}");
    assert!(
        looks[3..].iter().all(|looks| (5..=most).contains(looks)),
        "{looks:?}"
    );
    assert!(is_asleep(&forwarder));
}

#[test]
fn asleep_no_thread_wakes_up() {
    let peers: [Peer; 3] = Peer::several();
    let changes = sleepy(&json!({
        "server": { "reactors": 2 },
        "reload": { "watch": true },
        "remotes": { "provider": { "file": { "watch": true } } },
    }));
    let forwarder = Forwarder::start(&changes, &list(&peers));
    ping(&mut forwarder.connect(), b"some traffic");
    falls_asleep(&forwarder);
    wait_for("pools are empty", || peers.iter().all(|peer| peer.open() == 0));
    // What ends may still end, and files are looked at once more.
    pause(Duration::from_secs(3));
    let before = wake_ups(&forwarder);
    let (began, most) = (Instant::now(), 1);
    pause(Duration::from_secs(30));
    let after = wake_ups(&forwarder);
    let threads: Vec<_> = after
        .iter()
        .zip(&before)
        .filter(|(after, before)| after != before)
        .collect();
    let count = |all: &[(String, u64)]| all.iter().map(|(_, count)| count).sum::<u64>();
    let woken = count(&after) - count(&before);
    assert!(
        woken <= most,
        "{woken} times in {:?}: {threads:?}",
        began.elapsed()
    );
}

#[test]
fn neither_watchdog_nor_scrapes_wake_it_but_a_reload_does() {
    let peers: [Peer; 1] = Peer::several();
    let all = settings(&sleepy(&json!({})));
    let files = Files::new(&all, &list(&peers));
    let manager = UnixDatagram::bind(files.path("manager")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = files.command();
    command
        .env("NOTIFY_SOCKET", files.path("manager"))
        .env("WATCHDOG_USEC", "400000");
    let forwarder = Forwarder::spawn(files, command).listening();
    falls_asleep(&forwarder);
    let mut beats = 0;
    while beats < 10 {
        let mut buffer = [0; 4096];
        let count = manager.recv(&mut buffer).expect("it beats");
        beats += usize::from(String::from_utf8_lossy(&buffer[..count]).contains("WATCHDOG=1"));
        drop(http_body(forwarder.metrics_addr(), "/metrics").unwrap());
    }
    assert!(is_asleep(&forwarder));
    assert_eq!(said(&forwarder, "wakes up"), 0);

    let reload = |after: &str| {
        let mut all = all.clone();
        merge(&mut all, &json!({ "sleep": { "after": after } }));
        std::fs::write(forwarder.files().path("config.yaml"), all.to_string()).unwrap();
        forwarder.signal(Signal::HUP);
    };
    reload("0s");
    wait_for("it wakes", || !is_asleep(&forwarder));
    wait_for("its pool is filled", || peers[0].open() >= 4);
    reload("1s");
    falls_asleep(&forwarder);
    reload("1h");
    wait_for("it wakes again", || !is_asleep(&forwarder));
}

#[test]
fn a_refused_client_wakes_nobody() {
    let peers: [Peer; 1] = Peer::several();
    let changes = sleepy(&json!({ "server": { "deny": ["127.0.0.0/8"] } }));
    let forwarder = Forwarder::start(&changes, &list(&peers));
    falls_asleep(&forwarder);
    let refused = forwarder.connect().read(&mut [0]);
    assert!(refused.is_err(), "{refused:?}");
    assert!(forwarder.metric("connections_rejected_total") > 0.5);
    assert!(is_asleep(&forwarder));
    assert_eq!(said(&forwarder, "wakes up"), 0);
}

#[test]
fn a_changed_list_wakes_it() {
    let peers: [Peer; 2] = Peer::several();
    let changes = sleepy(&json!({ "remotes": { "provider": { "file": { "watch": true } } } }));
    let forwarder = Forwarder::start(&changes, &list(&peers[..1]));
    falls_asleep(&forwarder);
    // Both reloads and watches publish it; a reload does so at once.
    std::fs::write(forwarder.files().path("ip_list.txt"), list(&peers[1..])).unwrap();
    forwarder.signal(Signal::HUP);
    wait_for("the new one is probed, and used", || peers[1].open() >= 4);
    falls_asleep(&forwarder);
    ping(&mut forwarder.connect(), b"by the new one");
    wait_for("it says so", || said(&forwarder, "wakes up") == 2);
}

#[test]
fn it_is_taken_over_while_it_sleeps() {
    let peers: [Peer; 2] = Peer::several();
    let folder = tempfile::TempDir::new().unwrap();
    // Both have the same address; the system chooses it.
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let all = settings(&sleepy(&json!({
        "server": { "control_socket": folder.path().join("control"), "listen_addr": addr },
    })));
    let [old, next] = [None, Some("--takeover")].map(|arg| {
        let files = Files::new(&all, &list(&peers));
        let mut command = files.command();
        command.args(arg);
        let forwarder = Forwarder::spawn(files, command).listening();
        falls_asleep(&forwarder);
        forwarder
    });
    let ended = old.ended();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("handed over"), "{}", ended.stdout);
    ping(&mut next.connect(), b"by the next one");
    wait_for("the next one wakes", || !is_asleep(&next));
}

/// How often each thread went to sleep so far, by name.
fn wake_ups(forwarder: &Forwarder) -> Vec<(String, u64)> {
    let mut threads = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{}/task", forwarder.pid())).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let switches = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .unwrap();
        let name = status.lines().next().unwrap_or_default().to_owned();
        threads.push((name, switches.trim().parse().unwrap()));
    }
    threads.sort();
    threads
}
