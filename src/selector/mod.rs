//! Scores become active sets.
//!
//! Owns the choice ([`mod@decide`]), its thread, and the [`Backend`](crate::backend::Backend) objects: it is the only
//! publisher of any [`ActiveSet`](crate::backend::ActiveSet). It must not know who probes, relays or holds connections.
//!
//! Invariants: a published set is never empty, unless the candidate list was so from the start; an address of a
//! service keeps its one `Backend` as long as anybody holds it, in the set or in a relay, so that no live count is
//! lost when it leaves and comes back; nothing is chosen while our own link is down.

mod choice; // what the selector keeps of one service
pub mod decide; // scores + present set + now -> next set and its reason
#[cfg(test)]
mod decide_tests;
pub mod record; // what an evaluation came to, candidate by candidate
mod report; // what the selector says in the log
#[cfg(test)]
mod tests;
mod thread; // the thread
pub mod tiers; // which tier of candidates serves

pub use thread::Selector;
