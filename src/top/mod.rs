//! `tcp-forwarder top`: services and members of a running process, as they change.
//!
//! `answers` is what is fetched, `table` and `view` make lines of it, `keys` says what a key means (all pure); `run` has the
//! terminal and the loop. A build without the feature `tui` has `absent` in place of it.

#[cfg(not(feature = "tui"))]
mod absent;
#[cfg(feature = "tui")]
mod answers;
#[cfg(feature = "tui")]
mod keys;
#[cfg(feature = "tui")]
mod run;
#[cfg(feature = "tui")]
mod table;
#[cfg(feature = "tui")]
mod view;

#[cfg(not(feature = "tui"))]
pub use absent::run;
#[cfg(feature = "tui")]
pub use run::run;
