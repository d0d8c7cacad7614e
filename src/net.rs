//! The edge to the operating system's sockets: options, bind, "did this connect succeed", limits.
//!
//! The only module (with `relay/splice.rs` and `shutdown.rs`) that may differ between systems. It owns no
//! state and takes no decision about connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::config::Keepalive;

mod connect;
mod cork;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(unix))]
mod no_local;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tcp_info;

pub use connect::{ConnectState, begin_connect, connect_state, is_out_of_ports};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;

pub use cork::{Corked, uncork};

#[cfg(not(unix))]
pub use no_local::{BlockingLocalStream, LocalListener, LocalStream};
/// Sockets that are files: a listener, a stream under a poll, and a stream that blocks.
#[cfg(unix)]
pub use {
    mio::net::UnixListener as LocalListener, mio::net::UnixStream as LocalStream,
    std::os::unix::net::UnixStream as BlockingLocalStream,
};

/// Connections that the kernel may queue for one listener before we accept them.
pub const BACKLOG: i32 = 4096;

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

/// Whether an accepted socket has the listener's `TCP_NODELAY`, keep-alive and so on (Linux copies the options).
const ACCEPTED_INHERITS_OPTIONS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether the kernel spreads connections over the listeners of one port (`SO_REUSEPORT` on Linux).
const REUSE_PORT_BALANCES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Descriptors where the system sets no limit: more sockets than memory would carry.
const ENOUGH_DESCRIPTORS: usize = 1 << 20;

/// An address that is ours but refuses connections still.
#[derive(Debug)]
pub struct Reserved {
    addr: SocketAddr,
    sockets: Vec<Socket>,
}

/// Binds `addr` for one listener per reactor.
///
/// On Linux each gets a socket of its own, over which the kernel spreads connections; elsewhere all share one
/// socket. Port 0 picks a free port, the same for all. Nobody else, not even another process of ours, may
/// hold the address already: the first socket is bound before it is made shareable.
///
/// # Errors
/// When the address is in use, not ours, or not permitted.
pub fn reserve(addr: SocketAddr, reactors: usize, keepalive: &Keepalive) -> io::Result<Reserved> {
    let reactors = reactors.max(1);
    let first = bind(addr, SharePort::No, keepalive)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(addr);
    let mut sockets = Vec::with_capacity(reactors);
    if REUSE_PORT_BALANCES && reactors > 1 {
        share_port(&first)?;
        for _ in 1..reactors {
            sockets.push(bind(bound, SharePort::Yes, keepalive)?);
        }
    } else {
        for _ in 1..reactors {
            sockets.push(first.try_clone()?);
        }
    }
    sockets.push(first);
    Ok(Reserved { addr: bound, sockets })
}

impl Reserved {
    /// The address, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Begins to accept connections: one listener per reactor.
    ///
    /// # Errors
    /// When somebody else listens on the address by now.
    pub fn listen(self) -> io::Result<Vec<TcpListener>> {
        let listen = |socket: Socket| {
            socket.listen(BACKLOG)?;
            Ok(TcpListener::from_std(socket.into()))
        };
        self.sockets.into_iter().map(listen).collect()
    }
}

