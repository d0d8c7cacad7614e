//! What a connection says before it gets a backend, and what is said to a backend before its client's bytes. Pure.
//!
//! Each part looks at the bytes that have come so far and says: more are needed, this is it and so long, or why it is
//! refused. It must not know sockets, deadlines, or who is believed.
//!
//! Invariants, whatever comes: what more bytes could not mend is refused at once; nothing is asked for beyond the bound
//! that each part names.

pub mod client_hello; // whom a client that speaks TLS asks for
mod crc32c; // the checksum of a v2 header
pub mod failure; // why a connection gets no backend
pub mod proxy; // the PROXY protocol

pub use failure::Failure;
