//! A fleet: forwarders that share what they know through a Redis.
//!
//! - `resp.rs`: its protocol, bounded (pure); `message.rs`: what is said there (pure); `nodes.rs`: who else there is (pure);
//!   `reading.rs`: how the stream of samples is read (pure); `exchange.rs`: what one exchange asks and what its answers mean (pure).
//! - `claims.rs`: what of the limits of clients this process may give; `outset.rs`: what beginners are told (pure).
//! - `connection.rs`: one connection, each step of which has a deadline; `lookup.rs`: the addresses behind a name; `thread.rs`: the thread.
//!
//! Invariants: nobody waits for this thread; what is read of an answer is bounded in size and time; nothing that is heard is
//! trusted beyond its range, nor is any clock but the Redis's.

pub mod claims; // what of the limits of clients is ours to give
pub mod connection; // one connection, with deadlines
pub mod exchange; // what one exchange asks, and what its answers mean (pure)
pub mod lookup; // the addresses behind a name
pub mod message; // what is said (pure)
pub mod nodes; // who else there is (pure)
pub mod outset; // what those are told that begin (pure)
pub mod reading; // how the stream of samples is read (pure)
pub mod resp; // the protocol of a Redis, bounded (pure)
mod thread; // the thread

pub use thread::Sharer;
