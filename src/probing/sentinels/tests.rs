//! Whom the sentinels ask, and how much that costs.

use super::*;
use crate::base::clock;
use crate::config::Scoring;
use crate::scorer::board::ScoreBoard;
use crate::scorer::link::{LinkWatch, News};
use crate::scorer::sample::{Outcome, Sample, Source};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::LazyLock;

const SECOND: Duration = Duration::from_secs(1);

static SERVICE: LazyLock<ServiceId> = LazyLock::new(ServiceId::fresh);

fn addr(host: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 80))
}

fn one(host: u16) -> Candidate {
    Candidate {
        service: *SERVICE,
        addr: addr(host),
    }
}

fn sentinels(config: &Probing) -> Sentinels {
    Sentinels::new(Manners::of(std::iter::once(config)))
}

/// Candidates of which every second one answers; the later the number, the later its last sample.
fn known(count: u16, start: Instant) -> Vec<Touched> {
    let touched = |host| Touched {
        addr: addr(host),
        last_sample_at: start + SECOND * u32::from(host),
        score: 50.0,
        answers: host % 2 == 0,
        latency: None,
        successes: 3,
        is_fresh: true,
    };
    (0..count).map(touched).collect()
}

fn view(phase: Phase, since: Instant, failed: &[Candidate]) -> LinkView {
    LinkView {
        phase,
        since,
        failed: failed.to_vec(),
        answered: None,
        recoveries: 0,
        outages: 0,
        sweeps: 0,
    }
}

/// Plans by these boards.
fn plan(
    sentinels: &mut Sentinels,
    now: Instant,
    boards: &[(ServiceId, &[Touched])],
    rng: &mut fastrand::Rng,
) {
    let mut census = sentinels.census();
    for service in census.route(boards.iter().map(|(service, _)| *service)) {
        if census.wants_more() {
            let known = boards.iter().filter(|(of, _)| *of == service);
            let known = known.flat_map(|(_, known)| known.iter().copied());
            census.look_at(service, known, rng);
        }
    }
    let others = Others {
        member: rng.choice([one(0), one(2)]),
        stranger: Some(one(9_999)),
    };
    sentinels.plan(now, census, &others, rng);
}

/// Plans whatever is due by `now`, and takes what begins by then.
fn begin(
    sentinels: &mut Sentinels,
    now: Instant,
    known: &[Touched],
    rng: &mut fastrand::Rng,
) -> Vec<SocketAddr> {
    if sentinels.is_due(now) {
        plan(sentinels, now, &[(*SERVICE, known)], rng);
    }
    let begun = std::iter::from_fn(|| sentinels.begin(now));
    begun.map(|candidate| candidate.addr).collect()
}

#[test]
fn a_doubt_asks_the_latest_witness_first_and_few_before_an_answer_can_come() {
    let mut rng = fastrand::Rng::with_seed(1);
    let now = clock::now();
    let known = known(400, now);
    let mut sentinels = sentinels(&Probing::default());
    sentinels.adopt(&view(Phase::Suspect, now, &[one(398)]), now);
    assert_eq!(sentinels.next_at(), Some(now + GRACE));
    assert_eq!(begin(&mut sentinels, now, &known, &mut rng), []);
    let asked_at = now + GRACE;
    assert_eq!(begin(&mut sentinels, asked_at, &known, &mut rng), [addr(396)]);
    let soon = begin(&mut sentinels, asked_at + SECOND / 20, &known, &mut rng);
    assert!(soon.len() <= 1, "{soon:?} before an answer from 50 ms away");
    let all = begin(&mut sentinels, asked_at + SECOND / 2, &known, &mut rng);
    let mut asked: HashSet<_> = all.into_iter().chain(soon).collect();
    asked.insert(addr(396));
    assert_eq!(asked.len(), WITNESSES);
    let is_witness = |asked: &SocketAddr| known.iter().any(|known| known.addr == *asked && known.answers);
    assert!(asked.iter().all(is_witness));
    assert!(!asked.contains(&addr(398)), "who failed already is asked last");
    sentinels.adopt(&view(Phase::Up, now, &[]), now);
    assert_eq!(sentinels.next_at(), None);
}

#[test]
fn few_witnesses_are_asked_several_times() {
    let mut rng = fastrand::Rng::with_seed(2);
    let now = clock::now();
    let mut sentinels = sentinels(&Probing::default());
    sentinels.adopt(&view(Phase::Suspect, now, &[one(0)]), now);
    let known = known(3, now);
    let mut asked = Vec::new();
    for step in 0..100 {
        let at = now + GRACE + SECOND * step / 100;
        asked.extend(begin(&mut sentinels, at, &known, &mut rng));
    }
    assert_eq!(asked, [addr(2), addr(0)].repeat(FAILURES / 2));
}

