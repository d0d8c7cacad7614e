//! What a fleet of a hundred costs: the network, the Redis, and what is left of it.

use std::time::Duration;

use crate::node::{Node, reached};
use crate::redis::Redis;
use crate::support::wait_for;

const NODES: u16 = 100;

/// Exchanges after which all is as it was.
const CYCLE: u32 = 12;

fn fleet(redis: &Redis, name: &str, interval: Duration) -> Vec<Node> {
    let nodes = 1..=u64::from(NODES);
    let mut all: Vec<Node> = nodes
        .map(|id| Node::new(id, redis.addr, name, interval))
        .collect();
    // The first ones learn of the last ones in the next.
    for _ in 0..2 {
        for node in &mut all {
            node.turn(&[]).unwrap();
        }
    }
    all
}

/// A hundred that have nothing to say move less than 200 bytes a second each, over one connection each.
#[test]
fn a_hundred_nodes_at_rest_cost_little() {
    const MOST_BYTES_A_SECOND: f64 = 200.0;
    let interval = Duration::from_secs(5);
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let mut talk = redis.talk();
    let before = talk.info("clients", "connected_clients");
    let empty = talk.info("memory", "used_memory");
    let mut fleet = fleet(&redis, "rest", interval);
    for node in &fleet {
        assert_eq!(node.view().others.len(), usize::from(NODES - 1));
    }
    for node in &mut fleet {
        node.moved = 0;
    }
    for _ in 0..CYCLE {
        for node in &mut fleet {
            let told = node.turn(&[]).unwrap();
            assert!(told.is_empty());
        }
    }
    let moved: u64 = fleet.iter().map(|node| node.moved).sum();
    let seconds = f64::from(NODES) * f64::from(CYCLE) * interval.as_secs_f64();
    let rate = f64::from(u32::try_from(moved).unwrap()) / seconds;
    let clients = talk.info("clients", "connected_clients") - before;
    let used = talk.info("memory", "used_memory") - empty;
    println!(
        "{NODES} nodes at rest: {rate:.0} bytes a second and node, {clients} connections, {used} bytes of the Redis"
    );
    assert!(rate < MOST_BYTES_A_SECOND, "{rate}");
    assert_eq!(clients, u64::from(NODES), "one connection each");
}

/// A hundred that say more than anybody keeps: what the Redis holds stays below a bound, and is gone once they are.
#[test]
fn what_a_hundred_nodes_leave_in_the_redis_is_bounded_and_expires() {
    /// What a stream of about 1,000 messages of 64 samples takes, and the names of all.
    const MOST_BYTES: u64 = 3 << 20;
    let interval = Duration::from_millis(300);
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let mut talk = redis.talk();
    let empty = talk.info("memory", "used_memory");
    let mut fleet = fleet(&redis, "full", interval);
    let words: Vec<_> = (0..1_000).map(reached).collect();
    let (mut most, mut heard) = (0, 0);
    for _ in 0..4 {
        for node in &mut fleet {
            heard += node.turn(&words).unwrap().len();
        }
        // What clients' buffers take is no part of it.
        most = most.max(talk.info("memory", "used_memory_dataset"));
    }
    let kept = {
        let stream = talk.texts(&["KEYS", "*:samples:*"]).remove(0);
        talk.count(&["XLEN", &stream])
    };
    println!("{heard} samples heard; {most} bytes of data in the Redis at most, {kept} messages");
    assert!(
        heard > 10_000 && (1_000..1_200).contains(&kept),
        "{heard}, {kept}"
    );
    assert!(most < MOST_BYTES, "{most}");
    drop(fleet);
    wait_for("nothing is left", || talk.count(&["DBSIZE"]) == 0);
    wait_for("nor memory", || {
        talk.info("memory", "used_memory") < empty + (1 << 20)
    });
}
