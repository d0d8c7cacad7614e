//! Worlds of many hosts whose latencies are drawn from their seed when somebody asks: no host is kept.
//!
//! A world knows the truth; whoever searches sees single answers, which differ from it by noise.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcp_forwarder::candidates::CandidateSet;

/// How latencies lie in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Round trips cluster by prefix: regions, blocks, racks. Half of the hosts are dead, some racks wholly.
    Clustered,
    /// The same with other sizes, on other boundaries, and heavier tails.
    Ragged,
    /// Hosts differ, prefixes do not.
    Flat,
    /// All alike and slow, but for 256 neighbours.
    Needle,
    /// All alike.
    Equal,
    /// Good racks stand in bad blocks, and the other way round.
    BadNeighbours,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Clustered,
        Self::Ragged,
        Self::Flat,
        Self::Needle,
        Self::Equal,
        Self::BadNeighbours,
    ];
}

/// How many candidates there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 131,072 of IPv4, a /15 of the block for benchmarks.
    Large,
    /// 16.7 million of IPv6, a /104 of the block for documentation.
    Huge,
}

impl Size {
    pub fn bits(self) -> u32 {
        match self {
            Self::Large => 17,
            Self::Huge => 24,
        }
    }

    pub fn set(self) -> CandidateSet {
        let list = match self {
            Self::Large => "198.18.0.0/15",
            Self::Huge => "[2001:db8::/104]",
        };
        CandidateSet::parse(list, 443).expect("a list")
    }
}

/// A world.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub kind: Kind,
    pub size: Size,
    pub seed: u64,
}

/// Bits of the prefixes that have something in common, from the left: regions, blocks, racks.
type Cuts = [u32; 3];

impl World {
    pub fn new(kind: Kind, size: Size, seed: u64) -> Self {
        Self { kind, size, seed }
    }

    fn cuts(self) -> Cuts {
        let bits = self.size.bits();
        match self.kind {
            Kind::Ragged => [3, bits / 3 + 1, bits - 6],
            Kind::Clustered | Kind::Flat | Kind::Needle | Kind::Equal | Kind::BadNeighbours => {
                [5, bits / 2, bits - 5]
            }
        }
    }

