//! The main promise in the latency lab: out of 200 candidates the forwarder finds the best, stays with them
//! while nothing really changes, and lets go of what dies or turns bad.
//!
//! Needs root, `/dev/net/tun` and iproute2, and says so where it skips itself.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod lab;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use lab::{
    Forwarder, Jitter, LISTEN, Lab, Link, Load, LoadReport, Reading, Responder, Service, comes_true, say,
};
use tcp_forwarder::base::clock;

const OPEN: u16 = 80;
/// Nobody listens here: the candidate refuses.
const CLOSED: u16 = 81;
const ACTIVE: usize = 5;
/// The candidates before this one are the good ones, those in reserve, and the near but lossy ones.
const FIRST_LOSSY: usize = 12;
/// A wire that is later than this at the 99th percentile distorts what is measured over it.
const LATE: Duration = Duration::from_millis(2);
const EVALUATION: Duration = Duration::from_secs(4);
/// Reading the metrics and a busy machine take a while, too.
const SLACK: Duration = Duration::from_millis(700);

// Scores as in the default configuration, but told apart from 5 ms on: in the lab the good ones are good.
const CONFIG: &str = r#"
server: { listen_addr: "127.0.0.1:1234" }
logging: { level: "info" }
metrics: { listen_addr: "127.0.0.1:9099" }
remotes:
  default_remote_port: 80
  provider: { type: "file", file: { path: "./ip_list.txt" } }
  probing:
    interval: "500ms"
    timeout: "450ms"
    probe_candidate_count: 40
    initial: { enabled: true, max_concurrency: 200, timeout: "450ms" }
  scoring:
    latency: { base_latency: "5ms", max_acceptable_latency: "300ms" }
    jitter: { base_jitter: "10ms", max_acceptable_jitter: "100ms" }
  selector:
    evaluation_interval: "4s"
    active_set_size: 5
    switching: { debounce_interval: "2s", score_improvement_threshold: 0.3 }
pools:
  common: { dial_timeout: "450ms", drain_timeout: "1s" }
  strategy: { type: "static", static: { size_per_remote: 4 } }
"#;

/// A candidate and its link.
#[derive(Debug, Clone)]
struct Place {
    address: SocketAddr,
    link: Link,
}

impl Place {
    /// The score that this link earns in the long run by the specification's formulas, without the penalty of
    /// failures: what "the true best" means. The mean difference of two uniform samples is a third of their
    /// range, a round trip being the sum of two of half the range: 7/30 of the whole.
    fn merit(&self) -> f64 {
        let part = |value: f64, base: f64, most: f64| ((most - value) / (most - base)).clamp(0.0, 1.0);
        let spread = match self.link.jitter {
            Jitter::Uniform(spread) => spread.as_secs_f64(),
            Jitter::None | Jitter::Normal(_) => 0.0,
        };
        let success = if self.address.port() == CLOSED {
            0.0
        } else {
            (1.0 - self.link.loss).powi(2)
        };
        let reachable = if success > 0.0 { 1.0 } else { 0.0 };
        let latency = part(self.link.rtt.as_secs_f64() + spread / 2.0, 0.005, 0.3);
        let jitter = part(spread * 7.0 / 30.0, 0.01, 0.1);
        reachable * (45.0 * latency + 15.0 * jitter) + 40.0 * success
    }
}

/// 200 candidates at random addresses: five good ones, three in reserve, the rest clearly
/// worse in all sorts of ways.
fn world(rng: &mut fastrand::Rng) -> Vec<Place> {
    let uniform = |rng: &mut fastrand::Rng, from, to| Link::millis(rng.u64(from..=to));
    let mut links: Vec<_> = [5, 9, 13, 17, 21, 45, 60, 75]
        .map(|rtt| (Link::millis(rtt), OPEN))
        .into();
    // Nearer than all others, but they lose a quarter to a half of what they are sent.
    links.extend([5, 5, 8, 12].map(|rtt| (Link::millis(rtt).loss(0.25 + 0.25 * rng.f64()), OPEN)));
    for _ in 0..20 {
        links.push((uniform(rng, 30, 300).loss(0.25 + 0.25 * rng.f64()), OPEN));
    }
    for _ in 0..15 {
        let spread = Duration::from_millis(rng.u64(200..=250));
        links.push((uniform(rng, 5, 40).jitter(Jitter::Uniform(spread)), OPEN));
    }
    for _ in 0..20 {
        links.push((Link::dead(), OPEN));
        links.push((uniform(rng, 5, 300), CLOSED));
    }
    while links.len() < 200 {
        links.push((uniform(rng, 110, 300), OPEN));
    }
    let mut numbers: Vec<u16> = (1..u16::MAX).collect();
    rng.shuffle(&mut numbers);
    let place = |((link, port), number)| Place {
        address: SocketAddr::new(lab::server(number), port),
        link,
    };
    links.into_iter().zip(numbers).map(place).collect()
}

fn true_best(places: &[Place]) -> BTreeSet<SocketAddr> {
    let mut ranked: Vec<_> = places.iter().collect();
    ranked.sort_by(|a, b| b.merit().total_cmp(&a.merit()));
    ranked.iter().take(ACTIVE).map(|place| place.address).collect()
}

/// Changes a link in the world and on the wire.
fn turn(lab: &Lab, place: &mut Place, link: Link) {
    lab.links().set(place.address.ip(), link.clone());
    place.link = link;
}

