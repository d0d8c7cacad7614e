//! Tables: rows of which one column holds addresses, and perhaps another one ports. Pure.
//!
//! Which column holds addresses is told by what stands in it. A port is told by the header, or, without one, is the only
//! number of its row and stands right behind the address.

use super::account::Assumed;
use super::entry;
use super::line::{Fault, Item, bare, is_address, split};
use super::problem::Problem;

/// Separators of columns, the one first that a text with several is cut at.
const SEPARATORS: [char; 4] = ['|', '\t', ';', ','];

/// Where addresses and ports stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    separator: char,
    address: usize,
    port: Option<usize>,
}

/// A line that may be the header of a table, until a row follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    separator: char,
    /// The first column that is called port.
    port: Option<usize>,
}

/// The separator of columns, if the text has any.
pub(super) fn separator_of(text: &str) -> Option<char> {
    let is_quoted = text.contains('"');
    let cuts = |separator: &char| !is_quoted || split(text, |c| c == *separator).nth(1).is_some();
    SEPARATORS
        .into_iter()
        .find(|separator| text.contains(*separator) && cuts(separator))
}

fn cells(row: &str, separator: char) -> impl Iterator<Item = &str> {
    split(row, move |c| c == separator).map(bare)
}

/// The first column that holds an address, and whether another one does, too.
fn address_column(row: &str, separator: char) -> Option<(usize, bool)> {
    let holds_address = |cell: &str| entry::read(cell).is_ok_and(|entry| is_address(&entry));
    let mut columns = cells(row, separator)
        .enumerate()
        .filter(|(_, cell)| holds_address(cell))
        .map(|(column, _)| column);
    let first = columns.next()?;
    Some((first, columns.next().is_some()))
}

fn is_number(cell: &str) -> bool {
    cell.bytes().any(|byte| byte.is_ascii_digit())
        && cell
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'%'))
}

/// Whether a cell was meant to be an address, and is none.
fn is_broken_address(cell: &str) -> bool {
    let is_of_addresses = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/');
    let has_form = cell.matches('.').count() == 3 || cell.contains("::");
    has_form && cell.bytes().all(is_of_addresses) && entry::read(cell).is_err()
}

impl Table {
    /// What the columns of a row without a header must be, and what that assumes; none if it is no row.
    pub(super) fn of_row(row: &str, separator: char) -> Option<(Self, Option<Assumed>)> {
        let (address, has_others) = address_column(row, separator)?;
        let cells: Vec<&str> = cells(row, separator).collect();
        if cells.iter().any(|cell| is_broken_address(cell)) {
            return None;
        }
        let is_port = |cell: &&str| entry::parse_port(cell).is_ok();
        let others = cells.iter().enumerate().filter(|(column, _)| *column != address);
        let numbers = others.filter(|(_, cell)| is_number(cell)).count();
        let behind = cells.get(address + 1).filter(|cell| is_port(cell));
        let port = behind.filter(|_| numbers == 1).map(|_| address + 1);
        let assumed = match port {
            _ if has_others => Some(Assumed::FirstAddress(address + 1)),
            None if behind.is_some() => Some(Assumed::NoPort),
            // Columns are what these are for.
            _ if matches!(separator, '|' | '\t') => None,
            Some(_) if cells.len() == 2 => None,
            Some(port) => Some(Assumed::RowWithPort(address + 1, port + 1)),
            None => Some(Assumed::Row(address + 1)),
        };
        let table = Self {
            separator,
            address,
            port,
        };
        Some((table, assumed))
    }

    /// The entry of a row; none if it has no address where this table has them.
    pub(super) fn item<'a>(&self, row: &'a str) -> Option<Result<Item<'a>, Fault<'a>>> {
        let cell = |column: usize| cells(row, self.separator).nth(column);
        let text = cell(self.address).filter(|text| !text.is_empty())?;
        let mut entry = entry::read(text).ok()?;
        let port = self.port.and_then(cell).filter(|port| !port.is_empty());
        if let Some(port) = port {
            let port = entry::parse_port(port).map_err(|problem| (problem, port));
            match (entry.port, port) {
                (Some(_), _) => {}
                (None, Ok(port)) => entry.port = Some(port),
                (None, Err(fault)) => return Some(Err(fault)),
            }
        }
        Some(Ok(Item::of(entry, text)))
    }

    /// The separator of its columns.
    pub(super) fn separator(&self) -> char {
        self.separator
    }
}

impl Header {
    /// The header that a line may be: words in columns, no addresses and no numbers.
    pub(super) fn of(line: &str) -> Option<Self> {
        let separator = separator_of(line)?;
        let is_heading =
            |cell: &str| !is_number(cell) && !is_broken_address(cell) && entry::read(cell).is_err();
        let is_port = |cell: &str| {
            let mut words = cell.split(|c: char| !c.is_ascii_alphabetic());
            words.any(|word| word.eq_ignore_ascii_case("port")) || cell.contains("端口")
        };
        cells(line, separator).all(is_heading).then(|| Self {
            separator,
            port: cells(line, separator).position(is_port),
        })
    }

