//! Which of our addresses faces a peer.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};

use super::source::leave_from;
use crate::config::Bind;

/// The address that a connection to `peer` would come from now if it left from where `bind` says; none without a route, or
/// where there is nothing to leave from. No packet is sent: to connect a datagram socket is to look a route up.
#[must_use]
pub fn source_towards(peer: SocketAddr, bind: &Bind) -> Option<IpAddr> {
    let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, None).ok()?;
    leave_from(&socket, bind, peer).ok()?;
    socket.connect(&peer.into()).ok()?;
    let source = socket.local_addr().ok()?.as_socket()?.ip();
    (!source.is_unspecified()).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn loopback_faces_loopback() {
        let any = Bind::default();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert_eq!(source_towards(peer, &any), Some(Ipv4Addr::LOCALHOST.into()));
        let peer = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        assert_eq!(source_towards(peer, &any), None, "to everybody is to nobody");
    }

    #[test]
    fn what_is_left_from_is_what_faces_the_peer() {
        let from = |address: [u8; 4]| Bind {
            addresses: vec![address.into()],
            interface: None,
        };
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert_eq!(
            source_towards(peer, &from([127, 0, 0, 7])),
            Some([127, 0, 0, 7].into())
        );
        assert_eq!(
            source_towards(peer, &from([192, 0, 2, 7])),
            None,
            "it is not ours"
        );
        let other_family = Bind {
            addresses: vec![IpAddr::from([0; 16])],
            interface: None,
        };
        assert_eq!(source_towards(peer, &other_family), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_interface_that_is_not_there_faces_nobody() {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let on = |name: &str| Bind {
            addresses: Vec::new(),
            interface: Some(name.to_owned()),
        };
        assert_eq!(source_towards(peer, &on("lo")), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(source_towards(peer, &on("none-of-ours")), None);
    }
}
