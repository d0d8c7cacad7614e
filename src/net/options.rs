//! What every relayed connection has set.

use std::io;

use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

use crate::config::Keepalive;

/// Whether an accepted socket has the listener's `TCP_NODELAY`, keep-alive and so on (Linux copies the options).
pub(super) const ACCEPTED_INHERITS_OPTIONS: bool = cfg!(any(target_os = "linux", target_os = "android"));

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

pub(super) fn set_for_relay(socket: &SockRef<'_>, keepalive: &Keepalive) -> io::Result<()> {
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
