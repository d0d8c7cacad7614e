//! Peers that can be told to misbehave, and streams that are known by their seed: what every test of faults and
//! of long loads talks through the forwarder with.
//!
//! An *exchange* is one connection. The client sends an [`stream::Order`] and the bytes it announces; the backend
//! sends the bytes that were ordered, then the SHA-256 of what it was sent, and finishes. The client compares
//! each byte with the one that its seed says, so a connection is either right to its last byte or its fault has a
//! place. Nothing is shared between the two but the seed, so they may be in different processes.
//!
//! All peers of one side live on one thread and one poll, thousands of them if need be.

#![allow(dead_code, reason = "each test binary uses its part of it")]

pub mod backend;
pub mod client;
pub mod crowd;
mod guest;
pub mod rig;
mod stage;
pub mod standing;
pub mod stream;
mod unsent;

use std::io::ErrorKind;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

/// Makes the coming close of `stream` a reset.
fn reset(stream: &TcpStream) {
    // Fails only when the connection has gone already.
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// Makes the buffers of `stream` as small as its kernel allows.
fn tighten(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    socket.set_recv_buffer_size(1).unwrap();
    socket.set_send_buffer_size(1).unwrap();
}

/// Whether an attempt is to be repeated at once, or later.
fn is_retry(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
