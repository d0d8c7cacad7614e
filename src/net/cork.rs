//! The last bytes of a stream and its finish, in one packet.

use std::io::{self, Write};

use mio::net::TcpStream;

use super::system;

/// A socket that keeps the end of what is written to it until more follows: a finish, or [`uncork`]. Whole packets
/// are sent at once. Where the system knows no such thing, all is.
#[derive(Debug)]
pub struct Corked<'a>(pub &'a TcpStream);

impl Write for Corked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        system::write_corked(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        uncork(self.0);
        Ok(())
    }
}

/// Lets go what a [`Corked`] write has kept.
pub fn uncork(stream: &TcpStream) {
    system::uncork(stream);
}
