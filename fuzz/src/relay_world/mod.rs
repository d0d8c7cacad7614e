//! A whole relay in a world of its own: virtual time, connections in memory, clients and backends with plans.
//!
//! Everything follows from the input: what the systems are like, what clients and backends do, when, and how much
//! of it arrives at once. The driver acts on a relay's verdicts as a reactor does; the judge knows both ends of every
//! connection, and so the truth. `tests/relay_simulation` makes inputs up from seeds, `relay.rs` takes a fuzzer's.
//!
//! What must hold:
//!
//! - Each direction arrives whole and in order: a backend hears a beginning of what its client said, each byte once; all
//!   that a client hears comes from one backend; where nobody fails, all that was said is heard.
//! - A finish is passed on, behind all bytes, and only for a finish; a reset is passed on only for a failure, and behind the
//!   last bytes that came.
//! - A rescue comes before the client has heard anything, once; `safe` never says again what a backend hears.
//! - Limits of bandwidth hold over any time. What is counted is what was moved.
//! - A relay ends when its peers have; nothing waits for ever, and no turn is for nothing.

mod actor;
mod chance;
mod driver;
mod judge;
mod meter;
mod network;
mod socket;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::choices::Choices;

/// What happened, line by line, for whoever looks for the cause of a failure.
#[derive(Debug, Default)]
pub struct Story(pub RefCell<Vec<String>>);

impl Story {
    fn tell(&self, line: String) {
        self.0.borrow_mut().push(line);
    }
}

/// How often what matters happened.
pub type Tally = BTreeMap<&'static str, u64>;

/// Runs the world that an input describes; panics when something does not hold.
pub fn run(data: &[u8], story: &Story) -> Tally {
    world::World::new(Choices::new(data), story).run()
}
