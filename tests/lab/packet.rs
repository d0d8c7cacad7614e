//! The little of an IP packet that the wire reads: who sends it and to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Source and destination of an IPv4 or IPv6 packet; `None` for anything else.
pub(crate) fn endpoints(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some((Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into()))
        }
        6 => {
            let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into()))
        }
        _ => None,
    }
}

/// Source and destination port, or zero where the packet has none. Both families' option headers are rare
/// enough here to count as "none".
pub(crate) fn ports(packet: &[u8]) -> (u16, u16) {
    let transport = match packet.first().map(|byte| (byte >> 4, byte & 0x0f)) {
        Some((4, words)) => usize::from(words) * 4,
        Some((6, _)) => 40,
        Some(_) | None => return (0, 0),
    };
    let port = |at: usize| {
        packet
            .get(at..at + 2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    (port(transport).unwrap_or(0), port(transport + 2).unwrap_or(0))
}

/// Whether a packet opens a TCP connection: SYN without ACK.
pub(crate) fn is_opening(packet: &[u8]) -> bool {
    const TCP: u8 = 6;
    let (protocol, transport) = match packet.first().map(|byte| (byte >> 4, byte & 0x0f)) {
        Some((4, words)) => (packet.get(9), usize::from(words) * 4),
        Some((6, _)) => (packet.get(6), 40),
        Some(_) | None => return false,
    };
    let flags = packet.get(transport + 13);
    protocol == Some(&TCP) && flags.is_some_and(|flags| flags & 0x12 == 0x02)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_read_and_everything_else_is_refused() {
        let mut v4 = [0_u8; 20];
        v4[0] = 0x45;
        v4[12..16].copy_from_slice(&[198, 19, 0, 1]);
        v4[16..20].copy_from_slice(&[198, 18, 3, 4]);
        let expected = ("198.19.0.1".parse().unwrap(), "198.18.3.4".parse().unwrap());
        assert_eq!(endpoints(&v4), Some(expected));
        assert_eq!(endpoints(&v4[..19]), None, "too short");
        assert_eq!(ports(&v4), (0, 0), "no room for ports");
        let with_ports = [&v4[..], &[0x1f, 0x90, 0, 80]].concat();
        assert_eq!(ports(&with_ports), (8080, 80));

        let mut v6 = [0_u8; 40];
        v6[0] = 0x60;
        v6[23] = 1;
        v6[39] = 2;
        assert_eq!(
            endpoints(&v6),
            Some(("::1".parse().unwrap(), "::2".parse().unwrap()))
        );

        assert_eq!(endpoints(&[]), None);
        assert_eq!(endpoints(&[0x15; 60]), None, "no such version");
    }
}
