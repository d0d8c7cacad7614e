//! Version 1: one line of text, `PROXY TCP4 192.0.2.1 192.0.2.2 51000 443`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::failure::Failure;
use super::header::{Endpoints, Facts, Header};

/// How a line begins.
pub(super) const BEGINNING: &[u8] = b"PROXY ";

/// The longest line, its end included: one of `UNKNOWN` with all that may follow.
const MOST_BYTES: usize = 107;

/// Whether these bytes may be the beginning of a line.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let count = bytes.len().min(BEGINNING.len());
    bytes.get(..count) == BEGINNING.get(..count)
}

/// Reads a line that has begun as one.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Header>, Failure> {
    let most = bytes.get(..MOST_BYTES).unwrap_or(bytes);
    let Some(end) = most.iter().position(|byte| *byte == b'\n') else {
        return if most.len() == MOST_BYTES {
            Err(Failure::ProxyTooLong)
        } else {
            Ok(None)
        };
    };
    let line = most
        .get(BEGINNING.len()..end)
        .and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| str::from_utf8(line).ok());
    let line = line.ok_or(Failure::ProxyMalformed)?;
    // What follows it is to be ignored.
    let is_unknown = line == "UNKNOWN" || line.starts_with("UNKNOWN ");
    let endpoints = endpoints(line);
    if endpoints.is_none() && !is_unknown {
        return Err(Failure::ProxyMalformed);
    }
    Ok(Some(Header {
        length: end + 1,
        endpoints,
        facts: Facts::default(),
    }))
}

/// What stands behind `PROXY `; none if it names nobody.
fn endpoints(line: &str) -> Option<Endpoints> {
    let mut words = line.split(' ');
    let family = words.next()?;
    let (source, destination) = (words.next()?, words.next()?);
    let (source, destination): (IpAddr, IpAddr) = match family {
        "TCP4" => (
            source.parse::<Ipv4Addr>().ok()?.into(),
            destination.parse::<Ipv4Addr>().ok()?.into(),
        ),
        "TCP6" => (
            source.parse::<Ipv6Addr>().ok()?.into(),
            destination.parse::<Ipv6Addr>().ok()?.into(),
        ),
        _ => return None,
    };
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(Endpoints {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// A port in decimal, without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word.len() == 1 || !word.starts_with('0'));
    if is_plain { word.parse().ok() } else { None }
}
