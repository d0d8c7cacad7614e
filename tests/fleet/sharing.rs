//! What nodes share beside samples: limits of clients, what to begin with; and what somebody has spoilt.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tcp_forwarder::base::hash::fnv1a;
use tcp_forwarder::config::{CheckKind, Pattern, Remotes};
use tcp_forwarder::service::fleet::service_key;

use crate::redis::Redis;
use crate::support::{self, Files, Forwarder, comes_true, echo_on, pause, ping, wait_for};
use crate::{candidates, heard, of_fleet, one_more, probes};

fn active_set(forwarder: &Forwarder) -> Vec<String> {
    let body = forwarder.api("services/default");
    let mut set: Vec<String> = serde_json::from_value(body["active_set"].clone()).unwrap();
    set.sort();
    set
}

/// A client that connects to all of ten as fast as it can has no more than its limit and a fifth; and what one that dies had is there
/// for the others.
#[test]
fn ten_nodes_keep_one_limit_and_a_dead_one_gives_back_its_part() {
    const LIMIT: usize = 100;
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let url = redis.url();
    let list = echo_on(Ipv4Addr::LOCALHOST).to_string();
    let start = |number: usize| {
        let mut config = of_fleet(&url, &format!("n{number}"), "here");
        let server = json!({ "reactors": 1, "max_connections_per_ip": LIMIT });
        support::merge(
            &mut config,
            &json!({ "server": server, "pools": { "strategy": { "type": "off" } } }),
        );
        let files = Files::new(&support::settings(&config), &list);
        let command = files.command();
        Forwarder::spawn(files, command)
    };
    let starting: Vec<Forwarder> = (0..10).map(start).collect();
    let mut nodes: Vec<(Forwarder, Vec<TcpStream>)> = starting
        .into_iter()
        .map(|one| (one.listening(), Vec::new()))
        .collect();
    for (one, _) in &nodes {
        wait_for("a fleet of ten", || one.metric("cluster_nodes") > 8.5);
    }
    let greedy = |nodes: &mut Vec<(Forwarder, Vec<TcpStream>)>, rounds: usize| {
        for _ in 0..rounds {
            for at in 0..nodes.len() {
                for _ in 0..5 {
                    let Some(stream) = one_more(&nodes[at].0) else {
                        break;
                    };
                    nodes[at].1.push(stream);
                    let open: usize = nodes.iter().map(|(_, open)| open.len()).sum();
                    assert!(open * 5 <= LIMIT * 6, "{open} are open");
                }
            }
            pause(Duration::from_millis(50));
        }
        nodes.iter().map(|(_, open)| open.len()).sum::<usize>()
    };
    let open = greedy(&mut nodes, 60);
    println!("{open} of {LIMIT} are open on ten nodes");
    assert!(open * 10 >= LIMIT * 8, "{open} are open");
    let told = nodes[0].0.api("fleet");
    assert_eq!(told["claimed_clients"], 1, "{told}");
    // Whoever had the most dies, and with it its connections.
    nodes.sort_by_key(|(_, open)| open.len());
    let (dead, had) = nodes.pop().unwrap();
    dead.signal(Signal::KILL);
    let left = open - had.len();
    drop((dead, had));
    let mut open = left;
    assert!(
        comes_true(Duration::from_secs(15), || {
            open = greedy(&mut nodes, 2);
            open * 10 >= LIMIT * 8
        }),
        "{open} after {left}"
    );
    println!("{left} were left when one died, {open} are open");
}

