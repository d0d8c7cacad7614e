//! Version 2: a signature, 4 bytes, the addresses, and what else there is as type, length and value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::crc32c::crc32c;
use super::super::failure::Failure;
use super::header::{Endpoints, Facts, Header, MOST_BYTES, MOST_FACT_BYTES, Tls};

/// How a header begins.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
pub(super) const HEAD: usize = 16;

pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;
pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
pub(super) const SSL: u8 = 0x20;
pub(super) const SSL_VERSION: u8 = 0x21;

/// Whether these bytes may be the beginning of a header.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let count = bytes.len().min(SIGNATURE.len());
    bytes.get(..count) == SIGNATURE.get(..count)
}

/// Reads a header that has begun as one.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Header>, Failure> {
    let [_, _, _, _, _, _, _, _, _, _, _, _, command, family, high, low, ..] = *bytes else {
        return match bytes.get(SIGNATURE.len()) {
            Some(command) if !is_command(*command) => Err(Failure::ProxyMalformed),
            Some(_) | None => Ok(None),
        };
    };
    if !is_command(command) {
        return Err(Failure::ProxyMalformed);
    }
    let length = HEAD + usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_BYTES {
        return Err(Failure::ProxyTooLong);
    }
    let Some(whole) = bytes.get(..length) else {
        return Ok(None);
    };
    // Whatever a LOCAL one says of addresses is to be ignored, and with it where that ends.
    if command == LOCAL {
        return Ok(Some(Header {
            length,
            endpoints: None,
            facts: Facts::default(),
        }));
    }
    let addresses = whole.get(HEAD..).unwrap_or_default();
    let (size, endpoints) = addressed(family, addresses).ok_or(Failure::ProxyMalformed)?;
    let facts = facts(whole, HEAD + size)?;
    Ok(Some(Header {
        length,
        endpoints,
        facts,
    }))
}

fn is_command(byte: u8) -> bool {
    byte == LOCAL || byte == PROXY
}

/// How many bytes the addresses take, and what they are where a client of TCP is meant; none if they do not fit.
fn addressed(family: u8, bytes: &[u8]) -> Option<(usize, Option<Endpoints>)> {
    // Families: unspecified, IPv4, IPv6, Unix; above them what is unspecified, a stream, datagrams.
    let (size, endpoints) = match (family >> 4, family & 0xf) {
        (0, 0..=2) => (0, None),
        (1, 1) => (12, Some(v4(bytes.first_chunk()?))),
        (1, 0 | 2) => (12, None),
        (2, 1) => (36, Some(v6(bytes.first_chunk()?))),
        (2, 0 | 2) => (36, None),
        (3, 0..=2) => (216, None),
        _ => return None,
    };
    (bytes.len() >= size).then_some((size, endpoints))
}

fn v4(block: &[u8; 12]) -> Endpoints {
    let address = |from| Ipv4Addr::from(at::<4>(block, from)).into();
    endpoints([address(0), address(4)], at(block, 8))
}

fn v6(block: &[u8; 36]) -> Endpoints {
    let address = |from| Ipv6Addr::from(at::<16>(block, from)).into();
    endpoints([address(0), address(16)], at(block, 32))
}

fn endpoints([source, destination]: [IpAddr; 2], [a, b, c, d]: [u8; 4]) -> Endpoints {
    Endpoints {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}

/// So many bytes of a block, which has them.
fn at<const N: usize>(block: &[u8], from: usize) -> [u8; N] {
    let found = block.get(from..).and_then(|rest| rest.first_chunk().copied());
    debug_assert!(found.is_some(), "{N} bytes at {from}");
    found.unwrap_or([0; N])
}

/// What stands behind the addresses of a whole header.
fn facts(whole: &[u8], from: usize) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    let mut at = from;
    let mut has_sum = false;
    while at < whole.len() {
        let rest = whole.get(at..).unwrap_or_default();
        let (kind, value) = field(rest).ok_or(Failure::ProxyMalformed)?;
        match kind {
            ALPN => facts.alpn = kept(value),
            AUTHORITY => facts.authority = kept(value),
            SSL => facts.tls = Some(tls(value).ok_or(Failure::ProxyMalformed)?).filter(is_known),
            CRC32C => {
                let sum: [u8; 4] = value.try_into().map_err(|_| Failure::ProxyMalformed)?;
                if has_sum {
                    return Err(Failure::ProxyMalformed);
                }
                has_sum = true;
                let field = at + 3..at + 7;
                // It is the sum of all bytes, its own counting as zeros.
                let bytes = whole.iter().enumerate();
                let bytes = bytes.map(|(place, byte)| if field.contains(&place) { 0 } else { *byte });
                if crc32c(bytes) != u32::from_be_bytes(sum) {
                    return Err(Failure::ProxyChecksum);
                }
            }
            _ => {}
        }
        at += 3 + value.len();
    }
    Ok(facts)
}

/// The first of some fields: its type and its value.
fn field(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [kind, high, low, rest @ ..] = bytes else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    Some((*kind, rest.get(..length)?))
}

fn kept(value: &[u8]) -> Option<Box<[u8]>> {
    (!value.is_empty() && value.len() <= MOST_FACT_BYTES).then(|| value.into())
}

/// What is said of TLS; none if it is wrong.
fn tls(value: &[u8]) -> Option<Tls> {
    let [client, verify @ ..] = value.first_chunk::<5>()?;
    let mut tls = Tls {
        client: *client,
        verify: u32::from_be_bytes(*verify),
        version: Box::default(),
    };
    let mut rest = value.get(5..)?;
    while !rest.is_empty() {
        let (kind, value) = field(rest)?;
        if kind == SSL_VERSION {
            tls.version = kept(value).unwrap_or_default();
        }
        rest = rest.get(3 + value.len()..)?;
    }
    Some(tls)
}

/// Whether it says that there was TLS.
fn is_known(tls: &Tls) -> bool {
    tls.client & 1 == 1
}