/// Waits until the active set is `wanted`; gives the time it took, or none.
fn time_until_active(lab: &Lab, wanted: &BTreeSet<SocketAddr>, patience: Duration) -> Option<Duration> {
    let begun = clock::now();
    let found = comes_true(patience, || {
        Reading::take(lab).is_ok_and(|reading| reading.active() == *wanted)
    });
    found.then(|| begun.elapsed())
}

/// What happened, to judge a failure by.
fn story(lab: &Lab, forwarder: &Forwarder, places: &[Place]) -> String {
    let active = Reading::take(lab)
        .map(|reading| reading.active())
        .unwrap_or_default();
    let mut text = format!("seed {}; active:\n", lab.seed());
    for place in places.iter().filter(|place| active.contains(&place.address)) {
        let _ = writeln!(text, "  {} {:?}", place.address, place.link);
    }
    text + "its log:\n" + &forwarder.program().output()
}

fn load(seconds: u64) -> Load {
    Load {
        target: LISTEN,
        per_second: 50,
        duration: Duration::from_secs(seconds),
        hold: Duration::ZERO,
        patience: Duration::from_secs(5),
    }
}

fn tell(what: &str, report: &LoadReport) {
    say(&format!("  {what}: {}", report.json()));
}

#[test]
fn the_best_of_200_are_found_kept_and_replaced() {
    let Some(lab) = lab::open("the_best_of_200_are_found_kept_and_replaced") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(OPEN, Service::Http)]).unwrap();
    let mut places = world(&mut fastrand::Rng::with_seed(lab.seed()));
    for place in &places {
        lab.links().set(place.address.ip(), place.link.clone());
    }
    let mut list = String::new();
    for place in &places {
        let _ = writeln!(list, "{}", place.address);
    }
    let mut forwarder = Forwarder::start(&lab, CONFIG, &list).unwrap();
    let listening = forwarder.wait_until_listening(&lab, Duration::from_secs(5));
    assert!(listening, "{}", forwarder.program().output());

    // Found: within two evaluations.
    let best = true_best(&places);
    let mut found = time_until_active(&lab, &best, 2 * EVALUATION + SLACK);
    let late = lab.report().lateness(990);
    if found.is_none() && late > LATE {
        // A busy machine's wire has lied to the first probes; the averages need rounds to forget that.
        say(&format!(
            "skipped: the limit of two evaluations is not judged, the wire was {late:?} late"
        ));
        found = time_until_active(&lab, &best, 8 * EVALUATION);
    }
    say(&format!(
        "  the true best of 200 are active after {found:?} of serving"
    ));
    assert!(found.is_some(), "not found: {}", story(&lab, &forwarder, &places));

    // Kept: others come and go, what is good stays good, and nobody switches.
    let switches = || Reading::take(&lab).unwrap().sum("selector_switches_total");
    let switches_before = switches();
    turn(&lab, &mut places[5], Link::millis(280));
    for place in &mut places[FIRST_LOSSY..FIRST_LOSSY + 15] {
        turn(&lab, place, Link::dead());
    }
    let steady = load(8).run(lab.client()).unwrap();
    tell("eight steady seconds", &steady);
    assert!(
        switches() <= switches_before,
        "it switched: {}",
        story(&lab, &forwarder, &places)
    );
    assert_eq!(Reading::take(&lab).unwrap().active(), best);
    assert_eq!(steady.failed(), 0, "{}", story(&lab, &forwarder, &places));
    let served_by_best = |report: &LoadReport| {
        let best: BTreeSet<_> = best.iter().map(SocketAddr::ip).collect();
        report.by_backend().keys().all(|backend| best.contains(backend))
    };
    assert!(served_by_best(&steady), "{:?}", steady.by_backend());

    let (died, improved) = lose_one_and_worsen_one(&lab, &mut places);
    say(&format!(
        "  a member that died left after {died:?}, one that turned slow after {improved:?}"
    ));
    assert!(died.is_some(), "kept: {}", story(&lab, &forwarder, &places));
    assert!(improved.is_some(), "kept: {}", story(&lab, &forwarder, &places));

    let after = load(1).run(lab.client()).unwrap();
    tell("a second afterwards", &after);
    assert_eq!(after.failed(), 0, "{}", story(&lab, &forwarder, &places));
    let status = forwarder.into_program().stop(Duration::from_secs(10)).unwrap();
    assert!(status.expect("it stops when asked").success());
}

/// One member dies while clients come: seconds. Then another one turns slow: two evaluations.
fn lose_one_and_worsen_one(lab: &Lab, places: &mut [Place]) -> (Option<Duration>, Option<Duration>) {
    let victim = places[1].address;
    turn(lab, &mut places[1], Link::dead());
    let begun = clock::now();
    let (gone, report) = std::thread::scope(|scope| {
        let clients = scope.spawn(|| load(6).run(lab.client()).unwrap());
        let is_gone = || Reading::take(lab).is_ok_and(|reading| !reading.active().contains(&victim));
        let gone = comes_true(Duration::from_secs(6), is_gone).then(|| begun.elapsed());
        (gone, clients.join().unwrap())
    });
    tell("six seconds with a death", &report);
    // Lost are those that were sent to the dead member before anybody could know.
    let failed = report.failed() * 1_000 / report.samples.len();
    assert!(failed <= 50, "{failed} of a thousand clients noticed the death");
    turn(lab, &mut places[3], Link::millis(250));
    let wanted = true_best(places);
    (gone, time_until_active(lab, &wanted, 2 * EVALUATION + SLACK))
}
