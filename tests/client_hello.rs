//! First messages of openssl's clients, as `scripts/vectors` recorded them: whole, in pieces, and in many records.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use tcp_forwarder::preface::Failure;
use tcp_forwarder::preface::client_hello::{ClientHello, MOST_BYTES, read};

/// Each file, the name in it, and the protocols.
const VECTORS: [(&str, &str, &[&str]); 6] = [
    ("tls13", "www.example.org", &["h2", "http/1.1"]),
    ("tls12", "mixed.example.org", &[]),
    ("tls13_only", "a.b.c.example", &["acme-tls/1"]),
    ("no_name", "", &[]),
    ("no_name_tls12_alpn", "", &["http/1.1"]),
    ("many_groups", "long.example", &[]),
];

fn vectors() -> impl Iterator<Item = (&'static str, Vec<u8>, ClientHello)> {
    VECTORS.into_iter().map(|(file, name, protocols)| {
        let path = format!("tests/vectors/client_hello/{file}.bin");
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let hello = ClientHello {
            name: (!name.is_empty()).then(|| name.as_bytes().into()),
            protocols: protocols.iter().map(|one| one.as_bytes().into()).collect(),
        };
        (file, bytes, hello)
    })
}

/// The same message in records of so many bytes.
fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
    let content = &bytes[5..];
    let records = content.chunks(size).map(|piece| {
        let [high, low] = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[22, 3, 1, high, low], piece].concat()
    });
    records.collect::<Vec<_>>().concat()
}

#[test]
fn each_is_read_in_any_number_of_pieces_and_records() {
    for (file, bytes, hello) in vectors() {
        for size in [bytes.len(), 1000, 100, 17, 3, 1] {
            let bytes = in_records(&bytes, size);
            for end in 0..bytes.len() {
                assert_eq!(
                    read(&bytes[..end]),
                    Ok(None),
                    "{file}: {end} bytes in records of {size}"
                );
            }
            assert_eq!(read(&bytes), Ok(Some(hello.clone())), "{file}, records of {size}");
            let more = [&bytes[..], &[23, 3, 3, 0, 1, 0]].concat();
            assert_eq!(read(&more), Ok(Some(hello.clone())), "{file}, and early data");
        }
    }
}

/// Whatever one byte is changed to, nothing panics, and what comes of it is one of few things.
#[test]
fn one_wrong_byte_does_no_harm() {
    let mut rng = fastrand::Rng::with_seed(7);
    for (file, bytes, _) in vectors() {
        for place in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= rng.u8(1..);
            match read(&wrong) {
                Ok(Some(_) | None) => {}
                Err(failure) => {
                    let expected = [Failure::NotTls, Failure::HelloMalformed, Failure::HelloTooLong];
                    assert!(expected.contains(&failure), "{file}: {failure:?} by byte {place}");
                }
            }
        }
    }
}

#[test]
fn the_longest_that_is_read_is_read() {
    let (_, bytes, hello) = vectors().next().unwrap();
    // Longer by one extension of padding (RFC 7685), to the last byte that there is room for.
    let longer = |length: usize| {
        let padding = length - bytes.len() - 4;
        let mut body = bytes[9..].to_vec();
        let extensions = body.len() - usize::from(u16::from_be_bytes(find_extensions(&body)));
        body.extend([0, 21]);
        body.extend(u16::try_from(padding).unwrap().to_be_bytes());
        body.extend(vec![0; padding]);
        let all = u16::try_from(body.len() - extensions).unwrap().to_be_bytes();
        body[extensions - 2..extensions].copy_from_slice(&all);
        let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[1, 0, high, low], &body[..]].concat();
        let [high, low] = u16::try_from(message.len()).unwrap().to_be_bytes();
        [&[22, 3, 1, high, low], &message[..]].concat()
    };
    assert_eq!(read(&longer(MOST_BYTES)), Ok(Some(hello)));
    let too_long = longer(MOST_BYTES + 1);
    assert_eq!(read(&too_long[..MOST_BYTES - 1]), Ok(None));
    assert_eq!(read(&too_long[..MOST_BYTES]), Err(Failure::HelloTooLong));
}

/// The length of the extensions of the body of a message, as it stands there.
fn find_extensions(body: &[u8]) -> [u8; 2] {
    let mut at = 34;
    at += 1 + usize::from(body[at]);
    at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    at += 1 + usize::from(body[at]);
    [body[at], body[at + 1]]
}
