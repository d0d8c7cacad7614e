//! The control socket where there are no Unix sockets: an error that says so.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use socket2::Socket;

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

    /// Goes on with a control socket of another process.
    ///
    /// # Errors
    /// Always, as [`bind`](Self::bind).
    pub fn adopt(_: Socket, path: &Path) -> io::Result<Self> {
        Self::bind(path)
    }

    /// Makes the file this one's to remove.
    pub fn keep(&mut self) {
        match self.0 {}
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self.0 {}
    }
}
