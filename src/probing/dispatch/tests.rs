//! The step over all services, in virtual time, with answers that a test makes up.

mod asleep;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use super::*;
use crate::backend::{ActiveSet, Backend};
use crate::candidates::CandidateSet;
use crate::config::Spec;
use crate::scorer::link::Phase as LinkPhase;
use crate::scorer::sample::{Outcome, Report, Sample, Source};
use crate::selector::decide::Footing;
use crate::service::stage;

const SECOND: Duration = Duration::from_secs(1);
const RTT: Duration = Duration::from_millis(20);

struct Bench {
    hub: Arc<Hub>,
    dispatch: Dispatch,
    services: Vec<Arc<Service>>,
    /// When each began.
    under_way: Vec<(Instant, Probe)>,
    endings: Vec<Ending>,
    now: Instant,
    /// What was begun, and when.
    begun: Vec<(Instant, Probe)>,
    /// Turns that were no repetition at the same time.
    wakes: usize,
}

fn sweeping() -> Arc<Spec> {
    stage::spec(|_| {})
}

fn in_rounds() -> Arc<Spec> {
    stage::spec(|spec| spec.remotes.probing.initial.enabled = false)
}

fn list(text: &str) -> CandidateSet {
    CandidateSet::parse(text, 80).expect("a good list")
}

fn bench(max_in_flight: usize) -> Bench {
    let hub = stage::hub();
    let now = hub.started_at;
    Bench {
        dispatch: Dispatch::new(Arc::clone(&hub), max_in_flight, fastrand::Rng::with_seed(5)),
        hub,
        services: Vec::new(),
        under_way: Vec::new(),
        endings: Vec::new(),
        now,
        begun: Vec::new(),
        wakes: 0,
    }
}

impl Bench {
    fn open(&mut self, spec: &Arc<Spec>, text: &str) -> ServiceId {
        let name = format!("s{}", self.services.len());
        let service = stage::service_of(&self.hub, &name, list(text), Arc::clone(spec));
        let id = service.live.id;
        self.services.push(service);
        self.reload();
        id
    }

    fn reload(&mut self) {
        stage::publish(&self.hub, &self.services.iter().collect::<Vec<_>>());
    }

    /// One step; when the next one is.
    fn step(&mut self) -> Option<Instant> {
        if self.hub.bells.prober.answer() {
            self.dispatch.hear(self.now);
        }
        let mut begins = Vec::new();
        let next = self.dispatch.step(self.now, &mut self.endings, &mut begins);
        assert!(begins.len() <= STARTS_PER_TURN);
        for probe in begins {
            self.begun.push((self.now, probe));
            self.under_way.push((self.now, probe));
        }
        next
    }

    /// Has every probe answered after a round trip, until then.
    fn pass(&mut self, until: Instant) {
        loop {
            let next = self.step();
            let ends = self.under_way.iter().map(|(began_at, _)| *began_at + RTT).min();
            let Some(next) = next.into_iter().chain(ends).min().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            assert!(next >= self.now, "time does not run back");
            self.wakes += usize::from(next > self.now);
            self.now = next;
            let now = self.now;
            for (began_at, probe) in self.under_way.extract_if(.., |(at, _)| *at + RTT <= now) {
                self.endings.push(Ending::Ended(answer(&probe, began_at)));
            }
        }
    }

    fn reports(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        self.hub.samples.take(&mut reports);
        reports
    }

    fn counts(&self) -> HashMap<ServiceId, usize> {
        let mut counts = HashMap::new();
        for (_, probe) in &self.begun {
            *counts.entry(probe.candidate.service).or_insert(0) += 1;
        }
        counts
    }
}

fn answer(probe: &Probe, began_at: Instant) -> Sample {
    Sample {
        candidate: probe.candidate,
        outcome: Outcome::Success(RTT),
        heard: crate::scorer::Heard::NotAsked,
        source: Source::Probe,
        began_at,
        at: began_at + RTT,
    }
}

