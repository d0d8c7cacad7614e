//! How connections to one backend ended, with an answer or without a word, and whether others explain it. Pure.
//!
//! The question is whether a share of wordless ends is higher than another one. Both are known from few ends, so both are
//! known only roughly: three answers in a row are no proof of a protocol that always answers, where half of all ends are
//! wordless. How roughly is told by the share that is common in the service, for the one at hand may be so by luck. Where
//! wordless ends are no more than accidents, nothing is rough about it, and three of them are enough.

/// Ends of one backend that are remembered: at twice as many, all count half.
pub(super) const WINDOW: u32 = 32;

/// Ends from which on a share says something.
const ENOUGH: f64 = 3.0;

/// Ends of all together up to which one backend says little about what is common.
const FEW: f64 = 16.0;

/// What is taken for granted of wordless ends, as a share of all: clients have accidents.
const ACCIDENTS: f64 = 1.0 / 64.0;

/// How rare a run of wordless ends must be to be no chance.
const ONCE_IN: f64 = 1e5;

/// The last ends of one backend, or of several.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    answered: f64,
    wordless: f64,
    /// Wordless ends since the last answer.
    run: u32,
    /// The same as they count in `wordless`.
    run_weight: f64,
}

impl Ends {
    /// So many clients were answered.
    pub(super) fn answer(&mut self, clients: u32) {
        self.answered += f64::from(clients);
        while self.all() >= f64::from(2 * WINDOW) {
            *self = self.halved();
        }
        if clients > 0 {
            (self.run, self.run_weight) = (0, 0.0);
        }
    }

    /// One ended without a word.
    pub(super) fn end_wordless(&mut self) {
        if self.all() >= f64::from(2 * WINDOW) {
            *self = self.halved();
        }
        self.wordless += 1.0;
        self.run = self.run.saturating_add(1);
        self.run_weight += 1.0;
    }

    /// Both together, whatever their runs.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            answered: self.answered + other.answered,
            wordless: self.wordless + other.wordless,
            ..Self::default()
        }
    }

    /// What was before the present run.
    pub(super) fn before_run(self) -> Self {
        Self {
            answered: self.answered,
            wordless: (self.wordless - self.run_weight).max(0.0),
            ..Self::default()
        }
    }

    /// Whether a backend may be measured by these of its own: one that hardly ever answers has runs of both kinds, and says
    /// nothing about itself.
    pub(super) fn is_good(&self) -> bool {
        self.all() >= 2.0 * ENOUGH && self.wordless < self.all() / 4.0
    }

    /// The same, of half the weight.
    pub(super) fn halved(self) -> Self {
        Self {
            answered: self.answered / 2.0,
            wordless: self.wordless / 2.0,
            run_weight: self.run_weight / 2.0,
            ..self
        }
    }

    /// Whether there are more wordless ends than those of `other` explain, where `common` is the share of a service.
    pub(super) fn exceed(&self, other: &Self, common: f64) -> bool {
        let Some(usual) = other.share().filter(|usual| *usual < 1.0) else {
            return false;
        };
        let (share, all) = ((usual + ACCIDENTS).min(1.0), self.all());
        // How far the true share of the other may be from what is known of it; accidents are granted already.
        let doubt = variance(usual, common - ACCIDENTS) / other.all();
        let most = (share + 3.0 * doubt.sqrt()).min(1.0);
        let is_run = most.powf(f64::from(self.run)) * ONCE_IN < 1.0;
        let deviation = (all * variance(share, common) + all * all * doubt).sqrt();
        let is_excess = self.wordless > share * all + 4.0 * deviation + 1.0;
        is_run || (is_excess && self.wordless >= ENOUGH)
    }

    fn all(&self) -> f64 {
        self.answered + self.wordless
    }

    /// The share of wordless ends, once it says something.
    fn share(&self) -> Option<f64> {
        (self.all() >= ENOUGH).then(|| self.wordless / self.all())
    }
}

/// The share of wordless ends that is common: half of all ends are of backends that have no higher one, so that a few that
/// fail change nothing. While there are few ends, the share of all.
pub(super) fn common(ends: impl Iterator<Item = Ends>) -> f64 {
    let mut known: Vec<_> = ends.filter(|ends| ends.all() > 0.0).collect();
    let together = known.iter().copied().fold(Ends::default(), Ends::and);
    let share = |ends: &Ends| ends.wordless / ends.all();
    if together.all() < FEW {
        return if known.is_empty() { 0.0 } else { share(&together) };
    }
    known.sort_by(|a, b| share(a).total_cmp(&share(b)));
    let mut left = together.all() / 2.0;
    let middle = known.iter().find(|ends| {
        left -= ends.all();
        left <= 0.0
    });
    middle.map_or(0.0, share)
}

/// The variance of one end of which this share is wordless, or truly the common one. What is so often wordless that it
/// hardly varies makes no other share certain.
fn variance(share: f64, common: f64) -> f64 {
    let share = share.max(common.min(0.5));
    share * (1.0 - share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(answered: u32, wordless: u32) -> Ends {
        let mut ends = Ends::default();
        (0..wordless).for_each(|_| ends.end_wordless());
        ends.answer(answered);
        ends
    }

    fn run_of(run: u32, answered: u32, wordless: u32) -> Ends {
        let mut ends = ends(answered, wordless);
        (0..run).for_each(|_| ends.end_wordless());
        ends
    }

    #[test]
    fn three_in_a_row_are_no_chance_where_all_are_answered() {
        for few in [3, 30] {
            let others = ends(few, 0);
            assert!(!run_of(2, 0, 0).exceed(&others, 0.0), "beside {few}");
            assert!(run_of(3, 0, 0).exceed(&others, 0.0), "beside {few}");
            assert!(run_of(3, 30, 0).exceed(&ends(30, 0), 0.0));
        }
        assert!(
            run_of(3, 30, 0).exceed(&ends(48, 0), ACCIDENTS),
            "accidents are granted"
        );
    }

    #[test]
    fn a_newcomer_with_luck_is_no_measure() {
        let (veteran, newcomer) = (ends(24, 24), ends(6, 0));
        assert!(veteran.exceed(&newcomer, 0.0), "if nobody else was known");
        let common = common([newcomer, ends(25, 23), veteran.halved()].into_iter());
        assert!((0.4..0.6).contains(&common), "{common}");
        assert!(!veteran.exceed(&newcomer, common));
        assert!(!run_of(8, 24, 24).exceed(&newcomer, common));
    }

    #[test]
    fn a_few_that_fail_do_not_make_that_common() {
        for failing in [[ends(0, 3), ends(16, 16)], [ends(0, 30), ends(30, 20)]] {
            let good = [ends(50, 0), ends(48, 0), ends(50, 0)];
            assert!(common(failing.into_iter().chain(good)) <= 0.0);
        }
        assert!(common(std::iter::empty()) <= 0.0);
    }

    #[test]
    fn what_is_wordless_everywhere_makes_nothing_certain() {
        let past = ends(5, 1);
        assert!(!run_of(2, 5, 1).exceed(&past, 1.0));
        assert!(!run_of(30, 0, 0).exceed(&ends(0, 30), 1.0), "nobody answers");
    }

    #[test]
    fn a_run_counts_half_with_all_else() {
        let long = run_of(70, 30, 0);
        assert!(long.before_run().all() > 5.0, "{long:?}");
        assert!(long.before_run().wordless <= 1e-9, "{long:?}");
        assert!(long.run == 70);
    }
}
