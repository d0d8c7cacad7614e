//! How this process speaks TLS to others, checked.

use std::net::IpAddr;
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

/// Whether a text is a name that can be asked for; addresses are none.
pub(super) fn is_host_name(text: &str) -> bool {
    const MOST_BYTES: usize = 253;
    let is_label = |label: &str| {
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let ends_in_digits = text
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= MOST_BYTES
        && text.split('.').all(is_label)
        && !ends_in_digits
        && text.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses() {
        for name in ["a", "example.org", "xn--bcher-kva.example", "_x.a-b.c1"] {
            assert!(is_host_name(name), "{name}");
        }
        for other in [
            "",
            ".",
            "a.",
            "a..b",
            "-a.b",
            "*.a.b",
            "a b",
            "127.0.0.1",
            "::1",
            "a.1",
            "bücher",
        ] {
            assert!(!is_host_name(other), "{other}");
        }
    }
}
