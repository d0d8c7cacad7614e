//! TLS with a backend, which is warm first: the same world as [`tls`](super::tls), with the other side of a session.

use super::tls::{Side, run_with};

/// Plays a backend, a network and a reactor as the bytes say.
pub fn run(data: &[u8]) {
    run_with(Side::Backend, data);
}
