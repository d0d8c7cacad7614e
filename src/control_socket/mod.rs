//! The Unix socket that steers this process: its file, who may connect, and whose it is.
//!
//! Owns the file and the listener; it knows nothing of what is spoken on it. Invariants: nobody but the owner can
//! connect at any moment; a file that another process listens on is never taken away from it, one that a dead process left behind
//! is; at the end the file goes, unless it is somebody else's by then.

#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub use elsewhere::ControlSocket;
#[cfg(unix)]
pub use unix::ControlSocket;
