//! Addresses: one name for one peer, and which of them get in each other's way (pure).

use std::net::{IpAddr, SocketAddr};

/// Whether connections of a socket that is bound to `addr`, or connects to it, stay within the machine (but for rules
/// that translate loopback addresses).
pub(super) fn is_within_machine(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

/// The address with an IPv4-mapped IPv6 address written as IPv4, so that one peer has one name.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, addr.port())),
            None => addr,
        },
        IpAddr::V4(_) => addr,
    }
}

/// Whether two listen addresses cannot be bound at the same time, unless both are shared: the same port, and the same
/// address, or one that stands for all of its family. Port 0 is never the same port.
#[must_use]
pub fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    // Listeners of IPv6 have IPv6 only, so the families do not meet.
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_get_in_each_others_way() {
        let overlap = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse().expect("an address"));
            assert_eq!(overlaps(one, other), overlaps(other, one));
            overlaps(one, other)
        };
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("127.0.0.1:80", "0.0.0.0:80"));
        assert!(overlap("[::1]:80", "[::]:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("0.0.0.0:80", "[::]:80"));
        assert!(
            !overlap("127.0.0.1:0", "127.0.0.1:0"),
            "two ports of the system's choice"
        );
    }
}