/// [`reserve`] and [`Reserved::listen`] in one step.
///
/// # Errors
/// As those two.
pub fn listen(addr: SocketAddr, reactors: usize, keepalive: &Keepalive) -> io::Result<Vec<TcpListener>> {
    reserve(addr, reactors, keepalive)?.listen()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SharePort {
    Yes,
    No,
}

fn bind(addr: SocketAddr, share: SharePort, keepalive: &Keepalive) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        // Said explicitly: the default differs between systems and sysctls.
        socket.set_only_v6(true)?;
    }
    // On Windows SO_REUSEADDR would let two processes listen on one port.
    if cfg!(not(windows)) {
        socket.set_reuse_address(true)?;
    }
    if share == SharePort::Yes {
        share_port(&socket)?;
    }
    if ACCEPTED_INHERITS_OPTIONS {
        socket.set_tcp_nodelay(true)?;
        set_for_relay(&SockRef::from(&socket), keepalive)?;
    }
    if is_within_machine(addr) {
        skip_pacing(&socket);
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

#[cfg(unix)]
fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share_port(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Sets what every accepted connection has: `TCP_NODELAY`, keep-alive, and urgent bytes kept in the stream.
///
/// # Errors
/// When the connection is already gone.
pub fn prepare_accepted(stream: &TcpStream, keepalive: &Keepalive) -> io::Result<()> {
    if ACCEPTED_INHERITS_OPTIONS {
        return Ok(());
    }
    stream.set_nodelay(true)?;
    set_for_relay(&SockRef::from(stream), keepalive)
}

/// Sets what every connection to a backend has from its beginning, besides `TCP_NODELAY`.
///
/// # Errors
/// When the connection is already gone.
pub fn prepare_dialled(stream: &TcpStream) -> io::Result<()> {
    keep_urgent_bytes(&SockRef::from(stream))
}

/// Turns on keep-alive.
///
/// # Errors
/// When the connection is already gone.
pub fn keep_alive(stream: &TcpStream, keepalive: &Keepalive) -> io::Result<()> {
    set_keepalive(&SockRef::from(stream), keepalive)
}

fn set_for_relay(socket: &SockRef<'_>, keepalive: &Keepalive) -> io::Result<()> {
    keep_urgent_bytes(socket)?;
    set_keepalive(socket, keepalive)
}

/// Urgent bytes stay in their place in the stream, where they would be lost otherwise.
fn keep_urgent_bytes(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_out_of_band_inline(true)
}

fn set_keepalive(socket: &SockRef<'_>, keepalive: &Keepalive) -> io::Result<()> {
    let times = TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval);
    #[cfg(not(target_os = "openbsd"))]
    let full = times.clone().with_retries(keepalive.probes);
    #[cfg(not(target_os = "openbsd"))]
    if socket.set_tcp_keepalive(&full).is_ok() {
        return Ok(());
    }
    // Windows before 10 (and Wine) counts unanswered packets by a rule of its own.
    socket.set_tcp_keepalive(&times)
}

/// Whether connections of a socket that is bound to `addr`, or connects to it, stay within the machine (but for rules
/// that translate loopback addresses).
fn is_within_machine(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

/// Gives a socket Reno, the one congestion control that every Linux has and that neither paces nor measures.
///
/// For connections within the machine, where nothing is lost and no link is shared: BBR (where that is the system's
/// choice) would start a timer for every few packets. It has to be said before a connection stands, for a socket
/// that was paced once stays so; what a listener accepts has it from the listener. A refusal costs speed only, and
/// other systems keep their choice.
fn skip_pacing(socket: &Socket) {
    system::skip_pacing(socket);
}

/// Makes the coming close of `stream` a reset instead of a finish. What the kernel has not sent is dropped.
pub fn reset_on_close(stream: &TcpStream) {
    // A failure means that the connection is gone already, which is what a reset is for.
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// Whether this system tells what a connection's peer has acknowledged.
pub const KNOWS_ACKNOWLEDGED: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether it is certain that the peer of a connection of ours has acknowledged nothing of what was sent on it,
/// neither bytes nor a finish. Still known after the connection has failed.
#[must_use]
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn nothing_acknowledged(stream: &TcpStream) -> bool {
    tcp_info::bytes_acked(stream) == Some(1)
}

/// Whether it is certain that the peer of a connection of ours has acknowledged nothing of what was sent on it:
/// this system does not tell.
#[must_use]
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn nothing_acknowledged(_: &TcpStream) -> bool {
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

/// Whether a system call failed because descriptors, ports or memory ran out, not because of a peer.
#[must_use]
#[cfg(unix)]
pub fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // The last one is said of a poll that may watch no more.
    const EXHAUSTED: [Errno; 5] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::NOSPC,
    ];
    Errno::from_io_error(error).is_some_and(|errno| EXHAUSTED.contains(&errno))
}

/// Whether a system call failed because descriptors, ports or memory ran out, not because of a peer.
#[must_use]
#[cfg(not(unix))]
pub fn is_exhausted(error: &io::Error) -> bool {
    const WSAEMFILE: i32 = 10_024;
    const WSAENOBUFS: i32 = 10_055;
    matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
}

/// The address with an IPv4-mapped IPv6 address written as IPv4, so that one peer has one name.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, addr.port())),
            None => addr,
        },
        IpAddr::V4(_) => addr,
    }
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
