//! What was understood of a list, and what was assumed: for people.

use std::fmt;

use super::entry::Form;
use super::problem::Problem;

/// Warnings, and skipped lines, that are told one by one; of more, the number is given.
pub(super) const TOLD_BOUND: usize = 20;

/// Characters of a line that are shown.
const SHOWN_CHARS: usize = 60;

/// A line that holds no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// How the part of it that is wrong begins.
    pub text: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told("line"))
    }
}

impl BadLine {
    /// The line in words, where what is counted has this name.
    #[must_use]
    pub fn told(&self, unit: &str) -> String {
        format!("{unit} {}: `{}`: {}", self.line, self.text, self.problem)
    }
}

/// What a line was taken for, where it may have been meant otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its number, from 1.
    pub line: u64,
    /// How the part of it that is ambiguous begins.
    pub text: String,
    /// What was assumed.
    pub assumed: Assumed,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told("line"))
    }
}

impl Warning {
    /// The line in words, where what is counted has this name.
    fn told(&self, unit: &str) -> String {
        format!("{unit} {}: `{}`: {}", self.line, self.text, self.assumed)
    }
}

/// What was assumed. Columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assumed {
    /// A number behind `#` is a remark, and no port.
    Remark(u16),
    /// The last group of an IPv6 address belongs to it, and is no port.
    Group(u16),
    /// Of a table with several columns of addresses, this one counts.
    FirstAddress(usize),
    /// Of a table without a header, this is the column of addresses, and the other columns say nothing.
    Row(usize),
    /// The same, with a column of ports.
    RowWithPort(usize, usize),
    /// Of several columns of numbers none is taken for ports.
    NoPort,
}

impl fmt::Display for Assumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remark(port) => write!(
                f,
                "{port} is taken for a remark, and the default port is used; a port is written :{port}"
            ),
            Self::Group(port) => write!(
                f,
                "{port} is taken for a part of the address; IPv6 with a port is written [IPv6]:{port}"
            ),
            Self::FirstAddress(column) => {
                write!(f, "several columns hold addresses; those of column {column} are taken")
            }
            Self::Row(column) => write!(
                f,
                "taken for a row of a table: column {column} is the address, the others are passed over"
            ),
            Self::RowWithPort(column, port) => write!(
                f,
                "taken for a row of a table: column {column} is the address, column {port} the port, the others are passed over"
            ),
            Self::NoPort => f.write_str(
                "several columns hold numbers, and no header says which is the port: the default port is used",
            ),
        }
    }
}

/// Entries by how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Single addresses.
    pub addresses: u64,
    /// Addresses with a prefix.
    pub networks: u64,
    /// From one address to another.
    pub ranges: u64,
    /// URLs with an address.
    pub urls: u64,
    /// Names to be looked up, in URLs too.
    pub hosts: u64,
    /// Those of all of them with a name for people.
    pub named: u64,
    /// Those of all of them with options.
    pub with_options: u64,
}

impl Counts {
    pub(super) fn count(&mut self, form: Form) {
        *match form {
            Form::Address => &mut self.addresses,
            Form::Network => &mut self.networks,
            Form::Range => &mut self.ranges,
            Form::Url => &mut self.urls,
            Form::Host => &mut self.hosts,
        } += 1;
    }
}

impl fmt::Display for Counts {
    /// As in `3 addresses, 1 network; 2 with a name`; only what there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.addresses, "address", "addresses"),
            (self.networks, "network", "networks"),
            (self.ranges, "range", "ranges"),
            (self.urls, "URL", "URLs"),
            (self.hosts, "host name", "host names"),
        ];
        let mut separator = "";
        for (count, one, many) in kinds.into_iter().filter(|(count, _, _)| *count > 0) {
            write!(f, "{separator}{count} {}", if count == 1 { one } else { many })?;
            separator = ", ";
        }
        separator = "; ";
        for (count, what) in [(self.named, "a name"), (self.with_options, "options")] {
            if count > 0 {
                write!(f, "{separator}{count} with {what}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// What was understood of one list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Its entries.
    pub counts: Counts,
    /// The first 20 warnings.
    pub warnings: Vec<Warning>,
    /// How many more there are.
    pub more_warnings: u64,
    /// The first 20 bad lines that were skipped.
    pub skipped: Vec<BadLine>,
    /// How many more there are.
    pub more_skipped: u64,
}

impl Account {
    pub(super) fn warn(&mut self, line: u64, text: &str, assumed: Assumed) {
        if self.warnings.len() < TOLD_BOUND {
            let text = excerpt(text);
            self.warnings.push(Warning { line, text, assumed });
        } else {
            self.more_warnings += 1;
        }
    }

    /// What people should know of the list: a line of text for each, and none if all is well.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.remarks_on("line")
    }

    /// The same where what is counted is not called a line.
    pub fn remarks_on(&self, unit: &str) -> impl Iterator<Item = String> {
        let warnings = self.warnings.iter().map(move |warning| warning.told(unit));
        let more = |count: u64, what: &str| (count > 0).then(|| format!("and {count} more {what}"));
        let more_warnings = more(self.more_warnings, "warnings");
        let skipped = self
            .skipped
            .iter()
            .map(move |bad| format!("skipped, {}", bad.told(unit)));
        let more_skipped = more(self.more_skipped, "skipped lines");
        warnings.chain(more_warnings).chain(skipped).chain(more_skipped)
    }
}

/// How a text begins, safe to print.
pub(super) fn excerpt(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