#[test]
fn the_end_of_initial_probing_is_told_after_its_samples() {
    let mut bench = bench(100);
    let swept = bench.open(&sweeping(), "10.0.0.0/27");
    let (quiet, empty) = (
        bench.open(&in_rounds(), "10.0.0.1"),
        bench.open(&sweeping(), "10.0.1.1"),
    );
    bench.pass(bench.now + SECOND);
    let reports = bench.reports();
    let place = |id| {
        let mut places = reports.iter().enumerate();
        let (place, _) = places
            .find(|(_, one)| **one == Report::Swept(id))
            .expect("it is told");
        assert!(!places.any(|(_, one)| *one == Report::Swept(id)), "once");
        place
    };
    assert_eq!(place(quiet), 0);
    for (id, count) in [(swept, 30), (empty, 1)] {
        let before = reports.iter().take(place(id));
        let of_it = before.filter(|one| matches!(one, Report::Sample(one) if one.candidate.service == id));
        assert_eq!(of_it.count(), count);
    }
}

#[test]
fn the_bound_holds_for_all_services_together_and_none_starves() {
    let mut bench = bench(40);
    let ids: Vec<_> = (0..20).map(|_| bench.open(&sweeping(), "10.0.0.0/22")).collect();
    let small = bench.open(&sweeping(), "10.0.0.1");
    let until = bench.now + SECOND;
    while bench.now < until {
        bench.pass(bench.now + RTT / 2);
        assert!(bench.under_way.len() <= 40);
        assert_eq!(
            bench.dispatch.in_flight(),
            bench.under_way.len() + bench.endings.len()
        );
    }
    let counts = bench.counts();
    let (fewest, most) = (
        ids.iter().map(|id| counts[id]).min().expect("twenty"),
        ids.iter().map(|id| counts[id]).max().expect("twenty"),
    );
    assert!(
        fewest >= 80 && most - fewest <= 2,
        "{fewest} to {most} of 2000 in a second"
    );
    assert!(
        bench.reports().contains(&Report::Swept(small)),
        "the small one did not wait for them"
    );
}

#[test]
fn what_is_due_in_rounds_is_begun_beside_the_sweeps_of_others() {
    let mut bench = bench(16);
    let steady = bench.open(&in_rounds(), "10.0.0.1");
    for _ in 0..10 {
        bench.open(&sweeping(), "10.0.0.0/20");
    }
    bench.pass(bench.now + 3 * SECOND * 15);
    let of_steady = bench
        .begun
        .iter()
        .filter(|(_, probe)| probe.candidate.service == steady);
    let mut late = of_steady.map(|(at, probe)| match probe.errand {
        Errand::Round { at: due } => *at - due,
        Errand::Sweep | Errand::Sentinel => panic!("{probe:?}"),
    });
    assert!(late.by_ref().take(3).all(|late| late <= RTT * 2));
}

#[test]
fn a_shortage_puts_off_pauses_and_counts_against_nobody() {
    let mut bench = bench(100);
    let id = bench.open(&sweeping(), "10.0.0.0/28");
    let gives_up_at = bench.now + SECOND * 10;
    assert_eq!(bench.step(), Some(gives_up_at), "all are in flight");
    let begun: Vec<_> = bench.under_way.drain(..).map(|(_, probe)| probe).collect();
    assert_eq!(begun.len(), 14);
    bench.endings = begun.iter().map(|probe| Ending::PutOff(*probe)).collect();
    bench.begun.clear();
    assert_eq!(bench.step(), Some(bench.now + EXHAUSTED_PAUSE));
    assert_eq!((bench.begun.len(), bench.dispatch.in_flight()), (0, 0));
    assert_eq!(bench.reports(), []);
    bench.pass(bench.now + SECOND);
    let mut first: Vec<_> = bench
        .begun
        .iter()
        .map(|(_, probe)| probe.candidate)
        .take(14)
        .collect();
    let mut before: Vec<_> = begun.iter().map(|probe| probe.candidate).collect();
    first.sort_unstable();
    before.sort_unstable();
    assert_eq!(first, before);
    assert!(bench.reports().contains(&Report::Swept(id)));
}

