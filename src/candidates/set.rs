//! The addresses as a value: index to address and back, and what their entries say of them.
//!
//! Knows nothing of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use super::notes::{Note, Notes, NotesBuilder};
use super::options::{EntryOptions, Stated};
use super::ranges::{Range, Ranges};
use crate::net;

/// First and last of the IPv4-mapped addresses, `::ffff:0:0/96`.
const MAPPED: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

/// Addresses that may be probed, in the order IPv4 before IPv6, then by port, then by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateSet {
    pub(super) v4: Ranges<Ipv4Addr>,
    pub(super) v6: Ranges<Ipv6Addr>,
    /// None while no entry says anything.
    pub(super) notes: Option<Box<Notes>>,
}

impl CandidateSet {
    /// Nobody: what is known before anything has been said.
    #[must_use]
    pub fn nobody() -> Self {
        Builder::default().build()
    }

    /// Single addresses, each with what is said of it and how people call it, as if they were lines of a list.
    pub fn of_entries<'a>(entries: impl IntoIterator<Item = (SocketAddr, Stated, Option<&'a str>)>) -> Self {
        let mut builder = Builder::default();
        for (addr, stated, name) in entries {
            let stretch = match addr.ip() {
                IpAddr::V4(ip) => Stretch::V4(ip, ip),
                IpAddr::V6(ip) => Stretch::V6(ip, ip),
            };
            builder.add(stretch, addr.port(), stated, name);
        }
        builder.build()
    }

    /// All candidates of several sets, each once. What a later set says of an address counts more than what one before
    /// it says, as with the lines of a list.
    pub fn union<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        Self::union_with_limits(sets.into_iter().map(|set| (set, None)))
    }

    /// The same of sets that may each have a limit for their candidates: connections that each takes at once unless an entry of
    /// any set says another number.
    pub fn union_with_limits<'a>(sets: impl IntoIterator<Item = (&'a Self, Option<NonZeroU32>)>) -> Self {
        let sets: Vec<_> = sets.into_iter().collect();
        let mut builder = Builder::default();
        for (set, max) in &sets {
            if let Some(max) = max {
                builder.limit(set, *max);
            }
        }
        for (set, _) in sets {
            builder.add_set(set);
        }
        builder.build()
    }

    /// Those of its candidates that are wanted, by their address and their name, with what is said of them. Looks at each, so it is
    /// for sets of single addresses.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&SocketAddr, Option<&str>) -> bool) -> Self {
        let all = (0..self.len()).filter_map(|index| self.at(index));
        let wanted = all.filter(|addr| is_wanted(addr, self.name_of(addr)));
        let stated = |addr| {
            let notes = self.notes.as_ref();
            notes.map_or_else(Stated::default, |notes| notes.stated_of(addr))
        };
        Self::of_entries(wanted.map(|addr| (addr, stated(addr), self.name_of(&addr))))
    }

    /// How many candidates a set has that another one has not; saturates.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> u128 {
        Self::union([self, other]).len().saturating_sub(other.len())
    }

    /// Number of candidates. Saturates: more than `u128::MAX` count as that many, and those beyond have no
    /// index, while [`contains`](Self::contains) knows them.
    pub fn len(&self) -> u128 {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// Whether there is no candidate: nothing has been said yet. Never true for a set that came from a list.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of ranges after merging.
    pub fn range_count(&self) -> usize {
        self.v4.range_count() + self.v6.range_count()
    }

    /// The candidate with this index, from 0 to [`len`](Self::len) - 1. Costs a binary search over ranges.
    pub fn at(&self, index: u128) -> Option<SocketAddr> {
        if index >= self.len() {
            return None;
        }
        match index.checked_sub(self.v4.len()) {
            None => self.v4.at(index).map(SocketAddr::from),
            Some(index) => self.v6.at(index).map(SocketAddr::from),
        }
    }

    /// The index of a candidate, the inverse of [`at`](Self::at).
    pub fn index_of(&self, addr: &SocketAddr) -> Option<u128> {
        let addr = net::canonical(*addr);
        let index = match addr.ip() {
            IpAddr::V4(ip) => self.v4.index_of(ip, addr.port())?,
            IpAddr::V6(ip) => self.v4.len().checked_add(self.v6.index_of(ip, addr.port())?)?,
        };
        (index < self.len()).then_some(index)
    }

    /// How many candidates come before an address, whether that is one or not. It is taken as it is: an IPv4-mapped one
    /// lies among those of IPv6. Saturates.
    pub fn rank(&self, addr: &SocketAddr) -> u128 {
        match addr.ip() {
            IpAddr::V4(ip) => self.v4.rank(ip, addr.port()),
            IpAddr::V6(ip) => self.v4.len().saturating_add(self.v6.rank(ip, addr.port())),
        }
    }

    /// The same, and the address itself if it is a candidate.
    pub fn rank_after(&self, addr: &SocketAddr) -> u128 {
        let is_one = match addr.ip() {
            IpAddr::V4(ip) => self.v4.contains(ip, addr.port()),
            IpAddr::V6(ip) => self.v6.contains(ip, addr.port()),
        };
        self.rank(addr).saturating_add(u128::from(is_one))
    }

    /// What entries say of an address; of one that no entry says anything of, or that is no candidate, the default.
    ///
    /// Of several entries with the address, the last one that has an option counts for that option, so that exceptions
    /// stand behind the rule: behind `192.0.2.0/24 weight=3` and `192.0.2.7 backup`, the latter is a backup of weight 3.
    /// Costs nothing for a set without options, and else binary searches.
    #[must_use]
    pub fn options_of(&self, addr: &SocketAddr) -> EntryOptions {
        let notes = self.notes.as_ref();
        let stated = notes.map_or_else(Stated::default, |notes| notes.stated_of(net::canonical(*addr)));
        let default = EntryOptions::default();
        EntryOptions {
            weight: stated.weight.unwrap_or(default.weight),
            tier: stated.tier.unwrap_or(default.tier),
            max_connections: stated.max_connections.or(default.max_connections),
        }
    }

    /// How an address is called by the last entry that names it: a remark, or its option `name`. For people, at most 120
    /// bytes, without control characters.
    #[must_use]
    pub fn name_of(&self, addr: &SocketAddr) -> Option<&str> {
        self.notes.as_ref()?.name_of(net::canonical(*addr))
    }

    /// The name of an address as it stands behind it in a text: ` (hk1)`; nothing if it has none.
    #[must_use]
    pub fn name_behind(&self, addr: &SocketAddr) -> String {
        let name = self.name_of(addr);
        name.map_or_else(String::new, |name| format!(" ({name})"))
    }

    /// Whether the address is a candidate.
    pub fn contains(&self, addr: &SocketAddr) -> bool {
        let addr = net::canonical(*addr);
        match addr.ip() {
            IpAddr::V4(ip) => self.v4.contains(ip, addr.port()),
            IpAddr::V6(ip) => self.v6.contains(ip, addr.port()),
        }
    }
}

