//! Samples become scores.
//!
//! Owns the score boards of all services; its thread is their only writer. It must not know sockets: samples come in
//! through the [`SampleInbox`]. Nor does it decide who is active: it reads that, so that the boards keep
//! those rows, and asks whoever decides to look before the time.

mod accused; // of whom others say that they fail
pub mod answer_time; // how soon answers begin
mod aside; // what was learned on other ways to the network
pub mod board; // the bounded score board of one service
mod book; // what the scorer keeps of one service
pub mod conduct; // whose fault it is when clients hear nothing
mod ends; // whether a share of wordless ends is too high
mod failing; // dials that fail in a row
pub mod inbox; // the way of samples to the scorer
pub mod link; // whose fault failures are
pub mod pace; // how long samples gather
pub mod probe_stats; // probe counts of single servers, for metrics
pub mod sample; // what is told of candidates
pub mod score; // the formulas
mod tallies; // what clients got of backends
#[cfg(test)]
mod tests;
mod thread; // the thread
pub mod trust; // whether a candidate's connects are believed

pub use board::ScoreBoard;
pub use failing::FailingDials;
pub use inbox::SampleInbox;
pub use link::{Evidence, LinkDuty, LinkView, LinkWatch};
pub use probe_stats::ProbeStats;
pub use sample::{Heard, Outcome, Rated, Report, Sample, Source, Touched, Unserved, Wordless};
pub use score::Score;
pub use thread::Scorer;
