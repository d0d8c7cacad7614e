//! Sockets that listen: bound for one listener a reactor, or taken over from somebody who has them open already.
//!
//! Owns nothing that is open; it makes sockets and deals them to reactors. Invariant: every socket that listens is dealt to a
//! reactor, for connections queue at each of them.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::addr::is_within_machine;
use super::options::{ACCEPTED_INHERITS_OPTIONS, set_for_relay};
use super::system;
use crate::config::Keepalive;

/// Connections that the kernel may queue for one listener before we accept them.
pub const BACKLOG: i32 = 4096;

/// Whether the kernel spreads connections over the listeners of one port (`SO_REUSEPORT` on Linux).
const REUSE_PORT_BALANCES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// An address that is ours, for so many reactors. What was bound here refuses connections still; what was adopted has
/// them queue.
#[derive(Debug)]
pub struct Reserved {
    addr: SocketAddr,
    reactors: usize,
    /// At least one a reactor.
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
    reserve_as(addr, reactors, keepalive, SharePort::No)
}

/// The same beside an address of ours that overlaps it and is about to leave: the port is shared meanwhile.
///
/// # Errors
/// As [`reserve`].
pub fn reserve_beside(addr: SocketAddr, reactors: usize, keepalive: &Keepalive) -> io::Result<Reserved> {
    reserve_as(addr, reactors, keepalive, SharePort::Yes)
}

fn reserve_as(
    addr: SocketAddr,
    reactors: usize,
    keepalive: &Keepalive,
    share: SharePort,
) -> io::Result<Reserved> {
    let reactors = reactors.max(1);
    let first = bind(addr, share, keepalive)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(addr);
    let mut sockets = Vec::with_capacity(reactors);
    if REUSE_PORT_BALANCES {
        // Even of one reactor: an address that overlaps it may take its place at a reload.
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
    Ok(Reserved {
        addr: bound,
        reactors,
        sockets,
    })
}

/// Takes over sockets that are bound to one address, and most likely listen to it already: another process's, or
/// the service manager's.
///
/// Each reactor gets one at least. Where there are fewer, sockets are added that share the port, as by [`reserve`]; they
/// do not listen before [`Reserved::listen`], so nobody queues at them if this process ends before that. Where the kernel does not
/// spread connections, or whoever made the sockets does not share the port with us (it belongs to another user), the sockets
/// themselves are shared. Where there are more, a reactor gets several.
///
/// # Errors
/// When there is none, when one is no TCP socket, or when they are not bound to the same address.
pub fn adopt(sockets: Vec<Socket>, reactors: usize, keepalive: &Keepalive) -> io::Result<Reserved> {
    let reactors = reactors.max(1);
    let mut bound = None;
    for socket in &sockets {
        let addr = bound_addr(socket)?;
        if *bound.get_or_insert(addr) != addr {
            return Err(invalid("the sockets are not bound to the same address"));
        }
    }
    let addr = bound.ok_or_else(|| invalid("there is no socket to adopt"))?;
    for socket in &sockets {
        prepare(socket, addr, keepalive)?;
    }
    let mut sockets = sockets;
    let given = sockets.len();
    for turn in 0..reactors.saturating_sub(given) {
        let shared = if REUSE_PORT_BALANCES {
            join(&sockets, addr, keepalive).ok()
        } else {
            None
        };
        let socket = match (shared, sockets.get(turn % given)) {
            (Some(socket), _) => socket,
            (None, Some(given)) => given.try_clone()?,
            (None, None) => return Err(invalid("there is no socket to share")),
        };
        sockets.push(socket);
    }
    debug_assert!(sockets.len() >= reactors, "one a reactor at least");
    Ok(Reserved {
        addr,
        reactors,
        sockets,
    })
}

/// Another descriptor of the same socket, to be handed over. What queues at it is lost only when both are closed.
///
/// # Errors
/// When the system gives no descriptor.
pub fn duplicate(listener: &TcpListener) -> io::Result<Socket> {
    SockRef::from(listener).try_clone()
}

impl Reserved {
    /// The address, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Begins to accept connections: for each reactor its listeners, one at least.
    ///
    /// # Errors
    /// When somebody else listens on the address by now.
    pub fn listen(self) -> io::Result<Vec<Vec<TcpListener>>> {
        let mut rows: Vec<Vec<_>> = (0..self.reactors).map(|_| Vec::new()).collect();
        debug_assert!(self.sockets.len() >= rows.len(), "one a reactor at least");
        for (turn, socket) in self.sockets.into_iter().enumerate() {
            socket.listen(BACKLOG)?;
            if let Some(row) = rows.get_mut(turn % self.reactors) {
                row.push(TcpListener::from_std(socket.into()));
            }
        }
        Ok(rows)
    }
}

/// [`reserve`] and [`Reserved::listen`] in one step: one listener a reactor.
///
/// # Errors
/// As those two.
pub fn listen(addr: SocketAddr, reactors: usize, keepalive: &Keepalive) -> io::Result<Vec<TcpListener>> {
    Ok(reserve(addr, reactors, keepalive)?
        .listen()?
        .into_iter()
        .flatten()
        .collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SharePort {
    Yes,
    No,
}

fn bind(addr: SocketAddr, share: SharePort, keepalive: &Keepalive) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
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
    prepare(&socket, addr, keepalive)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Sets what a listener has whoever has bound it; a second time changes nothing.
fn prepare(socket: &Socket, addr: SocketAddr, keepalive: &Keepalive) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if ACCEPTED_INHERITS_OPTIONS {
        socket.set_tcp_nodelay(true)?;
        set_for_relay(&SockRef::from(socket), keepalive)?;
    }
    if is_within_machine(addr) {
        system::skip_pacing(socket);
    }
    Ok(())
}

/// Binds another socket to an address that others have, which share it then.
fn join(others: &[Socket], addr: SocketAddr, keepalive: &Keepalive) -> io::Result<Socket> {
    for other in others {
        share_port(other)?;
    }
    bind(addr, SharePort::Yes, keepalive)
}

/// Where a TCP socket is bound.
fn bound_addr(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?.as_socket();
    match addr {
        Some(addr) if addr.port() != 0 && socket.r#type()? == Type::STREAM => Ok(addr),
        Some(_) | None => Err(invalid("it is no bound TCP socket")),
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(unix)]
fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn share_port(_: &Socket) -> io::Result<()> {
    Ok(())
}
