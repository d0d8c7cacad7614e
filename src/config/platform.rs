//! What the system must have for a setting to be possible.

/// What the system has.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about another part of the system, and all combinations are possible"
)]
pub(super) struct Platform {
    /// Whether bytes can move from socket to socket inside the kernel.
    pub(super) splice: bool,
    /// Whether there are sockets that are files.
    pub(super) unix_sockets: bool,
    /// Whether a connection can be bound to an interface.
    pub(super) interfaces: bool,
    /// Whether this build has TLS.
    pub(super) tls: bool,
    /// Whether this build can share.
    pub(super) cluster: bool,
}

impl Platform {
    /// The system that this program was built for.
    pub(super) fn here() -> Self {
        Self {
            splice: crate::relay::pipe::AVAILABLE,
            unix_sockets: crate::net::LOCAL_SOCKETS,
            interfaces: crate::net::BINDS_TO_INTERFACES,
            tls: cfg!(feature = "tls"),
            cluster: cfg!(feature = "cluster"),
        }
    }
}
