//! What the next probe is for: where the model promises most, beside the best, or anywhere. Pure.
//!
//! Each way is tried in proportion to what it has brought lately (probability matching), and none of them starves: a model
//! may be wrong about a network that it has no words for. The less neighbours tell of each other, the more is asked anywhere:
//! what has been found lately says nothing of what is rare.

/// A way to choose whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arm {
    /// By what the model promises.
    Promise,
    /// Beside one of the best, at any distance.
    Beside,
    /// Evenly, as if nothing was known.
    Anywhere,
}

/// The share of probes that each way has at least, in their order.
const FLOORS: [f64; 3] = [0.1, 0.1, 0.25];
/// What has been brought counts for so much less with each further probe of the same way: some thirty are looked back at.
const MEMORY: f64 = 0.97;
/// What each way is believed to bring before it was tried, and for how many probes.
const PRIOR_PAYOFF: f64 = 0.2;
const PRIOR_TRIES: f64 = 5.0;
/// Nothing is ever taken to bring nothing at all.
const LEAST_PAYOFF: f64 = 0.002;
/// What a probe anywhere may bring beyond what such probes have brought lately, where neighbours tell nothing: whatever is
/// rare there is found by looking everywhere, and only then.
const UNSEEN_PAYOFF: f64 = 0.05;
/// Neighbours that tell this share of what differs between candidates tell enough.
const TELLS: f64 = 0.5;
/// A single find counts for no more than a factor of 20 in latency.
const MOST_PAYOFF: f64 = 3.0;

#[derive(Debug, Clone, Copy)]
struct Account {
    payoff: f64,
    tries: f64,
}

/// How the ways have paid off.
#[derive(Debug, Clone)]
pub(super) struct Arms([Account; 3]);

impl Arms {
    pub(super) fn new() -> Self {
        Self(
            [Account {
                payoff: PRIOR_PAYOFF * PRIOR_TRIES,
                tries: PRIOR_TRIES,
            }; 3],
        )
    }

    /// A probe has brought an improvement, in nats of latency; 0 or less for none.
    pub(super) fn learn(&mut self, arm: Arm, improvement: f64) {
        let account = &mut self.0[arm as usize];
        account.payoff = account.payoff * MEMORY + improvement.clamp(0.0, MOST_PAYOFF) + LEAST_PAYOFF;
        account.tries = account.tries * MEMORY + 1.0;
    }

    /// The share of probes of each way, in order, where neighbours tell so much of each other (0 to 1).
    fn shares(&self, told: f64) -> [f64; 3] {
        let mut means = self.0.map(|account| account.payoff / account.tries);
        means[Arm::Anywhere as usize] += UNSEEN_PAYOFF * (1.0 - told / TELLS).max(0.0);
        let sum: f64 = means.iter().sum();
        let left = 1.0 - FLOORS.iter().sum::<f64>();
        [0, 1, 2].map(|arm| FLOORS[arm] + left * means[arm] / sum)
    }

    /// What the next probe is for, where neighbours tell so much of each other (0 to 1).
    pub(super) fn draw(&self, told: f64, rng: &mut fastrand::Rng) -> Arm {
        let [promise, beside, _] = self.shares(told);
        let drawn = rng.f64();
        if drawn < promise {
            Arm::Promise
        } else if drawn < promise + beside {
            Arm::Beside
        } else {
            Arm::Anywhere
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pays_off_is_done_more_and_nothing_starves() {
        let mut arms = Arms::new();
        let [promise, beside, anywhere] = arms.shares(1.0);
        assert!(
            (promise - beside).abs() < 1e-9 && anywhere > promise,
            "of what was not tried, looking everywhere comes first"
        );
        for _ in 0..200 {
            arms.learn(Arm::Promise, -3.0);
            arms.learn(Arm::Beside, 0.5);
            arms.learn(Arm::Anywhere, 0.0);
        }
        let shares = arms.shares(1.0);
        assert!(
            shares[1] > 0.6 && shares.iter().zip(FLOORS).all(|(share, floor)| *share >= floor),
            "{shares:?}"
        );
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        for _ in 0..200 {
            arms.learn(Arm::Beside, 0.0);
            arms.learn(Arm::Promise, 99.0);
        }
        assert!(arms.shares(1.0)[0] > 0.6, "{arms:?}");
    }

    #[test]
    fn where_neighbours_tell_nothing_and_nothing_pays_off_most_is_asked_anywhere() {
        let mut arms = Arms::new();
        for arm in [Arm::Promise, Arm::Beside, Arm::Anywhere] {
            (0..200).for_each(|_| arms.learn(arm, 0.0));
        }
        let [anywhere, told] = [0.0, 1.0].map(|told| arms.shares(told)[2]);
        assert!(anywhere > 0.7 && told < 0.45, "{anywhere} {told}");
        // A find is followed up all the same.
        for _ in 0..20 {
            arms.learn(Arm::Beside, 0.5);
        }
        let shares = arms.shares(0.0);
        assert!(shares[1] > shares[2], "{shares:?}");
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
