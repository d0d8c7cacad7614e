//! Backends that accept and do not serve, judged by traffic alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::servers::{Conduct, Server, Whim, ask_often, ask_steadily, failed, follow, leave_early, list};
use crate::support::{Forwarder, wait_for};

const PATIENCE: Duration = Duration::from_secs(5);

fn changes(algorithm: &str, strategy: &str) -> Value {
    json!({
        "remotes": {
            "probing": { "interval": "300ms" },
            "selector": { "active_set_size": 4, "evaluation_interval": "300ms" },
        },
        "pools": { "algorithm": algorithm, "strategy": { "type": strategy } },
    })
}

/// So many servers of which the first does this.
fn servers(count: u8, culprit: Conduct) -> Vec<Server> {
    let server = |number| {
        let conduct = if number == 0 { culprit } else { Conduct::Answer };
        Server::start(number, conduct)
    };
    (0..count).map(server).collect()
}

fn unserved(forwarder: &Forwarder) -> f64 {
    forwarder.metric("unserved_connections_total")
}

#[test]
fn one_of_four_that_resets_what_it_is_asked_leaves_the_set() {
    for strategy in ["dynamic", "off"] {
        let servers = servers(4, Conduct::Reset);
        let forwarder = Forwarder::start(&changes("round_robin", strategy), &list(&servers));
        let got = ask_often(&forwarder, 120, PATIENCE, Duration::from_millis(5));
        assert!(failed(&got) < 5, "{strategy}: {} failed", failed(&got));
        assert_eq!(failed(&got[60..]), 0, "{strategy}: and none once it is out");
        let log = forwarder.log();
        assert!(log.contains("accepts but does not serve clients"), "{log}");
        assert!(unserved(&forwarder) >= 1.0);
    }
}

#[test]
fn one_of_three_that_closes_at_once_leaves_the_set() {
    for strategy in ["dynamic", "off"] {
        let servers = servers(3, Conduct::Close);
        let forwarder = Forwarder::start(&changes("least_connections", strategy), &list(&servers));
        let got = ask_often(&forwarder, 100, PATIENCE, Duration::from_millis(10));
        assert!(failed(&got) < 5, "{strategy}: {} failed", failed(&got));
        assert_eq!(failed(&got[50..]), 0, "{strategy}: and none once it is out");
    }
}

/// Nobody is left to take its place, so clients hear of its end; those that wait for a greeting have not spoken.
#[test]
fn the_only_member_that_closes_before_its_client_spoke_leaves_the_set() {
    let servers = servers(3, Conduct::Answer);
    let mut changes = changes("round_robin", "off");
    changes["remotes"]["selector"]["active_set_size"] = json!(1);
    let forwarder = Forwarder::start(&changes, &list(&servers));
    let before = ask_often(&forwarder, 20, PATIENCE, Duration::ZERO);
    assert_eq!(failed(&before), 0);
    let member = before[19].number.expect("an answer");
    servers[usize::from(member)].behave(Conduct::Close);
    for _ in 0..4 {
        let _ = follow(Whim::Listens, forwarder.addr(), PATIENCE);
    }
    wait_for("they are held against it", || unserved(&forwarder) >= 3.0);
    wait_for("another one takes its place", || {
        let got = ask_often(&forwarder, 1, PATIENCE, Duration::ZERO);
        got[0].number.is_some_and(|number| number != member)
    });
}

/// As a middlebox does that accepts for others: it is out once five clients have met it, one after the other, whatever is
/// scored; those before anybody knows how soon answers come are not held against it.
#[test]
fn one_of_four_that_never_answers_leaves_the_set() {
    let cases = ["connect", "first_byte"]
        .into_iter()
        .flat_map(|source| ["round_robin", "least_connections"].map(|algorithm| (source, algorithm)));
    std::thread::scope(|scope| {
        for (source, algorithm) in cases {
            scope.spawn(move || never_answering(source, algorithm));
        }
    });
}

fn never_answering(source: &str, algorithm: &str) {
    let servers = servers(4, Conduct::Mute);
    let mut changes = changes(algorithm, "dynamic");
    changes["remotes"]["scoring"] = json!({ "latency": { "source": source } });
    let forwarder = Forwarder::start(&changes, &list(&servers));
    let got = ask_often(
        &forwarder,
        60,
        Duration::from_millis(1_500),
        Duration::from_millis(20),
    );
    assert!(
        (1..=5).contains(&failed(&got)),
        "{source}, {algorithm}: {} failed",
        failed(&got)
    );
    assert_eq!(
        failed(&got[30..]),
        0,
        "{source}, {algorithm}: and none once it is out"
    );
    let text = forwarder.scrape();
    let is_used =
        |server: &&Server| text.contains(&format!("lb_backend_connections{{server=\"{}\"}}", server.addr));
    let used: Vec<_> = servers.iter().filter(is_used).map(|server| server.addr).collect();
    assert_eq!(used.len(), 3, "{source}, {algorithm}: {used:?}");
    assert!(!used.contains(&servers[0].addr), "{source}, {algorithm}");
}

/// Clients that come faster than a silence is noticed: those that are sent there meanwhile, and none afterwards.
#[test]
fn one_of_four_that_never_answers_costs_many_at_once_for_two_seconds_only() {
    let servers = servers(4, Conduct::Mute);
    let forwarder = Forwarder::start(&changes("round_robin", "dynamic"), &list(&servers));
    let (gap, patience) = (Duration::from_millis(50), Duration::from_secs(3));
    let got = ask_steadily(&forwarder, gap, Duration::from_secs(6), patience);
    let failed: Vec<_> = got
        .iter()
        .filter(|(_, one)| one.number.is_none())
        .map(|(at, _)| *at)
        .collect();
    assert!(!failed.is_empty(), "it was not met");
    // A second of silence, and an evaluation; a busy machine may take another one.
    let last = failed.iter().max();
    assert!(last < Some(&Duration::from_secs(3)), "{failed:?}");
}

