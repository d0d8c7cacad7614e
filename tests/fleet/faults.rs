//! What goes wrong between a forwarder and its Redis, or with that, while clients come: they do not notice.
//!
//! Each case begins with a forwarder that shares, and ends with one that shares again.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;

use crate::clients::{Clients, end_all, percentile};
use crate::gate::{Gate, Way};
use crate::redis::Redis;
use crate::support::tools::say;
use crate::support::{Forwarder, comes_true, pause, wait_for};
use crate::{AGAIN, ALONE, candidates, heard, is_long, members, of_fleet, probes, together};

/// A forwarder, its Redis, and what lies between.
struct Scene {
    redis: Redis,
    gate: Gate,
    one: Forwarder,
}

impl Scene {
    fn new() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let gate = Gate::before(redis.addr);
        let one = Forwarder::start(&of_fleet(&gate.url(), "a", "here"), &candidates(5));
        wait_for("the fleet", || is_up(&one));
        wait_for("a set", || members(&one).len() == 2);
        Some(Self { redis, gate, one })
    }

    fn failures(&self) -> f64 {
        self.one.metric("cluster_failures_total")
    }
}

fn is_up(forwarder: &Forwarder) -> bool {
    forwarder.metric("cluster_up") > 0.5
}

/// Lets a fault come and go. While it lasts the forwarder says once that it goes on by itself, and does; the metric tells, no client
/// fails, and afterwards it says once that it shares again.
fn comes_and_goes(case: &str, fault: impl FnOnce(&mut Scene), end: impl FnOnce(&mut Scene)) {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let before: BTreeSet<String> = members(&scene.one);
    let memory = scene.one.resident_kb();
    let clients = Clients::of(scene.one.addr());
    fault(&mut scene);
    wait_for("it is missed", || !is_up(&scene.one));
    let (failures, probed) = (scene.failures(), probes(&scene.one));
    assert!(failures > 0.5, "a metric tells");
    wait_for("it is tried again", || scene.failures() > failures + 1.5);
    wait_for("probing goes on", || probes(&scene.one) > probed + 3.5);
    assert!(!is_up(&scene.one));
    assert_eq!(members(&scene.one), before, "nothing is decided by it");
    end(&mut scene);
    wait_for("it is back", || is_up(&scene.one));
    wait_for("the log says so", || scene.one.log().contains(AGAIN));
    let times = clients.end();
    let log = scene.one.log();
    say(&format!(
        "{case}: {} clients, p50 {:?}, p99 {:?}, longest {:?}; {} connections, {} kB more",
        times.len(),
        percentile(&times, 50),
        percentile(&times, 99),
        percentile(&times, 100),
        scene.gate.since(),
        scene.one.resident_kb().saturating_sub(memory),
    ));
    assert_eq!(log.matches(ALONE).count(), 1, "{log}");
    assert_eq!(log.matches(AGAIN).count(), 1, "{log}");
    assert_eq!(members(&scene.one), before, "nor by its end");
    assert!(scene.one.resident_kb() < memory + 8 * 1024, "it holds no more");
    assert!(scene.gate.open() <= 1, "one connection");
}

fn open(scene: &mut Scene) {
    scene.gate.set(Way::Open);
}

#[test]
fn a_redis_that_goes_stands_still_or_is_full_harms_nobody() {
    together(&[
        ("it stops, and starts empty", || {
            comes_and_goes(
                "stopped",
                |scene| scene.redis.stop(),
                |scene| scene.redis.begin(&[]),
            );
        }),
        ("it stands still", || {
            comes_and_goes(
                "SIGSTOP",
                |scene| scene.redis.signal(Signal::STOP),
                |scene| scene.redis.signal(Signal::CONT),
            );
        }),
        ("it has no memory left", || {
            let limit = |scene: &mut Scene, most: &str| {
                scene.redis.talk().ask(&["CONFIG", "SET", "maxmemory", most]);
            };
            comes_and_goes(
                "out of memory",
                |scene| limit(scene, "1"),
                |scene| limit(scene, "0"),
            );
        }),
        ("it wants another password", || {
            let require = |scene: &mut Scene, word: &str| {
                let mut talk = scene.redis.talk();
                if word.is_empty() {
                    talk.ask(&["AUTH", "other"]);
                }
                talk.ask(&["CONFIG", "SET", "requirepass", word]);
                // Who was let in stays in.
                scene.gate.set(Way::Closed);
                wait_for("it is cut off", || scene.gate.open() == 0);
                scene.gate.set(Way::Open);
            };
            comes_and_goes(
                "another password",
                |scene| require(scene, "other"),
                |scene| require(scene, ""),
            );
        }),
    ]);
}

