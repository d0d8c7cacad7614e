use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::scorer::score::saved::{SavedHistory, SavedTiming};
use crate::scorer::trust::SavedTrust;

fn addrs() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn timings() -> impl Strategy<Value = SavedTiming> {
    (any::<Option<u64>>(), any::<Option<u64>>()).prop_map(|(mean, jitter)| SavedTiming { mean, jitter })
}

fn rows() -> impl Strategy<Value = SavedRow> {
    let trust = (any::<u8>(), any::<u8>(), any::<Option<u64>>());
    let counts = (any::<u32>(), any::<u32>(), any::<u32>());
    let rates = (any::<Option<u64>>(), any::<Option<u32>>());
    (addrs(), any::<u64>(), timings(), timings(), rates, counts, trust).prop_map(
        |(addr, age_ms, connect, first_byte, (rate, success_ppm), counts, trust)| SavedRow {
            addr,
            age_ms,
            history: SavedHistory {
                connect,
                first_byte,
                rate,
                success_ppm,
                penalty_milli: counts.0,
                failures: counts.1,
                successes: counts.2,
                trust: SavedTrust {
                    strikes: trust.0,
                    relapses: trust.1,
                    term_ms: trust.2,
                },
            },
        },
    )
}

fn states() -> impl Strategy<Value = State> {
    let lifetime = (addrs(), any::<u64>()).prop_map(|(addr, life_ms)| SavedLifetime { addr, life_ms });
    let answer = (any::<u64>(), prop::collection::vec(".{0,40}", 0..5))
        .prop_map(|(asked, lines)| SavedAnswer { asked, lines });
    let service = (
        prop::collection::vec(rows(), 0..6),
        prop::collection::vec(addrs(), 0..4),
        prop::collection::vec(lifetime, 0..4),
        prop::collection::vec(answer, 0..4),
    )
        .prop_map(|(rows, active, lifetimes, answers)| ServiceState {
            rows,
            active,
            lifetimes,
            answers,
        });
    let services = prop::collection::btree_map("[a-z0-9_-]{1,32}", service, 0..4);
    (any::<u64>(), services).prop_map(|(saved_at_ms, services)| State {
        saved_at_ms,
        services,
    })
}

fn row(port: u16) -> SavedRow {
    let timing = SavedTiming {
        mean: Some(u64::MAX),
        jitter: Some(u64::MAX),
    };
    SavedRow {
        addr: SocketAddr::from(([u16::MAX; 8], port)),
        age_ms: u64::MAX,
        history: SavedHistory {
            connect: timing,
            first_byte: timing,
            rate: Some(u64::MAX),
            success_ppm: Some(u32::MAX),
            penalty_milli: u32::MAX,
            failures: u32::MAX,
            successes: u32::MAX,
            trust: SavedTrust {
                strikes: u8::MAX,
                relapses: u8::MAX,
                term_ms: Some(u64::MAX),
            },
        },
    }
}

fn small() -> State {
    let service = ServiceState {
        rows: vec![row(1), row(2)],
        active: vec![row(1).addr],
        lifetimes: vec![SavedLifetime {
            addr: row(1).addr,
            life_ms: 42,
        }],
        answers: vec![SavedAnswer {
            asked: u64::MAX,
            lines: vec!["192.0.2.1:443 # \"香港\"".to_owned()],
        }],
    };
    State {
        saved_at_ms: 7,
        services: [("web".to_owned(), service)].into(),
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(state in states()) {
        let bytes = encode(&state);
        prop_assert!(bytes.len() <= MAX_BYTES);
        prop_assert_eq!(decode(&bytes), Ok(state));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), begins in any::<bool>()) {
        let bytes = if begins { [MAGIC, &bytes].concat() } else { bytes };
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn no_body_is_a_panic(lines in prop::collection::vec("(\\{\"(row|active|service|saved_at_ms|lifetime|answer|said)\":[0-9\"a-z:{}]{0,12}\\}|.{0,20})\n", 0..6)) {
        let body = lines.concat();
        let bytes = [MAGIC, format!("{VERSION} {} {:016x}\n{body}", body.len(), checksum(body.as_bytes())).as_bytes()].concat();
        if let Ok(state) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&state)), Ok(state));
        }
    }
}

#[test]
fn a_cut_file_is_refused_wherever_it_was_cut() {
    let bytes = encode(&small());
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end} of {}", bytes.len());
    }
    assert!(
        decode(&[bytes.as_slice(), b"\n"].concat()).is_err(),
        "a byte too many"
    );
}

#[test]
fn every_flipped_bit_is_seen() {
    let bytes = encode(&small());
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1 << bit;
            assert!(decode(&flipped).is_err(), "bit {bit} of byte {i}");
        }
    }
}

