//! The formulas, against examples and against what must hold for all numbers.

use super::*;
use proptest::prelude::*;

fn ms(millis: u64) -> Outcome {
    Outcome::Success(Duration::from_millis(millis))
}

fn history(outcomes: &[Outcome]) -> Score {
    let rules = Scoring::default();
    let mut history = History::default();
    for outcome in outcomes {
        history.record(*outcome, &rules);
    }
    history.score(&rules)
}

#[track_caller]
fn assert_close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
}

#[test]
fn an_untouched_candidate_scores_nothing() {
    let score = history(&[]);
    assert_close(score.total, 0.0);
    assert_eq!(score.latency, None);
}

#[test]
fn the_first_sample_is_taken_as_it_is() {
    let score = history(&[ms(20)]);
    assert_eq!(score.latency, Some(Duration::from_millis(20)));
    assert_eq!(score.jitter, None);
    assert_close(score.success_rate, 1.0);
    assert_close(score.total, 45.0 + 15.0 + 40.0);
}

#[test]
fn averages_move_by_their_alpha() {
    // Latency 0.2*150 + 0.8*100 = 110 ms. Jitter: first sample 50 ms. Then 100 again: latency
    // 0.2*100 + 0.8*110 = 108 ms, jitter 0.3*50 + 0.7*50 = 50 ms. Then 130: 112.4 ms and
    // 0.3*30 + 0.7*50 = 44 ms.
    let score = history(&[ms(100), ms(150), ms(100), ms(130)]);
    assert_close(score.latency.expect("measured").as_secs_f64(), 0.112_4);
    assert_close(score.jitter.expect("measured").as_secs_f64(), 0.044);
}

#[test]
fn latency_part_is_linear_between_base_and_maximum() {
    assert_close(history(&[ms(50)]).latency_part, 45.0);
    // (800 - 425) / (800 - 50) * 45 = 22.5
    assert_close(history(&[ms(425)]).latency_part, 22.5);
    assert_close(history(&[ms(800)]).latency_part, 0.0);
    assert_close(history(&[ms(2_000)]).latency_part, 0.0);
}

#[test]
fn jitter_part_is_linear_between_base_and_maximum() {
    // Jitter 155 ms: (300 - 155) / (300 - 10) * 15 = 7.5
    assert_close(history(&[ms(10), ms(165)]).jitter_part, 7.5);
    assert_close(history(&[ms(10), ms(20)]).jitter_part, 15.0);
    assert_close(history(&[ms(10), ms(310)]).jitter_part, 0.0);
}

#[test]
fn a_failure_gives_no_latency_sample_and_keeps_the_neighbour() {
    let score = history(&[ms(100), Outcome::Failure, ms(140)]);
    // 0.2*140 + 0.8*100 = 108 ms; jitter |140 - 100| = 40 ms;
    // success: 1, 0.9, 0.1 + 0.81 = 0.91; penalty 5 - 2.5.
    assert_close(score.latency.expect("measured").as_secs_f64(), 0.108);
    assert_close(score.jitter.expect("measured").as_secs_f64(), 0.040);
    assert_close(score.success_part, 36.4);
    assert_close(score.penalty, 2.5);
}

#[test]
fn who_never_succeeded_has_no_latency_and_no_jitter_part() {
    let score = history(&[Outcome::Failure]);
    assert_close(score.latency_part + score.jitter_part + score.success_part, 0.0);
    assert_close(score.total, 0.0);
    assert_eq!(score.consecutive_failures, 1);
}

#[test]
fn the_penalty_grows_by_its_factor_up_to_its_maximum() {
    let expected = [5.0, 9.0, 16.2, 29.16, 52.488, 80.0, 80.0];
    for (i, penalty) in expected.into_iter().enumerate() {
        assert_close(history(&vec![Outcome::Failure; i + 1]).penalty, penalty);
    }
    assert_close(history(&vec![Outcome::Failure; 5_000]).penalty, 80.0);
}

#[test]
fn a_new_failure_never_lowers_the_penalty() {
    // 16.2 after three, 13.7 after a success; the next run of failures begins at 5 but owes 13.7.
    let mut outcomes = vec![Outcome::Failure; 3];
    outcomes.extend([ms(10), Outcome::Failure]);
    assert_close(history(&outcomes).penalty, 13.7);
    outcomes.extend([ms(10); 5]);
    assert_close(history(&outcomes).penalty, 1.2);
    outcomes.push(ms(10));
    assert_close(history(&outcomes).penalty, 0.0);
}

