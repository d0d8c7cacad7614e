//! The lines of a hand-over, whole and in pieces, and what they are taken for.

use tcp_forwarder::handover::{FromNew, FromOld, Lines, TooLong, decode};

use super::choices::Choices;

/// Longest line here; the real limit would take too long to reach.
const LIMIT: usize = 64;

/// Cuts bytes anywhere and compares the lines with those of a plain split; reads each as what either side may say.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(step) = choices.word() else {
        return;
    };
    let bytes = choices.rest();
    let step = usize::from(step) % 16 + 1;
    let mut lines = Lines::default();
    let mut found = Vec::new();
    let mut outcome = Ok(());
    'chunks: for chunk in bytes.chunks(step) {
        lines.push(chunk);
        loop {
            match lines.next_line(LIMIT) {
                Ok(Some(line)) => found.push(line),
                Ok(None) => break,
                Err(TooLong) => {
                    outcome = Err(TooLong);
                    break 'chunks;
                }
            }
        }
        assert!(lines.len() <= LIMIT, "no more than a line is kept");
    }
    let mut expected: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let is_too_long = |line: &&[u8]| line.len() > LIMIT;
    assert_eq!(outcome.is_err(), expected.iter().any(is_too_long));
    match expected.iter().position(is_too_long) {
        Some(first) => expected.truncate(first),
        // What is behind the last line feed is no line yet.
        None => drop(expected.pop()),
    }
    assert_eq!(found, expected);
    for line in &found {
        said(line);
    }
    said(bytes);
}

/// What is understood means the same when it is said again.
fn said(line: &[u8]) {
    if let Ok(message) = decode::<FromOld>(line) {
        let again = serde_json::to_vec(&message);
        assert!(again.is_ok_and(|again| decode::<FromOld>(&again) == Ok(message)));
    }
    if let Ok(message) = decode::<FromNew>(line) {
        let again = serde_json::to_vec(&message);
        assert!(again.is_ok_and(|again| decode::<FromNew>(&again) == Ok(message)));
    }
}
