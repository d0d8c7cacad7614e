//! Tests: what others say, beside what was measured here.

use std::time::{Duration, Instant};

use super::super::sample::Outcome;
use super::*;
use crate::service::id::{Candidate, ServiceId};

const ON_TIME: Outcome = Outcome::Success(Duration::from_millis(20));

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn sample(port: u16, outcome: Outcome, heard: Heard, at: Instant) -> Sample {
    Sample {
        candidate: Candidate {
            service: ServiceId::fresh(),
            addr: addr(port),
        },
        outcome,
        heard,
        source: Source::Peer,
        began_at: at,
        at,
    }
}

fn told(port: u16, outcome: Outcome, at: Instant) -> Sample {
    sample(port, outcome, Heard::NotAsked, at)
}

fn own(port: u16, outcome: Outcome, at: Instant) -> Sample {
    Sample {
        source: Source::Probe,
        ..told(port, outcome, at)
    }
}

fn total(board: &ScoreBoard, port: u16) -> f64 {
    board.score(&addr(port)).expect("it is known").total
}

#[test]
fn nothing_that_was_measured_here_changes_by_what_others_say() {
    let start = crate::base::clock::now();
    let late = start + Duration::from_secs(5);
    let ms = |ms| Outcome::Success(Duration::from_millis(ms));
    let mut board = ScoreBoard::new(Scoring::default());
    board.record(&own(1, ON_TIME, start));
    board.record(&own(2, Outcome::Failure, start));
    let before = [1, 2].map(|port| board.score(&addr(port)));
    for (port, outcome, heeded) in [
        (1, ON_TIME, Heeded::Agrees),
        (1, ms(44), Heeded::Agrees),
        (1, ms(6), Heeded::Agrees),
        (1, ms(46), Heeded::Differs),
        (1, ms(4), Heeded::Differs),
        (1, Outcome::Failure, Heeded::Differs),
        (1, Outcome::Refused, Heeded::Differs),
        (1, Outcome::NoRoute, Heeded::Differs),
        (2, ON_TIME, Heeded::Differs),
        (2, Outcome::Refused, Heeded::Agrees),
    ] {
        for _ in 0..50 {
            assert_eq!(
                board.hear(&told(port, outcome, late)),
                heeded,
                "{port}: {outcome:?}"
            );
        }
        assert_eq!([1, 2].map(|port| board.score(&addr(port))), before);
        assert_eq!((board.len(), board.answering()), (2, 1));
    }
    assert!(board.is_fresh(&addr(1)) && board.rated().count() == 2);
}

#[test]
fn only_who_agrees_says_how_old_what_is_known_is() {
    let start = crate::base::clock::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut board = ScoreBoard::new(Scoring::default());
    board.record(&own(1, ON_TIME, at(10)));
    board.hear(&told(1, Outcome::Failure, at(20)));
    assert_eq!(board.sampled_at(&addr(1)), Some(at(10)));
    board.hear(&told(1, ON_TIME, at(15)));
    assert_eq!(board.sampled_at(&addr(1)), Some(at(15)));
    board.hear(&told(1, ON_TIME, at(5)));
    assert_eq!(
        board.sampled_at(&addr(1)),
        Some(at(15)),
        "what is older says nothing new"
    );
}

#[test]
fn only_a_right_answer_to_a_probe_of_ours_shows_that_a_candidate_serves() {
    let start = crate::base::clock::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut board = ScoreBoard::new(Scoring::default());
    let dial = |seconds| Sample {
        source: Source::Dial,
        ..told(1, ON_TIME, at(seconds))
    };
    board.hear(&told(1, ON_TIME, at(1)));
    board.record(&dial(2));
    assert_eq!(
        board.proved_at(&addr(1)),
        None,
        "anybody may say so, and clients want more"
    );
    board.record(&own(1, ON_TIME, at(3)));
    board.record(&own(1, Outcome::Failure, at(4)));
    board.record(&dial(5));
    board.hear(&told(1, ON_TIME, at(6)));
    assert_eq!(board.proved_at(&addr(1)), Some(at(3)));
    let checked = |heard, seconds| Sample {
        source: Source::Probe,
        ..sample(1, ON_TIME, heard, at(seconds))
    };
    board.record(&checked(Heard::Answer(Duration::from_millis(30)), 7));
    board.record(&own(1, ON_TIME, at(8)));
    board.record(&checked(Heard::Wrong("a reason"), 9));
    // As those that ask about our own link do.
    board.record(&own(1, ON_TIME, at(10)));
    assert_eq!(
        board.proved_at(&addr(1)),
        Some(at(7)),
        "who is checked is to answer rightly"
    );
    board.forget_checks();
    assert_eq!(
        board.proved_at(&addr(1)),
        None,
        "to another question nobody has answered"
    );
    board.record(&own(1, ON_TIME, at(11)));
    assert_eq!(board.proved_at(&addr(1)), Some(at(11)));
    board.turn_to(1);
    assert_eq!(board.proved_at(&addr(1)), None, "on another way nothing is known");
}