    /// The table that begins with this header and has this row, and what that assumes; none if it is no row of it.
    pub(super) fn table(&self, row: &str) -> Option<(Table, Option<Assumed>)> {
        let separator = self.separator;
        let (address, has_others) = address_column(row, separator)?;
        let table = Table {
            separator,
            address,
            port: self.port.filter(|port| *port != address),
        };
        Some((table, has_others.then_some(Assumed::FirstAddress(address + 1))))
    }
}

/// Whether a line is the heading of a table of one column.
pub(super) fn is_heading(line: &str) -> bool {
    const NAMES: [&str; 6] = ["ip", "ips", "address", "ip address", "ip地址", "ip 地址"];
    NAMES.iter().any(|name| bare(line).eq_ignore_ascii_case(name))
}

/// Whether what is wrong with a line may come from its being a row of a table.
pub(super) fn may_be_row(problem: Problem) -> bool {
    match problem {
        Problem::NoEntryBefore
        | Problem::Weight
        | Problem::Tier
        | Problem::MaxConnections
        | Problem::Option
        | Problem::Json
        | Problem::JsonEntry => false,
        Problem::NoAddress
        | Problem::NotUtf8
        | Problem::TooLong
        | Problem::Port
        | Problem::SecondPort
        | Problem::Prefix(_)
        | Problem::ZoneId
        | Problem::MissingBrackets
        | Problem::Brackets
        | Problem::PortBeforePrefix
        | Problem::RangeEnd
        | Problem::Backwards
        | Problem::Wildcard
        | Problem::Url
        | Problem::HostName
        | Problem::Word
        | Problem::Quote => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(separator: char, address: usize, port: Option<usize>) -> Table {
        Table {
            separator,
            address,
            port,
        }
    }

    #[test]
    fn the_columns_of_a_row_are_told_by_what_stands_in_them() {
        for (row, address, port, assumed) in [
            ("192.0.2.1|443|HK", 0, Some(1), None),
            ("HK\t192.0.2.1\t443", 1, Some(2), None),
            ("192.0.2.1,443", 0, Some(1), None),
            ("192.0.2.1,443,HK", 0, Some(1), Some(Assumed::RowWithPort(1, 2))),
            ("HK;192.0.2.1", 1, None, Some(Assumed::Row(2))),
            ("192.0.2.1,4,4,0.00,58.63", 0, None, Some(Assumed::NoPort)),
            ("192.0.2.1,58.63", 0, None, Some(Assumed::Row(1))),
            ("192.0.2.1|192.0.2.2|x", 0, None, Some(Assumed::FirstAddress(1))),
            ("\"192.0.2.1\",\"Hong Kong, 1\"", 0, None, Some(Assumed::Row(1))),
        ] {
            let separator = separator_of(row).expect("columns");
            let found = Table::of_row(row, separator);
            assert_eq!(found, Some((table(separator, address, port), assumed)), "{row}");
        }
        for row in ["a,b", "192.0.2.1,192.0.2.300", "::1|::1::2"] {
            assert_eq!(
                Table::of_row(row, separator_of(row).expect("columns")),
                None,
                "{row}"
            );
        }
    }

    #[test]
    fn a_header_says_which_column_is_the_port() {
        for (header, row, expected) in [
            ("IP 地址,已发送,丢包率", "192.0.2.1,4,0.00", table(',', 0, None)),
            ("城市,IP地址,端口号", "x,192.0.2.1,443", table(',', 1, Some(2))),
            ("Port|Address", "443|192.0.2.1", table('|', 1, Some(0))),
            ("Airport;ip", "HKG;192.0.2.1", table(';', 1, None)),
        ] {
            let header = Header::of(header).expect("a header");
            assert_eq!(header.table(row), Some((expected, None)), "{row}");
        }
        for line in ["ip", "192.0.2.1,port", "a,1", "a,192.0.2.300"] {
            assert_eq!(Header::of(line), None, "{line}");
        }
    }

    #[test]
    fn a_row_has_its_address_and_its_port_or_says_what_is_wrong() {
        let table = table('|', 0, Some(1));
        let port = |row| table.item(row).map(|item| item.map(|item| item.entry.port));
        assert_eq!(port("192.0.2.1|443"), Some(Ok(Some(443))));
        assert_eq!(port("192.0.2.1:80|443"), Some(Ok(Some(80))));
        assert_eq!(port("192.0.2.1|"), Some(Ok(None)));
        assert_eq!(port("192.0.2.1"), Some(Ok(None)));
        assert_eq!(port("192.0.2.1|x"), Some(Err((Problem::Port, "x"))));
        assert_eq!(port("x|443"), None);
    }
}