#[test]
fn each_reason_is_told_apart() {
    assert_eq!(decode(b""), Err(Broken::Empty));
    assert_eq!(decode(b"{}"), Err(Broken::Foreign));
    for version in [1, 3] {
        let bytes = format!("tcp-forwarder-state {version} 0 0\n");
        assert_eq!(decode(bytes.as_bytes()), Err(Broken::Version(version)));
    }
    assert_eq!(decode(b"tcp-forw"), Err(Broken::Length));
    assert_eq!(decode(&vec![b' '; MAX_BYTES + 1]), Err(Broken::TooLong));
}

#[test]
fn a_line_is_bounded_and_a_file_is_with_however_many_services() {
    let longest = serde_json::to_vec(&Line::Row(row(u16::MAX))).unwrap_or_default();
    assert!(
        !longest.is_empty() && longest.len() < MAX_LINE_BYTES,
        "{}",
        longest.len()
    );
    let service = ServiceState {
        rows: (0..2_000).map(row).collect(),
        ..ServiceState::default()
    };
    let services = (0..1_000).map(|i| (format!("service-{i}"), service.clone()));
    let state = State {
        saved_at_ms: 1,
        services: services.collect(),
    };
    let bytes = encode(&state);
    assert!(bytes.len() <= MAX_BYTES);
    let read = decode(&bytes).unwrap_or_default();
    assert_eq!(read.services.len(), 1_000);
    assert!(
        read.services.values().all(|service| service.rows.len() > 10),
        "each has its share"
    );
    let one = State {
        saved_at_ms: 1,
        services: [("web".to_owned(), service)].into(),
    };
    let read = decode(&encode(&one)).unwrap_or_default();
    assert_eq!(read.services["web"].rows.len(), MAX_ROWS);
}

#[test]
fn an_answer_is_saved_whole_or_not_at_all_and_leaves_room_for_rows() {
    let answer = |asked, count: usize, length| SavedAnswer {
        asked,
        lines: (0..count).map(|i| format!("{i:>length$}")).collect(),
    };
    let read = |answers: Vec<SavedAnswer>| {
        let service = ServiceState {
            answers,
            rows: (0..2_000).map(row).collect(),
            ..ServiceState::default()
        };
        let state = State {
            saved_at_ms: 1,
            services: [("web".to_owned(), service)].into(),
        };
        let bytes = encode(&state);
        assert!(bytes.len() <= MAX_BYTES);
        let mut state = decode(&bytes).expect("what was written");
        let web = state.services.remove("web").expect("the service");
        assert_eq!(web.rows.len(), MAX_ROWS);
        let whole: Vec<(u64, usize)> = web
            .answers
            .iter()
            .map(|answer| (answer.asked, answer.lines.len()))
            .collect();
        whole
    };
    let (few, many) = (answer(1, 10_000, 60), answer(2, MAX_ANSWER_LINES, 20));
    assert_eq!(read(vec![few.clone()]), [(1, 10_000)]);
    assert_eq!(read(vec![many.clone()]), [(2, MAX_ANSWER_LINES)]);
    assert_eq!(
        read(vec![few.clone(), many, answer(3, 5, 5)]),
        [(1, 10_000), (3, 5)],
        "too many lines"
    );
    assert_eq!(
        read(vec![answer(4, 20_000, 300), few.clone()]),
        [(1, 10_000)],
        "too many bytes"
    );
    assert_eq!(
        read(vec![answer(5, 1, 2_000), few]),
        [(1, 10_000)],
        "a line that is too long"
    );
}

#[test]
fn a_line_without_an_answer_and_lines_without_end_are_refused() {
    let body = |lines: &[String]| {
        let body = lines.concat();
        let head = format!("{VERSION} {} {:016x}\n", body.len(), checksum(body.as_bytes()));
        [MAGIC, head.as_bytes(), body.as_bytes()].concat()
    };
    let head = || {
        [
            "{\"saved_at_ms\":1}\n".to_owned(),
            "{\"service\":\"web\"}\n".to_owned(),
        ]
        .to_vec()
    };
    let line = "{\"said\":\"192.0.2.1:1\"}\n".to_owned();
    assert_eq!(
        decode(&body(&[head(), vec![line.clone()]].concat())),
        Err(Broken::Line(4))
    );
    let lines = vec![line; MAX_ANSWER_LINES + 1];
    let too_many = [head(), vec!["{\"answer\":1}\n".to_owned()], lines].concat();
    assert_eq!(decode(&body(&too_many)), Err(Broken::Line(MAX_ANSWER_LINES + 5)));
}
