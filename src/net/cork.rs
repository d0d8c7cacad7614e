//! The last bytes of a stream and its finish, in one packet.

use std::io;

use mio::net::TcpStream;

use super::system;

/// Writes, and keeps the end of what was written until more follows: a finish, or [`uncork`]. Whole packets are sent at
/// once. Where the system knows no such thing, all is.
///
/// # Errors
/// As a write.
pub fn write_corked(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    system::write_corked(stream, bytes)
}

/// Lets go what a corked write has kept.
pub fn uncork(stream: &TcpStream) {
    system::uncork(stream);
}
