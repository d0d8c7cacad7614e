//! Which of our addresses faces a peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address that a connection to `peer` would come from now; none without a route. No packet is sent: to connect a
/// datagram socket is to look a route up.
#[must_use]
pub fn source_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_faces_loopback() {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert_eq!(source_towards(peer), Some(Ipv4Addr::LOCALHOST.into()));
        let peer = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        assert_eq!(source_towards(peer), None, "to everybody is to nobody");
    }
}