    /// Which host an address is.
    fn host(self, addr: &SocketAddr) -> u64 {
        let bits = match addr.ip() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() & u128::from(u64::MAX)) as u64,
        };
        bits & ((1 << self.size.bits()) - 1)
    }

    /// A number from 0 to 1 that belongs to a prefix and a purpose.
    fn share(self, prefix: u64, purpose: u64) -> f64 {
        let mut x = self.seed
            ^ prefix.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03);
        for _ in 0..2 {
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            x ^= x >> 31;
        }
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly normal: mean 0, deviation 1.
    fn normal(self, prefix: u64, purpose: u64) -> f64 {
        let sum: f64 = (0..4).map(|part| self.share(prefix, purpose * 8 + part)).sum();
        (sum - 2.0) * 3_f64.sqrt()
    }

    /// Logarithm of the latency, in seconds, that the hosts of a rack have in common; none if all are dead.
    fn rack(self, host: u64) -> Option<f64> {
        let cuts = self.cuts();
        let bits = self.size.bits();
        let [region, block, rack] = cuts.map(|cut| (host >> (bits - cut)) | 1 << cut);
        let ms = |ms: f64| (ms / 1e3).ln();
        match self.kind {
            Kind::Clustered => {
                let base = ms(20.0) + self.share(region, 1) * 15_f64.ln();
                let steps = 0.35 * self.normal(block, 2) + 0.25 * self.normal(rack, 3);
                (self.share(rack, 4) > 0.2).then_some(base + steps)
            }
            Kind::Ragged => {
                let base = ms(30.0) + self.share(region, 1).powi(2) * 8_f64.ln();
                let heavy = |prefix, purpose| -(1.0 - self.share(prefix, purpose)).ln();
                let steps = 0.5 * (1.0 - heavy(block, 2)) * 0.5 + 0.5 * (heavy(rack, 3) - 1.0);
                (self.share(block, 4) > 0.3).then_some(base + steps)
            }
            Kind::Flat => Some(ms(80.0)),
            Kind::Needle => {
                let needle = (self.share(0, 1) * (1_u64 << (bits - 8)) as f64) as u64;
                Some(if host >> 8 == needle { ms(10.0) } else { ms(150.0) })
            }
            Kind::Equal => Some(ms(50.0)),
            Kind::BadNeighbours => {
                let block = self.normal(block, 2);
                let turned = self.share(rack, 5) < 0.2;
                let step = if turned { -1.2 * block } else { 0.6 * block };
                Some(ms(100.0) + step + 0.2 * self.normal(rack, 3))
            }
        }
    }

    /// Logarithm of a host's own factor; none if it is dead.
    fn own(self, host: u64) -> Option<f64> {
        let dead = match self.kind {
            Kind::Clustered => 0.4,
            Kind::Ragged | Kind::Needle => 0.5,
            Kind::Flat | Kind::BadNeighbours => 0.3,
            Kind::Equal => 0.2,
        };
        (self.share(host, 6) >= dead).then(|| self.spread() * self.normal(host, 7))
    }

    /// How much hosts of a rack differ.
    fn spread(self) -> f64 {
        match self.kind {
            Kind::Clustered => 0.08,
            Kind::Ragged => 0.15,
            Kind::Flat => 0.5,
            Kind::Needle | Kind::BadNeighbours => 0.1,
            Kind::Equal => 0.0,
        }
    }

    /// The true latency, in seconds; none of a dead host.
    pub fn truth(self, addr: &SocketAddr) -> Option<f64> {
        let host = self.host(addr);
        Some((self.rack(host)? + self.own(host)?).exp())
    }

    /// What a connect comes to.
    pub fn ask(self, addr: &SocketAddr, rng: &mut fastrand::Rng) -> Option<Duration> {
        let truth = self.truth(addr)?;
        // Mostly a few per cent late; now and then a packet is sent again.
        let late = 1.0 + 0.03 * -(1.0 - rng.f64()).ln();
        let again = if rng.u8(..100) == 0 { 0.2 } else { 0.0 };
        Some(Duration::from_secs_f64(truth * late + again))
            .filter(|latency| *latency < Duration::from_secs(1))
    }

    /// The mean latency of the best three, in seconds.
    pub fn optimum(self) -> f64 {
        let below = self.size.bits() - self.cuts()[2];
        let racks = (0..1_u64 << self.cuts()[2]).filter_map(|rack| Some((self.rack(rack << below)?, rack)));
        let mut racks: Vec<(f64, u64)> = racks.collect();
        // Four shares are at most 2 from their mean, so that no host is nearer than this to what its rack has in common.
        let reach = self.spread() * 2.0 * 3_f64.sqrt();
        racks.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut best = [f64::INFINITY; 3];
        for (base, rack) in racks {
            if base - reach > best[2] {
                break;
            }
            for host in rack << below..(rack + 1) << below {
                if let Some(own) = self.own(host) {
                    let value = base + own;
                    let place = best.partition_point(|other| *other <= value);
                    if place < 3 {
                        best[place..].rotate_right(1);
                        best[place] = value;
                    }
                }
            }
        }
        best.iter().map(|value| value.exp()).sum::<f64>() / 3.0
    }

    /// The mean of the true latencies of some hosts against the optimum; a dead one counts as a second.
    pub fn ratio(self, hosts: &[SocketAddr], optimum: f64) -> f64 {
        let sum: f64 = hosts.iter().map(|addr| self.truth(addr).unwrap_or(1.0)).sum();
        sum / hosts.len().max(1) as f64 / optimum
    }
}
