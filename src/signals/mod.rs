//! Signals: what the process is asked to do from outside.
//!
//! Owns the mask of signals and the threads that await them; it knows nothing of what is stopped or reloaded.
//! Invariants: no handler of ours runs (what is blocked is awaited, what `ctrlc` takes is told by its thread); the
//! first stop is graceful, any second one ends the process at once; a hang-up that was ignored when the process
//! began stays ignored, as under `nohup`.

#[cfg(not(unix))]
mod elsewhere;
mod event;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub use elsewhere::{Blocked, block};
pub use event::{EXIT_FORCED, Signal};
#[cfg(unix)]
pub use unix::{Blocked, block};
