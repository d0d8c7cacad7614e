//! A fleet: forwarders that share what they know through a Redis.
//!
//! - `resp.rs`: its protocol, bounded (pure); `message.rs`: what is said there (pure); `exchange.rs`: what one exchange asks and
//!   what its answers mean (pure).
//! - `connection.rs`: one connection, each step of which has a deadline; `thread.rs`: the thread.
//!
//! Invariants: nobody waits for this thread; what is read of an answer is bounded in size and time; nothing that is heard is
//! trusted beyond its range, nor is any clock but the Redis's.

pub mod connection; // one connection, with deadlines
pub mod exchange; // what one exchange asks, and what its answers mean (pure)
pub mod message; // what is said (pure)
pub mod resp; // the protocol of a Redis, bounded (pure)
mod thread; // the thread

pub use thread::Sharer;