#[test]
fn a_shortage_that_lasts_ends_initial_probing_of_all() {
    let mut bench = bench(100);
    let ids: Vec<_> = (0..200).map(|_| bench.open(&sweeping(), "10.0.0.0/24")).collect();
    let until = bench.now + SECOND * 10;
    while bench.now < until {
        let next = bench.step().expect("it tries again");
        let begun = bench.under_way.drain(..);
        bench.endings = begun.map(|(_, probe)| Ending::PutOff(probe)).collect();
        if bench.endings.is_empty() {
            assert!(next > bench.now);
            bench.now = next;
        }
    }
    bench.step();
    let reports = bench.reports();
    assert!(ids.iter().all(|id| reports.contains(&Report::Swept(*id))));
    assert_eq!(reports.len(), ids.len(), "and that is all");
    let tries = bench.begun.len();
    assert!(tries <= 102 * STARTS_PER_TURN, "{tries} tries");
}

#[test]
fn services_come_go_and_change_and_others_keep_their_rounds() {
    let mut bench = bench(100);
    let keeps = bench.open(&in_rounds(), "10.0.0.0/28");
    let leaves = bench.open(&in_rounds(), "10.0.1.0/28");
    let changes = bench.open(&in_rounds(), "10.0.2.0/28");
    bench.pass(bench.now + SECOND * 20);
    let of = |bench: &Bench, id| -> Vec<(Instant, SocketAddr)> {
        let begun = bench.begun.iter();
        let of_it = begun.filter(|(_, probe)| probe.candidate.service == id);
        of_it.map(|(at, probe)| (*at, probe.candidate.addr)).collect()
    };
    let turn = bench.dispatch.services[&keeps].turn;
    // One of the leaver's is in flight.
    while !bench
        .under_way
        .iter()
        .any(|(_, probe)| probe.candidate.service == leaves)
    {
        bench.pass(bench.now + RTT);
    }
    let before = (of(&bench, leaves).len(), of(&bench, changes).len());
    bench.reports();
    let weak = Arc::downgrade(&bench.services.remove(1).live);
    let faster = stage::spec(|spec| {
        spec.remotes.probing.initial.enabled = false;
        spec.remotes.probing.interval = SECOND * 3;
    });
    bench.services[1] = Arc::new(bench.services[1].under(faster, bench.now));
    let kept = bench.dispatch.services[&keeps].turn;
    bench.reload();
    let comes = bench.open(&in_rounds(), "10.0.3.1");
    bench.step();
    assert!(turn.is_some() && bench.dispatch.services[&keeps].turn == kept);
    bench.pass(bench.now + SECOND * 60);
    assert_eq!(of(&bench, leaves).len(), before.0);
    let is_gone = |one: &Report| match one {
        Report::Sample(sample) => sample.candidate.service != leaves,
        Report::Unserved(_) => false,
        Report::Swept(_) | Report::Doubted(_) => true,
    };
    assert!(
        bench.reports().iter().all(is_gone),
        "what was in flight is dropped"
    );
    assert!(weak.upgrade().is_none(), "nothing holds a service that left");
    let faster = of(&bench, changes).len() - before.1;
    assert!((190..=210).contains(&faster), "{faster} in a minute");
    assert!(of(&bench, comes).len() >= 3);
    assert_eq!(bench.dispatch.queue.len(), 3);
}

#[test]
fn a_thousand_services_of_one_candidate_wake_no_more_often_than_one() {
    let wakes = |services: usize| {
        let mut bench = bench(4_000);
        for number in 0..services {
            bench.open(&in_rounds(), "10.0.0.1");
            // They did not come at the same time.
            bench.now = bench.hub.started_at + SECOND / 1_000 * u32::try_from(number).expect("small");
            bench.step();
        }
        bench.pass(bench.hub.started_at + SECOND * 60);
        let before = (bench.wakes, bench.begun.len());
        bench.pass(bench.hub.started_at + SECOND * 660);
        (bench.wakes - before.0, bench.begun.len() - before.1)
    };
    let (one, probes) = wakes(1);
    assert!((39..=41).contains(&probes), "{probes} in ten minutes");
    let (thousand, all) = wakes(1_000);
    assert_eq!((thousand, all), (one, probes * 1_000));
}

