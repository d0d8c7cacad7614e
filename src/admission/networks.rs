//! A set of networks of both families (pure).

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks, looked up in O(log n).
///
/// Invariant: those of one family are sorted and have no address in common.
#[derive(Debug)]
pub struct Networks {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl Networks {
    /// The union of these.
    #[must_use]
    pub fn of(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push(*network),
                IpNet::V6(network) => v6.push(*network),
            }
        }
        let (mut v4, mut v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
        v4.sort_unstable();
        v6.sort_unstable();
        Self { v4, v6 }
    }

    /// Whether one of them has the address. The families are apart: no IPv6 network has an IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => {
                let after = self.v4.partition_point(|network| network.network() <= ip);
                let nearest = after.checked_sub(1).and_then(|place| self.v4.get(place));
                nearest.is_some_and(|network| network.contains(&ip))
            }
            IpAddr::V6(ip) => {
                let after = self.v6.partition_point(|network| network.network() <= ip);
                let nearest = after.checked_sub(1).and_then(|place| self.v6.get(place));
                nearest.is_some_and(|network| network.contains(&ip))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn families_are_apart() {
        let all = |text: &str| Networks::of(&[text.parse().expect("a network")]);
        let (v4, v6) = (IpAddr::from([192, 0, 2, 1]), IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert!(all("0.0.0.0/0").contains(v4) && !all("0.0.0.0/0").contains(v6));
        assert!(all("::/0").contains(v6) && !all("::/0").contains(v4));
        assert!(!Networks::of(&[]).contains(v4));
    }

    /// Addresses and networks close together, so that they meet.
    fn near_v4() -> impl Strategy<Value = Ipv4Addr> {
        (0..256_u32).prop_map(|low| Ipv4Addr::from(0x0a00_0000 | low))
    }

    fn near_v6() -> impl Strategy<Value = Ipv6Addr> {
        (0..256_u128).prop_map(|low| Ipv6Addr::from(0x2001_0db8_u128 << 96 | low << 60))
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_network(
            v4 in prop::collection::vec((near_v4(), 20..=32_u8), 0..12),
            v6 in prop::collection::vec((near_v6(), 50..=128_u8), 0..12),
            ask_v4 in near_v4(),
            ask_v6 in near_v6(),
        ) {
            let v4 = v4.into_iter().map(|(ip, prefix)| IpNet::new(ip.into(), prefix).expect("a network"));
            let v6 = v6.into_iter().map(|(ip, prefix)| IpNet::new(ip.into(), prefix).expect("a network"));
            let networks: Vec<IpNet> = v4.chain(v6).collect();
            let set = Networks::of(&networks);
            for ip in [IpAddr::V4(ask_v4), IpAddr::V6(ask_v6)] {
                let expected = networks.iter().any(|network| network.contains(&ip));
                prop_assert_eq!(set.contains(ip), expected, "{} in {:?}", ip, networks);
            }
        }
    }
}
