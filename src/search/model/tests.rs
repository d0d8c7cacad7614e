use super::*;
use crate::base::clock;

const HALF_LIFE: Duration = Duration::from_secs(1800);

fn model(list: &str, nodes: usize) -> (Model, fastrand::Rng) {
    let set = CandidateSet::parse(list, 80).expect("a list");
    let mut rng = fastrand::Rng::with_seed(5);
    let model = Model::new(Arc::new(set), nodes, HALF_LIFE, clock::now(), &mut rng);
    (model, rng)
}

#[test]
fn everybody_is_asked_once_and_nobody_twice() {
    let (mut model, mut rng) = model("10.0.0.0/23\n10.9.0.1:81\n[2001:db8::/125]:80", NODES);
    let now = clock::now();
    let mut asked = std::collections::HashSet::new();
    while let Some(addr) = model.next(&mut rng) {
        assert!(asked.insert(addr), "{addr} twice");
        let latency = rng.bool().then(|| Duration::from_millis(rng.u64(1..300)));
        model.learn(&addr, latency, now, &mut rng);
        model.tree.check();
    }
    assert_eq!(asked.len() as u128, model.set.len());
}

/// What a made-up network answers.
fn answer(addr: &SocketAddr, is_near: impl Fn(u32) -> bool, rng: &mut fastrand::Rng) -> Option<Duration> {
    let std::net::IpAddr::V4(ip) = addr.ip() else {
        return None;
    };
    let base = if is_near(ip.to_bits()) { 10.0 } else { 150.0 };
    Some(Duration::from_secs_f64(base * (1.0 + 0.1 * rng.f64()) / 1e3))
}

fn run(model: &mut Model, probes: usize, rng: &mut fastrand::Rng, is_near: impl Fn(u32) -> bool) -> usize {
    let now = clock::now();
    let mut found = 0;
    for _ in 0..probes {
        let Some(addr) = model.next(rng) else { break };
        let latency = answer(&addr, &is_near, rng);
        found += usize::from(latency.is_some_and(|latency| latency < Duration::from_millis(20)));
        model.learn(&addr, latency, now, rng);
    }
    found
}

#[test]
fn a_near_network_is_found_and_looked_into() {
    let (mut model, mut rng) = model("198.18.0.0/15", NODES);
    // One /20 of 131,072 addresses: 1 in 32.
    let found = run(&mut model, 1_000, &mut rng, |ip| {
        ip >> 12 == 0xC612_3000_u32 >> 12
    });
    assert!(found > 400, "{found} of 1000, where chance finds 31");
}

#[test]
fn a_network_that_does_not_answer_costs_few_probes() {
    let (mut model, mut rng) = model("198.18.0.0/16\n198.19.0.0/16", NODES);
    let now = clock::now();
    let mut dead = 0;
    for _ in 0..1_000 {
        let addr = model.next(&mut rng).expect("somebody");
        let is_dead = addr.ip().to_string().starts_with("198.19.");
        dead += usize::from(is_dead);
        let latency = answer(&addr, |_| false, &mut rng).filter(|_| !is_dead);
        model.learn(&addr, latency, now, &mut rng);
    }
    assert!(dead < 350, "{dead} of 1000, where chance has 500");
}

#[test]
fn the_model_is_bounded_whatever_the_list() {
    for list in [
        "::/0\n0.0.0.0/0",
        "10.0.0.1",
        "10.0.0.0/8\n10.0.0.0/8:81\n[2001:db8::]:7",
        "0.0.0.0/0:1",
    ] {
        for nodes in [3, 64, 500] {
            let (mut model, mut rng) = model(list, nodes);
            run(&mut model, 3_000, &mut rng, |ip| ip % 7 == 0);
            model.tree.check();
            assert!(model.nodes() <= nodes, "{} of {nodes}", model.nodes());
        }
    }
    let node = size_of::<Node>();
    assert!(
        NODES * node < 2_000_000 - 400_000,
        "{node} bytes a node, and room for openings"
    );
}

