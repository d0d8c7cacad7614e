//! Which DNS servers the system names: the text of `/etc/resolv.conf`. Pure.

use std::net::{IpAddr, SocketAddr};

/// Servers that count, as with the system's own resolver.
const MOST_SERVERS: usize = 3;

/// The port of DNS.
const PORT: u16 = 53;

/// The servers that a text names, in their order.
#[must_use]
pub(crate) fn servers(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        let ip: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(ip, PORT))
    };
    text.lines().filter_map(server).take(MOST_SERVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_servers_count_and_nothing_else() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\n nameserver 192.0.2.1\nnameserver\t2001:db8::1\n\
                    nameserver fe80::1%eth0\nnameserver\nnameserver 192.0.2.2 # first\nnameserver 192.0.2.3\n;x\noptions ndots:1\n";
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"];
        let expected: Vec<SocketAddr> = expected.iter().map(|addr| addr.parse().expect("valid")).collect();
        assert_eq!(servers(text), expected);
        assert!(servers("").is_empty());
    }
}