#[test]
fn where_nothing_was_measured_it_guides_and_proves_nothing() {
    let start = crate::base::clock::now();
    let mut board = ScoreBoard::new(Scoring::default());
    for _ in 0..100 {
        assert_eq!(board.hear(&told(1, ON_TIME, start)), Heeded::Taken);
    }
    assert!(
        (total(&board, 1) - 100.0).abs() < 1e-6,
        "it is as good as they say"
    );
    assert!(!board.is_fresh(&addr(1)) && board.rated().count() == 0);
    let heard = board.recalled().next().expect("it guides");
    assert_eq!(
        (heard.addr, heard.successes),
        (addr(1), 0),
        "nobody confirms it but we"
    );
    assert_eq!(board.score(&addr(1)).map(|score| score.bonus), Some(0.0));

    board.record(&own(1, ON_TIME, start));
    let met = board.rated().next().expect("it was met");
    assert_eq!((met.successes, board.answering()), (1, 1));
    board.hear(&told(2, ON_TIME, start));
    board.record(&own(2, Outcome::Failure, start));
    assert!(total(&board, 2) < 1e-9, "one failure here undoes all praise");
    board.hear(&told(3, Outcome::Failure, start));
    board.record(&own(3, ON_TIME, start));
    assert!(
        total(&board, 3) > total(&board, 1) / 2.0,
        "and a success all blame"
    );
    assert_eq!(board.answering(), 2);
}

#[test]
fn who_was_said_to_answer_wrongly_is_believed_once_it_answers_here() {
    let start = crate::base::clock::now();
    let mut board = ScoreBoard::new(Scoring::default());
    let wrong = Heard::Wrong("as another forwarder has seen");
    for _ in 0..20 {
        board.hear(&sample(1, ON_TIME, wrong, start));
    }
    assert!(!board.answers_checks(&addr(1)));
    let right = Sample {
        source: Source::Probe,
        ..sample(1, ON_TIME, Heard::Answer(Duration::from_millis(40)), start)
    };
    for second in 0..3 {
        let at = start + Duration::from_secs(second);
        board.record(&Sample { at, ..right });
    }
    assert!(board.answers_checks(&addr(1)));
    assert!(
        board.rating(addr(1)).is_trusted(),
        "others alone do not set it aside"
    );
}

#[test]
fn of_what_is_not_believed_any_more_the_word_of_others_takes_the_place_too() {
    let start = crate::base::clock::now();
    let mut board = ScoreBoard::new(Scoring::default());
    for _ in 0..20 {
        board.record(&own(1, ON_TIME, start));
    }
    board.disbelieve();
    let slow = Outcome::Success(Duration::from_millis(300));
    assert_eq!(board.hear(&told(1, slow, start)), Heeded::Taken);
    let heard = board.recalled().next().expect("it guides");
    assert_eq!(
        heard.latency,
        Some(Duration::from_millis(300)),
        "and not a mean of both"
    );
}

#[test]
fn whoever_says_much_takes_half_of_the_room_at_most() {
    let start = crate::base::clock::now();
    let mut board = ScoreBoard::bounded(Scoring::default(), 100);
    let active = [1, 2, 3].map(addr);
    board.set_active(&active);
    for port in 1..=30 {
        board.record(&own(port, ON_TIME, start));
    }
    let heeded: Vec<Heeded> = (1_000..5_000)
        .map(|port| board.hear(&told(port, ON_TIME, start)))
        .collect();
    assert_eq!(board.len(), 50);
    assert_eq!(heeded.iter().filter(|one| **one == Heeded::Taken).count(), 20);
    assert!(heeded[20..].iter().all(|one| *one == Heeded::Ignored));
    assert!(
        (1..=30).all(|port| board.is_fresh(&addr(port))),
        "nothing of ours is forgotten"
    );
    for port in 100..200 {
        board.record(&own(port, ON_TIME, start));
    }
    assert!((100..200).all(|port| board.is_fresh(&addr(port))), "it makes way");
    assert!(active.iter().all(|addr| board.contains(addr)));
}

#[test]
fn who_answers_is_counted_whoever_says_so() {
    let seed = 12;
    let mut rng = fastrand::Rng::with_seed(seed);
    let start = crate::base::clock::now();
    let mut board = ScoreBoard::bounded(Scoring::default(), 40);
    for turn in 0..5_000 {
        let outcome = if rng.bool() { ON_TIME } else { Outcome::Failure };
        let port = rng.u16(1..80);
        if rng.u8(..) < 150 {
            board.hear(&told(port, outcome, start));
        } else {
            board.record(&own(port, outcome, start));
        }
        match turn % 100 {
            20 => board.set_active(&[addr(rng.u16(1..80)), addr(rng.u16(1..80))]),
            40 => board.doubt(),
            60 => board.disbelieve(),
            80 => board.retain(|addr| addr.port() % 3 != 0),
            _ => {}
        }
        let counted = board.touched().filter(|row| row.answers).count();
        assert_eq!(board.answering(), counted, "seed {seed}, turn {turn}");
        assert!(board.len() <= 42, "seed {seed}, turn {turn}");
    }
}
