//! A list while it is read, line by line: what a line means among the others.
//!
//! Owns the table that rows are of, and all bad lines. Neither the text nor a line is held.

use std::borrow::Cow;

use super::account::{Account, Assumed, BadLine, TOLD_BOUND, excerpt};
use super::entry::{self, Form, Who};
use super::line::{self, Fault, Item};
use super::lines::{LINE_BOUND, legible};
use super::list::{Host, HostNames, List, ListErrors, Rules};
use super::problem::Problem;
use super::set::{Builder, Stretch};
use super::table::{Header, Table, is_heading, may_be_row, separator_of};
use crate::base::percent;
use crate::config::OnBadLine;

/// Bad lines that are reported one by one; of more, the number is given.
pub(super) const REPORTED_BOUND: usize = 10_000;

/// A list that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    rules: Rules,
    /// The line that is read, from 1.
    number: u64,
    builder: Builder,
    hosts: Vec<Host>,
    account: Account,
    /// The table that rows are of.
    table: Option<(Table, TableKind)>,
    /// A line that is a header if a row follows, and what is wrong with it if none does.
    header: Option<(Header, BadLine)>,
    bad: Vec<BadLine>,
    unreported: u64,
}

/// Whether rows of a table may be something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableKind {
    WithHeader,
    WithoutHeader,
}

