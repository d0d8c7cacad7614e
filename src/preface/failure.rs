//! Why a connection ended before it got a backend.

/// Why a connection ended before it got a backend; label `reason` of `handshake_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its client finished before it had said what was to be said first.
    Left,
    /// Its first bytes are no PROXY header.
    NoProxyHeader,
    /// A PROXY header of a version that is not accepted.
    ProxyVersion,
    /// A PROXY header that is not what the protocol says.
    ProxyMalformed,
    /// A PROXY header that is longer than any that is read.
    ProxyTooLong,
    /// A PROXY header whose checksum is another one.
    ProxyChecksum,
    /// Its first bytes are no TLS, and nobody takes those.
    NotTls,
    /// A `ClientHello` that is not what the protocol says.
    HelloMalformed,
    /// A `ClientHello` that is longer than any that is read.
    HelloTooLong,
    /// No route takes what it asks for, and nobody takes the rest.
    NoRoute,
    /// No TLS, or none that both sides agree on.
    Tls,
}

impl Failure {
    /// Every reason, in label order.
    pub const ALL: [Self; 11] = [
        Self::Left,
        Self::NoProxyHeader,
        Self::ProxyVersion,
        Self::ProxyMalformed,
        Self::ProxyTooLong,
        Self::ProxyChecksum,
        Self::NotTls,
        Self::HelloMalformed,
        Self::HelloTooLong,
        Self::NoRoute,
        Self::Tls,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::NoProxyHeader => "no_proxy_header",
            Self::ProxyVersion => "proxy_version",
            Self::ProxyMalformed => "proxy_malformed",
            Self::ProxyTooLong => "proxy_too_long",
            Self::ProxyChecksum => "proxy_checksum",
            Self::NotTls => "not_tls",
            Self::HelloMalformed => "hello_malformed",
            Self::HelloTooLong => "hello_too_long",
            Self::NoRoute => "no_route",
            Self::Tls => "tls",
        }
    }
}
