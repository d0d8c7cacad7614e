//! Disjoint address ranges of one family, counted but never expanded.
//!
//! Owns the sorted ranges of IPv4 or of IPv6 and two running sums over them: of addresses, for "the n-th
//! address", and of cells, for even samples. Knows nothing of text or of the other family.
//!
//! Invariants: ranges ascend by (port, first address); two ranges of one port neither overlap nor touch; the
//! sums have one mark every [`STRIDE`] ranges, of what lies before them. Sums of addresses saturate.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a range counts for at most in an even sample, in addresses: a /16 of IPv4.
///
/// Without a bound a single IPv6 network would take every place of the sample from every IPv4 network.
pub(super) const MOST_CELLS_OF_A_RANGE: u64 = 1 << 16;

/// Ranges from one mark of the sums to the next: a sum for each would take more memory than the ranges.
const STRIDE: usize = 16;

/// An address that can be counted with.
pub(super) trait Address: Copy + Ord {
    /// Port and address as one number, which sorts faster than its bytes.
    type Place: Ord;
    fn place(self, port: u16) -> Self::Place;
    /// The address this far after `self`; the last address of the family when there is none.
    fn plus(self, offset: u128) -> Self;
    /// How far `self` lies after `first`; 0 when it lies before.
    fn minus(self, first: Self) -> u128;
}

impl Address for Ipv4Addr {
    type Place = u64;

    fn place(self, port: u16) -> u64 {
        (u64::from(port) << 32) | u64::from(self.to_bits())
    }

    fn plus(self, offset: u128) -> Self {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        Self::from_bits(self.to_bits().saturating_add(offset))
    }

    fn minus(self, first: Self) -> u128 {
        u128::from(self.to_bits().saturating_sub(first.to_bits()))
    }
}

impl Address for Ipv6Addr {
    type Place = (u16, u128);

    fn place(self, port: u16) -> (u16, u128) {
        (port, self.to_bits())
    }

    fn plus(self, offset: u128) -> Self {
        Self::from_bits(self.to_bits().saturating_add(offset))
    }

    fn minus(self, first: Self) -> u128 {
        self.to_bits().saturating_sub(first.to_bits())
    }
}

/// Addresses from `first` to `last`, both included, with one port.
///
/// Addresses are kept as bytes, without alignment: a range
/// of IPv4 takes 10 bytes, one of IPv6 takes 34.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<A> {
    pub(super) port: u16,
    pub(super) first: A,
    pub(super) last: A,
}

impl<A: Address> Range<A> {
    /// Number of addresses, at least 1.
    fn len(&self) -> u128 {
        self.last.minus(self.first).saturating_add(1)
    }

    /// Number of cells: one an address, up to the bound.
    fn cells(&self) -> u64 {
        u64::try_from(self.len()).map_or(MOST_CELLS_OF_A_RANGE, |len| len.min(MOST_CELLS_OF_A_RANGE))
    }
}

/// A part of a range from which an even sample takes one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell<A> {
    /// Its addresses; a single one unless the range has more than [`MOST_CELLS_OF_A_RANGE`].
    pub(super) range: Range<A>,
    /// Whether this is the cell in the middle of its range, which stands for the range.
    pub(super) is_middle: bool,
}

impl<A: Address> Cell<A> {
    /// One address of the cell.
    pub(super) fn pick(&self, rng: &mut fastrand::Rng) -> A {
        self.range.first.plus(rng.u128(0..self.range.len()))
    }
}

/// The ranges of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges<A> {
    sorted: Vec<Range<A>>,
    /// What lies before every [`STRIDE`]th range.
    marks: Vec<Sums>,
    /// What lies before the end.
    all: Sums,
}

/// Addresses and cells of some ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    addresses: u128,
    cells: u64,
}

impl Sums {
    /// The same with one range more.
    fn and<A: Address>(self, range: &Range<A>) -> Self {
        Self {
            addresses: self.addresses.saturating_add(range.len()),
            cells: self.cells.saturating_add(range.cells()),
        }
    }
}

