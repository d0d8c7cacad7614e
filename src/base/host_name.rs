//! Names of hosts, as the configuration and lists may have them. Pure.

/// Bytes that a name has at most, without a dot at its end (RFC 1035, 2.3.4).
const MOST_BYTES: usize = 253;

/// Bytes that a label has at most (RFC 1035, 2.3.4).
const MOST_LABEL_BYTES: usize = 63;

/// Whether a text is the name of a host: labels of ASCII letters, digits, hyphens and underscores with dots between them, none
/// of which begins or ends with a hyphen (RFC 1123, 2.1; underscores, which that does not have, are common).
///
/// The last label has a letter, as all top-level domains have: whatever else looks like a name was meant as an address, or as a
/// range of them. A dot at the end is none of the name.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=MOST_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or(text);
    text.len() <= MOST_BYTES
        && text.split('.').all(is_label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses() {
        let longest = [&"a".repeat(63)[..]; 3].join(".") + "." + &"b".repeat(61);
        assert_eq!(longest.len(), MOST_BYTES);
        for name in [
            "a",
            "example.org",
            "xn--bcher-kva.example",
            "_x.a-b.c1",
            "1.2.3.4a",
            &longest,
        ] {
            assert!(is_host_name(name), "{name}");
        }
        let too_long = format!("{longest}b");
        let long_label = "a".repeat(64);
        for other in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "*.a.b",
            "a b",
            "127.0.0.1",
            "127.0.0.1-9",
            "::1",
            "a.1",
            "a._",
            "bücher",
            &too_long,
            &long_label,
        ] {
            assert!(!is_host_name(other), "{other}");
        }
    }
}
