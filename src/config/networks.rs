//! Lists of networks: from YAML, in words, and which of one list can never count.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::tree::Node;
use super::value::{Refusal, every_item, text};

/// Networks in one list.
const MAX_NETWORKS: usize = 4096;

/// Bits of an IPv6 prefix before the IPv4 address that is mapped into it.
const MAPPED_PREFIX: u8 = 96;

/// One network, or a list of them.
pub(super) fn read(node: &Node) -> Result<Vec<IpNet>, Vec<Refusal>> {
    let Node::List(items) = node else {
        return Ok(vec![network(node)?]);
    };
    if items.len() > MAX_NETWORKS {
        let what = format!("a list of {} networks is out of range", items.len());
        return Err(vec![Refusal { item: None, what }]);
    }
    every_item(items, network)
}

/// An address stands for itself alone; host bits may be set, as in `192.0.2.5/24`.
fn network(node: &Node) -> Result<IpNet, Refusal> {
    let parse = |text: &str| {
        let network: Option<IpNet> = text.parse().ok();
        network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    text(node)
        .ok()
        .and_then(parse)
        .map(canonical)
        .ok_or_else(|| Refusal::because(node, "is not an address or network"))
}

/// Without host bits, and a network of IPv4-mapped addresses as IPv4: a client's address is written so too.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network.trunc();
    };
    let mapped = || {
        let prefix = v6.prefix_len().checked_sub(MAPPED_PREFIX)?;
        Ipv4Net::new(v6.addr().to_ipv4_mapped()?, prefix).ok()
    };
    mapped().map_or(network, IpNet::V4).trunc()
}

/// What is allowed, in words.
pub(super) fn allowed() -> String {
    format!(
        "an address or a network, such as 192.0.2.0/24 or 2001:db8::/32, or a list of 0 to {MAX_NETWORKS} of them"
    )
}

/// A list as it would be written in the file (without quotes).
pub(super) fn shown(networks: &[IpNet]) -> String {
    let all: Vec<String> = networks.iter().map(ToString::to_string).collect();
    if all.is_empty() {
        "[]".to_owned()
    } else {
        all.join(", ")
    }
}

/// Networks of `allow` that can never count, and what is to blame in `deny`, which goes first.
pub(super) fn overruled<'n>(
    allow: &'n [IpNet],
    deny: &'n [IpNet],
) -> impl Iterator<Item = (&'n IpNet, &'n IpNet)> {
    allow.iter().filter_map(move |allowed| {
        let denied = deny.iter().find(|denied| denied.contains(allowed))?;
        Some((allowed, denied))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    #[test]
    fn networks_are_canonical() {
        for (text, expected) in [
            ("192.0.2.5", "192.0.2.5/32"),
            ("192.0.2.5/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1/128"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:192.0.2.5", "192.0.2.5/32"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
        ] {
            let node = tree::parse(&format!("{text:?}")).expect("a value");
            let networks = read(&node).expect("a network");
            assert_eq!(shown(&networks), expected, "{text}");
        }
    }
}
