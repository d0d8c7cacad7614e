//! Signals where there is no Unix: Ctrl+C and the requests to close that `ctrlc` knows. None reloads.

use std::io;

use super::event::{Signal, Teller};

/// There is nothing to block here; it stands for having come by before anybody listens.
#[derive(Debug)]
pub struct Blocked(());

/// Does nothing on this system.
///
/// # Errors
/// Never on this system.
pub fn block() -> io::Result<Blocked> {
    Ok(Blocked(()))
}

impl Blocked {
    /// Has `tell` called when the process is asked to stop. A second stop ends the process with
    /// [`EXIT_FORCED`](super::EXIT_FORCED) instead.
    ///
    /// # Errors
    /// When the system gives no thread, or somebody listens already.
    pub fn listen(self, tell: impl Fn(Signal) + Send + Sync + 'static) -> io::Result<()> {
        let teller = Teller::new(tell);
        ctrlc::set_handler(move || teller.hear(Signal::Stop)).map_err(io::Error::other)
    }
}
