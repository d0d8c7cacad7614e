//! One type of value: from YAML into its field, and back into words.
//!
//! A [`Slot`] is where a key's value goes and which values it takes. The same slot reads a value, says what is
//! allowed, and shows the default, so none of the three can drift from the others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::draft::Draft;
use super::tree::Node;
use super::{LogOutput, byte_rate, networks};

/// Characters of an offending value that an error shows.
const SHOWN_CHARS: usize = 60;

/// Addresses in one list.
const MAX_ADDRESSES: usize = 64;

/// The field that a value goes to.
type Field<T> = fn(&mut Draft) -> &mut T;

/// A type of value with its range (both ends allowed) and its field.
pub(super) enum Slot {
    Flag(Field<bool>),
    Size((usize, usize), Field<usize>),
    Count((u32, u32), Field<u32>),
    Port(Field<u16>),
    Number((f64, f64), Field<f64>),
    Duration((Duration, Duration), Field<Duration>),
    Choice(Choice),
    Address(Field<SocketAddr>),
    Addresses(Field<Vec<SocketAddr>>),
    Networks(Field<Vec<IpNet>>),
    ByteRate(Field<u64>),
    File(Field<PathBuf>),
    Output(Field<LogOutput>),
    UrlPath(Field<String>),
}

/// One name out of a few.
pub(super) struct Choice {
    pub(super) names: &'static [&'static str],
    pub(super) name: fn(&Draft) -> &'static str,
    /// Called with one of `names` only.
    pub(super) choose: fn(&mut Draft, &str),
}

/// Why a value, or an item of a list, is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Item of a list, counted from 0, when one item is wrong.
    pub(super) item: Option<usize>,
    /// The value and what it is not.
    pub(super) what: String,
}

impl Refusal {
    pub(super) fn because(node: &Node, reason: &str) -> Self {
        Self {
            item: None,
            what: format!("{} {reason}", show(node)),
        }
    }
}

impl From<Refusal> for Vec<Refusal> {
    fn from(refusal: Refusal) -> Self {
        vec![refusal]
    }
}

impl Slot {
    /// Puts a value into its field, or leaves the field alone and says all that is wrong with the value.
    pub(super) fn fill(&self, draft: &mut Draft, node: &Node) -> Result<(), Vec<Refusal>> {
        match self {
            Self::Flag(field) => *field(draft) = flag(node)?,
            Self::Size(range, field) => *field(draft) = integer(node, *range)?,
            Self::Count(range, field) => *field(draft) = integer(node, *range)?,
            Self::Port(field) => *field(draft) = integer(node, (1, u16::MAX))?,
            Self::Number(range, field) => *field(draft) = number(node, *range)?,
            Self::Duration(range, field) => *field(draft) = duration(node, *range)?,
            Self::Choice(choice) => {
                let name = text(node)?;
                if !choice.names.contains(&name) {
                    return Err(Refusal::because(node, "is not one of the names").into());
                }
                (choice.choose)(draft, name);
            }
            Self::Address(field) => *field(draft) = address(node)?,
            Self::Addresses(field) => *field(draft) = addresses(node)?,
            Self::Networks(field) => *field(draft) = networks::read(node)?,
            Self::ByteRate(field) => *field(draft) = byte_rate::read(node)?,
            Self::File(field) => *field(draft) = PathBuf::from(file_name(node)?),
            Self::Output(field) => {
                *field(draft) = match file_name(node)? {
                    "stdout" => LogOutput::Stdout,
                    "stderr" => LogOutput::Stderr,
                    path => LogOutput::File(PathBuf::from(path)),
                }
            }
            Self::UrlPath(field) => *field(draft) = url_path(node)?,
        }
        Ok(())
    }

