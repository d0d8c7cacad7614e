//! Hashes that are the same on all machines and for ever, so that what is chosen or compared by them lasts beyond a process.
//! Pure, and no secret: whoever knows the input knows the hash.

use std::net::{IpAddr, SocketAddr};

/// 2^64 over the golden ratio: the step of `SplitMix64`.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of `SplitMix64` (D. Stafford's variant 13): each bit of the result depends on all of `bits`.
#[must_use]
pub fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(GOLDEN);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// An address with its port as a number.
#[must_use]
pub fn of_addr(addr: &SocketAddr) -> u64 {
    let port = u64::from(addr.port());
    match addr.ip() {
        IpAddr::V4(ip) => mix(u64::from(ip.to_bits()) << 16 | port),
        IpAddr::V6(ip) => {
            let [high, low] = [64, 0].map(|shift| u64::try_from((ip.to_bits() >> shift) & MASK).unwrap_or(0));
            mix(mix(high) ^ mix(low.wrapping_add(GOLDEN)) ^ port)
        }
    }
}

const MASK: u128 = 0xffff_ffff_ffff_ffff;

/// FNV-1a of 64 bits. Each step is a bijection of the sum, so that no single changed byte goes unseen.
#[must_use]
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let sum = |sum: u64, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_for_ever() {
        // Known answers of `SplitMix64` with seed 0, and of FNV-1a.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GOLDEN), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(fnv1a(*b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(*b"foobar"), 0x8594_4171_f739_67e8);
    }
}
