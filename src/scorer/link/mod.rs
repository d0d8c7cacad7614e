//! Our own link: whether failures are the candidates' fault or its own, and who is told.
//!
//! One link for the candidates of all services.

mod answers; // when connects began that were answered
mod duty; // tells the log and whoever listens
mod hint; // what the word of others is worth
#[cfg(test)]
mod tests;
mod view; // how the link stands, in the words of those who are told
mod watch; // the judge

pub use duty::LinkDuty;
pub use hint::{Hints, Look};
pub use view::{LinkView, News, Phase};
pub use watch::{Evidence, FAILURES, HELD_BOUND, LinkWatch, WITNESSES};
