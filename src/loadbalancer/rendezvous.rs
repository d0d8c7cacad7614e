//! Which member a client belongs to: weighted rendezvous hashing. Pure.
//!
//! Each pair of a client and a member has a number h between 0 and 1, which is as good as random and always the same, and the
//! client belongs to the member with the highest -w/ln(h), w being its weight. So of n members that weigh the same each has a
//! share of 1/n, others as they weigh; and a member that leaves or comes moves no client but its own: for all others the
//! numbers stay what they were.
//!
//! Sources: D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking
//! 6 (1998); C. Schindelhauer, G. Schomaker, "Weighted distributed hash tables", SPAA 2005 (the logarithm); D. Lemire's and
//! D. Stafford's mixing of bits (variant 13, as in `SplitMix64`).

use std::net::{IpAddr, SocketAddr};

use crate::base::hash::{self, mix};
use crate::net;

/// Who a client is, as far as it is to be told from others: its address; of IPv6 the network (/64), in which a machine takes
/// other addresses every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity(u64);

impl Affinity {
    /// That of whoever connects from there.
    #[must_use]
    pub fn of(client: SocketAddr) -> Self {
        Self(match net::canonical(client).ip() {
            // No network of IPv6 that is routed has a number so low.
            IpAddr::V4(ip) => ip.to_bits().into(),
            IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).unwrap_or(0),
        })
    }

    /// What is highest for the member that it belongs to: above 0.
    #[must_use]
    pub fn score(self, member: &SocketAddr, weight: u64) -> f64 {
        -float(weight) / unit(mix(mix(self.0) ^ hash::of_addr(member))).ln()
    }
}

/// A number between 0 and 1, neither of them.
fn unit(bits: u64) -> f64 {
    (float(bits >> 12) + 0.5) / float(1 << 52)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "they are below 2^53, which a double holds"
)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_its_address_and_of_ipv6_its_network() {
        let of = |text: &str| Affinity::of(text.parse().expect("an address"));
        assert_eq!(of("192.0.2.1:1"), of("192.0.2.1:9"));
        assert_eq!(of("192.0.2.1:1"), of("[::ffff:192.0.2.1]:1"));
        assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:0:0:9]:1"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
    }

    #[test]
    fn a_number_lies_between_0_and_1() {
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
    }

    #[test]
    fn members_of_one_machine_are_told_apart() {
        let client = Affinity::of(SocketAddr::from(([192, 0, 2, 1], 1)));
        let at = |text: &str| client.score(&text.parse().expect("an address"), 1);
        let scores = ["10.0.0.1:1", "10.0.0.1:2", "[::1]:1", "[::1]:2", "[1::]:1"].map(at);
        for (one, score) in scores.iter().enumerate() {
            assert!(*score > 0.0 && score.is_finite());
            assert!(scores[..one].iter().all(|other| (other - score).abs() > 1e-9));
        }
    }
}