/// Addresses of one family from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// Collects ranges for a [`CandidateSet`].
#[derive(Debug, Default)]
pub(super) struct Builder {
    v4: Vec<Range<Ipv4Addr>>,
    v6: Vec<Range<Ipv6Addr>>,
    notes: NotesBuilder,
}

impl Builder {
    /// Adds addresses with a port, and what is said of them; those that are IPv4-mapped become IPv4.
    pub(super) fn add(&mut self, stretch: Stretch, port: u16, stated: Stated, name: Option<&str>) {
        let note = self.notes.keep(stated, name);
        match stretch {
            Stretch::V4(first, last) => self.add_v4(Range { port, first, last }, note),
            Stretch::V6(first, last) => self.add_v6(Range { port, first, last }, note),
        }
    }

    /// Adds another set, as if its entries followed.
    pub(super) fn add_set(&mut self, set: &CandidateSet) {
        self.v4.extend(set.v4.iter().copied());
        self.v6.extend(set.v6.iter().copied());
        if let Some(notes) = &set.notes {
            self.notes.add_notes(notes);
        }
    }

    /// Says of the candidates of a set that each takes so many connections; what is said of them later counts more.
    fn limit(&mut self, set: &CandidateSet, max: NonZeroU32) {
        let stated = Stated {
            max_connections: Some(max),
            ..Stated::default()
        };
        let note = self.notes.keep(stated, None);
        set.v4.iter().for_each(|range| self.notes.note_v4(*range, note));
        set.v6.iter().for_each(|range| self.notes.note_v6(*range, note));
    }

