//! From a connect that is begun to one that stands: what the system says of it, and what that means.
//!
//! Knows no pools and no probes, which do the same with it: begin, wait for an event, ask.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::addr::is_within_machine;
use super::exhausted::is_exhausted;
use super::source::{is_without_source, leave_from};
use crate::config::Bind;

/// Begins to connect, with `TCP_NODELAY`; the caller registers the stream and waits for it to be writable.
///
/// # Errors
/// When the system refuses at once: no descriptor, no route; no free local port ([`is_out_of_ports`]).
pub fn begin_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = super::system::connect(addr)
        .map_err(|error| tell_ports_from_routes(error, &Bind::default(), addr))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same, from where it is to leave from.
///
/// # Errors
/// The same; and when that is not there ([`is_without_source`]), or the family of the peer has no address there.
pub fn begin_connect_from(bind: &Bind, addr: SocketAddr) -> io::Result<TcpStream> {
    if bind.is_any() {
        return begin_connect(addr);
    }
    let socket = socket_from(bind, addr, Type::STREAM)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&addr.into()) {
        Err(error) if !is_under_way(&error) => Err(tell_ports_from_routes(error, bind, addr)),
        Ok(()) | Err(_) => {
            let stream = TcpStream::from_std(socket.into());
            stream.set_nodelay(true)?;
            Ok(stream)
        }
    }
}

/// Connects from where it is to leave from, and waits for it.
///
/// # Errors
/// The same, and when it takes longer than `timeout`.
pub fn connect_from(bind: &Bind, addr: SocketAddr, timeout: Duration) -> io::Result<std::net::TcpStream> {
    if bind.is_any() {
        return std::net::TcpStream::connect_timeout(&addr, timeout);
    }
    let socket = socket_from(bind, addr, Type::STREAM)?;
    socket.connect_timeout(&addr.into(), timeout)?;
    Ok(socket.into())
}

fn socket_from(bind: &Bind, addr: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    if kind == Type::STREAM && is_within_machine(addr) {
        super::system::skip_pacing(&socket);
    }
    leave_from(&socket, bind, addr)?;
    Ok(socket)
}

#[cfg(unix)]
fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

#[cfg(not(unix))]
fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// How far a connect has come.
#[derive(Debug)]
pub enum ConnectState {
    /// Not decided yet; wait for the next event.
    Pending,
    /// Established.
    Established,
    /// Refused, unreachable, or failed otherwise.
    Failed(io::Error),
}

/// How far a connect has come, asked after an event on its stream.
///
/// Events can be spurious, so "writable" alone says nothing: the connect is established only if the peer's
/// address is known, which it is in no state before that and none after a failure. `SO_ERROR` then tells a
/// connect that goes on from one that has failed. (mio's documentation of `TcpStream::connect` asks both
/// each time; this order saves a system call where all is well.) Nobody listens where a connection leads back
/// to itself, so that counts as refused.
pub fn connect_state(stream: &TcpStream) -> ConnectState {
    let unknown = match stream.peer_addr() {
        // A connect to a free port of our own can be given that port as its local one, and meet itself.
        Ok(peer) if stream.local_addr().is_ok_and(|local| local == peer) => {
            return ConnectState::Failed(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(_) => return ConnectState::Established,
        Err(unknown) => unknown,
    };
    match stream.take_error() {
        Ok(Some(error)) | Err(error) => ConnectState::Failed(error),
        Ok(None) if unknown.kind() == io::ErrorKind::NotConnected => ConnectState::Pending,
        Ok(None) => ConnectState::Failed(unknown),
    }
}

/// Whether [`begin_connect`] failed because every local port towards its address is in use.
#[must_use]
pub fn is_out_of_ports(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Whether a connect did not begin for want of something of our own: descriptors, memory, ports, or what it was to leave from.
/// That says nothing of whom it was to.
#[must_use]
pub fn is_of_our_own(error: &io::Error) -> bool {
    is_exhausted(error) || is_out_of_ports(error) || is_without_source(error)
}

/// Systems say the same of ports that have run out and of an address that no way leads to from here. A datagram
/// socket, routed the same way, tells which it was; it needs no port of TCP's and sends nothing.
fn tell_ports_from_routes(error: io::Error, bind: &Bind, addr: SocketAddr) -> io::Error {
    let is_unclear = |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    let routed = || socket_from(bind, addr, Type::DGRAM)?.connect(&addr.into());
    if is_unclear(&error) && !routed().is_err_and(|error| is_unclear(&error)) {
        return io::Error::new(io::ErrorKind::AddrInUse, "every local port is in use");
    }
    error
}