#[test]
fn the_model_is_bounded_for_a_list_of_half_a_million_lines() {
    use std::fmt::Write as _;

    let mut rng = fastrand::Rng::with_seed(8);
    let mut list = String::new();
    for _ in 0..500_000 {
        // Single addresses, ranges that overlap, both families, some with a port.
        let ip = std::net::Ipv4Addr::from_bits(rng.u32(0x0100_0000..0xDF00_0000));
        let line = match rng.u8(..8) {
            0..=4 => writeln!(list, "{ip}"),
            5 => writeln!(list, "{ip}/{}", rng.u8(8..32)),
            6 => writeln!(list, "{ip}:{}", rng.u16(1..4)),
            _ => writeln!(list, "2001:db8:{:x}::/{}", rng.u16(..), rng.u8(48..128)),
        };
        line.expect("written");
    }
    let set = Arc::new(CandidateSet::parse(&list, 80).expect("a list"));
    for nodes in [3, 500, 4_000] {
        let mut model = Model::new(Arc::clone(&set), nodes, HALF_LIFE, clock::now(), &mut rng);
        let now = clock::now();
        for probe in 0..6_000_u64 {
            let addr = model.next(&mut rng).expect("many are left");
            let answered = rng.u8(..4) > 0;
            let latency = answered.then(|| Duration::from_millis(rng.u64(1..300)));
            model.learn(&addr, latency, now + Duration::from_millis(probe), &mut rng);
            assert!(model.nodes() <= nodes, "{} of {nodes}", model.nodes());
        }
        model.tree.check();
        // What is allocated, too, and not only what is in use.
        let nodes_held = model.tree.room();
        assert!(
            nodes_held <= nodes.next_power_of_two().max(4),
            "{nodes_held} of {nodes}"
        );
        let openings = model.openings.capacity();
        assert!(
            openings <= 4 * nodes.next_power_of_two(),
            "{openings} openings of {nodes} nodes"
        );
        assert!(model.picks.len() <= MOST_PICKS && model.best.len() <= LOOKS);
    }
}

#[test]
fn what_was_learned_fades() {
    let (mut model, mut rng) = model("198.18.0.0/15", NODES);
    run(&mut model, 500, &mut rng, |_| false);
    let before = model.leaves().count();
    assert_eq!(before, 500);
    let addr = model.leaves().next().expect("many").addr;
    let later = clock::now() + HALF_LIFE * 2;
    model.learn(&addr, Some(Duration::from_millis(5)), later, &mut rng);
    model.tree.check();
    let other = model.leaves().find(|leaf| leaf.addr != addr).expect("many");
    assert!((other.answers - 0.25).abs() < 0.02, "{other:?}");
    model.learn(&addr, None, later + HALF_LIFE * 9, &mut rng);
    assert_eq!(model.leaves().count(), 1, "the rest is forgotten");
}

#[test]
fn another_world_is_believed_at_once() {
    let (mut model, mut rng) = model("198.18.0.0/15", NODES);
    let first = 0xC612_3000_u32 >> 12;
    run(&mut model, 1_500, &mut rng, |ip| ip >> 12 == first);
    // What was near is far, and the other way round.
    let found = run(&mut model, 2_000, &mut rng, |ip| ip >> 12 == first + 9);
    assert!(found > 500, "{found} of 2000");
}

#[test]
fn what_one_model_knew_another_goes_on_with() {
    let (mut before, mut rng) = model("198.18.0.0/15", NODES);
    let is_near = |ip: u32| ip >> 12 == 0xC612_3000_u32 >> 12;
    run(&mut before, 1_000, &mut rng, is_near);
    let leaves: Vec<Leaf> = before.leaves().collect();
    let (mut after, _) = model("198.18.0.0/15", NODES);
    after.restore(leaves.iter().copied(), &mut rng);
    after.tree.check();
    assert_eq!(after.leaves().count(), leaves.len());
    let found = run(&mut after, 200, &mut rng, is_near);
    assert!(found > 100, "{found} of 200 at once");
    // Whatever it is told, and of whom.
    let absurd = [f64::NAN, f64::INFINITY, -1.0, 0.0].map(|latency| Leaf {
        addr: "198.18.0.9:80".parse().expect("an address"),
        latency,
        answers: f32::NAN,
        failures: f32::INFINITY,
    });
    after.restore(absurd, &mut rng);
    after.restore(
        [Leaf {
            addr: "192.0.2.1:80".parse().expect("an address"),
            ..absurd[0]
        }],
        &mut rng,
    );
    after.tree.check();
    run(&mut after, 200, &mut rng, is_near);
}

#[test]
fn another_list_keeps_what_it_has_in_common() {
    let (mut model, mut rng) = model("198.18.0.0/15", NODES);
    run(&mut model, 1_000, &mut rng, |_| false);
    let shorter = Arc::new(CandidateSet::parse("198.18.0.0/16\n203.0.113.0/24", 80).expect("a list"));
    model.relist(Arc::clone(&shorter), &mut rng);
    model.tree.check();
    let kept: Vec<Leaf> = model.leaves().collect();
    assert!((350..650).contains(&kept.len()), "{}", kept.len());
    assert!(kept.iter().all(|leaf| shorter.contains(&leaf.addr)));
    for _ in 0..500 {
        let addr = model.next(&mut rng).expect("somebody");
        assert!(shorter.contains(&addr), "{addr}");
        model.learn(&addr, None, clock::now(), &mut rng);
    }
}
