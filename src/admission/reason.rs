//! Why a client is refused.

/// Why a client was refused right after accept; label `reason` of `connections_rejected_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// In `server.deny`, or not in `server.allow`.
    Denied,
    /// It has `server.max_connections_per_ip` open.
    ConnectionLimit,
    /// Faster than `server.connection_rate_per_ip`.
    RateLimit,
}

impl RejectReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 3] = [Self::Denied, Self::ConnectionLimit, Self::RateLimit];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::ConnectionLimit => "connection_limit",
            Self::RateLimit => "rate_limit",
        }
    }
}
