//! The candidates: every address that may be probed.
//!
//! Owns [`CandidateSet`], the addresses as ranges with running sums; the text format is
//! [`list_file`]'s, following a changed file is [`watch`]'s. Knows nothing of probes or scores.
//!
//! Invariants: a set is immutable and never expanded, so its memory grows with the lines of the list, not
//! with the addresses they cover; a pair of address and port is in it once, however often it was listed; an
//! IPv4 address is never there a second time as IPv4-mapped IPv6.

mod entry;
pub mod list_file;
mod options;
mod ranges;
mod reach;
mod sampler;
mod set;
pub mod watch;

pub use entry::Problem;
pub use list_file::{BadLine, ListErrors, LoadError};
pub use options::EntryOptions;
pub use reach::unreached;
pub use sampler::Sampler;
pub use set::CandidateSet;
