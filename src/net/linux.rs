//! What Linux and Android can do for a socket; `elsewhere.rs` has the same functions for other systems.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sockopt};
use socket2::{Domain, Socket, Type};

use super::addr::is_within_machine;

/// Gives a socket Reno, the one congestion control that every Linux has and that neither paces nor measures.
///
/// For connections within the machine, where nothing is lost and no link is shared: BBR (where that is the system's
/// choice) would start a timer for every few packets. It has to be said before a connection stands, for a socket
/// that was paced once stays so; what a listener accepts has it from the listener. A refusal costs speed only.
pub(super) fn skip_pacing(socket: &Socket) {
    let _ = sockopt::set_tcp_congestion(socket, "reno");
}

/// Has a socket that is bound to an address without a port get one when it connects, so that connections to different peers
/// can have the same one. Systems that cannot (Linux before 4.2) have fewer ports.
pub(super) fn choose_ports_late(socket: &Socket) {
    let _ = nix::sys::socket::setsockopt(socket, IpBindAddressNoPort, &true);
}

/// Has a socket send and hear by one interface only; Linux before 5.7 allows that to privileged processes only.
pub(super) fn bind_to_interface(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

/// What mio does; but towards this machine an option comes before the connect, which on loopback is over at once.
pub(super) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    if !is_within_machine(addr) {
        return TcpStream::connect(addr);
    }
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    skip_pacing(&socket);
    match socket.connect(&addr.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Writes; what does not fill a packet waits for more.
pub(super) fn write_corked(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}

/// Sends what waits: setting `TCP_NODELAY` does, even where it is set already.
pub(super) fn uncork(stream: &TcpStream) {
    drop(stream.set_nodelay(true));
}
