//! Where the probes of a round lie in time. Pure.
//!
//! A round is an interval of the common [`Grid`]; it has as many parts of equal length as probes, and each probe begins
//! at a random place within a part of its own. The places of a round depend on its interval, its number and the number
//! of its probes, not on the service: what is due together is one wake-up, while the probes of each service are spread
//! over its interval.

use std::time::Instant;

use crate::base::grid::Grid;

/// Where the probes of all rounds of a process lie in time.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    seed: u64,
}

impl Places {
    /// The places of a process with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// When the probes of the round with this number begin, if there are `count` of them, in their order.
    pub fn times(self, grid: Grid, number: u64, count: usize) -> impl Iterator<Item = Instant> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let begin = grid.time(number);
        let part = grid.interval() / count.max(1);
        let interval = u64::try_from(grid.interval().as_nanos()).unwrap_or(u64::MAX);
        let round = [interval, number, u64::from(count)]
            .into_iter()
            .fold(self.seed, mix);
        (0..count).map(move |place| {
            let share = fastrand::Rng::with_seed(mix(round, u64::from(place))).f64();
            begin + part * place + part.mul_f64(share)
        })
    }
}

fn mix(seed: u64, value: u64) -> u64 {
    fastrand::Rng::with_seed(seed ^ value).u64(..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn rounds_differ_but_services_do_not() {
        let grid = Grid::new(clock::now(), Duration::from_secs(15));
        let of = |seed, number| -> Vec<_> { Places::new(seed).times(grid, number, 7).collect() };
        assert_eq!(of(1, 3), of(1, 3));
        let offsets = |seed, number| -> Vec<_> {
            of(seed, number)
                .into_iter()
                .map(|at| at - grid.time(number))
                .collect()
        };
        assert_ne!(offsets(1, 3), offsets(1, 4));
        assert_ne!(offsets(1, 3), offsets(2, 3));
    }

    #[test]
    fn places_are_anywhere_in_their_part() {
        let grid = Grid::new(clock::now(), Duration::from_secs(10));
        let mut tenths = [0; 10];
        for number in 0..1_000 {
            let at = Places::new(5).times(grid, number, 1).next().expect("one place");
            let offset = (at - grid.time(number)).as_secs();
            tenths[usize::try_from(offset).expect("small")] += 1;
        }
        assert!(tenths.iter().all(|tenth| (60..140).contains(tenth)), "{tenths:?}");
    }

    proptest! {
        #[test]
        fn each_has_a_part_of_its_own(seed: u64, millis in 1_u64..100_000, number in 0_u64..1_000_000, count in 0_usize..50) {
            let grid = Grid::new(clock::now(), Duration::from_millis(millis));
            let times: Vec<_> = Places::new(seed).times(grid, number, count).collect();
            prop_assert_eq!(times.len(), count);
            let part = grid.interval() / u32::try_from(count.max(1)).expect("small");
            for (place, at) in times.iter().enumerate() {
                let begin = grid.time(number) + part * u32::try_from(place).expect("small");
                prop_assert!(*at >= begin && *at <= begin + part);
            }
            prop_assert!(times.iter().all(|at| *at <= grid.time(number + 1)));
        }
    }
}
