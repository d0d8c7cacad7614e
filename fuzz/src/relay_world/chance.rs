//! What is left to chance in a world: an input, byte by byte. When it runs out, the first of each choice is taken.

use std::time::Duration;

use super::super::choices::Choices;

/// What chance says.
#[derive(Debug)]
pub(super) struct Chance<'a> {
    choices: Choices<'a>,
    /// Whether there are few bytes and little room for them in this world, or much of both.
    is_small: bool,
}

impl Chance<'_> {
    pub(super) fn of(mut choices: Choices<'_>) -> Chance<'_> {
        let is_small = choices.byte().unwrap_or_default().is_multiple_of(2);
        Chance { choices, is_small }
    }

    /// A number below `bound`, which is at most 256.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        u64::from(self.choices.byte().unwrap_or_default()) % bound
    }

    /// Yes once in so many times; no when the input has run out.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == times - 1
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let place = self.below(of.len() as u64);
        of[usize::try_from(place).unwrap_or_default()]
    }

    /// A number of bytes: mostly few, now and then more than a first flight or a buffer holds.
    pub(super) fn bytes(&mut self) -> u64 {
        let scale = if self.is_small {
            self.pick(&[0, 1, 7])
        } else {
            self.pick(&[1, 20, 60, 250])
        };
        1 + scale * self.below(256)
    }

    /// The size of a buffer.
    pub(super) fn room(&mut self) -> u64 {
        if self.is_small {
            self.pick(&[65_536, 300, 20])
        } else {
            self.pick(&[65_536, 65_536, 4_000])
        }
    }

    /// A time of up to a second or so.
    pub(super) fn pause(&mut self) -> Duration {
        let scale = self.pick(&[0, 10, 200, 2_000, 20_000]);
        Duration::from_micros(scale * self.below(256))
    }

    /// The seed of something that needs more choices than an input should be long.
    pub(super) fn rng(&mut self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.choices.word().unwrap_or_default().into())
    }
}