#[test]
fn while_it_is_down_everybody_has_a_turn_at_half_the_usual_rate() {
    let mut rng = fastrand::Rng::with_seed(3);
    let start = clock::now();
    let config = Probing::default();
    let known = known(100, start);
    let mut sentinels = sentinels(&config);
    sentinels.adopt(&view(Phase::Down, start, &[]), start);
    let (mut probes, mut asked) = (0, HashSet::new());
    let mut longest = Duration::ZERO;
    let mut last = start;
    for second in 1..=1_500 {
        let now = start + SECOND * second;
        let begun = begin(&mut sentinels, now, &known, &mut rng);
        if !begun.is_empty() {
            longest = longest.max(now - last);
            last = now;
            assert!(begun.contains(&addr(9_999)), "somebody who was never asked");
            assert!(begun.contains(&addr(0)) || begun.contains(&addr(2)), "a member");
        }
        probes += begun.len();
        asked.extend(begun);
    }
    assert_eq!(asked.len(), 101);
    assert!(longest <= config.interval, "{longest:?}");
    let usual = 1_500 / 15 * config.probe_candidate_count;
    assert!(probes * 3 <= usual * 2, "{probes} instead of {usual}");
}

#[test]
fn when_it_is_back_those_that_failed_are_asked_between_two_that_answer() {
    let mut rng = fastrand::Rng::with_seed(4);
    let now = clock::now();
    let known = known(11, now);
    let mut sentinels = sentinels(&Probing::default());
    let settling = LinkView {
        answered: Some(one(7)),
        ..view(Phase::Settling, now, &[one(10), one(7), one(4)])
    };
    sentinels.adopt(&settling, now);
    let begun = begin(&mut sentinels, now, &known, &mut rng);
    assert_eq!(begun, [addr(7), addr(10), addr(4), addr(7)]);
    assert_eq!(sentinels.next_at(), None);
}

/// Five that answered die for good; one that was known to be dead comes back.
#[test]
fn one_that_returns_while_all_others_die_is_found_and_the_dead_pay() {
    let config = Probing::default();
    let mut rng = fastrand::Rng::with_seed(5);
    let (start, returned) = (clock::now(), addr(5));
    let mut watch = LinkWatch::new(config.timeout);
    let mut board = ScoreBoard::new(Scoring::default());
    let mut sentinels = sentinels(&config);
    let mut told = (Phase::Up, 0);
    let (mut under_way, mut clear) = (Vec::<(Instant, SocketAddr)>::new(), Vec::new());
    let sample = |addr, outcome, began_at, at| Sample {
        candidate: Candidate {
            service: *SERVICE,
            addr,
        },
        outcome,
        heard: crate::scorer::Heard::NotAsked,
        source: Source::Probe,
        began_at,
        at,
    };
    let rtt = Duration::from_millis(20);
    (0..5).for_each(|host| board.record(&sample(addr(host), Outcome::Success(rtt), start, start)));
    board.record(&sample(returned, Outcome::Failure, start, start));
    let mut outages = 0;
    for step in 1..3_000_u32 {
        let now = start + rtt * step;
        watch.on_time(now, &board, &mut clear);
        clear.drain(..).for_each(|sample| board.record(&sample));
        // A client dials a member of the active set; it hangs.
        if step % 10 == 0 {
            under_way.push((now, addr(u16::from(step % 30 == 0))));
        }
        let known: Vec<Touched> = board.touched().collect();
        under_way.extend(
            begin(&mut sentinels, now, &known, &mut rng)
                .into_iter()
                .map(|addr| (now, addr)),
        );
        let (answers, silent): (Vec<_>, Vec<_>) =
            under_way.drain(..).partition(|(_, addr)| *addr == returned);
        let (failed, waiting): (Vec<_>, Vec<_>) = silent
            .into_iter()
            .partition(|(began_at, _)| *began_at + config.timeout <= now);
        under_way.extend(waiting);
        let answers = answers.into_iter().map(|one| (one, Outcome::Success(rtt)));
        for ((began_at, addr), outcome) in
            answers.chain(failed.into_iter().map(|one| (one, Outcome::Failure)))
        {
            let at = if outcome.is_answer() { began_at + rtt } else { now };
            watch.observe(&sample(addr, outcome, began_at, at), &board, &mut clear);
            clear.drain(..).for_each(|sample| board.record(&sample));
        }
        outages += watch
            .take_news()
            .iter()
            .filter(|news| matches!(news, News::Down { .. }))
            .count();
        if told != (watch.phase(), watch.recoveries()) {
            told = (watch.phase(), watch.recoveries());
            sentinels.adopt(&watch.view(now), now);
        }
    }
    assert_eq!((watch.phase(), outages), (Phase::Up, 1));
    assert!(board.answers(&returned));
    assert!((0..5).all(|host| !board.answers(&addr(host))), "each has paid");
}

