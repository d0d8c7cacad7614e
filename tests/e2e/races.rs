//! Races: a second dial beside one that takes too long. Who serves, what becomes of the other dial, and what is counted.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tcp_forwarder::config::Strategy;
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::service::traffic::ErrorKind as Counted;

use crate::race_rig::{POOLS, Race, Slow, answer, expect_rest, for_each, in_use, races, spec};
use crate::rig::{Rig, TestBackend, own_ip, wait_for};
use crate::support::ping;

#[test]
fn the_first_to_connect_serves_and_the_other_one_is_the_pools() {
    let cases = POOLS
        .into_iter()
        .flat_map(|pools| [true, false].map(|wins| (pools.clone(), wins)));
    for_each(cases, |((strategy, warm), second_wins)| {
        let race = Race::over(&spec(strategy.clone()));
        let mut client = race.client();
        let rig = race.rig;
        let [first, second] = race.slow;
        let (winner, loser) = if second_wins {
            (second, first)
        } else {
            (first, second)
        };
        winner.answer(b'w');
        assert_eq!(answer(&mut client), b'w');
        assert_eq!(races(&rig), (u64::from(second_wins), u64::from(!second_wins)));
        assert_eq!(rig.in_use(), 1, "it uses one of them");
        loser.answer(b'l');
        drop(client);
        expect_rest(&rig, warm);
        assert_eq!(rig.requests(), 1, "the second dial is no request of its own");
    });
}

#[test]
fn a_warm_connection_wins_at_once() {
    let slow = Slow::start();
    let warm = TestBackend::named(b'w');
    let rig = Rig::start(
        &spec(Strategy::Static { size_per_remote: 1 }),
        &[slow.addr, warm.addr],
        1,
    );
    wait_for("one is warm", || rig.warm() == 1);
    let mut client = rig.connect();
    assert_eq!(answer(&mut client), b'w');
    assert_eq!(races(&rig), (1, 0));
    slow.answer(b's');
    drop(client);
    expect_rest(&rig, 2);
}

#[test]
fn a_client_that_resets_leaves_both_dials_to_the_pools() {
    for_each(POOLS, |(strategy, warm)| {
        let race = Race::over(&spec(strategy));
        let client = race.client();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let rig = race.rig;
        wait_for("it has gone", || rig.closed(CloseReason::ClientReset) == 1);
        assert_eq!((rig.in_use(), races(&rig)), (0, (0, 1)));
        race.slow.into_iter().for_each(|slow| slow.answer(b'x'));
        expect_rest(&rig, warm);
    });
}

#[test]
fn a_client_that_has_left_with_a_finish_is_served_by_the_winner_all_the_same() {
    for_each([false, true], |is_closed| {
        let race = Race::over(&spec(Strategy::Off));
        let mut client = race.client();
        client.write_all(b"?").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut client = Some(client).filter(|_| !is_closed);
        let rig = race.rig;
        let [first, second] = race.slow;
        second.answer(b'w');
        if let Some(client) = &mut client {
            let mut said = Vec::new();
            client.read_to_end(&mut said).unwrap();
            assert_eq!(said, b"w");
        }
        wait_for("the race is over", || races(&rig) == (1, 0));
        first.answer(b'l');
        expect_rest(&rig, 0);
        let ends = [CloseReason::Finished, CloseReason::ClientReset].map(|reason| rig.closed(reason));
        assert_eq!(ends.iter().sum::<u64>(), 1, "{ends:?}");
    });
}

#[test]
fn one_dial_that_fails_leaves_the_other_one() {
    for_each([true, false], |first_fails| {
        let race = Race::over(&spec(Strategy::Off));
        let mut client = race.client();
        let rig = race.rig;
        let [first, second] = race.slow;
        let (failing, other) = if first_fails {
            (first, second)
        } else {
            (second, first)
        };
        failing.refuse();
        wait_for("one has failed", || {
            rig.sum_counters(|one| &one.errors[Counted::Dial as usize]) == 1
        });
        assert_eq!(rig.in_use(), 1);
        other.answer(b'o');
        assert_eq!(answer(&mut client), b'o');
        assert_eq!(races(&rig), (u64::from(first_fails), u64::from(!first_fails)));
        drop(client);
        expect_rest(&rig, 0);
    });
}

