//! The candidates: every address that may be probed.
//!
//! Owns [`CandidateSet`], the addresses as ranges with running sums; the text format is
//! [`list_file`]'s, following a changed file is [`watch`]'s. Knows nothing of probes or scores.
//!
//! Invariants: a set is immutable and never expanded, so its memory grows with the lines of the list, not
//! with the addresses they cover; a pair of address and port is in it once, however often it was listed; an
//! IPv4 address is never there a second time as IPv4-mapped IPv6.

mod account;
mod entry;
mod line;
mod lines;
mod list;
pub mod list_file;
mod names;
mod notes;
mod options;
mod overlay;
mod problem;
mod ranges;
mod reach;
mod reading;
mod sampler;
mod set;
mod table;
pub mod watch;
mod written;

pub use account::{Account, Assumed, BadLine, Counts, Warning};
pub use list::{Host, HostNames, List, ListErrors, Rules};
pub use list_file::LoadError;
pub use options::{EntryOptions, Stated};
pub use problem::Problem;
pub use reach::unreached;
pub use sampler::Sampler;
pub use set::CandidateSet;
