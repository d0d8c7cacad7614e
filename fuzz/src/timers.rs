//! Deadlines against a map from index to deadline.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tcp_forwarder::base::clock;
use tcp_forwarder::base::timers::Timers;

use super::choices::Choices;

/// How long after the earliest instant of an input the timers' epoch is, so that deadlines before it occur.
const EPOCH: Duration = Duration::from_micros(50);

/// Sets, moves, takes back and pops deadlines.
pub fn run(data: &[u8]) {
    let start = clock::now();
    let mut world = World {
        start,
        timers: Timers::new(start + EPOCH),
        model: BTreeMap::new(),
    };
    let mut choices = Choices::new(data);
    while world.step(&mut choices).is_some() {
        assert_eq!(world.timers.len(), world.model.len());
        assert_eq!(world.timers.is_empty(), world.model.is_empty());
        assert_eq!(world.timers.next(), world.model.values().min().copied());
    }
    while let Some(next) = world.timers.next() {
        world.pop(next);
    }
    assert!(world.model.is_empty(), "every deadline pops in the end");
}

struct World {
    start: Instant,
    timers: Timers,
    /// Deadlines, rounded up to the microsecond; none is before the epoch.
    model: BTreeMap<u32, Instant>,
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) -> Option<()> {
        let operation = choices.byte()?;
        let index = u32::from(operation >> 4);
        match operation & 3 {
            0 => {
                let (at, rounded) = self.instant(operation, choices)?;
                self.timers.set(index, at);
                self.model.insert(index, rounded);
            }
            1 => {
                // A gap in the indices makes the slab grow.
                let index = index + u32::from(choices.byte()?);
                let (at, rounded) = self.instant(operation, choices)?;
                self.timers.set(index, at);
                self.model.insert(index, rounded);
            }
            2 => {
                self.timers.clear(index);
                self.model.remove(&index);
            }
            _ => {
                let (now, _) = self.instant(operation, choices)?;
                while self.pop(now) {}
            }
        }
        Some(())
    }

    /// An instant, and the same as a deadline: in whole microseconds since the epoch, rounded up.
    fn instant(&self, operation: u8, choices: &mut Choices<'_>) -> Option<(Instant, Instant)> {
        let unit = match operation >> 2 & 3 {
            0 => 1,
            1 => 7,
            2 => 1000,
            _ => 1_000_000_000,
        };
        let nanos = u64::from(choices.word()?) * unit;
        let micros = nanos.saturating_sub(50_000).div_ceil(1000);
        let rounded = self.start + EPOCH + Duration::from_micros(micros);
        Some((self.start + Duration::from_nanos(nanos), rounded))
    }

    /// Pops one deadline, if one is due.
    fn pop(&mut self, now: Instant) -> bool {
        let earliest = self.model.values().min().copied();
        let popped = self.timers.pop_due(now);
        let due = earliest.filter(|earliest| *earliest <= now);
        assert_eq!(
            popped.is_some(),
            due.is_some(),
            "due deadlines pop, others do not"
        );
        let Some(index) = popped else {
            return false;
        };
        assert_eq!(self.model.remove(&index), due, "the earliest deadline pops first");
        true
    }
}