#[test]
fn a_way_to_the_redis_that_fails_harms_nobody() {
    together(&[
        ("answers come 2 s later", || {
            let slow = Way::Slow(Duration::from_secs(2));
            comes_and_goes("2 s slow", |scene| scene.gate.set(slow), open);
        }),
        ("nothing passes", || {
            comes_and_goes("silent", |scene| scene.gate.set(Way::Silent), open);
        }),
        ("whoever connects is hung up on", || {
            comes_and_goes("closed", |scene| scene.gate.set(Way::Closed), open);
        }),
        ("it is cut somewhere in an exchange", || {
            let cut = Way::Cut { first: 1, step: 61 };
            comes_and_goes("cut", |scene| scene.gate.set(cut), open);
        }),
        ("something else answers", || {
            comes_and_goes("babble", |scene| scene.gate.set(Way::Babble(BABBLE)), open);
        }),
    ]);
}

const BABBLE: &[&[u8]] = &[
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"-NOAUTH\r\n",
    b":1\r\n",
    b"$-1\r\n",
    b"*0\r\n",
    b"*2\r\n$10\r\n9999999999\r\n$1\r\n0\r\n",
    b"*2\r\n$20\r\n99999999999999999999\r\n$1\r\n0\r\n",
    b"*4096\r\n",
    b"*1\r\n",
    // A gigabyte is promised, and comes for as long as somebody reads.
    b"$1073741824\r\n",
    b"$262144\r\n",
    b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"",
];

/// Each kind of babble, also where nobody has ever answered well.
#[test]
fn whatever_answers_in_place_of_a_redis_harms_nobody() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let gate = Gate::before(redis.addr);
    gate.set(Way::Babble(BABBLE));
    // Each of them hears another part of it.
    let fleet =
        ["a", "b", "c"].map(|node| Forwarder::start(&of_fleet(&gate.url(), node, "here"), &candidates(5)));
    let memory = fleet.each_ref().map(Forwarder::resident_kb);
    let clients = fleet.each_ref().map(|one| Clients::of(one.addr()));
    let heard_out = || comes_true(Duration::from_secs(60), || gate.since() > BABBLE.len() * 2);
    assert!(heard_out(), "all were heard: {}", gate.since());
    for (one, memory) in fleet.iter().zip(memory) {
        assert!(!is_up(one));
        let received = one.metric("cluster_bytes_total{direction=\"received\"}");
        let failures = one.metric("cluster_failures_total");
        println!("{failures} failures, {received} bytes were read");
        assert!(received <= (failures + 1.0) * f64::from(256 * 1024 + 16 * 1024));
        assert!(one.resident_kb() < memory + 8 * 1024);
        assert_eq!(one.log().matches(ALONE).count(), 1, "{}", one.log());
    }
    gate.set(Way::Open);
    for one in &fleet {
        wait_for("a Redis at last", || is_up(one));
    }
    end_all(clients);
}

/// The connection is cut behind each byte of an exchange in turn. In a short run in this process, where exchanges follow on each other:
/// `cuts.rs`.
#[test]
fn an_exchange_that_is_cut_at_any_byte_harms_no_process() {
    const PARTS: usize = 8;
    if !is_long() {
        return;
    }
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    std::thread::scope(|scope| {
        for part in 0..PARTS {
            let to = redis.addr;
            scope.spawn(move || {
                let gate = Gate::before(to);
                let one = Forwarder::start(&of_fleet(&gate.url(), "a", "here"), &candidates(3));
                wait_for("the fleet", || is_up(&one));
                let clients = Clients::of(one.addr());
                gate.set(Way::Cut {
                    first: part,
                    step: PARTS,
                });
                let patience = Duration::from_secs(300);
                assert!(comes_true(patience, || gate.since() * PARTS > 2_000));
                gate.set(Way::Open);
                wait_for("it is back", || is_up(&one));
                clients.end();
            });
        }
    });
}