#[test]
fn the_bonus_counts_whole_runs_and_a_failure_resets_it() {
    assert_close(history(&[ms(10); 119]).bonus, 0.0);
    assert_close(history(&[ms(10); 120]).bonus, 1.0);
    assert_close(history(&[ms(10); 240]).total, 102.0);
    assert_close(history(&vec![ms(10); 5_000]).bonus, 10.0);
    assert_close(history(&vec![ms(10); 5_000]).total, 110.0);
    let mut outcomes = vec![ms(10); 240];
    outcomes.push(Outcome::Failure);
    assert_close(history(&outcomes).bonus, 0.0);
}

#[test]
fn who_serves_clients_that_ask_for_more_is_as_soon_as_who_is_checked_only() {
    let mut rules = Scoring::default();
    rules.latency.source = LatencySource::FirstByte;
    let now = crate::base::clock::now();
    let check = Sample {
        candidate: crate::service::Candidate {
            service: crate::service::ServiceId::fresh(),
            addr: SocketAddr::from(([127, 0, 0, 1], 1)),
        },
        outcome: ms(5),
        heard: Heard::Answer(Duration::from_millis(5)),
        source: crate::scorer::Source::Probe,
        began_at: now,
        at: now,
    };
    let (mut member, mut other, mut unchecked) = (History::default(), History::default(), History::default());
    for _ in 0..20 {
        let served = Served {
            clients: 3,
            first_byte: Some(Duration::from_millis(300)),
            rate: None,
        };
        member.take(&check, &rules);
        member.served(&served, &rules);
        other.take(&check, &rules);
        unchecked.record(ms(5), &rules);
        unchecked.served(&served, &rules);
    }
    assert_eq!(member.score(&rules).latency, other.score(&rules).latency);
    assert_eq!(member.score(&rules).jitter, other.score(&rules).jitter);
    let latency = unchecked.score(&rules).latency;
    assert_eq!(
        latency,
        Some(Duration::from_millis(300)),
        "clients are all that asks"
    );
}

#[test]
fn the_total_adds_up() {
    // One failure after 20 ms: 45 + 15 + 0.9*40 - 5 = 91.
    assert_close(history(&[ms(20), Outcome::Failure]).total, 91.0);
    // Six failures: 45 + 15 + 40*0.9^6 - 80 = 1.25764.
    let mut outcomes = vec![ms(20)];
    outcomes.extend([Outcome::Failure; 6]);
    assert_close(history(&outcomes).total, 1.257_64);
    outcomes.push(Outcome::Failure);
    assert_close(history(&outcomes).total, 0.0);
}

#[test]
fn odd_but_valid_rules_stay_finite() {
    let mut rules = Scoring::default();
    rules.failure_penalty.base_penalty = 0.0;
    rules.failure_penalty.exponent_factor = 1e30;
    rules.latency.base = Duration::from_millis(10);
    rules.latency.max_acceptable = Duration::from_millis(10);
    let mut history = History::default();
    for outcome in [Outcome::Failure, Outcome::Failure, ms(10), ms(11)] {
        for _ in 0..100 {
            history.record(outcome, &rules);
        }
        assert!(history.score(&rules).total.is_finite());
    }
    assert_close(history.score(&rules).penalty, 0.0);
}

fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
    let outcome = prop_oneof![
        3 => (0_u64..2_000_000).prop_map(|micros| Outcome::Success(Duration::from_micros(micros))),
        1 => Just(Outcome::Failure),
    ];
    prop::collection::vec(outcome, 0..300)
}

proptest! {
    #[test]
    fn every_part_stays_within_its_bounds(outcomes in outcomes()) {
        let rules = Scoring::default();
        let mut history = History::default();
        for outcome in outcomes {
            let before = history.score(&rules);
            history.record(outcome, &rules);
            let score = history.score(&rules);
            prop_assert!((0.0..=ceiling(&rules)).contains(&score.total));
            prop_assert!((0.0..=45.0).contains(&score.latency_part));
            prop_assert!((0.0..=15.0).contains(&score.jitter_part));
            prop_assert!((0.0..=40.0 + 1e-9).contains(&score.success_part));
            prop_assert!((0.0..=80.0).contains(&score.penalty));
            prop_assert!((0.0..=10.0).contains(&score.bonus));
            match outcome {
                Outcome::Refused | Outcome::NoRoute | Outcome::Failure => {
                    prop_assert!(score.total <= before.total);
                }
                Outcome::Success(_) => prop_assert!(score.penalty <= before.penalty),
            }
        }
    }

    #[test]
    fn a_faster_twin_never_scores_less(outcomes in outcomes()) {
        let rules = Scoring::default();
        let (mut slow, mut fast) = (History::default(), History::default());
        for outcome in outcomes {
            slow.record(outcome, &rules);
            fast.record(match outcome {
                Outcome::Success(latency) => Outcome::Success(latency / 2),
                Outcome::Refused | Outcome::NoRoute | Outcome::Failure => Outcome::Failure,
            }, &rules);
            prop_assert!(fast.score(&rules).total >= slow.score(&rules).total - 1e-9);
        }
    }
}
