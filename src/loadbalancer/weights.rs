//! What the weights of members come to: whose turn it is, and whom a number draws. Pure.
//!
//! Turns are a permutation of as many places as the weights add up to (their greatest common divisor taken out), of which
//! each member has as many as it weighs: so over that many turns its share is exact. Neighbouring turns lie a golden section
//! of all places apart, which spreads those of a heavy member evenly among the others' (the three-distance theorem); members
//! that weigh the same simply take turns. Nothing is kept but the sums, whatever the weights.

use std::num::NonZeroU16;

/// 2^32 divided by the golden ratio.
const GOLDEN_32: u64 = 0x9e37_79b9;

/// Strides on each side of a golden section that are looked at for the best one.
const STRIDES: u64 = 16;

/// 2^64 divided by the plastic ratio (the real root of x^3 = x + 1), which has nothing to do with the golden one.
const PLASTIC_64: u64 = 0xc13f_a9a9_02a6_328f;

/// The weights of the members of a set, in their order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Weights {
    /// Their common divisor taken out.
    own: Box<[u16]>,
    /// Those up to and with each member, together: at most 1,000 members times 65,535.
    sums: Box<[u32]>,
    /// How far apart neighbouring turns are; has no common divisor with the sum of all.
    stride: u64,
}

impl Weights {
    /// The weights of members.
    #[must_use]
    pub fn of(weights: &[NonZeroU16]) -> Self {
        let divisor = weights
            .iter()
            .fold(0, |divisor, weight| gcd(divisor, weight.get().into()));
        let divisor = u16::try_from(divisor).unwrap_or(1).max(1);
        let own: Box<[u16]> = weights.iter().map(|weight| weight.get() / divisor).collect();
        let mut sum = 0_u32;
        let add = |weight: &u16| {
            sum = sum.saturating_add(u32::from(*weight));
            sum
        };
        let sums: Box<[u32]> = own.iter().map(add).collect();
        let mut all = Self { own, sums, stride: 1 };
        if !all.are_even() {
            all.stride = stride(all.total());
        }
        all
    }

    /// Members that all weigh the same.
    #[must_use]
    pub fn even(members: usize) -> Self {
        Self::of(&vec![NonZeroU16::MIN; members])
    }

    /// What one member weighs; 0 beyond the last.
    #[must_use]
    pub fn weight(&self, member: usize) -> u64 {
        self.own.get(member).copied().unwrap_or(0).into()
    }

    /// What all weigh together; 0 of nobody.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0).into()
    }

    /// Whose turn it is; of nobody, 0.
    #[must_use]
    pub fn on_turn(&self, turn: usize) -> usize {
        let total = self.total().max(1);
        // Both factors are below 2^26.
        self.at((turn as u64 % total) * self.stride % total)
    }

    /// Whom a fraction of 2^64 draws.
    #[must_use]
    pub fn draw(&self, fraction: u64) -> usize {
        self.at(scale(fraction, self.total()))
    }

    /// Whom a fraction of 2^64 draws among all but one member; that one if it is alone.
    #[must_use]
    pub fn draw_beside(&self, member: usize, fraction: u64) -> usize {
        let own = self.weight(member);
        let before = self.sums.get(member).copied().unwrap_or(0).into();
        let place = scale(fraction, self.total().saturating_sub(own));
        self.at(if place + own < before { place } else { place + own })
            .min(self.own.len().saturating_sub(1))
    }

    fn are_even(&self) -> bool {
        self.total() == self.own.len() as u64
    }

    /// Who has this place, from 0 to the total less 1.
    fn at(&self, place: u64) -> usize {
        if self.are_even() {
            return usize::try_from(place).unwrap_or(usize::MAX);
        }
        self.sums.partition_point(|sum| u64::from(*sum) <= place)
    }
}

/// A turn as a fraction of 2^64: a Weyl sequence, of which any stretch is spread evenly. For turns where not everybody takes part,
/// so that there is no fixed number of places; of another ratio than [`Weights::on_turn`], so that the turns of one member are
/// spread evenly as well (M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018).
#[must_use]
pub fn fraction_of_turn(turn: usize) -> u64 {
    (turn as u64).wrapping_mul(PLASTIC_64)
}

/// Whom a fraction of 2^64 draws of the first `count` members, if these are their weights; nobody where nobody weighs anything.
pub fn draw_of(count: usize, weight: impl Fn(usize) -> u64, fraction: u64) -> Option<usize> {
    let total = (0..count).map(&weight).sum();
    let mut left = scale(fraction, total);
    (0..count).find(|member| {
        let own = weight(*member);
        let is_it = left < own;
        left = left.saturating_sub(own);
        is_it
    })
}

