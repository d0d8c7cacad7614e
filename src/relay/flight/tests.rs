use super::*;
use proptest::prelude::*;

/// A handshake message in records of these lengths; the last one takes the rest.
fn in_records(message: &[u8], lengths: &[usize]) -> Vec<u8> {
    let mut flight = Vec::new();
    let mut rest = message;
    for length in lengths.iter().copied().chain([usize::MAX]) {
        let (now, later) = rest.split_at(length.min(rest.len()).min(1 << 14));
        if now.is_empty() {
            break;
        }
        flight.extend([22, 3, 1]);
        flight.extend(u16::try_from(now.len()).unwrap().to_be_bytes());
        flight.extend(now);
        rest = later;
    }
    assert!(rest.is_empty(), "it fits the records");
    flight
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let mut message = vec![kind];
    message.extend(&length[1..]);
    message.extend(body);
    message
}

fn client_hello() -> Vec<u8> {
    in_records(&message(1, &[7; 508]), &[])
}

const APPLICATION_DATA: [u8; 8] = [23, 3, 3, 0, 3, 1, 2, 3];
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

#[test]
fn a_client_hello_is_known_by_its_frames() {
    let whole = client_hello();
    let two_messages = [message(1, &[7; 100]), message(1, &[7; 100])].concat();
    let cases: Vec<(&str, Vec<u8>, Hello)> = vec![
        ("nothing", vec![], Hello::Part),
        ("one record", whole.clone(), Hello::Lone),
        ("an empty message", in_records(&message(1, &[]), &[]), Hello::Lone),
        (
            "two records",
            in_records(&message(1, &[7; 300]), &[100]),
            Hello::Lone,
        ),
        (
            "its header in four records",
            in_records(&message(1, &[7; 9]), &[1, 1, 1, 1]),
            Hello::Lone,
        ),
        ("cut short", whole[..whole.len() - 1].to_vec(), Hello::Part),
        (
            "a whole record, not a whole message",
            in_records(&message(1, &[7; 300]), &[100])[..105].to_vec(),
            Hello::Part,
        ),
        ("a byte behind it", [&whole[..], &[22]].concat(), Hello::No),
        (
            "early data behind it",
            [&whole[..], &APPLICATION_DATA].concat(),
            Hello::No,
        ),
        (
            "as browsers send early data",
            [&whole[..], &CHANGE_CIPHER_SPEC, &APPLICATION_DATA].concat(),
            Hello::No,
        ),
        ("two of them", [&whole[..], &whole[..]].concat(), Hello::No),
        (
            "two messages in one record",
            in_records(&two_messages, &[]),
            Hello::No,
        ),
        (
            "more in its record than the message",
            in_records(&[message(1, &[7; 9]), vec![0]].concat(), &[]),
            Hello::No,
        ),
        (
            "a server's hello",
            in_records(&message(2, &[7; 100]), &[]),
            Hello::No,
        ),
        ("an alert", vec![21, 3, 1, 0, 2, 2, 40], Hello::No),
        ("an empty record", vec![22, 3, 1, 0, 0], Hello::No),
        (
            "too long a record",
            [&[22, 3, 1, 0x40, 1, 1], &[0; 100][..]].concat(),
            Hello::No,
        ),
        ("SSL 2", vec![0x80, 0x2e, 1, 3, 1, 0, 21], Hello::No),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Hello::No),
        ("data of a resumed session", APPLICATION_DATA.to_vec(), Hello::No),
    ];
    for (name, flight, expected) in cases {
        assert_eq!(hello(&flight), expected, "{name}");
    }
}

fn flight_of(bytes: &[u8], is_sent: bool, is_finished: bool) -> Flight {
    let mut flight = Flight::default();
    if !bytes.is_empty() {
        assert!(flight.keep(bytes));
    }
    if is_finished {
        flight.keep(&[]);
    }
    flight.is_sent = is_sent;
    flight
}

const MODES: [Rescue; 3] = [Rescue::Off, Rescue::Safe, Rescue::Always];
const DEATHS: [Death; 4] = [
    Death::Finished,
    Death::CutOff,
    Death::FinishedThenReset,
    Death::Reset,
];

/// Name, mode, flight; what is decided for each of `DEATHS` with nothing acknowledged, then otherwise.
type Row<'a> = (&'a str, Rescue, Flight, [Decision; 4], [Decision; 4]);

