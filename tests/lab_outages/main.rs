//! Faults of the network in the latency lab: our own link dies and returns, a route vanishes, nearly all
//! candidates really die, a third of all packets is lost, the network is another one.
//!
//! `TCP_FORWARDER_LONG=1` makes the link stay dead for a full minute, and runs what takes as long by nature.
//! Needs root, `/dev/net/tun` and iproute2, and says so where it skips itself.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../lab/mod.rs"]
mod lab;
mod scene;

use std::net::SocketAddr;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use lab::{Link, comes_true, pause, say};
use scene::{Scene, echo};
use tcp_forwarder::base::clock;

const ECHO: u16 = 7;
const INTERVAL: Duration = Duration::from_millis(500);
/// A busy machine takes its time.
const SLACK: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(30);
/// More memory than this is a leak, not a buffer.
const GROWTH_KIB: u64 = 4_096;

const CONFIG: &str = r#"
server: { listen_addr: "127.0.0.1:1234" }
logging: { level: "info" }
metrics: { listen_addr: "127.0.0.1:9099" }
remotes:
  provider: { type: "file", file: { path: "./ip_list.txt" } }
  probing:
    interval: "500ms"
    timeout: "300ms"
    probe_candidate_count: 20
    initial: { enabled: true, max_concurrency: 200, timeout: "300ms" }
  scoring:
    latency: { base_latency: "5ms", max_acceptable_latency: "300ms" }
  selector:
    evaluation_interval: "300ms"
    active_set_size: 3
    switching: { debounce_interval: "1s", score_improvement_threshold: 5.0 }
pools:
  common: { dial_timeout: "300ms", drain_timeout: "1s" }
  strategy: { type: "static", static: { size_per_remote: 4 } }
"#;

fn is_long() -> bool {
    std::env::var("TCP_FORWARDER_LONG").is_ok_and(|value| value == "1")
}

fn candidate(number: u16) -> SocketAddr {
    SocketAddr::new(lab::server(number), ECHO)
}

#[test]
fn everything_dead_for_a_while_leaves_set_scores_and_relays_as_they_were() {
    let test = "everything_dead_for_a_while_leaves_set_scores_and_relays_as_they_were";
    let Some(scene) = Scene::open(test, 30, CONFIG) else {
        return;
    };
    let mut relay = scene.connect().unwrap();
    echo(&mut relay, 5, 10_000).unwrap();
    let (active, switches) = (scene.active(), scene.sum("selector_switches_total"));

    scene.lab.links().set_uplink(Link::dead());
    let noticed = scene.wait("the outage is noticed", LONG, || scene.sum("link_down") == 1);
    let (scores, probes) = (scene.scores(), scene.probes());
    let frozen = clock::now();
    let dead = Duration::from_millis(if is_long() { 60_000 } else { 1_000 });
    // Clients are dialled for all the while (or given a warm connection that nobody knows to be dead), in vain.
    while frozen.elapsed() < dead {
        scene.nobody_answers();
    }
    let (after, seconds) = (scene.scores(), frozen.elapsed().as_secs_f64());
    let probes = scene.probes() - probes;
    assert_eq!(after, scores, "nobody pays");
    assert_eq!((scene.active(), scene.sum("link_down")), (active.clone(), 1));
    let usual = 20.0 * seconds / INTERVAL.as_secs_f64();
    let slowed = probes / usual;
    assert!(
        probes > 0.0 && slowed < 0.8,
        "{probes} probes in {seconds:.1} s, {usual:.0} are usual"
    );

    scene.lab.links().set_uplink(Link::millis(0));
    let served = scene.wait("a new connection is served", INTERVAL + SLACK, || scene.serves());
    let back = scene.wait("the outage is over", INTERVAL + SLACK, || {
        scene.sum("link_down") == 0
    });
    let refilled = scene.wait("pools are full", INTERVAL + SLACK, || {
        scene.sum("pool_available_connections") >= 12
    });
    echo(&mut relay, 6, 10_000).unwrap();
    drop(relay);
    say(&format!(
        "  noticed after {noticed:?}; {probes} probes in {seconds:.1} s, {slowed:.2} of the usual; served again \
         after {served:?}, told after {back:?} more, pools full after {refilled:?} more"
    ));
    // Two evaluations later nobody has been punished for what came late.
    pause(Duration::from_millis(700));
    assert_eq!(
        (scene.active(), scene.sum("selector_switches_total")),
        (active, switches)
    );
    let penalised: Vec<_> = scene
        .scores()
        .into_iter()
        .filter(|(_, score)| *score < 90.0)
        .collect();
    assert!(penalised.is_empty(), "{penalised:?}");
    let log = scene.forwarder.program().output();
    assert_eq!(log.matches("our own link seems to be down").count(), 1, "{log}");
    assert_eq!(log.matches("our own link is back after").count(), 1, "{log}");
    assert_eq!(scene.sum("link_outages_total"), 1);
    scene.finish();
}

