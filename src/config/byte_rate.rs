//! Numbers of bytes a second: from YAML, and in words.

use super::tree::Node;
use super::value::Refusal;

/// Units and their bytes; a value is shown in the first of them that divides it.
const UNITS: [(&str, u64); 13] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("Gbit", 125_000_000),
    ("Mbit", 125_000),
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("kbit", 125),
    ("Kbit", 125),
];

/// Units that a value is shown in.
const SHOWN: usize = 6;

/// The least and the most, but for 0: the bytes of years are to fit into 64 bits.
const RANGE: (u64, u64) = (1 << 10, 100 << 30);

/// A whole number of bytes, or a text of a number and a unit, with or without `/s`.
pub(super) fn read(node: &Node) -> Result<u64, Refusal> {
    let parsed = match node {
        Node::Integer(value) => Some(u64::try_from(*value).unwrap_or(u64::MAX)),
        Node::Text(text) => parse(text),
        Node::Null | Node::Flag(_) | Node::Number(_) | Node::List(_) | Node::Map(_) | Node::Tagged(_) => None,
    };
    match parsed {
        None => Err(Refusal::because(node, "is not a number of bytes")),
        Some(value) if value == 0 || (RANGE.0..=RANGE.1).contains(&value) => Ok(value),
        Some(_) => Err(Refusal::because(node, "is out of range")),
    }
}

fn parse(text: &str) -> Option<u64> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.trim_start_matches(' ');
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    // Too many digits are a number still.
    let number = digits.parse().unwrap_or(u64::MAX);
    (!digits.is_empty()).then(|| number.saturating_mul(*factor))
}

/// What is allowed, in words, with what 0 means.
pub(super) fn allowed(zero: &str) -> String {
    let (least, most) = RANGE;
    let (least, most) = (shown(least), shown(most));
    format!("0 = {zero}, or {least} to {most}, such as 512KiB, 10MiB, 100Mbit (a second)")
}

/// In the first unit that divides it.
pub(super) fn shown(bytes: u64) -> String {
    let divides = |(_, factor): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*factor);
    let unit = UNITS.iter().take(SHOWN).find(divides);
    unit.map_or_else(
        || bytes.to_string(),
        |(name, factor)| format!("{}{name}", bytes / factor),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    #[test]
    fn units_are_bytes_or_bits_a_second() {
        for (text, expected) in [
            ("0", Some(0)),
            ("2048", Some(2048)),
            ("'2048'", Some(2048)),
            ("10MiB", Some(10 << 20)),
            ("10 MiB/s", Some(10 << 20)),
            ("1GB", Some(1_000_000_000)),
            ("100Mbit", Some(12_500_000)),
            ("100GiB", Some(100 << 30)),
            ("101GiB", None),
            ("1000", None),
            ("99999999999999999999999GiB", None),
            ("MiB", None),
            ("1.5MiB", None),
            ("-1MiB", None),
            ("10mb", None),
            ("10 parsecs", None),
            ("1.5", None),
        ] {
            let node = tree::parse(text).expect("a value");
            assert_eq!(read(&node).ok(), expected, "{text}");
        }
        for (bytes, expected) in [
            (0, "0"),
            (3 << 20, "3MiB"),
            (1536, "1536"),
            (1 << 30, "1GiB"),
            (5 << 10, "5KiB"),
            (12_500_000, "100Mbit"),
        ] {
            assert_eq!(shown(bytes), expected);
        }
    }
}