/// A server that echoes, but for checks: those it answers so many milliseconds late.
fn checked_on(ip: Ipv4Addr, late: &Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let late = Arc::clone(late);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, late) = (stream.unwrap(), Arc::clone(&late));
            std::thread::spawn(move || {
                let mut room = [0; 512];
                while let Ok(count @ 1..) = stream.read(&mut room) {
                    if room.starts_with(b"check") {
                        pause(Duration::from_millis(late.load(Ordering::Relaxed)));
                    }
                    if stream.write_all(&room[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

/// Checks are answered after six seconds by then, so that whoever serves sooner has its set from somebody else.
#[test]
fn a_node_begins_with_the_set_of_the_others_of_its_vantage() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let late = Arc::new(AtomicU64::new(0));
    let lines = (11..=19).map(|last| checked_on(Ipv4Addr::new(127, 0, 9, last), &late).to_string());
    let list = lines.collect::<Vec<_>>().join("\n");
    let start = |node: &str, vantage: &str| {
        let mut config = of_fleet(&redis.url(), node, vantage);
        let check = json!({ "type": "send_expect", "send": "check", "expect": "check" });
        let probing =
            json!({ "timeout": "10s", "initial": { "timeout": "10s" }, "interval": "2s", "check": check });
        support::merge(&mut config, &json!({ "remotes": { "probing": probing } }));
        let files = Files::new(&support::settings(&config), &list);
        let command = files.command();
        Forwarder::spawn(files, command)
    };
    let first = start("a", "here").listening();
    let service = service_key("default", &checked());
    let key = format!(
        "tcp-forwarder:default:set:{:016x}",
        fnv1a(b"here\0".iter().copied().chain(service.to_be_bytes()))
    );
    let mut talk = redis.talk();
    wait_for("what is known is told", || talk.count(&["EXISTS", &key]) == 1);
    late.store(6_000, Ordering::Relaxed);
    let known = active_set(&first);
    assert_eq!(known.len(), 2);
    let (beginner, elsewhere) = (start("b", "here"), start("c", "there"));
    let beginner = beginner.listening();
    ping(&mut beginner.connect(), b"the first client");
    let (served, probed) = (active_set(&beginner), probes(&beginner));
    assert!(probed < 0.5, "it has probed itself already: {probed}");
    assert_eq!(served, known);
    assert!(beginner.log().contains("begins with what others"));
    assert!(
        !elsewhere.log().contains("listening on"),
        "what is seen elsewhere is of no use there"
    );
    late.store(0, Ordering::Relaxed);
    let elsewhere = elsewhere.listening();
    assert!(!elsewhere.log().contains("begins with what others"));
    wait_for("nodes are shown", || {
        let told = beginner.api("fleet");
        let nodes = told["nodes"].as_array().unwrap();
        let near = nodes.iter().filter(|node| node["is_near"] == true);
        let names: Vec<_> = near.map(|node| node["node"].as_str().unwrap()).collect();
        nodes.len() == 2 && names == ["a"] && told["services"][0]["nodes"] == 2
    });
    let status = support::program()
        .args(["status", "--url", &format!("http://{}", beginner.metrics_addr())])
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        status.contains("fleet default: 2 other nodes, 1 of this vantage"),
        "{status}"
    );
    // It is confirmed afterwards, as what is recalled.
    wait_for("its own probes", || probes(&beginner) > 3.5);
    ping(&mut beginner.connect(), b"a later client");
}

/// How they are checked, as far as others are to check alike.
fn checked() -> Remotes {
    let mut remotes = Remotes::default();
    let check = &mut remotes.probing.check;
    check.kind = CheckKind::SendExpect;
    check.send = Pattern::of("check").unwrap();
    check.expect = check.send.clone();
    remotes
}

/// Whoever may write can stop nobody from sharing for longer than it takes to see what was written.
#[test]
fn what_nobody_can_go_on_with_is_removed() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let (url, list) = (redis.url(), candidates(5));
    let (a, b) = (
        Forwarder::start(&of_fleet(&url, "a", "here"), &list),
        Forwarder::start(&of_fleet(&url, "b", "here"), &list),
    );
    wait_for("both hear", || heard(&a) > 0.0 && heard(&b) > 0.0);
    let stream = format!("tcp-forwarder:default:samples:{:016x}", fnv1a(*b"here"));
    let mut talk = redis.talk();
    let last = format!("{0}-{0}", u64::MAX);
    let poisons: [&[&str]; 4] = [
        &["XADD", &stream, "99999999999999-1", "d", "poison"],
        &["XADD", &stream, &last, "d", "poison"],
        &["SET", "tcp-forwarder:default:nodes", "poison"],
        &["SET", &stream, "poison"],
    ];
    for poison in poisons {
        talk.ask(poison);
        let before = (heard(&a), heard(&b));
        wait_for(&format!("both hear after {poison:?}"), || {
            heard(&a) > before.0 + 1.5 && heard(&b) > before.1 + 1.5
        });
    }
}
