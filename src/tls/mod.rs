//! TLS: what is encrypted between a peer and this process, as a wire that carries plaintext.
//!
//! - `names.rs`: which certificate a name gets (pure); `der.rs`: how long a certificate is valid (pure).
//! - `shown.rs`: a certificate as people see it (pure).
//! - `fault.rs`: what is wrong with certificates and keys, in words.
//! - `pem.rs`: files of certificates and keys; `termination.rs`: what a service shows its clients, made of them.
//! - `origination.rs`: how TLS is spoken to others; `credentials.rs`: what a service has of both.
//! - `handshake.rs`: how far a handshake has come.
//! - `session.rs`: one connection's keys and records, over any wire; `channel.rs`: a wire with a session around it, or none.
//!
//! Only this folder knows rustls. A build without the feature `tls` has `absent.rs` in place of it: a session that cannot
//! exist, so that a channel is its wire and nothing else.
//!
//! Invariants: no plaintext is taken from a relay while ciphertext of what was taken before waits, so a session never
//! holds more than [`CHUNK`](session::CHUNK) of it; a session that is idle holds no more than one read of 4 KiB; the end
//! of a stream is told only by a `close_notify`, and a stream that ends without one has failed.

pub mod channel;
mod handshake;

#[cfg(not(feature = "tls"))]
mod absent;
mod credentials;
#[cfg(feature = "tls")]
mod der;
#[cfg(feature = "tls")]
mod fault;
#[cfg(feature = "tls")]
mod names;
#[cfg(feature = "tls")]
mod origination;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
pub mod session;
mod shown;
#[cfg(feature = "tls")]
mod termination;

#[cfg(not(feature = "tls"))]
pub use absent::{Fault, Origination, Resume, Session, Termination};
pub use channel::Channel;
pub use credentials::Credentials;
#[cfg(feature = "tls")]
pub use fault::Fault;
pub use handshake::Handshake;
#[cfg(feature = "tls")]
pub use origination::{Origination, Resume};
#[cfg(feature = "tls")]
pub use session::Session;
pub use shown::{Chain, Shown};
#[cfg(feature = "tls")]
pub use termination::Termination;
