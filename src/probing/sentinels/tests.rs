//! Whom the sentinels ask, and how much that costs.

use super::*;
use crate::base::clock;
use crate::config::Scoring;
use crate::scorer::link::{LinkWatch, News};
use crate::scorer::{Outcome, Sample, ScoreBoard, Source};
use std::collections::HashSet;

const SECOND: Duration = Duration::from_secs(1);

fn addr(host: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 80))
}

/// Candidates of which every second one answers; the later the number, the later its last sample.
fn known(count: u16, start: Instant) -> Vec<Touched> {
    let one = |host| Touched {
        addr: addr(host),
        last_sample_at: start + SECOND * u32::from(host),
        score: 50.0,
        answers: host % 2 == 0,
    };
    (0..count).map(one).collect()
}

fn view(phase: Phase, since: Instant, failed: &[SocketAddr]) -> LinkView {
    LinkView {
        phase,
        since,
        failed: failed.to_vec(),
        answered: None,
        recoveries: 0,
    }
}

/// Plans whatever is due by `now`, and takes what begins by then.
fn begin(
    sentinels: &mut Sentinels,
    now: Instant,
    known: &[Touched],
    rng: &mut fastrand::Rng,
) -> Vec<SocketAddr> {
    if sentinels.is_due(now) {
        let others = Others {
            active: &[addr(0), addr(2)],
            stranger: Some(addr(9_999)),
        };
        sentinels.plan(now, known.iter().copied(), &others, rng);
    }
    let mut begun = Vec::new();
    while let Some(next) = sentinels.front().filter(|next| next.at <= now) {
        begun.push(next.addr);
        sentinels.begun();
    }
    begun
}

#[test]
fn a_doubt_asks_the_latest_witness_first_and_few_before_an_answer_can_come() {
    let mut rng = fastrand::Rng::with_seed(1);
    let now = clock::now();
    let known = known(400, now);
    let mut sentinels = Sentinels::new(&Probing::default());
    sentinels.adopt(&view(Phase::Suspect, now, &[addr(398)]), now);
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
    let is_witness = |asked: &SocketAddr| known.iter().any(|one| one.addr == *asked && one.answers);
    assert!(asked.iter().all(is_witness));
    assert!(!asked.contains(&addr(398)), "who failed already is asked last");
    sentinels.adopt(&view(Phase::Up, now, &[]), now);
    assert_eq!(sentinels.next_at(), None);
}

#[test]
fn few_witnesses_are_asked_several_times() {
    let mut rng = fastrand::Rng::with_seed(2);
    let now = clock::now();
    let mut sentinels = Sentinels::new(&Probing::default());
    sentinels.adopt(&view(Phase::Suspect, now, &[addr(0)]), now);
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
    let mut sentinels = Sentinels::new(&config);
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
    let mut sentinels = Sentinels::new(&Probing::default());
    let settling = LinkView {
        answered: Some(addr(7)),
        ..view(Phase::Settling, now, &[addr(10), addr(7), addr(4)])
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
    let mut sentinels = Sentinels::new(&config);
    let mut told = (Phase::Up, 0);
    let (mut under_way, mut clear) = (Vec::<(Instant, SocketAddr)>::new(), Vec::new());
    let sample = |addr, outcome, began_at, at| Sample {
        addr,
        outcome,
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