/// A fraction of 2^64, of so many places: 0 to `total` less 1.
fn scale(fraction: u64, total: u64) -> u64 {
    let place = (u128::from(fraction) * u128::from(total)) >> 64;
    u64::try_from(place).unwrap_or(0)
}

/// What is near a golden section of `total`, has no common divisor with it, and spreads best.
fn stride(total: u64) -> u64 {
    let ideal = (total * GOLDEN_32) >> 32;
    let near = (0..=STRIDES).flat_map(|far| [ideal + far, ideal.saturating_sub(far)]);
    let near = near.filter(|one| (1..total).contains(one));
    near.min_by_key(|one| roughness(total, *one)).unwrap_or(1)
}

/// How unevenly a stride spreads: the largest quotient of the continued fraction that it makes with `total` (of the golden ratio all
/// are 1); as high as can be if they have a common divisor.
fn roughness(total: u64, stride: u64) -> u64 {
    let (mut large, mut small, mut largest) = (total, stride, 0);
    while small > 0 {
        largest = largest.max(large / small);
        (large, small) = (small, large % small);
    }
    if large == 1 { largest } else { u64::MAX }
}

/// The greatest common divisor (Euclid); that of 0 and a number is the number.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights(of: &[u16]) -> Weights {
        let of: Vec<_> = of.iter().filter_map(|weight| NonZeroU16::new(*weight)).collect();
        Weights::of(&of)
    }

    fn turns(weights: &Weights, turns: std::ops::Range<usize>) -> Vec<usize> {
        turns.map(|turn| weights.on_turn(turn)).collect()
    }

    #[test]
    fn who_weighs_the_same_takes_turns_in_order() {
        assert_eq!(turns(&weights(&[7, 7, 7]), 0..6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(weights(&[7, 7, 7]), Weights::even(3));
        assert_eq!(
            (weights(&[65_535]).on_turn(99), Weights::even(0).on_turn(3)),
            (0, 0)
        );
    }

    #[test]
    fn turns_of_the_heavy_are_spread_among_those_of_the_others() {
        assert_eq!(turns(&weights(&[10, 2, 2]), 0..7), [0, 1, 0, 0, 2, 0, 0]);
        assert_eq!(turns(&weights(&[3, 1]), 0..4), [0, 1, 0, 0]);
    }

    #[test]
    fn a_draw_beside_somebody_is_of_the_others() {
        let weights = weights(&[3, 1, 2]);
        let draws = |beside| {
            let mut counts = [0; 3];
            for turn in 0..6_000 {
                counts[weights.draw_beside(beside, fraction_of_turn(turn))] += 1;
            }
            counts
        };
        for (beside, shares) in [
            (0, [0, 2_000, 4_000]),
            (1, [3_600, 0, 2_400]),
            (2, [4_500, 1_500, 0]),
        ] {
            let counts = draws(beside);
            let is_near = |(count, share): (&i32, &i32)| (count - share).abs() < 12;
            assert!(counts.iter().zip(&shares).all(is_near), "{counts:?}");
        }
        assert_eq!(Weights::even(1).draw_beside(0, u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn shares_are_exact_over_a_round_and_near_in_any_stretch(
            of in prop::collection::vec(1..40_u16, 1..9),
            start in 0..1_000_usize,
            length in 1..400_usize,
        ) {
            let weights = weights(&of);
            let total = usize::try_from(weights.total()).expect("few");
            let count = |of: &[usize], member| of.iter().filter(|one| **one == member).count();
            let round = turns(&weights, start..start + total);
            let stretch = turns(&weights, start..start + length);
            for member in 0..of.len() {
                let own = usize::try_from(weights.weight(member)).expect("few");
                prop_assert_eq!(count(&round, member), own);
                // Times the total, so that it is a whole number.
                let off = (count(&stretch, member) * total).abs_diff(length * own);
                prop_assert!(off < 4 * total, "{off} of {total} turns too few or too many of {member}");
            }
        }

        #[test]
        fn a_draw_of_some_is_as_their_weights_say(of in prop::collection::vec(0..9_u64, 1..8), fraction: u64) {
            let drawn = draw_of(of.len(), |member| of[member], fraction);
            prop_assert_eq!(drawn.is_none(), of.iter().sum::<u64>() == 0);
            if let Some(drawn) = drawn {
                let before: u64 = of[..drawn].iter().sum();
                let place = scale(fraction, of.iter().sum());
                prop_assert!((before..before + of[drawn]).contains(&place));
            }
        }
    }
}
