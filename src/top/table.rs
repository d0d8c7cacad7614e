//! Tables that fit: what does not, is left out. Pure.

use crate::terminal::{self, Letters, columns_of};

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) cells: Vec<String>,
    pub(super) align: Align,
}

/// On which side the cells of a column meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Between two columns.
const GAP: usize = 2;

impl Column {
    pub(super) fn new(title: &'static str, align: Align, cells: impl Iterator<Item = String>) -> Self {
        Self {
            title,
            cells: cells.collect(),
            align,
        }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| terminal::columns(cell));
        cells.chain([self.title.len()]).max().unwrap_or(0)
    }
}

/// The lines of a table in at most so many columns of a terminal, its titles first. Columns that have no room beside the
/// first one are left out, from the last one on; that is only cut.
pub(super) fn lines(columns: &[Column], width: usize) -> Vec<String> {
    let widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let Some((first, others)) = widths.split_first() else {
        return Vec::new();
    };
    let mut shown = 0;
    let mut taken = (*first).min(width);
    let first = taken;
    for other in others {
        taken += GAP + other;
        if taken > width {
            break;
        }
        shown += 1;
    }
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    let titles = line(columns, &widths, (shown, first), |column| Some(column.title));
    let row = |row: usize| {
        line(columns, &widths, (shown, first), move |column| {
            column.cells.get(row).map(String::as_str)
        })
    };
    std::iter::once(titles).chain((0..rows).map(row)).collect()
}

/// One line: the first column cut to its width, and as many others as are shown.
fn line<'a>(
    columns: &'a [Column],
    widths: &[usize],
    (shown, first): (usize, usize),
    cell: impl Fn(&'a Column) -> Option<&'a str>,
) -> String {
    let mut line = String::new();
    for (place, (column, width)) in columns.iter().zip(widths).take(shown + 1).enumerate() {
        let (gap, width) = if place == 0 { (0, first) } else { (GAP, *width) };
        let text = cut(cell(column).unwrap_or_default(), width);
        let blanks = width.saturating_sub(terminal::columns(text));
        let (before, behind) = match column.align {
            Align::Left => (0, blanks),
            Align::Right => (blanks, 0),
        };
        line.extend(std::iter::repeat_n(' ', gap + before));
        line.push_str(text);
        line.extend(std::iter::repeat_n(' ', behind));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The same in what a terminal shows as it is: whatever else is in an answer becomes as many question marks as it has columns.
pub(super) fn plain(text: &str, letters: Letters) -> String {
    let plain = |letter: char| {
        let (shown, times) = if letters.show(letter) {
            (letter, 1)
        } else {
            ('?', columns_of(letter))
        };
        std::iter::repeat_n(shown, times)
    };
    text.chars().flat_map(plain).collect()
}

/// As much of a text as so many columns hold.
pub(super) fn cut(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let too_far = |(_, letter): &(usize, char)| {
        taken += columns_of(*letter);
        taken > width
    };
    let end = text.char_indices().find(too_far).map(|(place, _)| place);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Vec<Column> {
        let cells = |cells: [&str; 2]| cells.map(str::to_owned).into_iter();
        vec![
            Column::new(
                "MEMBER",
                Align::Left,
                cells(["192.0.2.1:443", "[2001:db8::1]:443"]),
            ),
            Column::new("SCORE", Align::Right, cells(["87.3", "100.0"])),
            Column::new("STATE", Align::Left, cells(["ready", "drain"])),
        ]
    }

    #[test]
    fn what_has_no_room_is_left_out_from_the_end() {
        assert_eq!(
            lines(&table(), 80),
            [
                "MEMBER             SCORE  STATE",
                "192.0.2.1:443       87.3  ready",
                "[2001:db8::1]:443  100.0  drain",
            ]
        );
        assert_eq!(lines(&table(), 30)[1], "192.0.2.1:443       87.3");
        assert_eq!(lines(&table(), 20)[2], "[2001:db8::1]:443");
        assert_eq!(lines(&table(), 10)[2], "[2001:db8:");
        assert!(lines(&[], 10).is_empty());
    }

    #[test]
    fn what_is_wide_takes_two_columns() {
        assert_eq!(
            (cut("a香港", 3), cut("a香港", 4), cut("a香港", 5)),
            ("a香", "a香", "a香港")
        );
        assert_eq!(plain("a香\u{1b}", Letters::Any), "a香?");
        assert_eq!(plain("a香\u{1b}", Letters::Ascii), "a???");
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_terminal(width in 1..200_usize, cells in proptest::collection::vec("[ -~香é]{0,60}", 0..20)) {
            let columns = ["A", "LONGER", "C", "D"].map(|title| {
                Column::new(title, Align::Right, cells.iter().cloned())
            });
            for line in lines(&columns, width) {
                prop_assert!(terminal::columns(&line) <= width, "{:?}", line);
            }
        }
    }
}