    fn add_v4(&mut self, range: Range<Ipv4Addr>, note: Note) {
        self.v4.push(range);
        self.notes.note_v4(range, note);
    }

    fn add_v6(&mut self, range: Range<Ipv6Addr>, note: Note) {
        let port = range.port;
        let (first, last) = (range.first.to_bits(), range.last.to_bits());
        let mut add = |first: u128, last: u128| {
            if first <= last {
                let (first, last) = (Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(last));
                let range = Range { port, first, last };
                self.v6.push(range);
                self.notes.note_v6(range, note);
            }
        };
        add(first, last.min(MAPPED.0 - 1));
        add(first.max(MAPPED.1 + 1), last);
        let mapped = |bits: u128| Ipv6Addr::from_bits(bits.clamp(MAPPED.0, MAPPED.1)).to_ipv4_mapped();
        if first <= MAPPED.1
            && last >= MAPPED.0
            && let (Some(first), Some(last)) = (mapped(first), mapped(last))
        {
            self.add_v4(Range { port, first, last }, note);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn build(self) -> CandidateSet {
        CandidateSet {
            notes: self.notes.build(),
            v4: Ranges::new(self.v4),
            v6: Ranges::new(self.v6),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> CandidateSet {
        CandidateSet::parse(text, 80).expect("a good list")
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn all(set: &CandidateSet) -> Vec<SocketAddr> {
        (0..set.len()).map(|i| set.at(i).expect("in range")).collect()
    }

    #[test]
    fn members_come_in_order_of_family_port_and_address() {
        let set = set("[::1]:80\n10.0.0.2:81\n10.0.0.9\n10.0.0.1\n10.0.0.2");
        let expected = [
            "10.0.0.1:80",
            "10.0.0.2:80",
            "10.0.0.9:80",
            "10.0.0.2:81",
            "[::1]:80",
        ]
        .map(addr);
        assert_eq!(all(&set), expected);
        assert_eq!(set.range_count(), 4);
        assert!(!set.is_empty());
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let set = set("::ffff:10.0.0.1\n10.0.0.1\n[::ffff:10.0.0.2]:80");
        assert_eq!(all(&set), ["10.0.0.1:80", "10.0.0.2:80"].map(addr));
        assert_eq!(set.index_of(&addr("[::ffff:10.0.0.2]:80")), Some(1));
        assert!(set.contains(&addr("[::ffff:10.0.0.1]:80")));
    }

    #[test]
    fn a_range_around_the_mapped_addresses_counts_each_address_once() {
        let set = set("::/0\n0.0.0.0/0");
        assert_eq!(set.range_count(), 3);
        assert_eq!(set.len(), u128::MAX, "2^128, saturated");
        assert_eq!(set.at(0), Some(addr("0.0.0.0:80")));
        assert_eq!(set.at(1 << 32), Some(addr("[::]:80")));
        assert_eq!(set.index_of(&addr("[::1]:80")), Some((1 << 32) + 1));
        let last = addr("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80");
        assert!(set.contains(&last));
        assert_eq!(set.index_of(&last), None, "one more than an index can say");
        assert_eq!(set.at(u128::MAX), None);
        let last = set.at(u128::MAX - 1).expect("the last index");
        assert_eq!(set.index_of(&last), Some(u128::MAX - 1));
    }

    /// Lines of a list over a few addresses, so that they overlap, beside what they mean.
    fn line() -> impl Strategy<Value = (String, Vec<SocketAddr>)> {
        let port = prop_oneof![Just(80_u16), 1..4_u16];
        let v4 = (0..64_u32, 26..=32_u8, port.clone()).prop_map(|(low, prefix, port)| {
            let ip = 0x0a00_0000 | low;
            let size = 1_u32 << (32 - prefix);
            let network = ip & !(size - 1);
            let members = if prefix <= 30 {
                network + 1..network + size - 1
            } else {
                network..network + size
            };
            let members = members.map(|ip| SocketAddr::from((Ipv4Addr::from_bits(ip), port)));
            (
                format!("{}/{prefix}:{port}", Ipv4Addr::from_bits(ip)),
                members.collect(),
            )
        });
        let v6 = (0..64_u128, 122..=128_u8, port).prop_map(|(low, prefix, port)| {
            // Around the end of the mapped addresses, where a range is cut in two.
            let ip = MAPPED.1 - 31 + low;
            let size = 1_u128 << (128 - prefix);
            let network = ip & !(size - 1);
            let members = (network..network + size)
                .map(|ip| net::canonical(SocketAddr::from((Ipv6Addr::from_bits(ip), port))));
            (
                format!("[{}/{prefix}]:{port}", Ipv6Addr::from_bits(ip)),
                members.collect(),
            )
        });
        prop_oneof![v4, v6]
    }

    #[test]
    fn a_union_has_every_candidate_once() {
        let (a, b) = (
            set("10.0.0.1\n10.0.0.0/24:443\n::1"),
            set("10.0.0.1\n10.0.0.0/23:443"),
        );
        let both = CandidateSet::union([&a, &b]);
        assert_eq!(both.len(), 1 + 510 + 1);
        assert!(
            [&a, &b]
                .iter()
                .all(|one| all(one).iter().all(|addr| both.contains(addr)))
        );
        assert_eq!((b.beyond(&a), a.beyond(&b), both.beyond(&both)), (256, 1, 0));
        assert_eq!(CandidateSet::union([]), CandidateSet::nobody());
        assert!(CandidateSet::nobody().is_empty());
    }

    /// Weight, tier and limit of an address.
    fn options(set: &CandidateSet, text: &str) -> (u16, u16, u32) {
        let options = set.options_of(&addr(text));
        let limit = options.max_connections.map_or(0, NonZeroU32::get);
        (options.weight.get(), options.tier, limit)
    }

    #[test]
    fn a_limit_for_all_is_one_for_those_whose_entries_say_none() {
        let list = set("10.0.0.0/24 weight=3\n10.0.0.8 max_connections=20\n[::1]:81\n::ffff:10.0.0.9");
        let max = NonZeroU32::new(4).expect("not 0");
        let limited = CandidateSet::union_with_limits([(&list, Some(max))]);
        assert_eq!(
            (all(&limited), limited.range_count()),
            (all(&list), list.range_count())
        );
        assert_eq!(options(&limited, "10.0.0.1:80"), (3, 0, 4));
        assert_eq!(options(&limited, "10.0.0.8:80"), (3, 0, 20));
        assert_eq!(options(&limited, "10.0.0.9:80"), (3, 0, 4));
        assert_eq!(options(&limited, "[::1]:81"), (1, 0, 4));
        assert_eq!(options(&limited, "[::1]:80"), (1, 0, 0), "no candidate");
        assert_ne!(limited, list);
        // Beside another set, each has its own; of two the later one counts, and what an entry says more than both.
        let other = set("10.0.0.7-8\n10.1.0.1");
        let both = |max| CandidateSet::union_with_limits([(&list, Some(NonZeroU32::MIN)), (&other, max)]);
        assert_eq!(options(&both(None), "10.0.0.7:80"), (3, 0, 1));
        assert_eq!(options(&both(None), "10.1.0.1:80"), (1, 0, 0));
        assert_eq!(options(&both(Some(max)), "10.0.0.7:80"), (3, 0, 4));
        assert_eq!(options(&both(Some(max)), "10.0.0.8:80"), (3, 0, 20));
        assert_eq!(options(&both(Some(max)), "10.1.0.1:80"), (1, 0, 4));
    }

    #[test]
    fn the_last_entry_that_has_an_option_counts_for_it() {
        let set = set(
            "10.0.0.0/24 weight=3 name=rack\n10.0.0.7 backup\n10.0.0.8 weight=9 max_connections=20 name=big\n\
                       10.0.0.8\n10.0.1.1",
        );
        assert_eq!(options(&set, "10.0.0.1:80"), (3, 0, 0));
        assert_eq!(options(&set, "10.0.0.7:80"), (3, 1, 0));
        assert_eq!(
            options(&set, "10.0.0.8:80"),
            (9, 0, 20),
            "an entry that says nothing leaves it"
        );
        assert_eq!(options(&set, "[::ffff:10.0.0.8]:80"), (9, 0, 20));
        for nobody in ["10.0.0.7:81", "10.0.1.1:80", "10.9.9.9:80", "[::1]:80"] {
            assert_eq!(set.options_of(&addr(nobody)), EntryOptions::default(), "{nobody}");
        }
        let names = ["10.0.0.7:80", "10.0.0.8:80", "10.0.1.1:80"].map(addr);
        assert_eq!(
            names.map(|at| set.name_of(&at)),
            [Some("rack"), Some("big"), None]
        );
        assert_eq!(
            names.map(|at| format!("{at}{}", set.name_behind(&at))),
            ["10.0.0.7:80 (rack)", "10.0.0.8:80 (big)", "10.0.1.1:80"]
        );
        let back = self::set("10.0.0.7 backup\n10.0.0.0/24 weight=3 tier=0");
        assert_eq!(
            options(&back, "10.0.0.7:80"),
            (3, 0, 0),
            "the rule behind its exception"
        );
    }

    #[test]
    fn options_of_a_range_around_the_mapped_addresses_are_those_of_each_part() {
        let set = set("::/0 weight=7 name=all");
        for at in ["[::1]:80", "10.0.0.1:80", "[ffff::1]:80"] {
            assert_eq!(options(&set, at), (7, 0, 0), "{at}");
            assert_eq!(set.name_of(&addr(at)), Some("all"));
        }
    }

    #[test]
    fn sets_are_equal_if_they_say_the_same() {
        let one = set("10.0.0.1 name=b\n10.0.0.2 name=a weight=2");
        assert_eq!(one, set("10.0.0.2 weight=2 name=a\n10.0.0.1 name=b"));
        assert_ne!(one, set("10.0.0.1 name=c\n10.0.0.2 name=a weight=2"));
        assert_ne!(one, set("10.0.0.1 name=b\n10.0.0.2 name=a weight=3"));
        assert_ne!(one, set("10.0.0.1\n10.0.0.2"));
        assert_eq!(set("10.0.0.1").notes, None, "what says nothing costs nothing");
    }

    proptest! {
        #[test]
        fn a_union_says_what_one_list_of_all_lines_would(
            lines in prop::collection::vec((line(), 0..6_usize), 1..12), cut in 0..12_usize
        ) {
            let said = ["", " weight=2", " backup", " max_connections=5 name=a", " name=b", " tier=0 weight=1"];
            let lines: Vec<String> = lines.iter().map(|((text, _), of)| format!("{text}{}", said[*of])).collect();
            let (a, b) = lines.split_at(cut.min(lines.len()));
            let parts = [a, b].map(|lines| if lines.is_empty() { CandidateSet::nobody() } else { set(&lines.join("\n")) });
            prop_assert_eq!(CandidateSet::union(&parts), set(&lines.join("\n")));
        }

        #[test]
        fn a_set_is_what_a_naive_set_would_be(lines in prop::collection::vec(line(), 1..12)) {
            let text: Vec<&str> = lines.iter().map(|(text, _)| text.as_str()).collect();
            let naive: HashSet<SocketAddr> = lines.iter().flat_map(|(_, members)| members).copied().collect();
            let set = set(&text.join("\n"));
            prop_assert_eq!(set.len(), naive.len() as u128);
            let members = all(&set);
            prop_assert_eq!(members.iter().copied().collect::<HashSet<_>>(), naive.clone());
            for (index, member) in members.iter().enumerate() {
                prop_assert_eq!(set.index_of(member), Some(index as u128));
            }
            for near in members {
                for port in [near.port() - 1, near.port() + 1] {
                    let near = SocketAddr::new(near.ip(), port);
                    prop_assert_eq!(set.contains(&near), naive.contains(&near));
                    prop_assert_eq!(set.index_of(&near).is_some(), naive.contains(&near));
                }
            }
            prop_assert_eq!(set.at(set.len()), None);
        }

        #[test]
        fn at_and_index_of_are_inverse_in_large_sets(index: u128, seed: u64) {
            let set = set("0.0.0.0/0\n10.0.0.0/8:443\n2001:db8::/32\n::/16\n[::/90]:7");
            let index = (index % set.len()) ^ u128::from(seed % 3);
            if let Some(member) = set.at(index) {
                prop_assert_eq!(set.index_of(&member), Some(index));
                prop_assert!(set.contains(&member));
            }
        }
    }
}
