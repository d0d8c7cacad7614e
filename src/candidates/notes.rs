//! What entries say of their addresses, over both families: options and names, each where one was said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};

use super::names::{NameAt, Names, NamesBuilder};
use super::options::Stated;
use super::overlay::{Layers, Overlay};
use super::ranges::{Address, Range};

/// What one entry says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Note {
    stated: Stated,
    name: Option<NameAt>,
}

/// One thing that entries say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'n> {
    Weight(NonZeroU16),
    Tier(u16),
    Limit(NonZeroU32),
    Name(&'n str),
}

/// What all entries say.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    v4: Family<Ipv4Addr>,
    v6: Family<Ipv6Addr>,
    names: Names,
}

#[derive(Debug, Clone)]
struct Family<A> {
    weights: Overlay<A, NonZeroU16>,
    tiers: Overlay<A, u16>,
    limits: Overlay<A, NonZeroU32>,
    names: Overlay<A, NameAt>,
}

impl<A: Address> Family<A> {
    fn stated_of(&self, address: A, port: u16) -> Stated {
        Stated {
            weight: self.weights.of(address, port),
            tier: self.tiers.of(address, port),
            max_connections: self.limits.of(address, port),
        }
    }

    fn for_each(&self, names: &Names, tell: &mut impl FnMut((IpAddr, IpAddr, u16), Said<'_>))
    where
        A: Into<IpAddr>,
    {
        let span = |range: Range<A>| (range.first.into(), range.last.into(), range.port);
        for (range, weight) in self.weights.iter() {
            tell(span(range), Said::Weight(weight));
        }
        for (range, tier) in self.tiers.iter() {
            tell(span(range), Said::Tier(tier));
        }
        for (range, limit) in self.limits.iter() {
            tell(span(range), Said::Limit(limit));
        }
        for (range, name) in self.names.iter() {
            tell(span(range), Said::Name(names.text(name)));
        }
    }

    fn is_same(&self, other: &Self, same_name: impl Fn(NameAt, NameAt) -> bool) -> bool {
        self.weights.is_same(&other.weights, |a, b| a == b)
            && self.tiers.is_same(&other.tiers, |a, b| a == b)
            && self.limits.is_same(&other.limits, |a, b| a == b)
            && self.names.is_same(&other.names, same_name)
    }
}

impl Notes {
    /// What is said of an address, which is not IPv4-mapped.
    pub(super) fn stated_of(&self, addr: SocketAddr) -> Stated {
        match addr.ip() {
            IpAddr::V4(ip) => self.v4.stated_of(ip, addr.port()),
            IpAddr::V6(ip) => self.v6.stated_of(ip, addr.port()),
        }
    }

    /// How many spans of addresses something is said of, each thing for itself.
    pub(super) fn span_count(&self) -> usize {
        let mut count = 0;
        self.for_each(|_, _| count += 1);
        count
    }

    /// Goes through all spans of addresses: first, last and port, and one thing that is said of them.
    pub(super) fn for_each(&self, mut tell: impl FnMut((IpAddr, IpAddr, u16), Said<'_>)) {
        self.v4.for_each(&self.names, &mut tell);
        self.v6.for_each(&self.names, &mut tell);
    }

    /// The name of an address, which is not IPv4-mapped.
    pub(super) fn name_of(&self, addr: SocketAddr) -> Option<&str> {
        let at = match addr.ip() {
            IpAddr::V4(ip) => self.v4.names.of(ip, addr.port()),
            IpAddr::V6(ip) => self.v6.names.of(ip, addr.port()),
        };
        Some(self.names.text(at?))
    }
}

impl PartialEq for Notes {
    /// Names are the same if their texts are, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        let same_name = |a, b| self.names.text(a) == other.names.text(b);
        self.v4.is_same(&other.v4, same_name) && self.v6.is_same(&other.v6, same_name)
    }
}

impl Eq for Notes {}

/// Notes while they are collected, in the order of entries.
#[derive(Debug, Default)]
pub(super) struct NotesBuilder {
    v4: FamilyLayers<Ipv4Addr>,
    v6: FamilyLayers<Ipv6Addr>,
    names: NamesBuilder,
    has_any: bool,
}

#[derive(Debug)]
struct FamilyLayers<A> {
    weights: Layers<A, NonZeroU16>,
    tiers: Layers<A, u16>,
    limits: Layers<A, NonZeroU32>,
    names: Layers<A, NameAt>,
}

impl<A> Default for FamilyLayers<A> {
    fn default() -> Self {
        Self {
            weights: Layers::default(),
            tiers: Layers::default(),
            limits: Layers::default(),
            names: Layers::default(),
        }
    }
}

impl<A: Address> FamilyLayers<A> {
    fn note(&mut self, range: Range<A>, note: Note) {
        if let Some(weight) = note.stated.weight {
            self.weights.lay(range, weight);
        }
        if let Some(tier) = note.stated.tier {
            self.tiers.lay(range, tier);
        }
        if let Some(limit) = note.stated.max_connections {
            self.limits.lay(range, limit);
        }
        if let Some(name) = note.name {
            self.names.lay(range, name);
        }
    }

    fn add(&mut self, family: &Family<A>, mut own_name: impl FnMut(NameAt) -> Option<NameAt>) {
        family
            .weights
            .iter()
            .for_each(|(range, weight)| self.weights.lay(range, weight));
        family
            .tiers
            .iter()
            .for_each(|(range, tier)| self.tiers.lay(range, tier));
        family
            .limits
            .iter()
            .for_each(|(range, limit)| self.limits.lay(range, limit));
        for (range, name) in family.names.iter() {
            if let Some(name) = own_name(name) {
                self.names.lay(range, name);
            }
        }
    }

    fn flatten(self, names: &Names) -> Family<A> {
        Family {
            weights: self.weights.flatten(|a, b| a == b),
            tiers: self.tiers.flatten(|a, b| a == b),
            limits: self.limits.flatten(|a, b| a == b),
            names: self.names.flatten(|a, b| names.text(a) == names.text(b)),
        }
    }
}

impl NotesBuilder {
    /// What an entry says, to be noted of its addresses.
    pub(super) fn keep(&mut self, stated: Stated, name: Option<&str>) -> Note {
        let name = name.and_then(|name| self.names.keep(name));
        self.has_any |= name.is_some() || !stated.is_empty();
        Note { stated, name }
    }

    pub(super) fn note_v4(&mut self, range: Range<Ipv4Addr>, note: Note) {
        self.v4.note(range, note);
    }

    pub(super) fn note_v6(&mut self, range: Range<Ipv6Addr>, note: Note) {
        self.v6.note(range, note);
    }

    /// Takes in what another set says, as if its entries followed.
    pub(super) fn add_notes(&mut self, notes: &Notes) {
        let Self { v4, v6, names, .. } = self;
        let mut own_name = |at| names.keep(notes.names.text(at));
        v4.add(&notes.v4, &mut own_name);
        v6.add(&notes.v6, &mut own_name);
        self.has_any = true;
    }

    /// The notes; none if nobody has said anything.
    pub(super) fn build(self) -> Option<Box<Notes>> {
        if !self.has_any {
            return None;
        }
        let names = self.names.build();
        Some(Box::new(Notes {
            v4: self.v4.flatten(&names),
            v6: self.v6.flatten(&names),
            names,
        }))
    }
}
