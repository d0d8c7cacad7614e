//! Plain HTTP/1 under a small poll loop of its own.

mod connection;
mod port;
pub(super) mod request;

pub use port::{HttpPort, MAX_CONNECTIONS, STACK_BYTES, Stopper};
pub use request::{After, MAX_HEAD_BYTES, Parsed, Request, parse};
