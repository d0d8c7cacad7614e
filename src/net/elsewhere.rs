//! What every system can do, in place of what Linux and Android can.

use std::io::{self, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::Socket;

/// The system's choice stays as it is.
pub(super) fn skip_pacing(_: &Socket) {}

/// Ports are chosen when a socket is bound.
pub(super) fn choose_ports_late(_: &Socket) {}

/// No configuration asks for it here.
pub(super) fn bind_to_interface(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

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
