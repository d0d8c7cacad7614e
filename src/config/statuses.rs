//! Ranges of HTTP statuses: from YAML, and in words.

use super::check::Statuses;
use super::tree::Node;
use super::value::{Refusal, every_item, text};

/// Ranges in one list.
const MAX_RANGES: usize = 32;

/// One range or status, or a list of them.
pub(super) fn read(node: &Node) -> Result<Vec<Statuses>, Vec<Refusal>> {
    let Node::List(items) = node else {
        return Ok(vec![range(node)?]);
    };
    if items.is_empty() || items.len() > MAX_RANGES {
        let what = format!("a list of {} ranges is out of range", items.len());
        return Err(vec![Refusal { item: None, what }]);
    }
    every_item(items, range)
}

fn range(node: &Node) -> Result<Statuses, Refusal> {
    let status = |text: &str| text.trim().parse().ok().filter(|code| (100..=999).contains(code));
    let parsed = match node {
        Node::Integer(code) => status(&code.to_string()).map(|code| (code, code)),
        Node::Text(_) => text(node).ok().and_then(|text| match text.split_once('-') {
            Some((from, to)) => status(from).zip(status(to)),
            None => status(text).map(|code| (code, code)),
        }),
        Node::Null | Node::Flag(_) | Node::Number(_) | Node::List(_) | Node::Map(_) | Node::Tagged(_) => None,
    };
    parsed
        .filter(|(from, to)| from <= to)
        .map(|(from, to)| Statuses { from, to })
        .ok_or_else(|| Refusal::because(node, "is not a status or a range of them"))
}

/// What is allowed, in words.
pub(super) fn allowed() -> String {
    format!("a status from 100 to 999 or a range, such as 200-399, or a list of 1 to {MAX_RANGES} of them")
}

/// A list as it would be written in the file (without quotes).
pub(super) fn shown(all: &[Statuses]) -> String {
    let one = |range: &Statuses| {
        if range.from == range.to {
            range.from.to_string()
        } else {
            format!("{}-{}", range.from, range.to)
        }
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}
