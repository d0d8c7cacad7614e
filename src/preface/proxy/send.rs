//! A header that is said to a backend, before the first bytes of its client.

use std::net::{IpAddr, Ipv6Addr};

use super::header::{Endpoints, Facts, MOST_FACT_BYTES, Tls};
use super::v2::{ALPN, AUTHORITY, LOCAL, PROXY, SIGNATURE, SSL, SSL_VERSION, TCP4, TCP6};
use crate::config::ProxySend;

/// The header for a client; without ends: for nobody but ourselves, as when a backend is checked. Empty if none is to
/// be sent. Ends of two families are both told as IPv6.
#[must_use]
pub fn header(version: ProxySend, endpoints: Option<Endpoints>, facts: &Facts) -> Vec<u8> {
    match version {
        ProxySend::Off => Vec::new(),
        ProxySend::V1 => line(endpoints).into_bytes(),
        ProxySend::V2 => binary(endpoints, facts),
    }
}

fn line(endpoints: Option<Endpoints>) -> String {
    let Some(Endpoints { source, destination }) = endpoints else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let ports = (source.port(), destination.port());
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => format!("PROXY TCP4 {from} {to} {} {}\r\n", ports.0, ports.1),
        (from, to) => format!(
            "PROXY TCP6 {} {} {} {}\r\n",
            wide(from),
            wide(to),
            ports.0,
            ports.1
        ),
    }
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn binary(endpoints: Option<Endpoints>, facts: &Facts) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let Some(Endpoints { source, destination }) = endpoints else {
        bytes.extend([LOCAL, 0, 0, 0]);
        return bytes;
    };
    let mut block = Vec::new();
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            block.extend(from.octets());
            block.extend(to.octets());
            TCP4
        }
        (from, to) => {
            block.extend(wide(from).octets());
            block.extend(wide(to).octets());
            TCP6
        }
    };
    block.extend(source.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    if let Some(alpn) = &facts.alpn {
        push(&mut block, ALPN, alpn);
    }
    if let Some(authority) = &facts.authority {
        push(&mut block, AUTHORITY, authority);
    }
    if let Some(tls) = &facts.tls {
        push(&mut block, SSL, &spoken(tls));
    }
    bytes.extend([PROXY, family]);
    bytes.extend(length(block.len()));
    bytes.extend(block);
    bytes
}

fn spoken(tls: &Tls) -> Vec<u8> {
    let mut value = vec![tls.client];
    value.extend(tls.verify.to_be_bytes());
    if !tls.version.is_empty() {
        push(&mut value, SSL_VERSION, &tls.version);
    }
    value
}

fn push(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend(length(value.len()));
    bytes.extend(value);
}

/// A length in two bytes; three facts are far shorter than two bytes can say.
fn length(length: usize) -> [u8; 2] {
    debug_assert!(length < 4 * (MOST_FACT_BYTES + 3), "{length} bytes of facts");
    u16::try_from(length).unwrap_or_default().to_be_bytes()
}
