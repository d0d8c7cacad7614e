//! Which listen addresses take a port from each other.
//!
//! It looks at each address once, however many there are.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// An address that is taken already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// By whom.
    pub(super) owner: usize,
    /// As this address, which is the same one or overlaps it.
    pub(super) addr: SocketAddr,
}

/// All addresses so far, each with its owner. An owner's addresses come in a row, and may overlap each other.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Addresses of a port.
    exact: HashMap<(IpAddr, u16), Taken>,
    /// Those that stand for all addresses of a family, which is whether it is IPv4.
    unspecified: HashMap<(bool, u16), Taken>,
    /// The first of each port and family.
    first: HashMap<(bool, u16), Taken>,
}

impl Listeners {
    /// Adds an address, or says who has it already. Port 0 takes a new free port each time.
    pub(super) fn take(&mut self, owner: usize, addr: SocketAddr) -> Result<(), Taken> {
        if addr.port() == 0 {
            return Ok(());
        }
        let exact = (addr.ip(), addr.port());
        let family = (addr.is_ipv4(), addr.port());
        let is_unspecified = addr.ip().is_unspecified();
        let overlapping = [
            self.exact.get(&exact),
            self.unspecified.get(&family),
            self.first.get(&family).filter(|_| is_unspecified),
        ];
        if let Some(taken) = overlapping
            .into_iter()
            .flatten()
            .find(|taken| taken.owner != owner)
        {
            return Err(*taken);
        }
        let this = Taken { owner, addr };
        self.exact.entry(exact).or_insert(this);
        if is_unspecified {
            self.unspecified.entry(family).or_insert(this);
        }
        self.first.entry(family).or_insert(this);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    /// Whether one of two listeners would find its port taken by the other.
    fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
        let one_takes_all = a.ip().is_unspecified() || b.ip().is_unspecified();
        let same_family = a.is_ipv4() == b.is_ipv4();
        a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || (one_takes_all && same_family))
    }

    fn addr() -> impl proptest::strategy::Strategy<Value = SocketAddr> {
        use proptest::strategy::Strategy as _;
        (any::<proptest::sample::Index>(), 0_u16..3).prop_map(|(ip, port)| {
            let all = ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::2"];
            let ip: IpAddr = all[ip.index(all.len())].parse().expect("an address");
            SocketAddr::new(ip, port)
        })
    }

    proptest! {
        /// The index finds what comparing each with each would.
        #[test]
        fn whoever_overlaps_an_earlier_owner_is_told(
            owners in proptest::collection::vec(proptest::collection::vec(addr(), 1..4), 1..6),
        ) {
            let mut listeners = Listeners::default();
            let mut before: Vec<(usize, SocketAddr)> = Vec::new();
            for (owner, addrs) in owners.iter().enumerate() {
                for addr in addrs {
                    let expected = before.iter().any(|(other, taken)| *other != owner && overlap(*addr, *taken));
                    let found = listeners.take(owner, *addr);
                    prop_assert_eq!(found.is_err(), expected, "{} {:?}", addr, before);
                    if let Err(taken) = found {
                        prop_assert_eq!(before.contains(&(taken.owner, taken.addr)), true);
                        prop_assert_eq!(overlap(taken.addr, *addr), true);
                    } else {
                        before.push((owner, *addr));
                    }
                }
            }
        }
    }
}
