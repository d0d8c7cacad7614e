//! The control socket where there are no Unix sockets: an error that says so.

use std::convert::Infallible;
use std::io;
use std::path::Path;

/// A control socket; there is none on this system.
#[derive(Debug)]
pub struct ControlSocket(Infallible);

impl ControlSocket {
    /// Binds the control socket.
    ///
    /// # Errors
    /// Always: this system has no Unix sockets.
    pub fn bind(_: &Path) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a control socket needs Unix sockets, which this system does not have",
        ))
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self.0 {}
    }
}
