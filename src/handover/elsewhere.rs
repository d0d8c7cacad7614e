//! Hand-over where there are no Unix sockets: an error that says so.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use socket2::Socket;

use super::error::HandoverError;
use super::protocol::{Entry, Predecessor};

/// A socket that was handed over.
#[derive(Debug)]
pub struct TakenSocket {
    /// What it is.
    pub entry: Entry,
    /// The socket.
    pub socket: Socket,
}

/// What an old process has handed over; there is none on this system.
#[derive(Debug)]
pub struct Taken {
    /// The old process.
    pub pid: u32,
    /// Which build of the program it is.
    pub build: String,
    /// Its sockets.
    pub sockets: Vec<TakenSocket>,
    /// What makes them ours.
    pub claim: Claim,
}

/// The connection to the old process; there is none on this system.
#[derive(Debug)]
pub struct Claim(Infallible);

/// Asks the process behind the control socket for its sockets.
///
/// # Errors
/// Always [`HandoverError::Unsupported`].
pub fn take(_: &Path) -> Result<Taken, HandoverError> {
    Err(HandoverError::Unsupported)
}

impl Claim {
    /// Tells the old process that this one could serve.
    ///
    /// # Errors
    /// None that could come: there is no claim on this system.
    pub fn ready(self, _: Vec<SocketAddr>) -> Result<Predecessor, HandoverError> {
        match self.0 {}
    }
}
