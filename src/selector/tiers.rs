//! Which tier of candidates serves. Pure.
//!
//! Tiers are numbers that entries of the list have: a higher one is used only while nobody in a lower one passes. A tier serves
//! as soon as one of its candidates passes and is confirmed (a member is), so that one lucky answer does not take clients away
//! from backends that work; where nobody is confirmed, as soon as one passes. The next tier with anybody who passes is the
//! reserve: whom all members have failed may turn to it before the set has changed. While nobody passes anywhere, tiers do
//! not count.

use std::collections::BTreeMap;

/// Which tiers are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tiers {
    /// The one that the set is made of; none while nobody passes.
    pub serving: Option<u16>,
    /// The one behind it in which somebody passes, if there is one.
    pub reserve: Option<u16>,
}

impl Tiers {
    /// Those in use if these candidates pass: the tier of each, and whether it is confirmed.
    pub fn of(passing: impl Iterator<Item = (u16, bool)>) -> Self {
        let mut tiers: BTreeMap<u16, bool> = BTreeMap::new();
        for (tier, is_confirmed) in passing {
            *tiers.entry(tier).or_default() |= is_confirmed;
        }
        let confirmed = tiers.iter().find(|(_, is_confirmed)| **is_confirmed);
        let serving = confirmed.or(tiers.iter().next()).map(|(tier, _)| *tier);
        let behind = tiers.keys().copied().find(|tier| Some(*tier) > serving);
        Self {
            serving,
            reserve: behind,
        }
    }

    /// Where a candidate of a tier stands.
    #[must_use]
    pub fn place(self, tier: u16) -> Place {
        match self.serving {
            Some(serving) if tier > serving => Place::Behind,
            Some(serving) if tier < serving => Place::Before,
            Some(_) | None => Place::Serving,
        }
    }
}

/// Where a candidate stands, by its tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// In a tier that is to be used before the one that serves: it does not pass, or is not confirmed.
    Before,
    /// In the tier that serves; or nobody passes.
    #[default]
    Serving,
    /// In a tier that is used only while nobody passes in the one that serves.
    Behind,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(passing: &[(u16, bool)]) -> (Option<u16>, Option<u16>) {
        let tiers = Tiers::of(passing.iter().copied());
        (tiers.serving, tiers.reserve)
    }

    #[test]
    fn the_first_tier_with_anybody_confirmed_serves() {
        assert_eq!(tiers(&[]), (None, None));
        assert_eq!(tiers(&[(0, true), (0, false)]), (Some(0), None));
        assert_eq!(tiers(&[(2, true), (0, true), (1, true)]), (Some(0), Some(1)));
        assert_eq!(tiers(&[(2, true), (9, false)]), (Some(2), Some(9)));
        assert_eq!(
            tiers(&[(0, false), (1, true)]),
            (Some(1), None),
            "one answer is no proof"
        );
        assert_eq!(
            tiers(&[(1, false), (0, false)]),
            (Some(0), Some(1)),
            "better than nobody"
        );
    }

    #[test]
    fn tiers_do_not_count_while_nobody_passes() {
        assert_eq!(Tiers::default().place(7), Place::Serving);
        let tiers = Tiers::of([(1, true)].into_iter());
        assert_eq!(
            [0, 1, 2].map(|tier| tiers.place(tier)),
            [Place::Before, Place::Serving, Place::Behind]
        );
    }
}