#[test]
fn when_nearly_all_candidates_really_die_the_living_are_chosen() {
    let test = "when_nearly_all_candidates_really_die_the_living_are_chosen";
    let Some(scene) = Scene::open(test, 60, CONFIG) else {
        return;
    };
    let living = [candidate(20), candidate(40), candidate(60)];
    for number in (1..=60).filter(|number| number % 20 != 0) {
        scene.lab.links().set(candidate(number).ip(), Link::dead());
    }
    let moved = scene.wait("the living three are active", Duration::from_secs(10), || {
        scene.active() == living.into()
    });
    say(&format!("  the living 5 % are active after {moved:?}"));
    assert!(scene.serves());
    assert_eq!(
        scene.sum("link_outages_total"),
        0,
        "{}",
        scene.forwarder.program().output()
    );
    // Probes of the dead hold descriptors for as long as they wait.
    for number in 1..=60 {
        scene.lab.links().set(candidate(number).ip(), Link::millis(60));
    }
    scene.finish();
}

#[test]
fn a_route_that_vanishes_and_returns_is_survived() {
    let Some(scene) = Scene::open("a_route_that_vanishes_and_returns_is_survived", 20, CONFIG) else {
        return;
    };
    let mut relay = scene.connect().unwrap();
    echo(&mut relay, 7, 10_000).unwrap();
    let (active, scores) = (scene.active(), scene.scores());
    scene
        .lab
        .client()
        .ip("route del 198.18.0.0/16 dev wire0\n")
        .unwrap();
    let noticed = scene.wait("the outage is noticed", LONG, || scene.sum("link_down") == 1);
    scene.nobody_answers();
    scene
        .lab
        .client()
        .ip("route add 198.18.0.0/16 dev wire0\n")
        .unwrap();
    let served = scene.wait("a new connection is served", INTERVAL + SLACK, || scene.serves());
    echo(&mut relay, 8, 10_000).unwrap();
    drop(relay);
    assert_eq!(scene.active(), active);
    scene.wait("the outage is over", INTERVAL + SLACK, || {
        scene.sum("link_down") == 0
    });
    let fell: Vec<_> = scene
        .scores()
        .into_iter()
        .filter(|(server, score)| scores.get(server).is_some_and(|before| score + 5.0 < *before))
        .collect();
    assert!(fell.is_empty(), "{fell:?} of {scores:?}");
    say(&format!(
        "  noticed after {noticed:?}, served again after {served:?}"
    ));
    scene.finish();
}