#[test]
fn probes_of_one_service_are_spread_though_all_have_the_same_places() {
    let mut bench = bench(4_000);
    let ids: Vec<_> = (0..50).map(|_| bench.open(&in_rounds(), "10.0.0.0/24")).collect();
    bench.pass(bench.now + Duration::from_nanos(14_999_999_999));
    for id in ids {
        let begun = bench.begun.iter();
        let times = begun.filter(|(_, probe)| probe.candidate.service == id);
        let times: Vec<_> = times.map(|(at, _)| *at - bench.hub.started_at).collect();
        assert_eq!(times.len(), 10);
        for (part, at) in (0..).zip(times) {
            let part = SECOND * 15 / 10 * part;
            assert!(at >= part && at <= part + SECOND * 15 / 10);
        }
    }
}

#[test]
fn a_doubt_asks_witnesses_of_all_services_and_rounds_pause_while_the_link_is_down() {
    let mut bench = bench(100);
    let ids: Vec<_> = (0..4).map(|_| bench.open(&in_rounds(), "10.0.0.0/29")).collect();
    bench.pass(bench.now + SECOND * 60);
    for report in bench.reports() {
        if let Report::Sample(sample) = report {
            let of = bench
                .services
                .iter()
                .find(|one| one.live.id == sample.candidate.service);
            let mut board = of.expect("open").live.board.write().expect("no panic");
            board.record(&sample);
        }
    }
    let view = |phase, since| {
        Arc::new(LinkView {
            phase,
            ..LinkView::unknown(since)
        })
    };
    bench.begun.clear();
    bench.hub.link.publish(view(LinkPhase::Suspect, bench.now));
    bench.pass(bench.now + SECOND);
    let sentinels = bench
        .begun
        .iter()
        .filter(|(_, probe)| probe.errand == Errand::Sentinel);
    let asked: BTreeSet<_> = sentinels.map(|(_, probe)| probe.candidate).collect();
    assert_eq!(asked.len(), 24, "six of each of four");
    bench.hub.link.publish(view(LinkPhase::Down, bench.now));
    bench.step();
    bench.begun.clear();
    // Who is asked and left meanwhile is not.
    bench.services.remove(0);
    bench.reload();
    bench.pass(bench.now + SECOND * 120);
    assert!(
        bench
            .begun
            .iter()
            .all(|(_, probe)| probe.errand == Errand::Sentinel && probe.candidate.service != ids[0])
    );
    let count = bench.begun.len();
    assert!(
        (30..=160).contains(&count),
        "{count} in two minutes, 240 are usual"
    );
    bench.hub.link.publish(view(LinkPhase::Settling, bench.now));
    bench.begun.clear();
    bench.pass(bench.now + SECOND * 15);
    let rounds = bench
        .begun
        .iter()
        .filter(|(_, probe)| probe.errand != Errand::Sentinel);
    // A round has six, give or take one for the place where another one begins.
    assert!(rounds.count() >= 3 * 5, "what is left of a round begins at once");
}

#[test]
fn another_way_to_the_network_is_a_sweep_that_begins_with_who_is_known() {
    let mut bench = bench(100);
    let id = bench.open(&sweeping(), "10.0.0.0/24");
    bench.pass(bench.now + SECOND * 60);
    let reports = bench.reports();
    let service = Arc::clone(&bench.services[0]);
    let swept = |reports: &[Report]| {
        reports
            .iter()
            .filter(|report| **report == Report::Swept(id))
            .count()
    };
    assert_eq!(swept(&reports), 1);
    let mut board = service.live.board.write().expect("no panic");
    for report in &reports {
        if let Report::Sample(sample) = report {
            board.record(sample);
        }
    }
    let known = board.touched().count();
    board.doubt();
    drop(board);
    bench.begun.clear();
    bench.hub.link.publish(Arc::new(LinkView {
        sweeps: 1,
        ..LinkView::unknown(bench.now)
    }));
    bench.pass(bench.now + SECOND * 5);
    assert_eq!(swept(&bench.reports()), 1, "it is told of again");
    let asked: BTreeSet<_> = bench
        .begun
        .iter()
        .map(|(_, probe)| probe.candidate.addr)
        .collect();
    assert!(known > 200 && asked.len() >= known, "{known} {}", asked.len());
}

