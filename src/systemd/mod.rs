//! What a service manager tells this process, and what it is told: readiness, reloads, a watchdog, sockets.
//!
//! Owns the notify socket's address and the sockets that were passed in; it knows nothing of who starts, reloads or
//! beats. Invariants: without a service manager all of it does nothing; the environment is read and left as it is; a
//! service manager that does not listen holds nobody up.
//!
//! The protocols are those of `sd_notify`(3), `sd_watchdog_enabled`(3) and `sd_listen_fds`(3), which other service
//! managers speak as well.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod heartbeats;
mod inherited;
#[cfg(target_os = "linux")]
mod listen_fds;
mod notice;
#[cfg(not(unix))]
mod notify_nowhere;
#[cfg(unix)]
mod notify_socket;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::inherit;
pub use heartbeats::{Heartbeats, Watchdog};
pub use inherited::{ActivationError, Inherited, Wanted, claim};
#[cfg(target_os = "linux")]
pub use listen_fds::inherit;
pub use notice::Notice;
#[cfg(not(unix))]
pub use notify_nowhere::Notifier;
#[cfg(unix)]
pub use notify_socket::Notifier;
