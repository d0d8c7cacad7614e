//! Services that sleep.

use super::*;
use crate::service::Slumber;
use crate::service::stage::activate_addrs;

const LOOK: Duration = Duration::from_secs(600);
const LIST: &str = "10.0.0.0/27";

fn fall_asleep(service: &Service, now: Instant) {
    let slumber = Slumber::Asleep { last_at: now };
    service.live.slumber.publish(Arc::new(slumber));
}

fn wake(service: &Service, now: Instant) {
    let slumber = Slumber::Awake { woken_at: Some(now) };
    service.live.slumber.publish(Arc::new(slumber));
}

fn hear_link(bench: &Bench, phase: LinkPhase) {
    let view = LinkView {
        phase,
        ..LinkView::unknown(bench.now)
    };
    bench.hub.link.publish(Arc::new(view));
}

/// A service that was swept and has a set of three.
fn served(bench: &mut Bench, spec: &Arc<Spec>) -> Arc<Service> {
    bench.open(spec, LIST);
    let service = Arc::clone(bench.services.last().expect("just opened"));
    let members = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
    activate_addrs(&service, &members.map(|addr| addr.parse().expect("an address")));
    service
}

fn record(bench: &Bench, service: &Service) {
    let mut board = service.live.board.write().expect("not poisoned");
    for report in bench.reports() {
        if let Report::Sample(sample) = report {
            board.record(&sample);
        }
    }
}

#[test]
fn while_all_sleep_there_is_nothing_but_one_look_an_interval() {
    let mut bench = bench(100);
    let all = [sweeping(), in_rounds(), sweeping()].map(|spec| served(&mut bench, &spec));
    bench.pass(bench.now + 20 * SECOND);
    for service in &all {
        fall_asleep(service, bench.now);
    }
    // What is in flight may end.
    bench.pass(bench.now + SECOND);
    bench.begun.clear();
    bench.wakes = 0;
    let hours = 10;
    bench.pass(bench.now + Duration::from_secs(3600 * hours));
    for service in &all {
        let looks: Vec<_> = bench
            .begun
            .iter()
            .filter(|(_, probe)| probe.candidate.service == service.live.id)
            .collect();
        assert_eq!(
            looks.len() as u64,
            3 * 6 * hours,
            "three members, six times an hour"
        );
        for look in looks.chunks(3) {
            assert!(look.iter().all(|(at, probe)| *at == look[0].0 && probe.asks));
            assert!(service.live.active.load().contains(&look[0].1.candidate.addr));
        }
    }
    assert!(
        bench.wakes as u64 <= 2 * 6 * hours,
        "{} wake-ups, one for the looks of all and one for their ends",
        bench.wakes
    );
}

#[test]
fn who_wakes_sweeps_and_begins_with_those_it_knows() {
    let mut bench = bench(100);
    let service = served(&mut bench, &sweeping());
    bench.pass(bench.now + SECOND);
    record(&bench, &service);
    fall_asleep(&service, bench.now);
    bench.pass(bench.now + LOOK / 2);
    bench.begun.clear();
    wake(&service, bench.now);
    let woken_at = bench.now;
    bench.pass(bench.now + SECOND);
    let swept: Vec<_> = bench
        .begun
        .iter()
        .filter(|(_, probe)| probe.errand == Errand::Sweep)
        .collect();
    assert_eq!(swept.len(), 30, "all that are known: the list is small");
    assert!(swept.iter().all(|(at, _)| *at < woken_at + SECOND / 4));
    let active = service.live.active.load();
    assert!(
        swept[..3]
            .iter()
            .all(|(_, probe)| active.contains(&probe.candidate.addr))
    );
    assert!(bench.reports().contains(&Report::Swept(service.live.id)));
    bench.begun.clear();
    bench.pass(bench.now + 150 * SECOND);
    assert!(bench.begun.len() >= 90, "rounds go on: {}", bench.begun.len());
}

#[test]
fn without_initial_probing_a_round_begins_at_once() {
    let mut bench = bench(100);
    let service = served(&mut bench, &in_rounds());
    bench.pass(bench.now + 60 * SECOND);
    record(&bench, &service);
    fall_asleep(&service, bench.now);
    bench.pass(bench.now + LOOK / 2);
    bench.begun.clear();
    wake(&service, bench.now);
    bench.step();
    let count = service.spec.remotes.probing.probe_candidate_count;
    assert_eq!(bench.begun.len(), count);
    let active = service.live.active.load();
    assert!(
        bench.begun[..3]
            .iter()
            .all(|(_, probe)| active.contains(&probe.candidate.addr))
    );
    let asked: std::collections::HashSet<_> = bench.begun.iter().map(|(_, probe)| probe.to()).collect();
    assert_eq!(asked.len(), count, "nobody twice");
}

#[test]
fn a_sweep_ends_with_the_sleep_and_a_changed_list_begins_none() {
    let mut bench = bench(4);
    let service = served(&mut bench, &sweeping());
    bench.pass(bench.now + RTT);
    fall_asleep(&service, bench.now);
    bench.pass(bench.now + SECOND);
    bench.begun.clear();
    service.live.candidates.publish(Arc::new(list("10.0.0.0/24")));
    bench.pass(bench.now + 60 * SECOND);
    assert_eq!(bench.begun.len(), 0);
    assert_eq!(bench.dispatch.in_flight(), 0);
}

#[test]
fn another_interval_counts_at_once() {
    let mut bench = bench(100);
    let service = served(&mut bench, &in_rounds());
    fall_asleep(&service, bench.now);
    bench.pass(bench.now + SECOND);
    let spec = stage::spec(|spec| {
        spec.remotes.probing.initial.enabled = false;
        spec.sleep.interval = 5 * SECOND;
    });
    bench.services = vec![Arc::new(service.under(spec, bench.now))];
    bench.reload();
    bench.begun.clear();
    bench.pass(bench.now + 60 * SECOND);
    assert_eq!(bench.begun.len(), 3 * 12);
}

#[test]
fn while_all_sleep_nobody_asks_whether_a_link_that_is_down_is_back_but_the_looks() {
    let mut bench = bench(100);
    let all = [in_rounds(), in_rounds()].map(|spec| served(&mut bench, &spec));
    bench.pass(bench.now + 20 * SECOND);
    for service in &all {
        fall_asleep(service, bench.now);
    }
    hear_link(&bench, LinkPhase::Down);
    bench.pass(bench.now + SECOND);
    bench.begun.clear();
    bench.pass(bench.now + 2 * LOOK);
    assert_eq!(bench.begun.len(), 2 * 2 * 3);
    // Whoever is awake wants to know.
    wake(&all[0], bench.now);
    bench.begun.clear();
    bench.pass(bench.now + 60 * SECOND);
    let is_sentinel = |(_, probe): &&(Instant, Probe)| probe.errand == Errand::Sentinel;
    assert!(bench.begun.iter().filter(is_sentinel).count() > 5);
}
