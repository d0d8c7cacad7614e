//! Headers of both versions, whole, in pieces, and wrong in every way.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::config::{ProxyAccept, ProxySend};
use crate::preface::crc32c::crc32c;

const ANY: ProxyAccept = ProxyAccept::Any;

fn ends(source: &str, destination: &str) -> Endpoints {
    let parse = |text: &str| text.parse().expect("an address");
    Endpoints {
        source: parse(source),
        destination: parse(destination),
    }
}

/// A v2 header with these bytes behind its signature's command and family.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = v2::SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).expect("a length").to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// The addresses of a v2 header of IPv4, and fields behind them.
fn block(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut rest = vec![192, 0, 2, 1, 198, 51, 100, 2, 0xc8, 0, 1, 0xbb];
    for (kind, value) in fields {
        rest.push(*kind);
        rest.extend(u16::try_from(value.len()).expect("a length").to_be_bytes());
        rest.extend(*value);
    }
    rest
}

/// The same header with its checksum, at its end.
fn summed(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut fields = fields.to_vec();
    fields.push((3, &[0; 4]));
    let mut bytes = v2(0x21, 0x11, &block(&fields));
    let sum = crc32c(bytes.iter().copied()).to_be_bytes();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&sum);
    bytes
}

/// What is read of a header that comes byte by byte, with other bytes behind it.
fn read_in_pieces(bytes: &[u8], accept: ProxyAccept) -> Result<Header, Failure> {
    for end in 0..bytes.len() {
        match read(&bytes[..end], accept) {
            Ok(None) => {}
            Ok(Some(header)) => {
                assert_eq!(header.length, end, "no byte too late");
                return Ok(header);
            }
            Err(failure) => return Err(failure),
        }
    }
    let more = [bytes, b"GET / HTTP/1.1\r\n"].concat();
    let header = read(&more, accept)?.expect("a header");
    assert_eq!(
        read(bytes, accept),
        Ok(Some(header.clone())),
        "what follows is no matter"
    );
    Ok(header)
}

fn named(bytes: &[u8]) -> Endpoints {
    let header = read_in_pieces(bytes, ANY).expect("a header");
    assert_eq!(header.length, bytes.len());
    header.endpoints.expect("a client")
}

#[test]
fn a_line_names_the_client() {
    for (line, source, destination) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 51200 443\r\n",
            "192.0.2.1:51200",
            "198.51.100.2:443",
        ),
        (
            "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n",
            "255.255.255.255:65535",
            "0.0.0.0:0",
        ),
        (
            "PROXY TCP6 2001:db8::1 2001:DB8::2 1 2\r\n",
            "[2001:db8::1]:1",
            "[2001:db8::2]:2",
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
            "[::ffff:192.0.2.1]:1",
            "[::1]:2",
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ),
    ] {
        assert_eq!(named(line.as_bytes()), ends(source, destination), "{line}");
    }
}

#[test]
fn a_line_may_name_nobody() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ::1 ::2 1 2\r\n", &longest] {
        let header = read_in_pieces(line.as_bytes(), ANY).expect("a header");
        assert_eq!((header.length, header.endpoints), (line.len(), None), "{line}");
    }
}

/// Lines that begin as a header, and are none.
const WRONG: &[&str] = &[
    "PROXY TCP4 192.0.2.1 198.51.100.2 51200 443\n",
    "PROXY \r\n",
    "PROXY TCP4\r\n",
    "PROXY TCP5 192.0.2.1 198.51.100.2 51200 443\r\n",
    "PROXY tcp4 192.0.2.1 198.51.100.2 51200 443\r\n",
    "PROXY UDP4 192.0.2.1 198.51.100.2 51200 443\r\n",
    "PROXY UNKNOWNS\r\n",
    // Families that are mixed.
    "PROXY TCP4 ::1 198.51.100.2 51200 443\r\n",
    "PROXY TCP6 2001:db8::1 198.51.100.2 51200 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 51200\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 51200 443 1\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 51200 443 \r\n",
    "PROXY  TCP4 192.0.2.1 198.51.100.2 51200 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2  443\r\n",
    "PROXY TCP4 192.0.2.256 198.51.100.2 1 443\r\n",
    "PROXY TCP4 192.0.02.1 198.51.100.2 1 443\r\n",
    "PROXY TCP6 2001:db8::1%eth0 ::1 1 443\r\n",
    "PROXY TCP4 192.0.2.1\t198.51.100.2 1 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 1\0 443\r\n",
    "PROXY TCP4 192.0.2.1 \u{fffd} 1 443\r\n",
];