/// Where a key of ours should be is one of another kind.
#[test]
fn a_key_of_another_kind_harms_nobody() {
    let key = "tcp-forwarder:default:nodes";
    let Some(scene) = Scene::new() else {
        return;
    };
    let clients = Clients::of(scene.one.addr());
    let mut talk = scene.redis.talk();
    talk.ask(&["MULTI"]);
    talk.ask(&["DEL", key]);
    talk.ask(&["SET", key, "nobody"]);
    talk.ask(&["EXEC"]);
    wait_for("it is told", || {
        scene.failures() > 0.5 && scene.one.log().contains("WRONGTYPE")
    });
    talk.ask(&["DEL", key]);
    wait_for("it is back", || {
        is_up(&scene.one) && scene.one.log().contains(AGAIN)
    });
    assert_eq!(scene.one.log().matches(ALONE).count(), 1, "{}", scene.one.log());
    clients.end();
}

/// A process ends as soon as ever, though it waits for a Redis.
#[test]
fn a_redis_that_says_nothing_holds_no_stop_up() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    redis.signal(Signal::STOP);
    let one = Forwarder::start(&of_fleet(&redis.url(), "a", "here"), &candidates(2));
    wait_for("it waits", || {
        one.metric("cluster_bytes_total{direction=\"sent\"}") > 0.0 || one.log().contains(ALONE)
    });
    let begun = tcp_forwarder::base::clock::now();
    let ended = one.stop();
    let took = tcp_forwarder::base::clock::now() - begun;
    redis.signal(Signal::CONT);
    assert_eq!(ended.status, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}

/// What clients wait for while each fault lasts, beside what they wait for without it: by hand, on a machine that does nothing else.
#[test]
#[ignore = "a measurement: cargo test --release --test fleet what_clients_wait -- --ignored --nocapture"]
fn what_clients_wait_for_while_a_fault_lasts() {
    const ROUNDS: usize = 5;
    let time = Duration::from_secs(4);
    let ways = [
        ("2 s slow", Way::Slow(Duration::from_secs(2))),
        ("silent", Way::Silent),
        ("closed", Way::Closed),
        ("cut", Way::Cut { first: 1, step: 61 }),
        ("babble", Way::Babble(BABBLE)),
    ];
    for (name, way) in ways {
        let Some(scene) = Scene::new() else {
            return;
        };
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (side, way) in [Way::Open, way].into_iter().enumerate() {
                scene.gate.set(way);
                wait_for("it is so", || is_up(&scene.one) == (way == Way::Open));
                let clients = Clients::of(scene.one.addr());
                pause(time);
                times[side].extend(clients.end());
            }
        }
        for side in &mut times {
            side.sort();
        }
        let [sound, faulty] = times.each_ref().map(|times| percentile(times, 99));
        let ratio = faulty.as_secs_f64() / sound.as_secs_f64();
        println!("{name}: p99 {sound:?} without, {faulty:?} with it: {ratio:.3} times");
    }
}

/// Two of one name are two all the same, and each says once that there is another.
#[test]
fn two_of_one_name_are_two() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let list = candidates(5);
    let start = || Forwarder::start(&of_fleet(&redis.url(), "twin", "here"), &list);
    let twins = [start(), start()];
    let clients = twins.each_ref().map(|one| Clients::of(one.addr()));
    for one in &twins {
        wait_for("the other one", || {
            (one.metric("cluster_nodes") - 1.0).abs() < 0.1 && heard(one) > 0.0
        });
    }
    pause(Duration::from_secs(1));
    for one in &twins {
        let log = one.log();
        assert_eq!(log.matches("is called twin, too").count(), 1, "{log}");
        assert!(one.metric("cluster_failures_total") < 0.5 && !log.contains(ALONE));
    }
    end_all(clients);
    let [one, other] = twins;
    drop(other);
    wait_for("it is alone", || one.metric("cluster_nodes") < 0.5);
}
