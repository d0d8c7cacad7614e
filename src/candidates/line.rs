//! Entries of one line, separated by commas, semicolons or blanks, each with what stands behind it. Pure.

use super::entry::{self, Entry, Who, parse_port};
use super::options::Stated;
use super::problem::Problem;

/// An entry, and what its line says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) entry: Entry<'a>,
    pub(super) stated: Stated,
    /// Its option `name`.
    pub(super) name: Option<&'a str>,
    /// As it is written.
    pub(super) text: &'a str,
}

impl<'a> Item<'a> {
    /// An entry of which nothing is said.
    pub(super) fn of(entry: Entry<'a>, text: &'a str) -> Self {
        Self {
            entry,
            stated: Stated::default(),
            name: None,
            text,
        }
    }
}

/// What is wrong, and with which part of the line.
pub(super) type Fault<'a> = (Problem, &'a str);

/// Reads all entries of a line.
///
/// # Errors
/// The first part that is no entry, and nothing that may stand behind one.
pub(super) fn read(text: &str) -> Result<Vec<Item<'_>>, Fault<'_>> {
    let is_part = |byte: u8| !matches!(byte, b' ' | b'\t' | b',' | b';' | b'|' | b'"' | b'\'');
    if text.is_ascii() && text.bytes().all(is_part) {
        // Nothing but one entry, as in most lines.
        let entry = entry::read(text).map_err(|problem| (in_place(problem, text, true), text))?;
        return Ok(vec![Item::of(entry, text)]);
    }
    if text.matches('"').count() % 2 == 1 {
        return Err((Problem::Quote, text));
    }
    let mut items = Vec::new();
    for cell in split(text, |c| matches!(c, ',' | ';' | '|')) {
        read_words(cell, &mut items)?;
    }
    Ok(items)
}

/// The parts of a text between separators that are not in double quotes.
pub(super) fn split(text: &str, is_separator: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        !is_quoted && is_separator(c)
    })
}

/// A text without blanks around it, and without the quotes around that.
pub(super) fn bare(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

/// Reads entries that are separated by blanks, with their ports and options.
fn read_words<'a>(text: &'a str, items: &mut Vec<Item<'a>>) -> Result<(), Fault<'a>> {
    let begin = items.len();
    let mut takes_port = false;
    let mut words = split(text, char::is_whitespace).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let (word, is_first) = (bare(word), items.len() == begin);
        if let Some(item) = items.get_mut(begin..).and_then(<[_]>::last_mut) {
            if word == "-" {
                let end = words.next().unwrap_or_default();
                item.entry = entry::read_range(item.text, end).map_err(|problem| (problem, text))?;
                takes_port = item.entry.port.is_none();
                continue;
            }
            if is_number(word) {
                item.entry.port = Some(port_behind(word, takes_port).map_err(|problem| (problem, text))?);
                takes_port = false;
                continue;
            }
            if let Some(read) = read_option(word, item) {
                read.map_err(|problem| (problem, word))?;
                takes_port = false;
                continue;
            }
        }
        let read = entry::read(word).map_err(|problem| (in_place(problem, word, is_first), word))?;
        takes_port = read.port.is_none();
        items.push(Item::of(read, word));
    }
    Ok(())
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn port_behind(word: &str, takes_port: bool) -> Result<u16, Problem> {
    if takes_port {
        parse_port(word)
    } else {
        Err(Problem::SecondPort)
    }
}

/// What is to be said of a word that is no entry, where it stands.
fn in_place(problem: Problem, word: &str, is_first: bool) -> Problem {
    let is_option = word == "backup" || word.contains('=');
    if problem != Problem::NoAddress {
        return problem;
    }
    match (is_first, is_option) {
        (true, true) => Problem::NoEntryBefore,
        (true, false) => Problem::NoAddress,
        (false, _) => Problem::Word,
    }
}

/// Reads an option; none if the word is none.
fn read_option<'a>(word: &'a str, item: &mut Item<'a>) -> Option<Result<(), Problem>> {
    if word == "backup" {
        item.stated.tier = Some(1);
        return Some(Ok(()));
    }
    let (key, value) = word.split_once('=').filter(|(key, _)| !key.contains("://"))?;
    let value = bare(value);
    let number = || Some(value).filter(|value| is_number(value));
    let stated = &mut item.stated;
    Some(match key {
        "weight" => {
            let weight = number().and_then(|value| value.parse().ok());
            weight
                .ok_or(Problem::Weight)
                .map(|weight| stated.weight = Some(weight))
        }
        "tier" => {
            let tier = number().and_then(|value| value.parse().ok());
            tier.ok_or(Problem::Tier).map(|tier| stated.tier = Some(tier))
        }
        "max_connections" => {
            let limit = number().and_then(|value| value.parse().ok());
            limit
                .ok_or(Problem::MaxConnections)
                .map(|limit| stated.max_connections = Some(limit))
        }
        "name" => {
            item.name = Some(value);
            Ok(())
        }
        _ => Err(Problem::Option),
    })
}

/// Whether it is an address, and no name.
pub(super) fn is_address(entry: &Entry<'_>) -> bool {
    match entry.who {
        Who::Addresses(_) => true,
        Who::Host(_) => false,
    }
}