impl<A: Address> Ranges<A> {
    /// Sorts and merges ranges.
    pub(super) fn new(mut ranges: Vec<Range<A>>) -> Self {
        ranges.sort_unstable_by_key(|range| range.first.place(range.port));
        ranges.dedup_by(|next, kept| {
            // `plus(1)` of the last address of the family is that address itself: nothing follows it.
            let joins = next.port == kept.port && next.first <= kept.last.plus(1);
            if joins {
                kept.last = kept.last.max(next.last);
            }
            joins
        });
        ranges.shrink_to_fit();

        let mut marks = Vec::with_capacity(ranges.len().div_ceil(STRIDE));
        let mut all = Sums::default();
        for stride in ranges.chunks(STRIDE) {
            marks.push(all);
            all = stride.iter().fold(all, Sums::and);
        }
        Self {
            sorted: ranges,
            marks,
            all,
        }
    }

    /// The ranges, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Range<A>> {
        self.sorted.iter()
    }

    /// Number of addresses; saturates.
    pub(super) fn len(&self) -> u128 {
        self.all.addresses
    }

    /// Number of ranges.
    pub(super) fn range_count(&self) -> usize {
        self.sorted.len()
    }

    /// Number of cells over all ranges.
    pub(super) fn cells(&self) -> u64 {
        self.all.cells
    }

    /// The address with this index, and its port.
    pub(super) fn at(&self, index: u128) -> Option<(A, u16)> {
        let (range, before) = self.reach(index, |sums| sums.addresses)?;
        Some((range.first.plus(index - before), range.port))
    }

    /// The index of an address; none if it is no member, or lies where the count has saturated.
    pub(super) fn index_of(&self, address: A, port: u16) -> Option<u128> {
        let (at, range) = self.find(address, port)?;
        let index = self
            .addresses_before(at)
            .checked_add(address.minus(range.first))?;
        (index < self.len()).then_some(index)
    }

    /// How many members come before an address and port, whether that is a member or not; saturates.
    pub(super) fn rank(&self, address: A, port: u16) -> u128 {
        let after = self
            .sorted
            .partition_point(|range| (range.port, range.first) <= (port, address));
        match self.find(address, port) {
            Some((at, range)) => self
                .addresses_before(at)
                .saturating_add(address.minus(range.first)),
            None => self.addresses_before(after),
        }
    }

    /// Whether an address is a member.
    pub(super) fn contains(&self, address: A, port: u16) -> bool {
        self.find(address, port).is_some()
    }

    /// The cell with this number.
    pub(super) fn cell(&self, number: u64) -> Option<Cell<A>> {
        let (range, before) = self.reach(number, |sums| sums.cells)?;
        cell_of(range, number - before)
    }

    /// The cell in the middle of the range with this number.
    pub(super) fn middle_cell(&self, range: usize) -> Option<Cell<A>> {
        let range = self.sorted.get(range)?;
        cell_of(range, range.cells() / 2)
    }

    /// Number of addresses before the range with this number; saturates.
    fn addresses_before(&self, range: usize) -> u128 {
        let stride = range / STRIDE;
        let Some(mark) = self.marks.get(stride) else {
            return self.len();
        };
        let between = self.sorted.get(stride * STRIDE..range).unwrap_or_default();
        between.iter().fold(*mark, Sums::and).addresses
    }

    /// The range in which a running sum reaches `number`, and the sum before it; none if no range does.
    fn reach<N: Copy + Ord>(&self, number: N, sum: impl Fn(&Sums) -> N) -> Option<(&Range<A>, N)> {
        let after = self.marks.partition_point(|mark| sum(mark) <= number);
        let stride = after.checked_sub(1)?;
        let mut before = *self.marks.get(stride)?;
        for range in self.sorted.get(stride * STRIDE..)?.iter().take(STRIDE) {
            let next = before.and(range);
            if sum(&next) > number {
                return Some((range, sum(&before)));
            }
            before = next;
        }
        None
    }

    fn find(&self, address: A, port: u16) -> Option<(usize, &Range<A>)> {
        let after = self
            .sorted
            .partition_point(|range| (range.port, range.first) <= (port, address));
        let at = after.checked_sub(1)?;
        let range = self.sorted.get(at)?;
        (range.port == port && address <= range.last).then_some((at, range))
    }
}

