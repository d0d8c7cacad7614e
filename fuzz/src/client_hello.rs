//! First messages of TLS clients: any bytes, any message in records as they may be cut, and any message of ours.

use tcp_forwarder::preface::Failure;
use tcp_forwarder::preface::client_hello::{ClientHello, MOST_BYTES, read};
use tcp_forwarder::relay::flight::{Hello, hello};

use super::choices::Choices;

/// Reads bytes as they are, a message cut into records, or one that says what it is made to say.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.byte().map(|form| form % 3) {
        Some(0) => drop(in_pieces(choices.rest())),
        Some(1) => cut(choices),
        Some(_) => said(choices),
        None => {}
    }
}

/// What is read of bytes, which is the same however many of them have come when it is known.
fn in_pieces(bytes: &[u8]) -> Result<Option<ClientHello>, Failure> {
    let whole = read(bytes);
    // Beginnings that are worth a look are those of short inputs, and the last ones.
    let ends = (0..bytes.len().min(64)).chain(bytes.len().saturating_sub(64)..bytes.len());
    let first = ends.map(|end| read(&bytes[..end])).find(|part| *part != Ok(None));
    if let Some(first) = first {
        assert_eq!(first, whole, "{bytes:?}");
    }
    match &whole {
        Ok(Some(found)) => {
            let name = found.name.as_deref().unwrap_or(b"x");
            assert!(!name.is_empty() && name.len() <= 255 && name.iter().all(u8::is_ascii_graphic));
            assert!(!name.iter().any(u8::is_ascii_uppercase));
            assert!(found.protocols.iter().all(|one| !one.is_empty()));
            // Another reader, which looks at frames only, must have seen its end, too.
            assert!((1..=bytes.len()).any(|end| hello(&bytes[..end]) == Hello::Lone));
        }
        Ok(None) => assert!(bytes.len() < MOST_BYTES, "nobody may say so much"),
        Err(_) => {}
    }
    whole
}

/// A message means the same in whatever records it comes.
fn cut(mut choices: Choices<'_>) {
    let (Some(size), Some(vary)) = (choices.byte(), choices.byte()) else {
        return;
    };
    let message = choices.rest();
    let Ok(length) = u16::try_from(message.len()) else {
        return;
    };
    if message.is_empty() || length > 1 << 12 {
        return;
    }
    let one = read(&in_records(message, message.len()));
    let mut sizes = usize::from(size) + 1;
    let mut many = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.min(rest.len()));
        many.extend(in_records(piece, piece.len()));
        rest = after;
        sizes = (sizes + usize::from(vary)) % 300 + 1;
    }
    let many = read(&many);
    let is_too_long = matches!(many, Err(Failure::HelloTooLong));
    // What is wrong may be told of earlier or later.
    assert!(
        one == many || is_too_long || (one.is_err() && many.is_err()) || one.is_err(),
        "{one:?} {many:?}"
    );
}

fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| {
        let [high, low] = u16::try_from(piece.len()).unwrap_or_default().to_be_bytes();
        [&[22, 3, 1, high, low], piece].concat()
    };
    message.chunks(size.max(1)).flat_map(record).collect()
}

/// What is said is read.
fn said(mut choices: Choices<'_>) {
    let Some(length) = choices.byte() else { return };
    let mut name = Vec::new();
    for _ in 0..length {
        let Some(byte) = choices.byte() else { break };
        name.push(b'a' + byte % 26);
    }
    let mut protocols: Vec<Box<[u8]>> = Vec::new();
    while let Some(length) = choices.byte() {
        protocols.push(vec![b'p'; usize::from(length).max(1)].into());
    }
    protocols.truncate(200);
    let long = |value: &[u8]| {
        [
            &u16::try_from(value.len()).unwrap_or_default().to_be_bytes()[..],
            value,
        ]
        .concat()
    };
    let mut extensions = Vec::new();
    if !name.is_empty() {
        extensions.extend([0, 0]);
        extensions.extend(long(&long(&[&[0][..], &long(&name)].concat())));
    }
    if !protocols.is_empty() {
        let list: Vec<u8> = protocols
            .iter()
            .flat_map(|one| [&[u8::try_from(one.len()).unwrap_or_default()][..], one].concat())
            .collect();
        if list.len() > 15_000 {
            return;
        }
        extensions.extend([0, 16]);
        extensions.extend(long(&long(&list)));
    }
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &long(&extensions),
    ]
    .concat();
    let message = [&[1, 0][..], &long(&body)].concat();
    let expected = ClientHello {
        name: (!name.is_empty()).then(|| name.into()),
        protocols,
    };
    assert_eq!(read(&in_records(&message, 1 << 14)), Ok(Some(expected)));
}
