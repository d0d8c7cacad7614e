//! Where a connection of ours leaves from: a socket is bound to an address and an interface before it connects.
//!
//! Ports are left for the connect to choose, where the system can: a port is needed for each peer then, not for each
//! connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::Socket;

use super::exhausted::is_exhausted;
use super::system;
use crate::config::Bind;

/// Whether a connection can be bound to an interface.
pub const BINDS_TO_INTERFACES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Why nothing could begin: what it was to leave from is not there, or not ours to use. No fault of whom it was to.
#[derive(Debug)]
struct NoSource {
    what: String,
    error: io::Error,
}

impl fmt::Display for NoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot leave from {}: {}", self.what, self.error)
    }
}

impl std::error::Error for NoSource {}

/// Whether a connect did not begin because what it was to leave from is not there, or not ours to use.
#[must_use]
pub fn is_without_source(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<NoSource>)
}

/// Has a socket that is to connect to `peer` leave from where it is to.
pub(super) fn leave_from(socket: &Socket, bind: &Bind, peer: SocketAddr) -> io::Result<()> {
    let Ok(address) = bind.address_towards(peer) else {
        let what = "no own address of its family is given";
        return Err(io::Error::new(io::ErrorKind::NetworkUnreachable, what));
    };
    let without = |what: &dyn fmt::Display, error: io::Error| {
        if is_exhausted(&error) || error.kind() == io::ErrorKind::AddrInUse {
            return error;
        }
        let what = what.to_string();
        io::Error::other(NoSource { what, error })
    };
    if let Some(interface) = &bind.interface {
        system::bind_to_interface(socket, interface).map_err(|error| without(interface, error))?;
    }
    if let Some(address) = address {
        system::choose_ports_late(socket);
        let bound = socket.bind(&SocketAddr::new(address, 0).into());
        bound.map_err(|error| without(&address, error))?;
    }
    Ok(())
}