/// The cell with this number within its range. Cells differ by at most one address in size.
fn cell_of<A: Address>(range: &Range<A>, number: u64) -> Option<Cell<A>> {
    let cells = range.cells();
    if number >= cells {
        return None;
    }
    let (size, rest) = (range.len() / u128::from(cells), range.len() % u128::from(cells));
    // `number * len / cells` without a product that could overflow: `rest` and `number` are below 2^16.
    let begin = |number: u64| {
        let number = u128::from(number);
        number * size + number * rest / u128::from(cells)
    };
    Some(Cell {
        range: Range {
            port: range.port,
            first: range.first.plus(begin(number)),
            last: range.first.plus(begin(number + 1) - 1),
        },
        is_middle: number == cells / 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(port: u16, first: u32, last: u32) -> Range<Ipv4Addr> {
        Range {
            port,
            first: Ipv4Addr::from_bits(first),
            last: Ipv4Addr::from_bits(last),
        }
    }

    #[test]
    fn overlapping_and_touching_ranges_of_one_port_merge() {
        let ranges = Ranges::new(vec![
            v4(80, 50, 60),
            v4(80, 1, 10),
            v4(81, 5, 5),
            v4(80, 11, 20),
            v4(80, 15, 30),
        ]);
        assert_eq!(ranges.sorted, [v4(80, 1, 30), v4(80, 50, 60), v4(81, 5, 5)]);
        assert_eq!(ranges.len(), 30 + 11 + 1);
    }

    #[test]
    fn the_ends_of_the_address_space_do_not_overflow() {
        let all = v4(80, 0, u32::MAX);
        let ranges = Ranges::new(vec![v4(80, u32::MAX, u32::MAX), all, v4(80, 0, 0)]);
        assert_eq!(ranges.sorted, [all]);
        assert_eq!(ranges.len(), 1 << 32);
        assert_eq!(ranges.at((1 << 32) - 1), Some((Ipv4Addr::BROADCAST, 80)));
        assert_eq!(ranges.at(1 << 32), None);
    }

    #[test]
    fn more_addresses_than_can_be_counted_saturate() {
        let all = |port| Range {
            port,
            first: Ipv6Addr::UNSPECIFIED,
            last: Ipv6Addr::from_bits(u128::MAX),
        };
        let ranges = Ranges::new(vec![all(1), all(2), all(3)]);
        assert_eq!(ranges.len(), u128::MAX);
        let last = Ipv6Addr::from_bits(u128::MAX - 1);
        assert_eq!(ranges.at(u128::MAX - 1), Some((last, 1)));
        assert_eq!(ranges.index_of(last, 1), Some(u128::MAX - 1));
        assert!(ranges.contains(last, 3));
        assert_eq!(ranges.index_of(last, 3), None, "beyond what an index can say");
        assert_eq!(ranges.at(u128::MAX), None);
    }

    #[test]
    fn cells_cut_a_range_into_nearly_equal_parts_without_gaps() {
        for last in [0, 1, 999, 65_535, 65_536, 1_000_000, u32::MAX] {
            let ranges = Ranges::new(vec![v4(80, 0, last)]);
            let mut next = 0_u128;
            let (mut least, mut most) = (u128::MAX, 0);
            for number in 0..ranges.cells() {
                let cell = ranges.cell(number).expect("a cell");
                assert_eq!(cell.range.first.minus(Ipv4Addr::UNSPECIFIED), next);
                next += cell.range.len();
                least = least.min(cell.range.len());
                most = most.max(cell.range.len());
            }
            assert_eq!(next, u128::from(last) + 1);
            assert!(most - least <= 1, "{least} to {most}");
            assert_eq!(ranges.cell(ranges.cells()), None);
            assert!(ranges.middle_cell(0).expect("a middle").is_middle);
        }
    }
}
