//! Races that are under way when a spec, a service, a backend or the process retires.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tcp_forwarder::config::Strategy;
use tcp_forwarder::relay::close::CloseReason;

use crate::race_rig::{Race, Slow, answer, expect_rest, for_each, races, spec};
use crate::rig::{PATIENCE, TestBackend, member, publish_set, wait_for};

#[test]
fn a_race_goes_on_under_another_spec_and_without_its_service() {
    let cases = [(false, true), (false, false), (true, true), (true, false)];
    for_each(cases, |(leaves, second_wins)| {
        let mut spec = spec(Strategy::Off);
        let race = Race::over(&spec);
        let mut client = race.client();
        let rig = race.rig;
        if leaves {
            rig.publish(&[], &[]);
        } else {
            spec.server.idle_timeout = Duration::from_secs(500);
            spec.pools.race.width = 1;
            rig.succeed(&Arc::new(rig.service.under(Arc::new(spec), Instant::now())));
        }
        let set = rig.set();
        let [first, second] = race.slow;
        let (winner, loser) = if second_wins {
            (second, first)
        } else {
            (first, second)
        };
        winner.answer(b'w');
        assert_eq!(answer(&mut client), b'w');
        loser.answer(b'l');
        assert_eq!(races(&rig), (u64::from(second_wins), u64::from(!second_wins)));
        drop(client);
        wait_for("nothing is left of it", || {
            let is_forgotten = Arc::strong_count(&rig.service) == 1;
            rig.clients() == 0 && rig.upstreams() == 0 && is_forgotten
        });
        let holders = if leaves { 1 } else { 2 };
        wait_for("nor of its backends", || {
            set.backends.iter().all(|one| Arc::strong_count(one) <= holders)
        });
    });
}

#[test]
fn a_client_that_resets_after_its_service_has_left_leaves_nothing() {
    let race = Race::over(&spec(Strategy::Off));
    let client = race.client();
    let rig = race.rig;
    rig.publish(&[], &[]);
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_for("it has gone", || rig.closed(CloseReason::ClientReset) == 1);
    race.slow.into_iter().for_each(Slow::refuse);
    wait_for("nothing is left of it", || {
        rig.upstreams() == 0 && Arc::strong_count(&rig.service) == 1
    });
}

#[test]
fn backends_that_leave_the_set_during_a_race_serve_who_waits_for_them() {
    for_each([[true, false], [false, true], [true, true]], |left| {
        let race = Race::over(&spec(Strategy::Off));
        let mut client = race.client();
        let rig = race.rig;
        let set = rig.set();
        let other = TestBackend::named(b'o').addr;
        let stay = set.backends.iter().zip(left).filter(|(_, left)| !left);
        let mut members: Vec<_> = stay.map(|(one, _)| Arc::clone(one)).collect();
        members.push(member(&rig.service, other));
        publish_set(&rig.service, members);
        let [first, second] = race.slow;
        second.answer(b'w');
        assert_eq!(answer(&mut client), b'w');
        first.answer(b'l');
        drop(client);
        expect_rest(&rig, 0);
        wait_for("who has left is forgotten", || {
            set.backends
                .iter()
                .zip(left)
                .all(|(one, left)| !left || Arc::strong_count(one) == 1)
        });
    });
}

/// `reset_on_removal` holds for who only waits for a backend, too: it is waited for no longer.
#[test]
fn a_backend_that_is_removed_for_good_loses_its_race() {
    for_each([true, false], |first_leaves| {
        let mut spec = spec(Strategy::Off);
        spec.pools.reset_on_removal = true;
        spec.pools.drain_timeout = Duration::from_millis(200);
        let race = Race::over(&spec);
        let mut client = race.client();
        let rig = race.rig;
        let set = rig.set();
        let (stays, leaves) = if first_leaves { (1, 0) } else { (0, 1) };
        publish_set(&rig.service, vec![Arc::clone(&set.backends[stays])]);
        let share = &set.backends[leaves].shares[0];
        wait_for("its time is over", || share.in_use.load(Ordering::Relaxed) == 0);
        let mut slow = race.slow.map(Some);
        slow[leaves].take().unwrap().answer(b'l');
        wait_for("its connection is nobody's", || rig.upstreams() == 1);
        slow[stays].take().unwrap().answer(b's');
        assert_eq!(answer(&mut client), b's');
        assert_eq!(races(&rig), (u64::from(first_leaves), u64::from(!first_leaves)));
        drop(client);
        expect_rest(&rig, 0);
        assert_eq!(rig.closed(CloseReason::BackendRemoved), 0);
    });
}

#[test]
fn a_stop_waits_for_a_race_as_long_as_for_a_relay() {
    let mut spec = spec(Strategy::Off);
    spec.pools.drain_timeout = Duration::from_millis(300);
    let race = Race::over(&spec);
    let mut client = race.client();
    let began = Instant::now();
    race.rig.begin_stop();
    let error = client.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= Duration::from_millis(300), "it had its time");
    assert_eq!(races(&race.rig), (0, 1));
    let farewell = race.rig.stop();
    assert_eq!((farewell.finished, farewell.cut), (0, 1));
}

#[test]
fn a_race_that_is_won_during_a_stop_serves() {
    let mut spec = spec(Strategy::Static { size_per_remote: 1 });
    spec.pools.drain_timeout = PATIENCE;
    let race = Race::over(&spec);
    let mut client = race.client();
    race.rig.begin_stop();
    let [first, second] = race.slow;
    second.answer(b'w');
    assert_eq!(answer(&mut client), b'w');
    first.answer(b'l');
    assert_eq!(races(&race.rig), (1, 0));
    drop(client);
    let farewell = race.rig.stop();
    assert_eq!((farewell.finished, farewell.cut), (1, 0));
}
