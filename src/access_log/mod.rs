//! The access log: a line for each connection of a service when it ends.
//!
//! Owns what a line says and how. It knows no sockets and reads no clock; whoever serves connections hands a [`Record`] in.
//! Invariants: a record is one line, whatever clients have sent; nobody waits for an output; a line costs no allocation.

mod end;
mod format;
mod journal;
mod record;
mod short;

pub use end::{By, DialFailure, End, Phase, Standing};
pub use format::write as write_line;
pub use journal::Journal;
pub use record::{Record, Via};
