//! The answer of a candidate to a check: whole and in pieces.

use tcp_forwarder::config::{Check, CheckKind, HttpCheck, Method, Pattern, Select, Statuses};
use tcp_forwarder::probing::check::{LONGEST_ANSWER, Plan, Reading, Verdict};

use super::choices::Choices;

/// What is looked for in bodies and by `send_expect`.
const WANTED: &str = "ok!";

/// Judges bytes as an answer to each kind of question.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(word) = choices.word() else {
        return;
    };
    let bytes = choices.rest();
    let piece = usize::from(word % 61) + 1;
    for check in [head(), body(), selected(), expected()] {
        let plan = Plan::of(&check).expect("it asks something");
        let whole = verdict(&plan, bytes, LONGEST_ANSWER * 2);
        let pieces = verdict(&plan, bytes, piece);
        assert_eq!(
            whole == Verdict::Right,
            pieces == Verdict::Right,
            "{whole:?} at once, {pieces:?} in pieces of {piece}"
        );
        if whole == Verdict::Right {
            credible(&check, bytes);
        }
    }
}

/// What a right answer has, whatever else.
fn credible(check: &Check, bytes: &[u8]) {
    let seen = &bytes[..bytes.len().min(LONGEST_ANSWER)];
    let has = |text: &[u8]| seen.windows(text.len()).any(|window| window == text);
    match check.kind {
        CheckKind::Connect | CheckKind::Tls => unreachable!("it asks nothing"),
        CheckKind::SendExpect => assert!(has(WANTED.as_bytes())),
        CheckKind::Http | CheckKind::Https => {
            assert!(has(b"HTTP/1.0 ") || has(b"HTTP/1.1 "), "a status line");
            assert!(has(b"\n\n") || has(b"\n\r\n"), "a whole head");
            if !check.http.expect_body.is_empty() {
                // In a body in chunks it may be divided.
                assert!(WANTED.bytes().all(|byte| seen.contains(&byte)));
            }
        }
    }
}

fn verdict(plan: &Plan, bytes: &[u8], piece: usize) -> Verdict {
    let mut reading = Reading::default();
    for bytes in bytes.chunks(piece) {
        let verdict = reading.feed(plan, bytes);
        if verdict != Verdict::Open {
            return verdict;
        }
    }
    reading.end(plan)
}

fn head() -> Check {
    Check {
        kind: CheckKind::Http,
        http: HttpCheck {
            expect_status: vec![Statuses { from: 200, to: 204 }],
            expect_header: "a: b".to_owned(),
            ..HttpCheck::default()
        },
        ..Check::default()
    }
}

fn body() -> Check {
    Check {
        kind: CheckKind::Http,
        http: HttpCheck {
            method: Method::Get,
            expect_body: WANTED.to_owned(),
            ..HttpCheck::default()
        },
        ..Check::default()
    }
}

fn selected() -> Check {
    Check {
        kind: CheckKind::Http,
        select: Select {
            header: "cf-ray".to_owned(),
            pattern: "-(HKG|NRT)$".to_owned(),
        },
        ..Check::default()
    }
}

fn expected() -> Check {
    Check {
        kind: CheckKind::SendExpect,
        expect: Pattern::of(WANTED).expect("text"),
        ..Check::default()
    }
}
