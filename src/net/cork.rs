//! The last bytes of a stream and its finish, in one packet.

use std::io::{self, Write};

use mio::net::TcpStream;

/// A socket that keeps the end of what is written to it until more follows: a finish, or [`uncork`]. Whole packets
/// are sent at once. Where the system knows no such thing, all is.
#[derive(Debug)]
pub struct Corked<'a>(pub &'a TcpStream);

impl Write for Corked<'_> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::net::{SendFlags, send};
        Ok(send(self.0, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        uncork(self.0);
        Ok(())
    }
}

/// Lets go what a [`Corked`] write has kept: setting `TCP_NODELAY` sends what waits, even where it is set already.
pub fn uncork(stream: &TcpStream) {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        drop(stream.set_nodelay(true));
    }
}
