//! How alike neighbours are: the variogram of log-latencies over prefix lengths.
//!
//! Half the mean square difference of two candidates that have exactly `n` bits in common is what differs between
//! members of a prefix of `n` bits (Matheron, 1963). The more they have in common, the less it is; where that does not
//! hold by chance, levels are pooled (isotonic regression by pool-adjacent-violators). How much a prefix of `m` bits
//! tells of one of `n` within it is the difference of both.

use super::key::LEVELS;

/// What a level counts for before any pair was seen, in pairs.
const PRIOR_PAIRS: f64 = 2.0;
/// Variances before any pair was seen: of candidates that have nothing in common, and of one candidate asked twice.
const PRIOR_SPREAD: f64 = 0.5;
const PRIOR_NOISE: f64 = 0.01;
/// A single pair counts for no more than a factor of 20 in latency: an answer to a packet that was sent again says nothing
/// about neighbourhood.
pub(super) const MOST_DIFFERENCE: f64 = 3.0;
/// Pairs of one level that are remembered, so that the variogram follows a network that changes.
const MOST_PAIRS: f32 = 2000.0;
/// The nearest neighbours that were seen are those of so many pairs.
const NEAREST_PAIRS: f32 = 32.0;
/// One candidate is never quite the same twice.
const LEAST_NOISE: f64 = 1e-4;

/// The variogram of one family.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    /// By bits in common: the sum of half square differences, and their number.
    pairs: Box<[(f32, f32); LEVELS]>,
    /// The variogram itself, falling.
    variances: Box<[f32; LEVELS]>,
    /// Bits that all candidates have in common, and those of a whole address.
    top: usize,
    depth: usize,
}

impl Levels {
    pub(super) fn new(top: u32, depth: u32) -> Self {
        let mut levels = Self {
            pairs: Box::new([(0.0, 0.0); LEVELS]),
            variances: Box::new([0.0; LEVELS]),
            top: top as usize,
            depth: depth as usize,
        };
        levels.settle();
        levels
    }

    /// Another list has these bits in common.
    pub(super) fn set_top(&mut self, top: u32) {
        self.top = top as usize;
        self.settle();
    }

    /// Takes in the log-latencies of two candidates with so many bits in common; of all bits, of one asked twice.
    pub(super) fn pair(&mut self, common: u32, difference: f64) {
        let difference = difference.clamp(-MOST_DIFFERENCE, MOST_DIFFERENCE);
        if let Some((sum, count)) = self.pairs.get_mut(common as usize) {
            if *count >= MOST_PAIRS {
                *sum *= 0.5;
                *count *= 0.5;
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            let half_square = (0.5 * difference * difference) as f32;
            *sum += half_square;
            *count += 1.0;
        }
    }

    /// Brings the variogram up to date with its pairs.
    pub(super) fn settle(&mut self) {
        /// Levels that are pooled: their sum of values, their weight, and how many they are.
        type Block = (f64, f64, usize);
        let mut blocks: Vec<Block> = Vec::with_capacity(self.depth + 1 - self.top.min(self.depth));
        for level in self.top..=self.depth {
            let (sum, count) = self.pairs[level];
            let mut block = (
                f64::from(sum) + PRIOR_PAIRS * self.prior(level),
                f64::from(count) + PRIOR_PAIRS,
                1,
            );
            // A longer prefix does not tell less.
            while let Some(last) = blocks.last()
                && last.0 / last.1 <= block.0 / block.1
            {
                block = (block.0 + last.0, block.1 + last.1, block.2 + last.2);
                blocks.pop();
            }
            blocks.push(block);
        }
        let mut level = self.top;
        for (sum, weight, count) in blocks {
            #[expect(clippy::cast_possible_truncation, reason = "variances of bounded differences")]
            self.variances[level..level + count].fill((sum / weight).max(LEAST_NOISE) as f32);
            level += count;
        }
        let first = self.variances[self.top.min(LEVELS - 1)];
        self.variances[..self.top].fill(first);
    }

    /// As if each bit told as much as every other.
    fn prior(&self, level: usize) -> f64 {
        let height = (self.depth - self.top).max(1);
        #[expect(clippy::cast_precision_loss, reason = "at most 146")]
        let left = (self.depth - level) as f64 / height as f64;
        PRIOR_NOISE + (PRIOR_SPREAD - PRIOR_NOISE) * left
    }

    /// What differs between single answers of members of a prefix of so many bits.
    pub(super) fn within(&self, len: u32) -> f64 {
        f64::from(self.variances[(len as usize).min(self.depth)])
    }

    /// What share of what differs between candidates their nearest neighbours tell, of those that were seen; 0 to 1.
    pub(super) fn told(&self) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for (half_squares, pairs) in self.pairs[self.top.min(self.depth)..self.depth].iter().rev() {
            if count >= NEAREST_PAIRS {
                break;
            }
            sum += half_squares;
            count += pairs;
        }
        if count <= 0.0 {
            return 0.0;
        }
        (1.0 - f64::from(sum / count) / f64::from(self.variances[self.top.min(self.depth)])).clamp(0.0, 1.0)
    }