#[test]
fn a_wrong_line_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    for line in WRONG {
        assert_eq!(
            read_in_pieces(line.as_bytes(), ANY),
            Err(Failure::ProxyMalformed),
            "{line:?}"
        );
    }
    for line in [
        "PROXI TCP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "GET / HTTP/1.1\r\n",
        "\u{16}\u{3}\u{1}",
        "\r\n\r\n\r\n",
    ] {
        assert_eq!(
            read_in_pieces(line.as_bytes(), ANY),
            Err(Failure::NoProxyHeader),
            "{line:?}"
        );
    }
    assert_eq!(read_in_pieces(long.as_bytes(), ANY), Err(Failure::ProxyTooLong));
    let mut latin = b"PROXY TCP4 192.0.2.1 198.51.100.2 1 44\xe9\r\n".to_vec();
    assert_eq!(read_in_pieces(&latin, ANY), Err(Failure::ProxyMalformed));
    latin.truncate(20);
    assert_eq!(read(&latin, ANY), Ok(None), "its end may come");
}

#[test]
fn a_binary_header_names_the_client() {
    let expected = ends("192.0.2.1:51200", "198.51.100.2:443");
    assert_eq!(named(&v2(0x21, 0x11, &block(&[]))), expected);
    let six = ends("[2001:db8::1]:51200", "[2001:db8::2]:443");
    let bytes = compose(ProxySend::V2, Some(six), &Facts::default());
    assert_eq!(bytes.len(), 16 + 36);
    assert_eq!(named(&bytes), six);
}

