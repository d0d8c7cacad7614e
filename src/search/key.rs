//! Candidates as strings of bits: family, port, address.
//!
//! Keys ascend as candidates do in their set, so that whoever has a prefix in common is a run of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::candidates::CandidateSet;
use crate::net;

/// Bits before the address: one for the family, sixteen for the port.
const SPACE_BITS: u32 = 17;
const V4_BITS: u32 = 32;

/// Levels that there are: prefixes of 0 bits to all bits of an IPv6 address and its port.
pub(super) const LEVELS: usize = 146;

/// A string of bits; those of an IPv4 address come first of 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    space: u32,
    /// Two halves, so that a key needs no alignment beyond that of its words.
    bits: [u64; 2],
}

impl Key {
    /// The key of an address, which must be in its canonical form.
    pub(super) fn of(addr: &SocketAddr) -> Self {
        match addr.ip() {
            IpAddr::V4(ip) => Self::new(u32::from(addr.port()), u128::from(ip.to_bits()) << 96),
            IpAddr::V6(ip) => Self::new(1 << 16 | u32::from(addr.port()), ip.to_bits()),
        }
    }

    fn new(space: u32, bits: u128) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of it")]
        let bits = [(bits >> 64) as u64, bits as u64];
        Self { space, bits }
    }

    fn bits(self) -> u128 {
        u128::from(self.bits[0]) << 64 | u128::from(self.bits[1])
    }

    /// 0 for IPv4, 1 for IPv6.
    pub(super) fn family(self) -> usize {
        usize::from(self.space >> 16 != 0)
    }

    /// How many bits a whole address of the family has.
    pub(super) fn depth(self) -> u32 {
        SPACE_BITS + if self.family() == 0 { V4_BITS } else { 128 }
    }

    /// How many bits two keys have in common.
    pub(super) fn common(self, other: Self) -> u32 {
        let space = self.space ^ other.space;
        if space != 0 {
            return space.leading_zeros() - (u32::BITS - SPACE_BITS);
        }
        (SPACE_BITS + (self.bits() ^ other.bits()).leading_zeros()).min(self.depth())
    }

    /// The bit behind the first `at`.
    pub(super) fn bit(self, at: u32) -> usize {
        let bit = match at.checked_sub(SPACE_BITS) {
            None => u128::from(self.space >> (SPACE_BITS - 1 - at)),
            Some(at) => self.bits() >> (127 - at.min(127)),
        };
        usize::from(bit & 1 == 1)
    }

    /// The first and the last key with the same first `len` bits.
    fn bounds(self, len: u32) -> (Self, Self) {
        let (space, bits) = match len.checked_sub(SPACE_BITS) {
            None => ((1 << (SPACE_BITS - len)) - 1, u128::MAX),
            Some(len) => (0, u128::MAX.checked_shr(len).unwrap_or(0)),
        };
        let first = Self::new(self.space & !space, self.bits() & !bits);
        let last = Self::new(self.space | space, self.bits() | bits);
        (first, last)
    }

    /// The key that differs in the bit behind the first `at`; what follows is anything.
    fn beside(self, at: u32) -> Self {
        match at.checked_sub(SPACE_BITS) {
            None => Self::new(self.space ^ 1 << (SPACE_BITS - 1 - at), self.bits()),
            Some(at) => Self::new(self.space, self.bits() ^ 1 << (127 - at.min(127))),
        }
    }

    /// The same first `len` bits, and zeros.
    pub(super) fn prefix(self, len: u32) -> Self {
        self.bounds(len).0
    }

    /// The address that it is the key of.
    pub(super) fn addr(self) -> SocketAddr {
        #[expect(clippy::cast_possible_truncation, reason = "the family is the bit before")]
        let port = self.space as u16;
        if self.family() == 0 {
            let bits = (self.bits() >> 96) as u32;
            SocketAddr::from((Ipv4Addr::from_bits(bits), port))
        } else {
            SocketAddr::from((Ipv6Addr::from_bits(self.bits()), port))
        }
    }
}

/// The candidates of one prefix: from this index to below that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    from: u128,
    to: u128,
}

impl Span {
    /// Those with the same first `len` bits.
    pub(super) fn of(set: &CandidateSet, key: Key, len: u32) -> Self {
        let (first, last) = key.bounds(len);
        Self {
            from: set.rank(&first.addr()),
            to: set.rank_after(&last.addr()),
        }
    }

    /// Those that have the first `at` bits in common with a key, and not the next.
    pub(super) fn beside(set: &CandidateSet, key: Key, at: u32) -> Self {
        Self::of(set, key.beside(at), at + 1)
    }