#[test]
fn two_dials_that_fail_are_two_attempts() {
    for_each(
        [(3, false), (3, true), (2, false), (2, true)],
        |(attempts, second_first)| {
            let mut spec = spec(Strategy::Off);
            spec.pools.dial_attempts = attempts;
            let race = Race::with(&spec, &[TestBackend::named(b'g').addr]);
            let mut client = race.client();
            let rig = race.rig;
            let [first, second] = race.slow;
            let failing = if second_first {
                [second, first]
            } else {
                [first, second]
            };
            for (slow, failed) in failing.into_iter().zip(1..) {
                slow.refuse();
                wait_for("it has failed", || {
                    rig.sum_counters(|one| &one.errors[Counted::Dial as usize]) == failed
                });
            }
            if attempts == 2 {
                assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "none is left for it");
                wait_for("it is told", || rig.closed(CloseReason::DialFailed) == 1);
            } else {
                assert_eq!(answer(&mut client), b'g');
            }
            assert_eq!(races(&rig), (0, 1), "a second dial that failed has lost");
            drop(client);
            expect_rest(&rig, 0);
        },
    );
}

#[test]
fn two_dials_that_time_out_are_followed_by_a_third() {
    let mut spec = spec(Strategy::Off);
    spec.pools.dial_timeout = Duration::from_millis(400);
    let race = Race::with(&spec, &[TestBackend::named(b'g').addr]);
    let mut client = race.client();
    assert_eq!(answer(&mut client), b'g');
    let rig = race.rig;
    assert_eq!(
        rig.sum_counters(|one| &one.errors[Counted::DialTimeout as usize]),
        2
    );
    assert_eq!(races(&rig), (0, 1));
    drop(client);
    expect_rest(&rig, 0);
}

/// Whom a client has tried already is no rival for the next one.
#[test]
fn a_backend_that_has_failed_a_client_is_no_rival() {
    let refusing = SocketAddr::from((own_ip(), 9));
    let slow = Slow::start();
    let rig = Rig::start(&spec(Strategy::Off), &[refusing, slow.addr], 1);
    let mut client = rig.connect();
    wait_for("the second one is dialled", || in_use(&rig, 1) == 1);
    // Ten times the time after which a rival is looked for.
    crate::support::pause(Duration::from_millis(300));
    assert_eq!(
        (
            rig.sum_counters(|one| &one.errors[Counted::Dial as usize]),
            races(&rig)
        ),
        (1, (0, 0))
    );
    slow.answer(b's');
    assert_eq!(answer(&mut client), b's');
    drop(client);
    expect_rest(&rig, 0);
}

#[test]
fn second_dials_are_few_however_many_would_be_of_use() {
    const CLIENTS: u64 = 40;
    let slow = Slow::start();
    let good = TestBackend::echo();
    let mut spec = spec(Strategy::Off);
    spec.pools.dial_timeout = Duration::from_millis(200);
    let rig = Rig::start(&spec, &[slow.addr, good.addr], 1);
    for _ in 0..CLIENTS {
        ping(&mut rig.connect(), b"12345678");
    }
    let (won, lost) = races(&rig);
    let most = 1 + CLIENTS * 2 * 7 / 100;
    assert!(
        won >= 1 && won + lost <= most,
        "{won} and {lost}, {most} are allowed"
    );
    let timed_out = rig.sum_counters(|one| &one.errors[Counted::DialTimeout as usize]);
    wait_for("those who lost their dial were served by another", || {
        rig.closed(CloseReason::Finished) == CLIENTS
    });
    assert!(timed_out > 0);
    expect_rest(&rig, 0);
}
