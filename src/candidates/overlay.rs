//! A value for some addresses of one family, and for the others none.
//!
//! Owns spans of addresses, each with its value. Knows neither text nor what values mean.
//!
//! Invariants: spans ascend by (port, first address) and do not overlap; two that touch have different values. Where
//! spans were laid over one another, the last one counts. Memory grows with what was laid, and with nothing else.

use std::collections::BinaryHeap;

use super::ranges::{Address, Range};

/// A value for all addresses of a range.
#[derive(Debug, Clone, Copy)]
struct Span<A, V> {
    range: Range<A>,
    value: V,
}

/// The values of one family.
#[derive(Debug, Clone)]
pub(super) struct Overlay<A, V> {
    spans: Vec<Span<A, V>>,
}

/// Spans as they are laid; a later one covers those before it.
#[derive(Debug)]
pub(super) struct Layers<A, V> {
    laid: Vec<Layer<A, V>>,
}

/// A span, and how many were laid before it.
#[derive(Debug, Clone, Copy)]
struct Layer<A, V> {
    span: Span<A, V>,
    height: u32,
}

impl<A, V> Default for Layers<A, V> {
    fn default() -> Self {
        Self { laid: Vec::new() }
    }
}

impl<A: Address, V: Copy> Layers<A, V> {
    /// Gives all addresses of a range a value.
    pub(super) fn lay(&mut self, range: Range<A>, value: V) {
        // Of four billion, those beyond are of one height: which of them counts is then not said.
        let height = u32::try_from(self.laid.len()).unwrap_or(u32::MAX);
        let span = Span { range, value };
        self.laid.push(Layer { span, height });
    }

    /// What is seen from above; values that are the `same` are not told apart.
    pub(super) fn flatten(mut self, same: impl Fn(V, V) -> bool) -> Overlay<A, V> {
        self.laid.sort_unstable_by_key(|layer| {
            let range = layer.span.range;
            (range.first.place(range.port), layer.height)
        });
        let overlap = self.laid.windows(2).any(|pair| match pair {
            [a, b] => a.span.range.port == b.span.range.port && b.span.range.first <= a.span.range.last,
            _ => false,
        });
        let mut spans: Vec<Span<A, V>> = if overlap {
            visible(&self.laid)
        } else {
            self.laid.into_iter().map(|layer| layer.span).collect()
        };
        spans.dedup_by(|next, kept| {
            let touches = next.range.port == kept.range.port && next.range.first <= kept.range.last.plus(1);
            let joins = touches && same(next.value, kept.value);
            if joins {
                kept.range.last = next.range.last;
            }
            joins
        });
        spans.shrink_to_fit();
        Overlay { spans }
    }
}

/// The top layer everywhere, in order; `laid` ascends by (port, first address, height).
///
/// A heap holds the layers at the place that is looked at, the highest on top; what has ended below is left in it until it
/// comes up. So nested layers cost a logarithm each, whatever a list nests.
fn visible<A: Address, V: Copy>(laid: &[Layer<A, V>]) -> Vec<Span<A, V>> {
    let mut spans = Vec::new();
    // Heights are unique, so the index never decides.
    let mut here: BinaryHeap<(u32, usize)> = BinaryHeap::new();
    let mut coming = laid.iter().enumerate().peekable();
    let mut port = 0;
    let mut place = None;
    loop {
        // The next place is where the last span ended, or the begin of the next layer.
        let Some(at) = place.or_else(|| {
            let (_, layer) = coming.peek()?;
            port = layer.span.range.port;
            Some(layer.span.range.first)
        }) else {
            return spans;
        };
        while let Some((index, layer)) =
            coming.next_if(|(_, layer)| layer.span.range.port == port && layer.span.range.first <= at)
        {
            here.push((layer.height, index));
        }
        let top = loop {
            let top = here.peek().and_then(|(_, index)| laid.get(*index));
            match top {
                Some(layer) if layer.span.range.last < at => {
                    here.pop();
                }
                Some(_) | None => break top,
            }
        };
        let Some(top) = top else {
            place = None;
            continue;
        };
        let mut last = top.span.range.last;
        if let Some((_, next)) = coming.peek()
            && next.span.range.port == port
            && next.span.range.first <= last
        {
            last = at.plus(next.span.range.first.minus(at) - 1);
        }
        let (first, value) = (at, top.span.value);
        let range = Range { port, first, last };
        spans.push(Span { range, value });
        // Behind the last address of a family there is none.
        place = Some(last.plus(1)).filter(|next| *next > last);
        if place.is_none() {
            here.clear();
        }
    }
}