    pub(super) fn len(self) -> u128 {
        self.to.saturating_sub(self.from)
    }

    /// The index behind the last.
    pub(super) fn end(self) -> u128 {
        self.to
    }

    /// The one after so many others, from a place on that is its own; none behind the last.
    pub(super) fn nth(self, set: &CandidateSet, place: u32) -> Option<SocketAddr> {
        let place = u128::from(place);
        let begin = self.from.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.len().max(1);
        (place < self.len())
            .then(|| self.from + (begin + place) % self.len())
            .and_then(|index| set.at(index))
    }

    /// Any of them.
    pub(super) fn pick(self, set: &CandidateSet, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        (self.to > self.from)
            .then(|| rng.u128(self.from..self.to))
            .and_then(|index| set.at(index))
    }
}

/// How many bits all candidates have in common; none of an empty set.
pub(super) fn common_of_all(set: &CandidateSet) -> Option<u32> {
    let first = set.at(0)?;
    let last = set.at(set.len() - 1)?;
    debug_assert!(net::canonical(first) == first, "sets hold canonical addresses");
    Some(Key::of(&first).common(Key::of(&last)))
}

/// The network of the candidates that have so many bits in common with an address; none if their ports differ.
pub(super) fn network(addr: SocketAddr, common: u32) -> Option<IpNet> {
    let bits = u8::try_from(common.checked_sub(SPACE_BITS)?).ok()?;
    Some(IpNet::new(addr.ip(), bits).ok()?.trunc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Key {
        Key::of(&text.parse().expect("an address"))
    }

    #[test]
    fn neighbours_have_much_in_common() {
        let one = key("10.1.2.3:443");
        assert_eq!(one.common(one), 17 + 32);
        assert_eq!(one.common(key("10.1.2.2:443")), 17 + 31);
        assert_eq!(one.common(key("10.1.3.3:443")), 17 + 23);
        assert_eq!(one.common(key("10.1.2.3:442")), 16);
        assert_eq!(one.common(key("[::]:443")), 0);
        let other = key("[2001:db8::1]:443");
        assert_eq!(other.common(key("[2001:db8::]:443")), 17 + 127);
        assert_eq!(other.depth(), 145);
        assert_eq!((one.bit(0), other.bit(0)), (0, 1));
        assert_eq!((one.bit(48), key("10.1.2.2:443").bit(48)), (1, 0));
    }

    #[test]
    fn a_prefix_is_a_run_of_candidates() {
        let set = CandidateSet::parse("10.0.0.0/23\n10.0.4.7\n[2001:db8::/120]:81\n10.0.0.9:81", 80)
            .expect("a list");
        let all = Span::of(&set, key("10.0.0.1:80"), 0);
        assert_eq!(all.len(), set.len());
        let some = Span::of(&set, key("10.0.1.1:80"), 17 + 24);
        assert_eq!(some.len(), 255, "the last of the network is none");
        assert_eq!(Span::beside(&set, key("10.0.1.1:80"), 17 + 23).len(), 255);
        assert_eq!(Span::of(&set, key("[2001:db8::5]:81"), 1).len(), 256);
        assert_eq!(Span::beside(&set, key("[2001:db8::5]:81"), 0).len(), 510 + 2);
        assert_eq!(Span::of(&set, key("10.0.4.7:80"), 49).len(), 1);
        assert_eq!(Span::of(&set, key("10.0.4.8:80"), 49).len(), 0);
        assert_eq!(common_of_all(&set), Some(0));
        let whole = CandidateSet::parse("::/0\n0.0.0.0/0", 80).expect("a list");
        assert_eq!(
            Span::of(&whole, key("[::1]:80"), 1).len(),
            u128::MAX - (1 << 32),
            "saturated"
        );
    }

    proptest! {
        #[test]
        fn members_of_a_span_have_the_prefix_and_all_others_have_not(seed: u64, len in 0..=49_u32) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let set = CandidateSet::parse("10.0.0.0/26\n10.0.0.128/27\n10.0.0.7:81\n10.0.9.0/28:82", 80).expect("a list");
            let key = Key::of(&set.at(rng.u128(0..set.len())).expect("one"));
            let span = Span::of(&set, key, len);
            for index in 0..set.len() {
                let other = Key::of(&set.at(index).expect("one"));
                prop_assert_eq!((span.from..span.to).contains(&index), key.common(other) >= len);
            }
            if len < 49 {
                let beside = Span::beside(&set, key, len);
                for index in 0..set.len() {
                    let other = Key::of(&set.at(index).expect("one"));
                    prop_assert_eq!((beside.from..beside.to).contains(&index), key.common(other) == len);
                }
            }
        }
    }
}
