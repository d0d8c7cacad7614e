//! Our own addresses, at most one of each family: from YAML, and in words.

use std::net::IpAddr;

use super::tree::Node;
use super::value::{Refusal, every_item, text};

/// One address, or a list of them.
pub(super) fn read(node: &Node) -> Result<Vec<IpAddr>, Vec<Refusal>> {
    let Node::List(items) = node else {
        return Ok(vec![address(node)?]);
    };
    let mut seen: Vec<IpAddr> = Vec::new();
    every_item(items, |item| {
        let address = address(item)?;
        if seen.iter().any(|one| one.is_ipv4() == address.is_ipv4()) {
            return Err(Refusal::because(item, "is the second of its family"));
        }
        seen.push(address);
        Ok(address)
    })
}

fn address(node: &Node) -> Result<IpAddr, Refusal> {
    let parsed: Option<IpAddr> = text(node).ok().and_then(|text| text.parse().ok());
    let address = parsed.ok_or_else(|| Refusal::because(node, "is not an address"))?;
    if address.is_unspecified() || address.is_multicast() || address.to_canonical() != address {
        return Err(Refusal::because(node, "is no address of one machine"));
    }
    Ok(address)
}

/// What is allowed, in words.
pub(super) fn allowed() -> String {
    "an address of this machine, or a list of at most one of IPv4 and one of IPv6".to_owned()
}

/// A list as it would be written in the file (without quotes).
pub(super) fn shown(addresses: &[IpAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if all.is_empty() {
        "[]".to_owned()
    } else {
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    #[test]
    fn one_of_each_family() {
        for (written, expected) in [
            ("[]", Ok("[]")),
            ("192.0.2.1", Ok("192.0.2.1")),
            ("['2001:db8::1', 192.0.2.1]", Ok("2001:db8::1, 192.0.2.1")),
            (
                "[192.0.2.1, 192.0.2.2]",
                Err("\"192.0.2.2\" is the second of its family"),
            ),
            ("192.0.2.0/24", Err("\"192.0.2.0/24\" is not an address")),
            ("192.0.2.1:80", Err("\"192.0.2.1:80\" is not an address")),
            ("0.0.0.0", Err("\"0.0.0.0\" is no address of one machine")),
            ("224.0.0.1", Err("\"224.0.0.1\" is no address of one machine")),
            (
                "'::ffff:192.0.2.1'",
                Err("\"::ffff:192.0.2.1\" is no address of one machine"),
            ),
        ] {
            let node = tree::parse(written).expect("a value");
            let said = read(&node)
                .map(|all| shown(&all))
                .map_err(|all| all[0].what.clone());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(said, expected, "{written}");
        }
    }
}