impl Reading {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            number: 0,
            builder: Builder::default(),
            hosts: Vec::new(),
            account: Account::default(),
            table: None,
            header: None,
            bad: Vec::new(),
            unreported: 0,
        }
    }

    /// Takes in the next line, without its end.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.number += 1;
        // The remark goes before the text is looked at: it may be in any encoding.
        let (entries, remark) = match line.iter().position(|byte| *byte == b'#') {
            Some(at) => (line.get(..at).unwrap_or(line), line.get(at + 1..)),
            None => (line, None),
        };
        if remark.is_none() && line.len() > LINE_BOUND {
            return self.refuse(Problem::TooLong, &legible(line.get(..LINE_BOUND).unwrap_or(line)));
        }
        let readable = legible(entries);
        let text = trimmed(&readable);
        if text.is_empty() {
            return;
        }
        // Most lines are nothing but an address.
        if let Ok(entry) = entry::read_plain(text) {
            return self.take(&[Item::of(entry, text)], remark);
        }
        match self.items(text) {
            Ok(items) => self.take(&items, remark),
            Err((_, part)) if matches!(readable, Cow::Owned(_)) || text.contains('\0') => {
                self.refuse(Problem::NotUtf8, part);
            }
            Err((problem, part)) => self.refuse(problem, part),
        }
    }

    /// Takes in an entry of which is known already that it holds nobody.
    pub(super) fn nobody(&mut self, text: &str) {
        self.number += 1;
        self.refuse(Problem::JsonEntry, text);
    }

    /// The entries of a line: of a row under a header, of a list, or of a row without one. None of a header.
    fn items<'a>(&mut self, text: &'a str) -> Result<Vec<Item<'a>>, Fault<'a>> {
        if let Some((header, bad)) = self.header.take() {
            match header.table(text) {
                Some((table, assumed)) => self.begin((table, TableKind::WithHeader), text, assumed),
                None => self.report(bad),
            }
        }
        if let Some((table, TableKind::WithHeader)) = self.table
            && text.contains(table.separator())
            && let Some(item) = table.item(text)
        {
            return Ok(vec![item?]);
        }
        let (problem, part) = match line::read(text) {
            Ok(items) => return Ok(items),
            Err(fault) if !may_be_row(fault.0) => return Err(fault),
            Err(fault) => fault,
        };
        if self.builder.is_empty() && is_heading(text) {
            return Ok(Vec::new());
        }
        let Some(separator) = separator_of(text) else {
            return Err((problem, part));
        };
        if let Some((table, _)) = self.table
            && table.separator() == separator
            && let Some(item) = table.item(text)
        {
            return Ok(vec![item?]);
        }
        if let Some((table, assumed)) = Table::of_row(text, separator) {
            self.begin((table, TableKind::WithoutHeader), text, assumed);
            return table.item(text).into_iter().collect();
        }
        if let Some(header) = Header::of(text) {
            let (line, text) = (self.number, excerpt(part));
            self.header = Some((header, BadLine { line, text, problem }));
            return Ok(Vec::new());
        }
        Err((problem, part))
    }

    fn begin(&mut self, table: (Table, TableKind), row: &str, assumed: Option<Assumed>) {
        self.table = Some(table);
        if let Some(assumed) = assumed {
            self.account.warn(self.number, row, assumed);
        }
    }

    /// Takes the entries of a line, all or none.
    fn take(&mut self, items: &[Item<'_>], remark: Option<&[u8]>) {
        let host = items.iter().find(|item| !line::is_address(&item.entry));
        if let Some(host) = host
            && self.rules.host_names == HostNames::Refused
        {
            return self.refuse(Problem::HostName, host.text);
        }
        let remark = remark.map(|remark| std::str::from_utf8(remark).unwrap_or_default().trim());
        let remark = remark.filter(|remark| !remark.is_empty());
        if let ([item], Some(remark)) = (items, remark)
            && item.entry.port.is_none()
            && let Ok(port) = entry::parse_port(remark)
        {
            let text = format!("{}#{remark}", item.text);
            self.account.warn(self.number, &text, Assumed::Remark(port));
        }
        for item in items {
            self.add(item, remark);
        }
    }

    fn add(&mut self, item: &Item<'_>, remark: Option<&str>) {
        let is_url = item.text.contains("://");
        let name = item.name.map(Cow::Borrowed);
        let name = name.or_else(|| remark.map(|remark| if is_url { decoded(remark) } else { remark.into() }));
        let name = name.map(printable).filter(|name| !name.is_empty());
        let counts = &mut self.account.counts;
        counts.count(item.entry.form);
        counts.named += u64::from(name.is_some());
        counts.with_options += u64::from(!item.stated.is_empty());
        let port = item.entry.port.unwrap_or(self.rules.default_port);
        match item.entry.who {
            Who::Addresses(stretch) => {
                if let (Stretch::V6(..), Form::Address, None) = (stretch, item.entry.form, item.entry.port)
                    && let Some(meant) = entry::meant_port(item.text)
                {
                    self.account.warn(self.number, item.text, Assumed::Group(meant));
                }
                self.builder.add(stretch, port, item.stated, name.as_deref());
            }
            Who::Host(host) => self.hosts.push(Host {
                name: host.to_owned(),
                port,
                stated: item.stated,
                remark: name.map(Cow::into_owned),
            }),
        }
    }

    fn refuse(&mut self, problem: Problem, part: &str) {
        let (line, text) = (self.number, excerpt(part));
        self.report(BadLine { line, text, problem });
    }

    fn report(&mut self, bad: BadLine) {
        if self.bad.len() < REPORTED_BOUND {
            self.bad.push(bad);
        } else {
            self.unreported += 1;
        }
    }

    /// What all lines say.
    pub(super) fn finish(mut self) -> Result<List, ListErrors> {
        if let Some((_, bad)) = self.header.take() {
            self.report(bad);
        }
        let is_empty = self.builder.is_empty() && self.hosts.is_empty();
        let is_refused = is_empty || self.rules.on_bad_line == OnBadLine::Error;
        if is_refused && !self.bad.is_empty() {
            let (bad, unreported) = (self.bad, self.unreported);
            return Err(ListErrors::Lines { bad, unreported });
        }
        if is_empty {
            return Err(ListErrors::Empty);
        }
        let mut account = self.account;
        let beyond = self.bad.len().saturating_sub(TOLD_BOUND);
        account.more_skipped = self.unreported + u64::try_from(beyond).unwrap_or(u64::MAX);
        self.bad.truncate(TOLD_BOUND);
        account.skipped = self.bad;
        Ok(List {
            set: self.builder.build(),
            hosts: self.hosts,
            account,
        })
    }
}

/// What of a line may hold entries: without blanks around it, the dash of a list in YAML, and the brackets of one in JSON.
/// Nothing of lines that are remarks in other languages.
fn trimmed(line: &str) -> &str {
    let text = line.trim();
    if matches!(text, "[" | "]" | "]," | "---") || text.starts_with("//") || text.starts_with(';') {
        return "";
    }
    let text = text
        .strip_prefix("- ")
        .or_else(|| text.strip_prefix("* "))
        .unwrap_or(text);
    let begins_array = text.starts_with("[\"") || text.starts_with("['");
    let text = text
        .strip_prefix('[')
        .filter(|_| begins_array)
        .map_or(text, |inside| {
            let inside = inside.trim_end_matches(',');
            inside.strip_suffix(']').unwrap_or(inside)
        });
    text.trim()
}

/// A remark without control characters.
fn printable(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.contains(char::is_control) {
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        return name.into();
    }
    name
}

/// A fragment of a URL without its escapes; as it stands where it does not become text.
fn decoded(fragment: &str) -> Cow<'_, str> {
    if !fragment.contains('%') {
        return fragment.into();
    }
    percent::decode(fragment).map_or(fragment.into(), Cow::Owned)
}