#[test]
fn a_third_of_all_packets_lost_loses_no_byte() {
    if !is_long() {
        return say(
            "skipped: a third of all packets lost, it takes half a minute; TCP_FORWARDER_LONG=1 runs it",
        );
    }
    // A SYN that is lost comes again after a second; so dials may take a while.
    let patient = CONFIG.replace("dial_timeout: \"300ms\"", "dial_timeout: \"8s\"");
    let Some(scene) = Scene::open("a_third_of_all_packets_lost_loses_no_byte", 10, &patient) else {
        return;
    };
    scene.lab.links().set_uplink(Link::millis(2).loss(0.3));
    let (relays, bytes) = (40, 50_000);
    let begun = clock::now();
    std::thread::scope(|scope| {
        let relay = |seed| {
            let scene = &scene;
            move || {
                let mut stream = scene.connect().unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
                echo(&mut stream, seed, bytes)
            }
        };
        let running: Vec<_> = (0..relays).map(|seed| scope.spawn(relay(seed))).collect();
        // A packet that is lost again and again is repeated after ever longer times, up to two minutes: without an
        // end of the loss there would be no deadline for the last relays.
        comes_true(Duration::from_secs(45), || {
            running.iter().all(ScopedJoinHandle::is_finished)
        });
        let unfinished = running.iter().filter(|one| !one.is_finished()).count();
        say(&format!(
            "  {unfinished} of {relays} relays are not over when the loss ends"
        ));
        scene.lab.links().set_uplink(Link::millis(2));
        for (seed, running) in running.into_iter().enumerate() {
            let outcome = running.join().unwrap();
            assert!(
                outcome.is_ok(),
                "relay {seed}: {outcome:?}\n{}",
                scene.forwarder.program().output()
            );
        }
    });
    say(&format!(
        "  {relays} relays of {bytes} bytes each way in {:?}, {} packets lost, {} outages seen",
        begun.elapsed(),
        scene.lab.report().lost,
        scene.sum("link_outages_total")
    ));
    scene.lab.links().set_uplink(Link::millis(0));
    scene.finish();
}

/// The client's second address: with another source for the same route, all that the forwarder sees of another network.
const ELSEWHERE: &str = "198.19.0.2";

#[test]
fn each_way_to_the_network_has_its_scores_and_its_set() {
    let Some(scene) = Scene::open("each_way_to_the_network_has_its_scores_and_its_set", 30, CONFIG) else {
        return;
    };
    // There, who was near is dead, and others are near.
    for number in 1..=30 {
        let link = match number {
            1..=3 => Link::dead(),
            11..=13 => Link::millis(5),
            _ => Link::millis(60),
        };
        let elsewhere = ELSEWHERE.parse().unwrap();
        scene
            .lab
            .links()
            .set_pair(elsewhere, candidate(number).ip(), link);
    }
    let route = |source: &str| {
        let line = format!("route replace 198.18.0.0/16 dev wire0 src {source}\n");
        scene.lab.client().ip(&line).unwrap();
    };
    let near = |numbers: std::ops::RangeInclusive<u16>| numbers.map(candidate).collect();
    let (here, scores) = (scene.active(), scene.scores());
    route(ELSEWHERE);
    let left = scene.wait("the nearest there", LONG, || scene.active() == near(11..=13));
    assert!(scene.serves());
    route("198.19.0.1");
    let back = scene.wait("the nearest here again", LONG, || scene.active() == here);
    // A look before each probe, and an evaluation.
    assert!(back < SLACK, "{back:?}: {}", scene.forwarder.program().output());
    assert!(scene.serves());
    let fell: Vec<_> = scene
        .scores()
        .into_iter()
        .filter(|(server, score)| scores.get(server).is_some_and(|before| score + 5.0 < *before))
        .collect();
    assert!(fell.is_empty(), "{fell:?} of {scores:?}");
    route(ELSEWHERE);
    let again = scene.wait("the nearest there again", LONG, || {
        scene.active() == near(11..=13)
    });
    assert!(again < SLACK, "{again:?}");
    assert_eq!(scene.sum("link_outages_total"), 0, "nobody took it for an outage");
    say(&format!(
        "  first there after {left:?}, back after {back:?}, there again after {again:?}"
    ));
    scene.finish();
}
