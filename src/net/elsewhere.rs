//! What every system can do, in place of what Linux and Android can.

use std::io::{self, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::Socket;

/// The system's choice stays as it is.
pub(super) fn skip_pacing(_: &Socket) {}

/// Begins to connect.
pub(super) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(addr)
}

/// Writes; all is sent at once.
pub(super) fn write_corked(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    stream.write(bytes)
}

/// Nothing waits.
pub(super) fn uncork(_: &TcpStream) {}
