//! The first flight: what counts as a lone `ClientHello`, and what is kept.

use std::io::Read;

use tcp_forwarder::config::Rescue;
use tcp_forwarder::relay::flight::{Death, Decision, Flight, Hello, MOST_BYTES, Recorder, hello};

use super::choices::Choices;

/// Looks at bytes as they are, at a `ClientHello` cut into records, or at what a recorder keeps.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.byte().map(|form| form % 3) {
        Some(0) => any_bytes(choices),
        Some(1) => whole_hello(choices),
        Some(_) => recorded(choices),
        None => {}
    }
}

fn any_bytes(mut choices: Choices<'_>) {
    let Some(cut) = choices.byte() else {
        return;
    };
    let bytes = choices.rest();
    let whole = hello(bytes);
    assert_eq!(whole == Hello::Lone, is_lone(bytes), "{bytes:?}");
    let cut = usize::from(cut) % (bytes.len() + 1);
    let part = hello(bytes.get(..cut).unwrap_or_default());
    if cut < bytes.len() {
        assert!(
            part != Hello::Lone || whole == Hello::No,
            "more than a lone one is none"
        );
    }
    assert!(
        part != Hello::No || whole == Hello::No,
        "what is none does not become one"
    );
}

/// The definition, in one piece: whole records of type handshake, and in them one whole message.
fn is_lone(mut bytes: &[u8]) -> bool {
    let mut message = Vec::new();
    while !bytes.is_empty() {
        let [22, 3, _, high, low, rest @ ..] = bytes else {
            return false;
        };
        let length = usize::from(*high) * 256 + usize::from(*low);
        if length == 0 || length > 16384 || rest.len() < length {
            return false;
        }
        let (content, rest) = rest.split_at(length);
        message.extend_from_slice(content);
        bytes = rest;
    }
    match *message.as_slice() {
        [1, high, middle, low, ref body @ ..] => {
            body.len() == (usize::from(high) << 16) + (usize::from(middle) << 8) + usize::from(low)
        }
        _ => false,
    }
}

/// However a message is cut into records, the whole is lone, its beginnings are parts, and more is neither.
fn whole_hello(mut choices: Choices<'_>) {
    let (Some(length), Some(cut), Some(next)) = (choices.word(), choices.word(), choices.byte()) else {
        return;
    };
    let length = length % 2048;
    let [high, low] = length.to_be_bytes();
    let mut message = vec![1, 0, high, low];
    message.resize(4 + usize::from(length), 7);
    let mut flight = Vec::new();
    let mut left = message.as_slice();
    while !left.is_empty() {
        let most = choices.byte().map_or(left.len(), |size| 1 + usize::from(size));
        let (content, rest) = left.split_at(most.min(left.len()));
        let [high, low] = u16::try_from(content.len()).unwrap_or_default().to_be_bytes();
        flight.extend_from_slice(&[22, 3, 1, high, low]);
        flight.extend_from_slice(content);
        left = rest;
    }
    assert_eq!(hello(&flight), Hello::Lone);
    let cut = usize::from(cut) % flight.len();
    assert_eq!(
        hello(flight.get(..cut).unwrap_or_default()),
        Hello::Part,
        "{cut} bytes of it"
    );
    flight.push(next);
    assert_eq!(hello(&flight), Hello::No, "something comes behind it");
}

/// All that was read is kept, or nothing; and what was not sent may always be said again.
fn recorded(mut choices: Choices<'_>) {
    let mut flight = Some(Box::new(Flight::default()));
    let mut model = Vec::new();
    let mut has_finished = false;
    while let (Some(size), Some(byte)) = (choices.byte(), choices.byte()) {
        let piece = vec![byte; usize::from(size) * if size > 200 { 40 } else { 1 }];
        let mut room = vec![0; piece.len()];
        let mut recorder = Recorder {
            source: piece.as_slice(),
            flight: &mut flight,
        };
        let count = recorder.read(&mut room);
        assert_eq!(count.ok(), Some(piece.len()));
        assert_eq!(room, piece);
        model.extend_from_slice(&piece);
        has_finished |= piece.is_empty();
        let Some(flight) = &flight else {
            assert!(
                model.len() > MOST_BYTES,
                "{} bytes would have fitted",
                model.len()
            );
            return;
        };
        assert!(model.len() <= MOST_BYTES);
        assert_eq!(flight.bytes(), model);
        assert_eq!(flight.is_finished(), has_finished);
        for death in [
            Death::Finished,
            Death::CutOff,
            Death::FinishedThenReset,
            Death::Reset,
        ] {
            assert_eq!(flight.decide(Rescue::Off, death, || true), Decision::Accept);
            for rescue in [Rescue::Safe, Rescue::Always] {
                assert_eq!(flight.decide(rescue, death, || false), Decision::Rescue);
            }
        }
    }
}