const MANY: u16 = 50;

/// Services of which each knows as many candidates as it has in this list.
fn boards(counts: impl IntoIterator<Item = u16>, start: Instant) -> Vec<(ServiceId, Vec<Touched>)> {
    let board = |count| (ServiceId::fresh(), known(count, start));
    counts.into_iter().map(board).collect()
}

fn views(boards: &[(ServiceId, Vec<Touched>)]) -> Vec<(ServiceId, &[Touched])> {
    boards
        .iter()
        .map(|(service, known)| (*service, known.as_slice()))
        .collect()
}

#[test]
fn witnesses_of_all_services_are_asked_alike() {
    let mut rng = fastrand::Rng::with_seed(6);
    let now = clock::now();
    let boards = boards(std::iter::repeat_n(2_000, usize::from(MANY)), now);
    let (first, known) = &boards[0];
    let failed = Candidate {
        service: *first,
        addr: known[0].addr,
    };
    let mut sentinels = sentinels(&Probing::default());
    let mut asked: HashSet<Candidate> = HashSet::new();
    for _ in 0..100 {
        sentinels.adopt(&view(Phase::Suspect, now, &[failed]), now);
        plan(&mut sentinels, now + GRACE, &views(&boards), &mut rng);
        let begun: Vec<_> = std::iter::from_fn(|| sentinels.begin(now + SECOND * 2)).collect();
        let distinct: HashSet<_> = begun.iter().copied().collect();
        assert_eq!((begun.len(), distinct.len()), (WITNESSES, WITNESSES));
        assert_eq!(begun[0].addr, addr(1_998), "one of those that answered last");
        asked.extend(begun);
    }
    assert!(
        !asked.contains(&failed),
        "the same address elsewhere did not fail"
    );
    for (service, _) in &boards {
        let of_one = asked.iter().filter(|one| one.service == *service).count();
        assert!((80..180).contains(&of_one), "{of_one} of 6400 in 50 services");
    }
}

#[test]
fn everybody_on_all_boards_has_a_turn_while_it_is_down() {
    let mut rng = fastrand::Rng::with_seed(7);
    let start = clock::now();
    let boards = boards([700, 1, 900, 3, 0, 40, 2_000, 7], start);
    let mut sentinels = sentinels(&Probing::default());
    sentinels.adopt(&view(Phase::Down, start, &[]), start);
    let total: usize = boards.iter().map(|(_, known)| known.len()).sum();
    let (mut asked, mut waves, mut now) = (HashSet::new(), 0, start);
    while asked.len() < total {
        // One of three in a wave: the others are a member and a stranger.
        waves += 1;
        assert!(
            waves <= total * 2,
            "{} of {total} after {waves} waves",
            asked.len()
        );
        now = sentinels.next_at().expect("it is down");
        plan(&mut sentinels, now, &views(&boards), &mut rng);
        assert!(
            sentinels.turns.len() <= TURNS + 2_000 + WAVE.1,
            "what is kept is bounded"
        );
        asked.extend(std::iter::from_fn(|| sentinels.begin(now)).filter(|one| one.service != *SERVICE));
    }
    // One of three of a wave: the others are a member and a stranger.
    assert!(
        waves <= total + 1,
        "{waves} waves for {total}: nobody twice before everybody once"
    );
    assert!(now - start <= SECOND * 8 * u32::try_from(total).expect("small"));
}

#[test]
fn manners_are_those_of_whoever_is_probed_most_often() {
    let of = |count, interval, timeout| Probing {
        probe_candidate_count: count,
        interval: SECOND * interval,
        timeout: SECOND * timeout,
        ..Probing::default()
    };
    let rare = of(1_000, 3_600, 9);
    let often = of(40, 20, 1);
    let manners = Manners::of([&rare, &often].into_iter());
    assert_eq!((manners.wave, manners.longest_pause), (10, SECOND * 10));
    assert_eq!(manners.timeout, SECOND * 9);
    assert!(Manners::of(std::iter::empty()).longest_pause > Duration::ZERO);
}