impl<A: Address, V: Copy> Overlay<A, V> {
    /// The value of an address, if it has one.
    pub(super) fn of(&self, address: A, port: u16) -> Option<V> {
        let after = self
            .spans
            .partition_point(|span| (span.range.port, span.range.first) <= (port, address));
        let span = self.spans.get(after.checked_sub(1)?)?;
        (span.range.port == port && address <= span.range.last).then_some(span.value)
    }

    /// All spans, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Range<A>, V)> {
        self.spans.iter().map(|span| (span.range, span.value))
    }

    /// Whether another one says the same of all addresses.
    pub(super) fn is_same<W: Copy>(&self, other: &Overlay<A, W>, same: impl Fn(V, W) -> bool) -> bool {
        self.spans.len() == other.spans.len()
            && self
                .iter()
                .zip(other.iter())
                .all(|((range, value), (its, its_value))| range == its && same(value, its_value))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn v4(port: u16, first: u32, last: u32) -> Range<Ipv4Addr> {
        Range {
            port,
            first: Ipv4Addr::from_bits(first),
            last: Ipv4Addr::from_bits(last),
        }
    }

    fn flat(layers: &[(Range<Ipv4Addr>, u8)]) -> Overlay<Ipv4Addr, u8> {
        let mut laid = Layers::default();
        for (range, value) in layers {
            laid.lay(*range, *value);
        }
        laid.flatten(|a, b| a == b)
    }

    fn told(overlay: &Overlay<Ipv4Addr, u8>) -> Vec<(Range<Ipv4Addr>, u8)> {
        overlay.iter().collect()
    }

    #[test]
    fn what_is_laid_last_covers_what_lies_below() {
        let (all, part) = ((v4(80, 0, 99), 1), (v4(80, 10, 19), 2));
        assert_eq!(
            told(&flat(&[all, part])),
            [(v4(80, 0, 9), 1), (v4(80, 10, 19), 2), (v4(80, 20, 99), 1)]
        );
        assert_eq!(told(&flat(&[part, all])), [all]);
        let elsewhere = (v4(81, 10, 19), 2);
        assert_eq!(told(&flat(&[elsewhere, all])), [all, elsewhere]);
    }

    #[test]
    fn equal_neighbours_are_one_span_and_the_last_address_ends_it() {
        let overlay = flat(&[
            (v4(80, 0, 9), 1),
            (v4(80, 10, u32::MAX), 1),
            (v4(80, u32::MAX, u32::MAX), 3),
        ]);
        assert_eq!(
            told(&overlay),
            [(v4(80, 0, u32::MAX - 1), 1), (v4(80, u32::MAX, u32::MAX), 3)]
        );
        let mut all = Layers::default();
        for value in 0..3 {
            let range = Range {
                port: value,
                first: Ipv6Addr::UNSPECIFIED,
                last: Ipv6Addr::from_bits(u128::MAX),
            };
            all.lay(range, value);
            all.lay(range, value + 1);
        }
        let all = all.flatten(|a, b| a == b);
        assert_eq!(all.of(Ipv6Addr::from_bits(u128::MAX), 2), Some(3));
        assert_eq!(all.iter().count(), 3);
    }

    #[test]
    fn deeply_nested_layers_take_no_quadratic_time() {
        let depth = 200_000;
        let nested: Vec<_> = (0..depth)
            .map(|at| (v4(80, at, 2 * depth - at), (at % 2) as u8))
            .collect();
        assert_eq!(told(&flat(&nested)).len(), 2 * depth as usize - 1);
    }

    proptest! {
        #[test]
        fn each_address_has_the_value_that_was_laid_last(
            layers in prop::collection::vec((0..2_u16, 0..40_u32, 0..12_u32, 0..3_u8), 0..12)
        ) {
            let layers: Vec<_> = layers
                .into_iter()
                .map(|(port, first, more, value)| (v4(port, first, first + more), value))
                .collect();
            let overlay = flat(&layers);
            for port in 0..3 {
                for address in (0..60).map(Ipv4Addr::from_bits) {
                    let holds = |(range, _): &&(Range<Ipv4Addr>, u8)| {
                        range.port == port && (range.first..=range.last).contains(&address)
                    };
                    let expected = layers.iter().rev().find(holds).map(|(_, value)| *value);
                    prop_assert_eq!(overlay.of(address, port), expected);
                }
            }
            for pair in told(&overlay).windows(2) {
                let ((a, one), (b, other)) = (pair[0], pair[1]);
                prop_assert!(a.port < b.port || a.last < b.first);
                let touch = a.port == b.port && a.last.plus(1) == b.first;
                prop_assert!(!touch || one != other, "not joined");
            }
        }
    }
}