    /// What differs between prefixes of `to` bits within one of `from` bits.
    pub(super) fn between(&self, from: u32, to: u32) -> f64 {
        (self.within(from) - self.within(to)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_at_which_neighbours_part_is_found() {
        let mut levels = Levels::new(17, 49);
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..4_000 {
            let common = rng.u32(17..=49);
            // Racks of 24 bits, and nothing else.
            let spread = if common < 17 + 24 { 1.0 } else { 0.1 };
            let noise = (rng.f64() + rng.f64() + rng.f64() - 1.5) * 2.0;
            levels.pair(common, spread * noise * 2_f64.sqrt());
        }
        levels.settle();
        assert!(
            levels.within(17) > 0.7 && levels.within(17 + 23) > 0.7,
            "{levels:?}"
        );
        assert!(levels.within(17 + 25) < 0.05, "{levels:?}");
        assert!(
            levels.between(17, 17 + 22) < 0.3 * levels.between(17 + 22, 17 + 25),
            "{levels:?}"
        );
    }

    #[test]
    fn variances_fall_and_stay_positive_whatever_the_pairs() {
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..50 {
            let top = rng.u32(0..49);
            let mut levels = Levels::new(top, 49);
            for _ in 0..rng.usize(0..300) {
                levels.pair(rng.u32(0..=49), rng.f64() * 1e3 - 500.0);
            }
            levels.settle();
            let all: Vec<f64> = (0..=49).map(|len| levels.within(len)).collect();
            assert!(all.windows(2).all(|pair| pair[0] >= pair[1]), "{all:?}");
            assert!(
                all.iter().all(|variance| *variance > 0.0 && *variance < 10.0),
                "{all:?}"
            );
        }
    }

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    fn what_neighbours_tell_is_what_was_seen_of_them() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut told = |spread: fn(u32) -> f64| {
            let mut levels = Levels::new(32, 49);
            for _ in 0..1_000 {
                // As an even sample has them: the nearer, the fewer.
                let common = 32 + (1.0 - rng.f64()).log2().abs() as u32;
                let noise = (rng.f64() + rng.f64() + rng.f64() - 1.5) * 2.0;
                levels.pair(common.min(48), spread(common) * noise);
            }
            levels.settle();
            levels.told()
        };
        let nothing = told(|_| 0.5);
        assert!(nothing < 0.35, "{nothing} where neighbours are as others are");
        let much = told(|common| if common < 35 { 1.0 } else { 0.2 });
        assert!(much > 0.9, "{much}");
        assert!(Levels::new(32, 49).told() <= 0.0, "nothing was seen");
        assert!(Levels::new(49, 49).told() <= 0.0, "there is one candidate");
    }
}