    /// The name of the type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Size(..) | Self::Count(..) | Self::Port(_) => "integer",
            Self::Number(..) => "number",
            Self::Duration(..) => "duration",
            Self::Choice(_) => "choice",
            Self::Address(_) => "address",
            Self::Addresses(_) => "address or list",
            Self::Networks(_) => "network or list",
            Self::ByteRate(_) => "byte rate",
            Self::File(_) | Self::Output(_) | Self::UrlPath(_) => "text",
        }
    }

    /// What is allowed, in words.
    pub(super) fn allowed(&self) -> String {
        match self {
            Self::Flag(_) => "true or false".to_owned(),
            Self::Size((least, most), _) => format!("a whole number from {least} to {most}"),
            Self::Count((least, most), _) => format!("a whole number from {least} to {most}"),
            Self::Port(_) => format!("a port number from 1 to {}", u16::MAX),
            Self::Number((least, most), _) => format!("a number from {least} to {most}"),
            Self::Duration((least, most), _) => format!(
                "{} to {}, such as 500ms, 15s, 1m30s",
                show_duration(*least),
                show_duration(*most)
            ),
            Self::Choice(choice) => choice.names.join(", "),
            Self::Address(_) => "IPv4:port or [IPv6]:port, such as 127.0.0.1:9099".to_owned(),
            Self::Addresses(_) => format!(
                "IPv4:port or [IPv6]:port, such as 127.0.0.1:1234, or a list of 1 to {MAX_ADDRESSES} of them"
            ),
            Self::Networks(_) => networks::allowed(),
            Self::ByteRate(_) => byte_rate::allowed(),
            Self::File(_) => "a file path; a relative one is relative to this file".to_owned(),
            Self::Output(_) => {
                "stdout, stderr, or a file path; a relative one is relative to this file".to_owned()
            }
            Self::UrlPath(_) => "a path that begins with / and has no blank, ? or #".to_owned(),
        }
    }

    /// The value in the draft, as it would be written in the file (without quotes).
    pub(super) fn shown(&self, draft: &mut Draft) -> String {
        match self {
            Self::Flag(field) => field(draft).to_string(),
            Self::Size(_, field) => field(draft).to_string(),
            Self::Count(_, field) => field(draft).to_string(),
            Self::Port(field) => field(draft).to_string(),
            Self::Number(_, field) => format!("{:?}", field(draft)),
            Self::Duration(_, field) => show_duration(*field(draft)),
            Self::Choice(choice) => (choice.name)(draft).to_owned(),
            Self::Address(field) => field(draft).to_string(),
            Self::Addresses(field) => {
                let all: Vec<String> = field(draft).iter().map(ToString::to_string).collect();
                all.join(", ")
            }
            Self::Networks(field) => networks::shown(field(draft)),
            Self::ByteRate(field) => byte_rate::shown(*field(draft)),
            Self::File(field) => field(draft).display().to_string(),
            Self::Output(field) => match field(draft) {
                LogOutput::Stdout => "stdout".to_owned(),
                LogOutput::Stderr => "stderr".to_owned(),
                LogOutput::File(path) => path.display().to_string(),
            },
            Self::UrlPath(field) => field(draft).clone(),
        }
    }
}

fn flag(node: &Node) -> Result<bool, Refusal> {
    if let Node::Flag(value) = node {
        Ok(*value)
    } else {
        Err(Refusal::because(node, "is not true or false"))
    }
}

fn integer<T>(node: &Node, (least, most): (T, T)) -> Result<T, Refusal>
where
    T: TryFrom<i128> + PartialOrd,
{
    let Node::Integer(value) = node else {
        return Err(Refusal::because(node, "is not a whole number"));
    };
    T::try_from(*value)
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| Refusal::because(node, "is out of range"))
}

fn number(node: &Node, (least, most): (f64, f64)) -> Result<f64, Refusal> {
    let value = match node {
        Node::Number(value) => *value,
        // Every range ends far below 2^31: a larger integer is out of range before it could be rounded.
        Node::Integer(value) => {
            f64::from(i32::try_from(*value).map_err(|_| Refusal::because(node, "is out of range"))?)
        }
        Node::Null | Node::Flag(_) | Node::Text(_) | Node::List(_) | Node::Map(_) | Node::Tagged(_) => {
            return Err(Refusal::because(node, "is not a number"));
        }
    };
    // NaN is in no range.
    if (least..=most).contains(&value) {
        // -0.0 is in a range that begins at 0.
        Ok(value.abs())
    } else {
        Err(Refusal::because(node, "is out of range"))
    }
}

