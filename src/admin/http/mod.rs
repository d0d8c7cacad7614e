//! Plain HTTP/1 under a small poll loop of its own.
//!
//! Why not `tiny_http::Server`: its parts are used (header parser, methods, response writer), its server is not,
//! because it cannot be limited. Each connection costs a thread and there may be any number; reads have no
//! time-out, so 1,000 silent peers hold 1,000 threads for ever; a head may have any length; an error of
//! `accept` ends the port; and a peer that resets early, or a lack of descriptors, panics a thread, which
//! ends our process. The bytes of strangers therefore go through an own small loop.

mod connection;
mod mailbox;
mod port;
pub(super) mod request;
mod wire;

pub use connection::MAX_BODY_BYTES;
pub use mailbox::AdminHandle;
pub use port::{AdminLoop, CONTROL_CONNECTIONS, MAX_CONNECTIONS, STACK_BYTES, bind};
pub use request::{After, Body, Claims, Expects, MAX_HEAD_BYTES, Parsed, Request, parse};
