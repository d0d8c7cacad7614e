//! One relay: a client, a backend, and two halves between them, over wires.
//!
//! A facade: each file below is one idea, and imports only files that stand above it here.

pub mod buffer; // bytes that the sink did not take yet
pub mod bulk; // how fast a relay moves what is much
pub mod close; // how a relay ends, and what its peers are told
pub mod course; // who has spoken
pub mod flight; // the first flight: what is kept, who may be rescued
pub mod pipe; // pipes of the kernel, where it has them
pub mod readiness; // what events told of a wire
pub mod wire; // what a relay asks of a connection

pub mod half; // one direction: what it holds, how far it has come
pub mod pump; // one direction by copying
#[cfg(test)]
mod pump_tests;
pub mod splice; // one direction through a pipe

pub mod bandwidth; // how fast relays may move
mod introduction; // what a backend is told before the first bytes of a client
#[cfg(test)]
mod introduction_tests;
mod peer; // a wire and its readiness
mod rescue; // the end of a first flight, as the wires tell it

mod exchange; // the relay itself: its turns

pub use exchange::{Moved, Relay, Replaceable, Tools, Verdict};
pub use peer::Peer;