#[test]
fn one_that_answers_late_is_not_among_the_best_where_answers_are_scored() {
    let servers = servers(4, Conduct::Slow);
    let mut changes = changes("round_robin", "dynamic");
    changes["remotes"]["selector"]["active_set_size"] = json!(3);
    changes["remotes"]["selector"]["switching"] = json!({ "debounce_interval": "1s" });
    changes["remotes"]["scoring"] = json!({ "latency": { "source": "first_byte" } });
    let forwarder = Forwarder::start(&changes, &list(&servers));
    // It may not be in the first set; then nobody hears of it, and that is as well.
    ask_often(&forwarder, 40, PATIENCE, Duration::from_millis(20));
    wait_for("it is out of the best three", || {
        let got = ask_often(&forwarder, 6, PATIENCE, Duration::ZERO);
        got.iter().all(|one| one.number != Some(0))
    });
}

/// One of three freezes, as a stopped process does.
fn freeze_one_of_three(algorithm: &str) {
    let servers = servers(3, Conduct::Answer);
    let forwarder = Forwarder::start(&changes(algorithm, "dynamic"), &list(&servers));
    let before = ask_often(&forwarder, 30, PATIENCE, Duration::from_millis(10));
    assert_eq!(failed(&before), 0);
    servers[0].freeze(true);
    let time = Duration::from_secs(5);
    let got = ask_steadily(
        &forwarder,
        Duration::from_millis(150),
        time,
        Duration::from_secs(2),
    );
    let failed: Vec<_> = got
        .iter()
        .filter(|(_, one)| one.number.is_none())
        .map(|(at, _)| *at)
        .collect();
    assert!(failed.len() <= 10, "{failed:?}");
    // Three of them are enough, once each has waited for a second; at random, those take a while to meet it.
    let enough = failed
        .get(2)
        .map_or(time, |third| *third + Duration::from_millis(2_500));
    assert!(
        failed.iter().all(|at| *at < enough),
        "none once it is out: {failed:?}"
    );
    servers[0].freeze(false);
}

#[test]
fn a_frozen_one_of_three_costs_few_clients_in_turn() {
    freeze_one_of_three("round_robin");
}

#[test]
fn a_frozen_one_of_three_costs_few_clients_by_load() {
    freeze_one_of_three("least_connections");
}

#[test]
fn a_frozen_one_of_three_costs_few_clients_at_random() {
    freeze_one_of_three("random");
}

#[test]
fn a_protocol_in_which_servers_end_without_a_word_is_nobodys_fault() {
    let servers: Vec<_> = (0..3)
        .map(|number| Server::start(number, Conduct::Wordless))
        .collect();
    let forwarder = Forwarder::start(&changes("round_robin", "dynamic"), &list(&servers));
    ask_often(&forwarder, 200, PATIENCE, Duration::ZERO);
    assert!(unserved(&forwarder) == 0.0, "{}", unserved(&forwarder));
    let switches = forwarder.metric("selector_switches_total");
    assert!(switches <= 1.0, "the first set stays: {switches}");
}

#[test]
fn clients_that_say_nothing_leave_or_finish_first_blame_nobody() {
    let conducts = [Conduct::Answer, Conduct::Slow, Conduct::Answer];
    let servers: Vec<_> = (0..)
        .zip(conducts)
        .map(|(number, conduct)| Server::start(number, conduct))
        .collect();
    for strategy in ["dynamic", "off"] {
        let forwarder = Forwarder::start(&changes("round_robin", strategy), &list(&servers));
        ask_often(&forwarder, 30, PATIENCE, Duration::ZERO);
        let whims = [
            Whim::SaysNothing,
            Whim::LeavesEarly,
            Whim::ResetsEarly,
            Whim::FinishesFirst,
            Whim::OnlyFinishes,
        ];
        for whim in whims {
            for _ in 0..12 {
                // What became of it is the client's own affair.
                let _ = follow(whim, forwarder.addr(), PATIENCE);
            }
            let log = forwarder.log();
            assert_eq!(unserved(&forwarder), 0.0, "{strategy}, {whim:?}: {log}");
        }
        let switches = forwarder.metric("selector_switches_total");
        assert!(switches <= 2.0, "{strategy}: the set stays: {switches}");
    }
}

#[test]
fn a_backend_is_not_blamed_for_clients_that_leave_or_finish_first() {
    for finish_at_once in [false, true] {
        let servers = servers(3, Conduct::Answer);
        let mut changes = changes("round_robin", "off");
        // A finished relay is looked at before it ends.
        changes["server"] = json!({ "half_close_timeout": "1500ms" });
        let forwarder = Forwarder::start(&changes, &list(&servers));
        let before = ask_often(&forwarder, 30, PATIENCE, Duration::from_millis(10));
        assert_eq!(failed(&before), 0);
        servers[0].behave(Conduct::Deaf);
        let leaving: Vec<_> = (0..30)
            .map(|_| leave_early(forwarder.addr(), finish_at_once))
            .collect();
        wait_for("the relays of those who finished end", || {
            forwarder.metric("active_connections") == 0.0
        });
        drop(leaving);
        assert!(unserved(&forwarder) == 0.0, "{}", unserved(&forwarder));
        let log = forwarder.log();
        assert!(!log.contains("accepts but does not serve clients"), "{log}");
    }
}
