//! Whom nothing reaches that leaves from certain addresses (pure).

use super::set::CandidateSet;
use crate::config::Bind;

/// The family whose candidates are not reached from there, for it has no address of that.
#[must_use]
pub fn unreached(bind: &Bind, set: &CandidateSet) -> Option<&'static str> {
    // IPv4 comes before IPv6.
    let ends = [set.at(0), set.len().checked_sub(1).and_then(|last| set.at(last))];
    let far = ends
        .into_iter()
        .flatten()
        .find(|addr| bind.address_towards(*addr).is_err())?;
    Some(if far.is_ipv4() { "IPv4" } else { "IPv6" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_without_an_address_is_not_reached() {
        let set = |text| CandidateSet::parse(text, 80).expect("a list");
        let from = |addresses: &[&str]| Bind {
            addresses: addresses
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect(),
            interface: None,
        };
        let (four, six, both) = (
            set("192.0.2.0/24"),
            set("2001:db8::1"),
            set("192.0.2.1\n2001:db8::1"),
        );
        assert_eq!(unreached(&Bind::default(), &both), None);
        assert_eq!(unreached(&from(&["192.0.2.9"]), &four), None);
        assert_eq!(unreached(&from(&["192.0.2.9"]), &both), Some("IPv6"));
        assert_eq!(unreached(&from(&["192.0.2.9"]), &six), Some("IPv6"));
        assert_eq!(unreached(&from(&["::1"]), &both), Some("IPv4"));
        assert_eq!(unreached(&from(&["::1", "192.0.2.9"]), &both), None);
    }
}
