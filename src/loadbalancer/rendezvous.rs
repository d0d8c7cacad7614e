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
        -float(weight) / unit(mix(mix(self.0) ^ name(member))).ln()
    }
}

/// A member as a number.
fn name(member: &SocketAddr) -> u64 {
    let port = u64::from(member.port());
    match member.ip() {
        IpAddr::V4(ip) => mix(u64::from(ip.to_bits()) << 16 | port),
        IpAddr::V6(ip) => {
            let [high, low] = [64, 0].map(|shift| u64::try_from((ip.to_bits() >> shift) & MASK).unwrap_or(0));
            mix(mix(high) ^ mix(low.wrapping_add(GOLDEN)) ^ port)
        }
    }
}

const MASK: u128 = 0xffff_ffff_ffff_ffff;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of `SplitMix64`: each bit of the result depends on all of `bits`. The same on all machines, so that clients
/// find their members again after a restart, and at another forwarder.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(GOLDEN);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
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
    fn numbers_are_the_same_for_ever() {
        // Known answers of `SplitMix64` with seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GOLDEN), 0x6e78_9e6a_a1b9_65f4);
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