fn duration(node: &Node, (least, most): (Duration, Duration)) -> Result<Duration, Refusal> {
    let parsed = match node {
        Node::Text(text) => humantime::parse_duration(text).ok(),
        Node::Null
        | Node::Flag(_)
        | Node::Integer(_)
        | Node::Number(_)
        | Node::List(_)
        | Node::Map(_)
        | Node::Tagged(_) => None,
    };
    match parsed {
        None => Err(Refusal::because(node, "is not a duration")),
        Some(value) if (least..=most).contains(&value) => Ok(value),
        Some(_) => Err(Refusal::because(node, "is out of range")),
    }
}

pub(super) fn text(node: &Node) -> Result<&str, Refusal> {
    if let Node::Text(text) = node {
        Ok(text)
    } else {
        Err(Refusal::because(node, "is not a text"))
    }
}

fn file_name(node: &Node) -> Result<&str, Refusal> {
    let name = text(node)?;
    if name.trim().is_empty() || name.contains('\0') {
        return Err(Refusal::because(node, "is not a file path"));
    }
    Ok(name)
}

fn url_path(node: &Node) -> Result<String, Refusal> {
    let path = text(node)?;
    let plain = path.chars().all(|c| c.is_ascii_graphic() && c != '?' && c != '#');
    if path.starts_with('/') && plain {
        Ok(path.to_owned())
    } else {
        Err(Refusal::because(node, "is not such a path"))
    }
}

fn address(node: &Node) -> Result<SocketAddr, Refusal> {
    text(node)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Refusal::because(node, "is not an address with a port"))
}

fn addresses(node: &Node) -> Result<Vec<SocketAddr>, Vec<Refusal>> {
    let Node::List(items) = node else {
        return Ok(vec![address(node)?]);
    };
    if items.is_empty() || items.len() > MAX_ADDRESSES {
        let what = format!("a list of {} addresses is out of range", items.len());
        return Err(vec![Refusal { item: None, what }]);
    }
    let mut seen = Vec::with_capacity(items.len());
    every_item(items, |item| {
        let address = address(item)?;
        // Port 0 takes a new free port each time, so it may repeat.
        if address.port() != 0 && seen.contains(&address) {
            return Err(Refusal::because(item, "is in the list twice"));
        }
        seen.push(address);
        Ok(address)
    })
}

/// Reads each item of a list, or says all that is wrong with them.
pub(super) fn every_item<T>(
    items: &[Node],
    mut read: impl FnMut(&Node) -> Result<T, Refusal>,
) -> Result<Vec<T>, Vec<Refusal>> {
    let mut all = Vec::with_capacity(items.len());
    let mut refused = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match read(item) {
            Ok(value) => all.push(value),
            Err(refusal) => refused.push(Refusal {
                item: Some(index),
                ..refusal
            }),
        }
    }
    if refused.is_empty() { Ok(all) } else { Err(refused) }
}

/// An offending value, cut short; control characters are escaped.
pub(super) fn show(node: &Node) -> String {
    match node {
        Node::Null => "an empty value".to_owned(),
        Node::Flag(value) => value.to_string(),
        Node::Integer(value) => value.to_string(),
        Node::Number(value) => format!("{value:?}"),
        Node::Text(text) => show_text(text),
        Node::List(_) => "a list".to_owned(),
        Node::Map(_) => "a section".to_owned(),
        Node::Tagged(tag) => format!("a value with the tag {}", show_text(tag)),
    }
}

/// A text in quotes, cut short; control characters are escaped.
pub(super) fn show_text(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// A duration in the largest unit that divides it: `90s`, `500ms`, `24h`.
pub(super) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, nanos_of_unit) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ] {
        if nanos != 0 && nanos.is_multiple_of(nanos_of_unit) {
            return format!("{}{unit}", nanos / nanos_of_unit);
        }
    }
    if nanos == 0 {
        "0s".to_owned()
    } else {
        format!("{nanos}ns")
    }
}
