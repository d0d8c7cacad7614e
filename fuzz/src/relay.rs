//! A whole relay, between clients and backends in memory, as its input will have them.

use super::relay_world::{self, Story};

/// Runs one world.
pub fn run(data: &[u8]) {
    relay_world::run(data, &Story::default());
}