#[test]
fn landmarks_are_beyond_this_machine() {
    let mut bench = bench(100);
    bench.open(&in_rounds(), "127.0.0.0/24\n[::1]:80");
    bench.step();
    assert_eq!(bench.dispatch.landmarks(), [None, None]);
    bench.open(&in_rounds(), "127.0.0.0/29\n192.0.2.0/24\n2001:db8::/64");
    bench.step();
    let landmarks = bench.dispatch.landmarks();
    assert!(
        landmarks[0].is_some_and(|one| one.addr.is_ipv4())
            && landmarks[1].is_some_and(|one| one.addr.is_ipv6())
    );
    assert_eq!(bench.dispatch.landmarks(), landmarks);
    // Another list has others, and a service that leaves has none.
    let live = Arc::clone(&bench.services[1].live);
    live.candidates
        .publish(Arc::new(CandidateSet::parse("198.51.100.1", 80).expect("a list")));
    bench.step();
    let addr = |one: Option<Candidate>| one.map(|one| one.addr.ip().to_string());
    assert_eq!(
        bench.dispatch.landmarks().map(addr),
        [Some("198.51.100.1".to_owned()), None]
    );
    bench.services.pop();
    stage::publish(&bench.hub, &bench.services.iter().collect::<Vec<_>>());
    bench.step();
    assert_eq!(bench.dispatch.landmarks(), [None, None]);
}

#[test]
fn a_probe_of_a_member_has_one_of_its_places_and_none_that_a_client_waits_for() {
    let mut bench = bench(100);
    let id = bench.open(&in_rounds(), "10.0.0.1\n10.0.0.2");
    let live = Arc::clone(&bench.services[0].live);
    let addr: SocketAddr = "10.0.0.1:80".parse().expect("an address");
    let probe = Probe {
        candidate: Candidate { service: id, addr },
        timeout: SECOND,
        errand: Errand::Round { at: bench.now },
        port: 0,
        asks: false,
    };
    let needs = |bench: &Bench, probe: &Probe| bench.dispatch.place(probe).map(|place| place.is_some());
    bench.step();
    assert_eq!(needs(&bench, &probe), Ok(false), "no member");
    let member = Arc::new(Backend::new(addr, bench.now, 1));
    let set = || ActiveSet::new(vec![Arc::clone(&member)], Footing::Good);
    live.active.publish(Arc::new(set()));
    assert_eq!(needs(&bench, &probe), Ok(false), "it takes as many as come");
    member.set_max_connections(NonZeroU32::new(1));
    live.active.publish(Arc::new(set()));
    let place = bench.dispatch.place(&probe).expect("free").expect("limited");
    assert_eq!(needs(&bench, &probe), Err(Full));
    assert_eq!(
        needs(&bench, &Probe { port: 81, ..probe }),
        Ok(false),
        "somebody else"
    );
    drop(place);
    assert_eq!(needs(&bench, &probe), Ok(true));
    live.traffic[0].queue_head.store(1, Ordering::SeqCst);
    assert_eq!(needs(&bench, &probe), Err(Full), "somebody waits");
    // Who is left out has its turn later, and whoever waits hears of a place that a probe gives back, and of no other probe.
    live.traffic[0].queue_head.store(0, Ordering::SeqCst);
    let place = bench.dispatch.place(&probe).expect("free").expect("limited");
    live.traffic[0].queue_head.store(1, Ordering::SeqCst);
    bench.hub.bells.reactors[0].answer();
    assert!(!bench.hub.bells.reactors[0].answer());
    bench.pass(bench.now + SECOND * 60);
    assert!(!bench.hub.bells.reactors[0].answer());
    drop(place);
    assert!(bench.hub.bells.reactors[0].answer());
}

