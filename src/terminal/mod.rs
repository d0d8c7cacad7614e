//! The terminal: how large it is, and having it for oneself for a while.
//!
//! Knows nothing of what is shown. Invariant: whoever has taken it gives it back as it was, however the process ends, but for
//! SIGKILL: by dropping what was taken, from the thread that hears of a signal, or from the hook of a panic.

#[cfg(any(not(unix), not(feature = "tui")))]
mod elsewhere;
mod letters;
#[cfg(all(unix, feature = "tui"))]
mod screen;
mod size;
mod typed;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub use elsewhere::size;
#[cfg(any(not(unix), not(feature = "tui")))]
pub use elsewhere::{Screen, give_back};
pub use letters::{Letters, columns, columns_of, letters};
#[cfg(all(unix, feature = "tui"))]
pub use screen::{Screen, give_back};
pub use size::Size;
pub use typed::Typed;
#[cfg(unix)]
pub use unix::size;
