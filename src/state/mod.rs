//! What a process knows and its successor would have to find out again: the state file.
//!
//! `snapshot` and `format` are pure; `file` reads and writes; `collect` asks the services; `keeper` says when.
//!
//! Invariants: what is read is a whole file as one process wrote it, or nothing; no file, whatever is in it, stops a start
//! or takes more memory than [`format::MAX_BYTES`] and what follows from it.

pub mod collect;
pub mod file;
pub mod format;
pub mod keeper;
pub mod snapshot;

pub use keeper::Keeper;
pub use snapshot::{ServiceState, State};