#[test]
fn a_binary_header_may_name_nobody() {
    let unix = [b'/'; 216];
    for (command, family, rest) in [
        (0x20, 0x00, &[][..]),
        // Whatever a LOCAL one says besides is to be ignored, family and all.
        (0x20, 0x11, &block(&[(3, &[1, 2, 3, 4])])),
        (0x20, 0xff, b"whatever"),
        (0x21, 0x00, &[]),
        (0x21, 0x00, &[4, 0, 1, 0]),
        (0x21, 0x31, &unix),
        // A client of UDP is none of TCP.
        (0x21, 0x12, &block(&[])),
        (0x21, 0x10, &block(&[])),
    ] {
        let bytes = v2(command, family, rest);
        let header = read_in_pieces(&bytes, ANY).expect("a header");
        assert_eq!(
            (header.length, header.endpoints),
            (bytes.len(), None),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_wrong_binary_header_is_refused() {
    let mut lies = block(&[(1, b"h2")]);
    let last = lies.len() - 3;
    lies[last] = 3;
    let mut huge = v2(0x21, 0x11, &block(&[]));
    huge[14] = 0xff;
    let mut sum = summed(&[(1, b"h2")]);
    sum[16] ^= 1;
    for (bytes, failure) in [
        // Versions and commands that there are not.
        (v2(0x11, 0x11, &block(&[])), Failure::ProxyMalformed),
        (v2(0x31, 0x11, &block(&[])), Failure::ProxyMalformed),
        (v2(0x22, 0x11, &block(&[])), Failure::ProxyMalformed),
        // Families, too.
        (v2(0x21, 0x41, &block(&[])), Failure::ProxyMalformed),
        (v2(0x21, 0x13, &block(&[])), Failure::ProxyMalformed),
        // Lengths that lie: no room for the addresses, too much in a field, part of one, too much of all.
        (v2(0x21, 0x11, &block(&[])[..11]), Failure::ProxyMalformed),
        (v2(0x21, 0x21, &block(&[])), Failure::ProxyMalformed),
        (v2(0x21, 0x31, &[b'/'; 215]), Failure::ProxyMalformed),
        (v2(0x21, 0x11, &lies), Failure::ProxyMalformed),
        (
            v2(0x21, 0x11, &[block(&[]), vec![4, 0]].concat()),
            Failure::ProxyMalformed,
        ),
        (
            v2(0x21, 0x11, &block(&[(0x20, &[1, 0, 0, 0])])),
            Failure::ProxyMalformed,
        ),
        (
            v2(0x21, 0x11, &block(&[(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 9])])),
            Failure::ProxyMalformed,
        ),
        (huge, Failure::ProxyTooLong),
        (
            v2(0x21, 0x11, &[block(&[]), vec![0; MOST_BYTES]].concat()),
            Failure::ProxyTooLong,
        ),
        (sum, Failure::ProxyChecksum),
        (v2(0x21, 0x11, &block(&[(3, &[0; 4])])), Failure::ProxyChecksum),
        (v2(0x21, 0x11, &block(&[(3, &[0; 3])])), Failure::ProxyMalformed),
    ] {
        assert_eq!(read_in_pieces(&bytes, ANY), Err(failure), "{bytes:?}");
    }
    let mut twice = summed(&[]);
    twice.extend(&[3, 0, 4, 0, 0, 0, 0]);
    twice[15] += 7;
    assert!(read(&twice, ANY).is_err(), "one checksum is enough");
}

#[test]
fn what_else_is_said_is_kept() {
    let ssl = [
        &[7, 0, 0, 0, 0][..],
        &[0x22, 0, 3],
        b"me!",
        &[0x21, 0, 7],
        b"TLSv1.3",
    ]
    .concat();
    let bytes = summed(&[
        (4, &[0; 20]),
        (1, b"h2"),
        (2, b"example.org"),
        (0x20, &ssl),
        (0xea, b"vpce"),
    ]);
    let header = read_in_pieces(&bytes, ANY).expect("a header");
    let facts = Facts {
        alpn: Some(Box::from(*b"h2")),
        authority: Some(Box::from(*b"example.org")),
        tls: Some(Tls {
            client: 7,
            verify: 0,
            version: Box::from(*b"TLSv1.3"),
        }),
    };
    assert_eq!(header.facts, facts);
    let again = compose(ProxySend::V2, header.endpoints, &facts);
    assert_eq!(read_in_pieces(&again, ANY).expect("a header").facts, facts);
    // What is too long to be passed on, or says nothing.
    let long = [b'x'; MOST_FACT_BYTES + 1];
    let bytes = v2(0x21, 0x11, &block(&[(1, &long), (2, b""), (0x20, &[0; 5])]));
    assert!(read_in_pieces(&bytes, ANY).expect("a header").facts.is_empty());
}

#[test]
fn only_the_versions_that_are_accepted_are_read() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 51200 443\r\n".to_vec();
    let binary = v2(0x21, 0x11, &block(&[]));
    for (bytes, accept, expected) in [
        (&line, ProxyAccept::V1, Ok(line.len())),
        (&line, ProxyAccept::V2, Err(Failure::ProxyVersion)),
        (&binary, ProxyAccept::V2, Ok(binary.len())),
        (&binary, ProxyAccept::V1, Err(Failure::ProxyVersion)),
    ] {
        let found = read_in_pieces(bytes, accept).map(|header| header.length);
        assert_eq!(found, expected, "{accept:?}");
    }
}

#[test]
fn a_header_is_said_as_others_read_it() {
    let four = ends("192.0.2.1:51200", "198.51.100.2:443");
    let mixed = ends("192.0.2.1:51200", "[2001:db8::2]:443");
    let said = |version, ends| compose(version, ends, &Facts::default());
    for (version, ends, expected) in [
        (ProxySend::Off, Some(four), &b""[..]),
        (
            ProxySend::V1,
            Some(four),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 51200 443\r\n",
        ),
        (
            ProxySend::V1,
            Some(mixed),
            b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 51200 443\r\n",
        ),
        (ProxySend::V1, None, b"PROXY UNKNOWN\r\n"),
        (ProxySend::V2, None, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
        (ProxySend::V2, Some(four), &v2(0x21, 0x11, &block(&[]))),
    ] {
        assert_eq!(said(version, ends), expected, "{version:?} {ends:?}");
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn fact() -> impl Strategy<Value = Option<Box<[u8]>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 1..=MOST_FACT_BYTES).prop_map(Into::into))
}

proptest! {
    #[test]
    fn what_is_said_is_read(source in address(), destination in address(), alpn in fact(), authority in fact()) {
        let endpoints = Endpoints { source, destination };
        let facts = Facts { alpn, authority, tls: None };
        // Ends of two families are both told as IPv6.
        let canonical = |ends: Endpoints| [ends.source, ends.destination].map(crate::net::canonical);
        for version in [ProxySend::V1, ProxySend::V2] {
            let bytes = compose(version, Some(endpoints), &facts);
            let header = read_in_pieces(&bytes, ANY).expect("a header");
            prop_assert_eq!(header.length, bytes.len());
            prop_assert_eq!(header.endpoints.map(canonical), Some(canonical(endpoints)));
            prop_assert!(version == ProxySend::V1 || header.facts == facts);
        }
    }

    #[test]
    fn one_bit_is_enough_for_the_checksum(place in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = summed(&[(1, b"h2"), (4, b"padding")]);
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        if let Ok(Some(header)) = read(&bytes, ANY) {
            // It calls itself LOCAL, or another length or type of field has hidden the checksum.
            prop_assert!(place >= 12 && (header.endpoints.is_none() || !(16..28).contains(&place)), "{}", place);
        }
    }
}
