//! Hand-over: a new process takes the listening sockets of an old one, which goes on until the new one serves.
//!
//! Owns the protocol that the two speak and both of its sides; it knows nothing of what is served, nor of HTTP beyond the
//! request that opens it. Invariants: what goes wrong at any point leaves the old process as it was; what is read has
//! a bound, and every wait has an end; descriptors that were not announced are closed.
//!
//! ```text
//! new                                                        old
//!  │  POST /api/v1/takeover, Upgrade: tcp-forwarder-takeover/1 │
//!  │ ────────────────────────────────────────────────────────► │
//!  │                               101 (or 426, or 409)        │
//!  │ ◄──────────────────────────────────────────────────────── │
//!  │                  offer, and descriptors in messages       │ [`Offer::send`]
//!  │ ◄──────────────────────────────────────────────────────── │
//!  │ starts, probes, warms up                                  │ serves
//!  │  ready, and what it has taken                             │ [`Waiting::wait_ready`]
//!  │ ────────────────────────────────────────────────────────► │ stops accepting, but keeps its listeners open
//!  │                               yours (or refused)          │ [`Claimed::confirm`]
//!  │ ◄──────────────────────────────────────────────────────── │
//!  │ mine                                                      │
//!  │ ────────────────────────────────────────────────────────► │ closes its listeners, drains
//! ```
//!
//! A new process that dies before `mine` has the old one accept again. An old one that dies once its descriptors have
//! come has left all to the new one, which goes on alone; before that there is nothing to go on with.

#[cfg(unix)]
mod channel;
#[cfg(not(unix))]
mod elsewhere;
mod error;
#[cfg(unix)]
mod offer;
mod protocol;
#[cfg(unix)]
mod take;
#[cfg(test)]
#[cfg(unix)]
mod tests;

#[cfg(not(unix))]
pub use elsewhere::{Claim, Taken, TakenSocket, take};
pub use error::HandoverError;
#[cfg(unix)]
pub use offer::{Claimed, Interrupter, Offer, OfferedSocket, Waiting};
pub use protocol::{
    DESCRIPTORS_PER_MESSAGE, Entry, FromNew, FromOld, Lines, MAX_LINE_BYTES, MAX_SOCKETS, OfferLine,
    Predecessor, Ready, TooLong, UPGRADE, VERSION, decode, encode, version,
};
#[cfg(unix)]
pub use take::{Claim, Taken, TakenSocket, take};
