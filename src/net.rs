//! The edge to the operating system's sockets: options, bind, "did this connect succeed", limits.
//!
//! One of the few doors to what differs between systems (`tests/portability.rs` has the list). It owns no state and
//! takes no decision about connections.

use std::io;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
#[cfg(unix)]
use socket2::{Domain, Protocol, Socket, Type};

mod addr;
mod connect;
mod cork;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
mod exhausted;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
mod listen;
#[cfg(not(unix))]
mod no_local;
mod options;
mod route;
mod source;
mod system;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tcp_info;

pub use addr::{canonical, overlaps};
pub use connect::{
    ConnectState, begin_connect, begin_connect_from, connect_from, connect_state, is_of_our_own,
    is_out_of_ports,
};
pub use cork::{uncork, write_corked};
pub use exhausted::is_exhausted;
pub use listen::{BACKLOG, Reserved, adopt, duplicate, listen, reserve, reserve_beside};
#[cfg(not(unix))]
pub use no_local::{BlockingLocalStream, LocalListener, LocalStream};
pub use options::{keep_alive, prepare_accepted, prepare_dialled};
pub use route::source_towards;
pub use source::{BINDS_TO_INTERFACES, is_without_source};
/// Sockets that are files: a listener, a stream under a poll, and a stream that blocks.
#[cfg(unix)]
pub use {
    mio::net::UnixListener as LocalListener, mio::net::UnixStream as LocalStream,
    std::os::unix::net::UnixStream as BlockingLocalStream,
};

/// Whether there are sockets that are files.
pub const LOCAL_SOCKETS: bool = cfg!(unix);

/// Whether a read that fills only part of the buffer has emptied the socket.
///
/// True where readiness is edge-triggered by the kernel (epoll, kqueue). Elsewhere mio re-arms only after
/// `WouldBlock`, so there every socket is read on to that.
pub const SHORT_READ_DRAINS: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
));

/// The registration of every relayed socket: both directions at once, so that none is ever registered again;
/// and urgent data, at whose mark a read stops short though the socket is not drained.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub const ALL_EVENTS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);

/// The registration of every relayed socket: both directions at once, so that none is ever registered again.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub const ALL_EVENTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Descriptors where the system sets no limit: more sockets than memory would carry.
const ENOUGH_DESCRIPTORS: usize = 1 << 20;

/// Makes the coming close of `stream` a reset instead of a finish. What the kernel has not sent is dropped.
pub fn reset_on_close(stream: &TcpStream) {
    // A failure means that the connection is gone already, which is what a reset is for.
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// Whether this system tells what a connection's peer has acknowledged.
pub const KNOWS_ACKNOWLEDGED: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether it is certain that the peer of a connection of ours has acknowledged nothing of what was sent on it after so
/// many bytes, neither bytes nor a finish. Still known after the connection has failed.
#[must_use]
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn nothing_acknowledged(stream: &TcpStream, after: u64) -> bool {
    // The first one is that of the SYN.
    tcp_info::bytes_acked(stream).is_some_and(|acked| (1..=1 + after).contains(&acked))
}

/// Whether it is certain that the peer of a connection of ours has acknowledged nothing of what was sent on it after so
/// many bytes: this system does not tell.
#[must_use]
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn nothing_acknowledged(_: &TcpStream, _: u64) -> bool {
    false
}

/// Has the poll call `stream` writable, by an event of its own, once the peer's kernel has what was written to it,
/// but for a packet or so. Nothing more can be written to it from then on.
///
/// No system tells that in a portable way; but a full send buffer is not writable, and with the least buffer
/// that there is, whatever is still unconfirmed fills it.
///
/// # Errors
/// When the connection is already gone.
pub fn tell_when_sent(registry: &Registry, stream: &mut TcpStream, token: Token) -> io::Result<()> {
    SockRef::from(&*stream).set_send_buffer_size(1)?;
    registry.reregister(stream, token, ALL_EVENTS)
}

/// What an error of `accept` means for the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFailure {
    /// Nothing is queued.
    Empty,
    /// That one connection is gone; the next one may be accepted at once.
    Connection,
    /// Descriptors or memory ran out: accepting pauses.
    Exhausted,
}

/// Sorts an error of `accept`. Linux hands errors of the new connection's network to `accept`, so anything
/// unknown counts against that connection only.
#[must_use]
pub fn accept_failure(error: &io::Error) -> AcceptFailure {
    if error.kind() == io::ErrorKind::WouldBlock {
        AcceptFailure::Empty
    } else if is_exhausted(error) {
        AcceptFailure::Exhausted
    } else {
        AcceptFailure::Connection
    }
}

/// Whether an established connection failed by what its peer did: not for want of memory, nor because the way there is gone.
#[must_use]
pub fn is_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, HostUnreachable, NetworkDown, NetworkUnreachable, OutOfMemory, TimedOut,
    };
    let is_ours = matches!(
        error.kind(),
        ConnectionAborted | HostUnreachable | NetworkDown | NetworkUnreachable | OutOfMemory | TimedOut
    );
    !is_ours && !is_exhausted(error)
}

/// Raises the soft limit of file descriptors to the hard one and returns what is in force.
#[must_use]
#[cfg(unix)]
pub fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // macOS has no hard limit, and refuses more than its OPEN_MAX.
    let wishes = [limit.maximum, limit.current.max(Some(10_240))];
    let raise = |current: &Option<u64>| {
        let (current, maximum) = (*current, limit.maximum);
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok()
    };
    let in_force = wishes.into_iter().find(raise).unwrap_or(limit.current);
    let in_force = in_force.and_then(|limit| usize::try_from(limit).ok());
    in_force.unwrap_or(ENOUGH_DESCRIPTORS)
}

/// The limit of sockets; Windows has none that a process would meet.
#[must_use]
#[cfg(not(unix))]
pub fn raise_descriptor_limit() -> usize {
    ENOUGH_DESCRIPTORS
}

/// Descriptors in use: a new one gets the lowest number that is free, so none below it is.
///
/// # Errors
/// When there is not even one left.
#[cfg(unix)]
pub fn descriptors_in_use() -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let next = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    Ok(usize::try_from(next.as_raw_fd()).unwrap_or_default())
}

/// Descriptors in use; told only where there is a limit.
///
/// # Errors
/// Never on this system.
#[cfg(not(unix))]
pub fn descriptors_in_use() -> io::Result<usize> {
    Ok(0)
}

#[cfg(test)]
mod tests;
