//! How this process speaks TLS to others, checked.

use std::path::PathBuf;

/// How TLS is spoken to a peer by whoever connects to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The name that is asked for, and that the peer's certificate must have; empty: none is asked for, and the certificate
    /// must have the peer's address.
    pub sni: String,
    /// Whether the peer's certificate must be good.
    pub verify: bool,
    /// Authorities that vouch for peers; none: those of the system.
    pub ca: Option<PathBuf>,
    /// Protocols behind TLS that are offered (ALPN), the best first; empty: it is not spoken of.
    pub alpn: Vec<String>,
}
