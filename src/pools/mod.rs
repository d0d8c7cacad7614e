//! How many connections are kept to each backend.
//!
//! Owns the sizing rules ([`sizing`], [`demand`]) and the thread that applies them to the backends of all services: it
//! reads what reactors counted and writes targets. It must not know connections: each reactor dials and closes its
//! own, by [`sizing::shortfall`] and [`sizing::surplus`], to follow its share of the target.
//!
//! Invariants: after [`prepare`], and between the thread's turns, the shares of a backend add up to its
//! target. Targets of a backend that left the active set mean nothing; its reactors close what is warm.

pub mod demand; // how much of a backend was wanted at once
pub mod lifetime; // how old a backend lets unused connections become
pub mod race; // when a second dial is worth its while
pub mod refills; // which refills clients have earned
pub mod sizing; // demand -> target -> shares
mod sleeper; // whether one service is asleep, as its clients have it
pub mod targets; // the targets of one service's backends
#[cfg(test)]
mod tests;
mod thread; // one thread for all services
pub mod trial; // whether warm connections keep a backend from answering
pub mod usage; // whether warm connections are used
pub mod warm; // the connections of one reactor to one backend

pub use targets::prepare;
pub use thread::Scaler;
