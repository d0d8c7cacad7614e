//! What part of a client's limit this process may give out, where others count the same client (pure).
//!
//! Several processes keep one limit without asking one another for each connection: each *claims* a part of it for a client that it
//! has much of, says so where all can read it, and uses the claim once it has read what the others claim. Whoever reads that there
//! is not enough left yields: of two claims that were written one after the other, the writer of the later one has read both.
//! For a client that nobody speaks of each has a small part without asking.
//!
//! ```text
//!                 uses more than half of that
//!   unclaimed ────────────────────────────────► claimed, not used yet ───────────────► claimed
//!   1/5 of the limit, ◄───────────────────────  what was written is read  what it uses, and half of
//!   over all others     uses little again                                  what nobody claims
//! ```
//!
//! Invariant: whatever the order of reads and writes, all processes together give out at most the limit and a fifth (or one
//! connection each, where a fifth is less), as long as each hears of the others.

/// Into how many parts a limit is divided.
const PARTS: u32 = 0x7fff;

/// What may be given out unclaimed, by all others together: one part in so many of the limit.
const SLACK: u32 = 5;

/// A part of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Portion(u16);

impl Portion {
    /// Nothing of it.
    pub const NONE: Self = Self(0);
    /// The least that is something.
    pub const LEAST: Self = Self(1);
    /// All of it.
    pub const WHOLE: Self = Self::of_parts(PARTS);

    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are fewer parts than a u16 holds, and more are cut off"
    )]
    const fn of_parts(parts: u32) -> Self {
        Self(if parts < PARTS { parts as u16 } else { PARTS as u16 })
    }

    /// What each of so many processes (this one included) may give out without a claim; all of it if there is no other.
    #[must_use]
    pub fn unclaimed(processes: usize) -> Self {
        let others = u32::try_from(processes).unwrap_or(u32::MAX).saturating_sub(1);
        (PARTS / SLACK)
            .checked_div(others)
            .map_or(Self::WHOLE, Self::of_parts)
    }

    /// The part that `used` of `most` (at least 1) is, rounded up.
    #[must_use]
    pub fn of_count(used: u32, most: u32) -> Self {
        let parts = (u64::from(used) * u64::from(PARTS)).div_ceil(u64::from(most.max(1)));
        Self::of_parts(u32::try_from(parts).unwrap_or(u32::MAX))
    }

    /// This part of a part.
    #[must_use]
    pub fn times(self, fraction: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, and takes what is negative or no number for 0"
        )]
        let parts = (f64::from(self.0) * fraction).ceil() as u32;
        Self::of_parts(parts)
    }

    /// So much of a count, rounded down, but at least 1.
    #[must_use]
    pub fn count(self, most: u32) -> u32 {
        let part = u64::from(most) * u64::from(self.0) / u64::from(PARTS);
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    }

    /// As a fraction, above 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0.max(1)) / f64::from(PARTS)
    }

    /// As it is said to others.
    #[must_use]
    pub fn parts(self) -> u16 {
        self.0
    }

    /// What others have said; none beyond all of it.
    #[must_use]
    pub fn said(parts: u16) -> Option<Self> {
        (u32::from(parts) <= PARTS).then_some(Self(parts))
    }

    /// What is to be claimed by whoever needs this part, while others claim so many parts: half of what is left besides, or a quarter of
    /// what is needed if that is more.
    #[must_use]
    pub fn claim(need: Self, others: u32) -> Self {
        let left = PARTS.saturating_sub(others).saturating_sub(u32::from(need.0));
        let more = left.min((left / 2).max(u32::from(need.0) / 4));
        Self::of_parts(u32::from(need.0) + more).max(Self::LEAST)
    }

    /// What of a claim may be used by whoever needs this part, now that others are known to claim so many parts.
    #[must_use]
    pub fn granted(claim: Self, need: Self, others: u32) -> Self {
        let left = Self::of_parts(PARTS.saturating_sub(others));
        claim.min(left).max(need).max(Self::LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_limit_add_up() {
        assert_eq!(Portion::unclaimed(1), Portion::WHOLE);
        assert_eq!(Portion::unclaimed(0), Portion::WHOLE);
        assert_eq!(Portion::unclaimed(10).count(100), 2);
        assert_eq!(Portion::unclaimed(2).count(100), 19, "rounded down");
        assert_eq!(Portion::unclaimed(128).count(10), 1, "one is always let in");
        for used in 0..=300 {
            assert!(Portion::of_count(used, 300).count(300) >= used, "{used}");
        }
        assert_eq!(Portion::of_count(7, 3), Portion::WHOLE);
        assert_eq!(Portion::WHOLE.count(u32::MAX), u32::MAX);
        assert!((Portion::WHOLE.fraction() - 1.0).abs() < 1e-9 && Portion::NONE.fraction() > 0.0);
        assert_eq!(Portion::WHOLE.times(0.5).count(100), 50);
        assert_eq!(Portion::said(0x8000), None);
        assert_eq!(Portion::said(Portion::WHOLE.parts()), Some(Portion::WHOLE));
    }

    #[test]
    fn who_is_alone_with_a_client_has_soon_all_of_the_limit() {
        let mut share = Portion::unclaimed(10);
        for _ in 0..3 {
            let need = Portion::of_count(share.count(100), 100);
            share = Portion::granted(Portion::claim(need, 0), need, 0);
        }
        assert!(share.count(100) >= 85, "{share:?}");
        let need = Portion::of_count(100, 100);
        assert_eq!(Portion::claim(need, 0), Portion::WHOLE);
    }

    #[test]
    fn the_later_of_two_yields() {
        let all = u32::from(Portion::WHOLE.parts());
        assert_eq!(
            Portion::granted(Portion::WHOLE, Portion::NONE, all),
            Portion::LEAST
        );
        let half = Portion::WHOLE.times(0.5);
        assert_eq!(
            Portion::granted(Portion::WHOLE, Portion::NONE, all / 2),
            half,
            "what is left"
        );
        assert_eq!(
            Portion::granted(half, Portion::WHOLE, all),
            Portion::WHOLE,
            "what it has stays"
        );
    }
}
