//! What a header says.

use std::net::SocketAddr;

/// The longest header that is read, in bytes: that of nginx.
pub const MOST_BYTES: usize = 4096;

/// Bytes of a fact that are kept; who says more about it has said nothing.
pub const MOST_FACT_BYTES: usize = 255;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes; what follows is its client's.
    pub length: usize,
    /// Whom the connection is for; none: whoever made it speaks for itself (`LOCAL`, `UNKNOWN`, or a connection that
    /// is no TCP).
    pub endpoints: Option<Endpoints>,
    /// What else it says.
    pub facts: Facts,
}

/// The ends of a client's connection, as whoever accepted it saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// What is known of a client's connection besides its ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The protocol above TLS that was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for: the one in its `ClientHello`.
    pub authority: Option<Box<[u8]>>,
    /// The TLS that it spoke, where that ended before.
    pub tls: Option<Tls>,
}

/// The TLS that a client spoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Bits: 1 it spoke TLS, 2 it showed a certificate on this connection, 4 in this session.
    pub client: u8,
    /// 0 if it showed a certificate that was verified.
    pub verify: u32,
    /// Such as `TLSv1.3`.
    pub version: Box<[u8]>,
}

impl Facts {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alpn.is_none() && self.authority.is_none() && self.tls.is_none()
    }
}