#[test]
fn the_table_of_decisions() {
    use Decision::{Accept, Rescue as Save, Wait};
    let hello = client_hello();
    let early = [&hello[..], &APPLICATION_DATA].concat();
    let request = b"GET / HTTP/1.1\r\n\r\n";
    #[rustfmt::skip]
    let table: [Row<'_>; 10] = [
        ("off",                     Rescue::Off,    flight_of(request, false, false), [Accept; 4],            [Accept; 4]),
        ("off, hello",              Rescue::Off,    flight_of(&hello, true, false),   [Accept; 4],            [Accept; 4]),
        ("nothing sent",            Rescue::Safe,   flight_of(request, false, false), [Save; 4],              [Save; 4]),
        ("hello",                   Rescue::Safe,   flight_of(&hello, true, false),   [Save; 4],              [Save; 4]),
        ("hello and early data",    Rescue::Safe,   flight_of(&early, true, false),   [Wait, Wait, Save, Accept],   [Accept; 4]),
        ("request",                 Rescue::Safe,   flight_of(request, true, false),  [Wait, Wait, Save, Accept],   [Accept; 4]),
        ("request and finish",      Rescue::Safe,   flight_of(request, true, true),   [Wait, Wait, Save, Accept],   [Accept; 4]),
        ("a finish alone",          Rescue::Safe,   flight_of(b"", true, true),       [Wait, Wait, Save, Accept],   [Accept; 4]),
        ("request, always",         Rescue::Always, flight_of(request, true, false),  [Save; 4],              [Save; 4]),
        ("request and finish, always", Rescue::Always, flight_of(request, true, true), [Wait, Save, Save, Save], [Accept, Save, Save, Save]),
    ];
    for (name, mode, flight, unheard, otherwise) in table {
        for (place, death) in DEATHS.into_iter().enumerate() {
            assert_eq!(
                flight.decide(mode, death, || true),
                unheard[place],
                "{name}, {death:?}, unheard"
            );
            assert_eq!(
                flight.decide(mode, death, || false),
                otherwise[place],
                "{name}, {death:?}"
            );
        }
    }
}

/// Reads a slice in pieces of the given lengths.
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: std::vec::IntoIter<usize>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths.next().unwrap_or(usize::MAX);
        let (now, later) = self.bytes.split_at(length.min(room.len()).min(self.bytes.len()));
        self.bytes = later;
        room[..now.len()].copy_from_slice(now);
        Ok(now.len())
    }
}

#[test]
fn a_flight_is_kept_up_to_its_bound_and_not_in_part() {
    for (length, is_kept) in [(MOST_BYTES, true), (MOST_BYTES + 1, false)] {
        let bytes = vec![5; length];
        let mut flight = Some(Box::default());
        let mut recorder = Recorder {
            source: &bytes[..],
            flight: &mut flight,
        };
        let mut room = [0; 1000];
        while recorder.read(&mut room).unwrap() > 0 {}
        let kept = flight.map(|flight| (flight.bytes().to_vec(), flight.is_finished()));
        assert_eq!(kept, is_kept.then_some((bytes, true)), "{length}");
    }
}

proptest! {
    #[test]
    fn a_client_hello_is_known_however_it_is_cut(
        body in proptest::collection::vec(any::<u8>(), 0..600),
        lengths in proptest::collection::vec(1..200_usize, 0..6),
        cut in any::<prop::sample::Index>(),
        behind in proptest::collection::vec(any::<u8>(), 1..20),
    ) {
        let whole = in_records(&message(1, &body), &lengths);
        prop_assert_eq!(hello(&whole), Hello::Lone);
        prop_assert_eq!(hello(&whole[..cut.index(whole.len())]), Hello::Part);
        prop_assert_eq!(hello(&[&whole[..], &behind].concat()), Hello::No);
    }

    #[test]
    fn any_bytes_at_all_are_looked_at_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let is_lone = hello(&bytes) == Hello::Lone;
        // A lone one says its length itself: the contents of all its records and no more.
        prop_assert!(!is_lone || (bytes.len() >= 9 && bytes[0] == 22 && bytes[5] == 1));
    }

    #[test]
    fn what_is_read_is_what_is_kept(
        length in 0..40_000_usize,
        lengths in proptest::collection::vec(1..9000_usize, 0..20),
    ) {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let mut flight = Some(Box::default());
        let mut read: Vec<u8> = Vec::new();
        let source = Pieces { bytes: &bytes, lengths: lengths.into_iter() };
        let mut recorder = Recorder { source, flight: &mut flight };
        let mut room = [0; 4096];
        loop {
            let count = recorder.read(&mut room).unwrap();
            read.extend(&room[..count]);
            prop_assert_eq!(recorder.flight.is_some(), read.len() <= MOST_BYTES, "whole or not at all");
            if let Some(flight) = recorder.flight {
                prop_assert_eq!(flight.bytes(), &read[..]);
                prop_assert_eq!(flight.is_finished(), count == 0);
            }
            if count == 0 {
                break;
            }
        }
        prop_assert_eq!(&read, &bytes);
    }

    #[test]
    fn without_hope_every_end_is_accepted_and_more_said_never_brings_it_back(
        start in prop_oneof![Just(client_hello()), proptest::collection::vec(any::<u8>(), 1..30)],
        cut in any::<prop::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 1..30),
        is_sent in any::<bool>(),
    ) {
        let start = &start[..=cut.index(start.len())];
        let mut flight = flight_of(start, is_sent, false);
        for mode in MODES {
            if !flight.has_hope(mode, false) {
                for death in DEATHS {
                    prop_assert_eq!(flight.decide(mode, death, || false), Decision::Accept);
                }
            }
        }
        flight.is_sent = true;
        let had_hope = MODES.map(|mode| flight.has_hope(mode, false));
        flight.keep(&more);
        for (mode, had_hope) in MODES.into_iter().zip(had_hope) {
            prop_assert!(had_hope || !flight.has_hope(mode, false));
        }
    }
}