#[test]
fn landmarks_are_looked_at_from_where_their_service_leaves() {
    let mut bench = bench(100);
    let bind = |addresses: Vec<std::net::IpAddr>, interface: Option<&str>| {
        stage::spec(|spec| {
            spec.remotes.bind.addresses = addresses;
            spec.remotes.bind.interface = interface.map(str::to_owned);
        })
    };
    let fixed = bench.open(&bind(vec![[10, 0, 0, 1].into()], None), "192.0.2.0/24");
    bench.step();
    let whose = |bench: &mut Bench| bench.dispatch.landmarks()[0].map(|one| one.service);
    assert_eq!(whose(&mut bench), Some(fixed), "for want of a better one");
    let other = bench.open(&bind(Vec::new(), Some("wan0")), "198.51.100.0/24");
    bench.step();
    assert_eq!(whose(&mut bench), Some(other), "its address may change");
    let landmark = bench.dispatch.landmarks()[0].expect("one");
    let bind = bench.dispatch.bind(&landmark).expect("served");
    assert_eq!(bind.interface.as_deref(), Some("wan0"));
}

/// Another node of the vantage says that its link is down: a member is looked at, and nothing else follows; nor is anybody's word
/// asked about a link that is up.
#[test]
fn the_word_of_another_node_about_its_link_is_a_look_and_no_more() {
    let mut bench = bench(100);
    bench.open(&in_rounds(), "10.0.0.1:80\n10.0.0.2:80\n10.0.0.3:80");
    let member = SocketAddr::from(([10, 0, 0, 2], 80));
    stage::activate_addrs(&bench.services[0], &[member]);
    bench.pass(bench.now + SECOND * 20);
    let say = |bench: &Bench, is_down: bool| {
        let node = crate::service::fleet::Node {
            id: 2,
            name: "b".to_owned(),
            vantage: "home".to_owned(),
            services: Vec::new(),
            is_down,
        };
        bench.hub.fleet.view.publish(Arc::new(FleetView {
            me: 1,
            vantage: "home".to_owned(),
            others: vec![node],
            ..FleetView::default()
        }));
    };
    say(&bench, false);
    bench.step();
    bench.begun.clear();
    let looked = |bench: &mut Bench| {
        bench.step();
        let now = bench.now;
        let begun = bench.begun.drain(..);
        begun
            .filter(|(at, _)| *at == now)
            .map(|(_, probe)| probe.candidate.addr)
            .collect::<Vec<_>>()
    };
    say(&bench, true);
    assert_eq!(looked(&mut bench), [member]);
    say(&bench, true);
    assert!(looked(&mut bench).is_empty(), "it was looked at");
    assert_eq!(bench.dispatch.link(), LinkPhase::Up, "nobody is believed");

    // Down here, too: the pause grows, until somebody else is back.
    let down = LinkView {
        phase: LinkPhase::Down,
        ..LinkView::unknown(bench.now)
    };
    bench.hub.link.publish(Arc::new(down));
    bench.pass(bench.now + SECOND * 60);
    bench.under_way.clear();
    let next = bench.step().expect("a pause");
    assert!(next > bench.now + SECOND / 10, "there is nothing to do now");
    bench.begun.clear();
    say(&bench, false);
    assert!(!looked(&mut bench).is_empty(), "it looks at once");
}

/// What others have said before the service was in the directory is taken in when it is.
#[test]
fn a_sweep_begins_with_what_others_knew_before() {
    let mut bench = bench(1);
    let member: SocketAddr = "10.0.0.77:80".parse().expect("an address");
    let service = stage::service_of(&bench.hub, "s0", list("10.0.0.0/24"), sweeping());
    service.live.outset.publish(Arc::new(ServiceState {
        active: vec![member],
        ..ServiceState::default()
    }));
    // Nobody has it in the agenda yet.
    bench.step();
    bench.services.push(service);
    bench.reload();
    bench.pass(bench.now + SECOND);
    let first = bench.begun.first().map(|(_, probe)| probe.candidate.addr);
    assert_eq!(first, Some(member));
}
