//! The worked examples of the score come out as the readmes say.

use std::time::Duration;

use tcp_forwarder::config::Scoring;
use tcp_forwarder::scorer::Outcome;
use tcp_forwarder::scorer::score::{History, Score};

use super::markdown;
use crate::read;

fn points(score: &Score) -> [String; 5] {
    [
        score.latency_part,
        score.jitter_part,
        score.success_part,
        score.penalty,
        score.total,
    ]
    .map(|points| format!("{points:.2}"))
}

fn millis(duration: Option<Duration>) -> String {
    format!("{:.2} ms", duration.unwrap_or_default().as_secs_f64() * 1e3)
}

#[test]
fn the_worked_example() {
    let rules = Scoring::default();
    for (name, column) in [
        ("docs/internals/choosing.md", "Connect"),
        ("docs/zh-CN/internals/choosing.md", "连接"),
    ] {
        let rows = markdown::rows(&read(name), column);
        assert_eq!(rows.len(), 4, "{name}");
        let mut history = History::default();
        for row in rows {
            let outcome = match row[0].strip_suffix(" ms") {
                Some(latency) => Outcome::Success(Duration::from_millis(latency.parse().expect("a number"))),
                None => Outcome::Failure,
            };
            history.record(outcome, &rules);
            let score = history.score(&rules);
            let [latency, jitter, success, penalty, total] = points(&score);
            let means = [millis(score.latency), millis(score.jitter)];
            assert_eq!(row[1..3], means, "{name}: {}", row[0]);
            assert_eq!(
                row[3..],
                [latency, jitter, success, penalty, total],
                "{name}: {}",
                row[0]
            );
        }
    }
}

#[test]
fn the_candidate_that_dies() {
    let rules = Scoring::default();
    for (name, column) in [
        ("docs/internals/choosing.md", "Failures in a row"),
        ("docs/zh-CN/internals/choosing.md", "连续失败次数"),
    ] {
        let rows = markdown::rows(&read(name), column);
        assert_eq!(rows.len(), 6, "{name}");
        let mut history = History::default();
        for _ in 0..100 {
            history.record(Outcome::Success(Duration::from_millis(20)), &rules);
        }
        assert_eq!(points(&history.score(&rules))[4], "100.00");
        for row in rows {
            history.record(Outcome::Failure, &rules);
            let [_, _, success, penalty, total] = points(&history.score(&rules));
            assert_eq!(row[1..], [success, penalty, total], "{name}: after {}", row[0]);
        }
    }
}
