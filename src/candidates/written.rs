//! A set as lines of a list: what is read of them is the same set. Pure.

use std::net::{IpAddr, SocketAddr};

use super::list::Host;
use super::notes::Said;
use super::options::Stated;
use super::set::CandidateSet;

impl CandidateSet {
    /// The lines, unless they are more than `most`: each range, and behind all of them what is said of some.
    #[must_use]
    pub fn to_lines(&self, most: usize) -> Option<Vec<String>> {
        let notes = self.notes.as_deref();
        let spans = notes.map_or(0, super::notes::Notes::span_count);
        if self.range_count() + spans > most {
            return None;
        }
        let v4 = self
            .v4
            .iter()
            .map(|range| stretch(range.first.into(), range.last.into(), range.port));
        let v6 = self
            .v6
            .iter()
            .map(|range| stretch(range.first.into(), range.last.into(), range.port));
        let mut lines: Vec<String> = v4.chain(v6).collect();
        if let Some(notes) = notes {
            notes.for_each(|(first, last, port), said| {
                let addresses = stretch(first, last, port);
                lines.push(match said {
                    Said::Weight(weight) => format!("{addresses} weight={weight}"),
                    Said::Tier(tier) => format!("{addresses} tier={tier}"),
                    Said::Limit(limit) => format!("{addresses} max_connections={limit}"),
                    Said::Name(name) => format!("{addresses} # {name}"),
                });
            });
        }
        Some(lines)
    }
}

impl Host {
    /// The line.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = format!("{}:{}", self.name, self.port);
        let Stated {
            weight,
            tier,
            max_connections,
        } = self.stated;
        let said = [
            weight.map(|weight| format!(" weight={weight}")),
            tier.map(|tier| format!(" tier={tier}")),
            max_connections.map(|limit| format!(" max_connections={limit}")),
            self.remark.as_ref().map(|name| format!(" # {name}")),
        ];
        line.extend(said.into_iter().flatten());
        line
    }
}

/// Addresses from the first to the last at a port, as an entry.
fn stretch(first: IpAddr, last: IpAddr, port: u16) -> String {
    match (first, last) {
        _ if first == last => SocketAddr::new(first, port).to_string(),
        (IpAddr::V4(first), last) => format!("{first}-{last}:{port}"),
        (IpAddr::V6(first), last) => format!("[{first}-{last}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::candidates::list_file;

    fn set(text: &str) -> CandidateSet {
        CandidateSet::parse(text, 80).expect("a list")
    }

    #[test]
    fn a_set_is_a_few_lines_that_people_can_read() {
        let set = set("192.0.2.1 weight=3 # hk 1\n192.0.2.2\n2001:db8::/126 backup max_connections=9");
        assert_eq!(
            set.to_lines(9).expect("few"),
            [
                "192.0.2.1-192.0.2.2:80",
                "[2001:db8::-2001:db8::3]:80",
                "192.0.2.1:80 weight=3",
                "192.0.2.1:80 # hk 1",
                "[2001:db8::-2001:db8::3]:80 tier=1",
                "[2001:db8::-2001:db8::3]:80 max_connections=9",
            ]
        );
        assert_eq!(set.to_lines(5), None);
        assert_eq!(CandidateSet::nobody().to_lines(0), Some(Vec::new()));
    }

    #[test]
    fn a_million_addresses_are_one_line_and_whatever_is_a_name_is_read_again() {
        assert_eq!(set("10.0.0.0/12").to_lines(1).map(|lines| lines.len()), Some(1));
        for name in ["8443", "# x # y", "a\"b\\", "香港 1", "weight=9", "192.0.2.9:1"] {
            let named = set(&format!("::/0 # {name}"));
            let lines = named.to_lines(9).expect("few");
            let again = set(&lines.join("\n"));
            assert_eq!(again, named, "{name}");
            let somebody = SocketAddr::from(([192, 0, 2, 1], 80));
            assert_eq!(again.name_of(&somebody), Some(name));
        }
    }

    #[test]
    fn host_names_are_read_as_they_are_written() {
        let entries = [
            "a.example weight=3 backup max_connections=9 # hk 1",
            "b.example:443",
            "192.0.2.1",
        ];
        let entries = entries.map(str::to_owned);
        let list = list_file::read_entries(&entries, 80).expect("a list");
        let lines: Vec<String> = list.hosts.iter().map(Host::to_line).collect();
        assert_eq!(
            lines,
            [
                "a.example:80 weight=3 tier=1 max_connections=9 # hk 1",
                "b.example:443"
            ]
        );
        let again = list_file::read_entries(&lines, 1).expect("a list");
        assert_eq!(again.hosts, list.hosts);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec((0..40_u8, 0..9_u8, 0..3_u16, 0..9_usize, any::<bool>()), 1..30)) {
            let said = ["", " weight=2", " weight=1", " backup", " tier=0", " tier=7", " max_connections=5 # a", " name=b", " weight=9 # c d"];
            let line = |(first, more, port, of, is_v6): &(u8, u8, u16, usize, bool)| {
                let (last, port, said) = (first.saturating_add(*more), 80 + port, said[*of]);
                if *is_v6 {
                    format!("[2001:db8::{first:x}-2001:db8::{last:x}]:{port}{said}")
                } else {
                    format!("192.0.2.{first}-{last}:{port}{said}")
                }
            };
            let text: Vec<String> = entries.iter().map(line).collect();
            let set = set(&text.join("\n"));
            let lines = set.to_lines(1_000).expect("few");
            prop_assert_eq!(CandidateSet::parse(&lines.join("\n"), 1).expect("a list"), set, "{:?}", lines);
        }
    }
}
