//! Values of one type each: from YAML, or refused, and in words for errors and defaults.
//!
//! Knows no keys and no fields; which type and range a key has is said by its slot.

use std::net::SocketAddr;
use std::time::Duration;

use super::check::Pattern;
use super::http_url::HttpUrl;
use super::tree::Node;

/// Characters of an offending value that an error shows.
const SHOWN_CHARS: usize = 60;

/// Addresses in one list.
pub(super) const MAX_ADDRESSES: usize = 64;

/// Servers of DNS in one list, and their port.
pub(super) const MAX_SERVERS: usize = 8;
const DNS_PORT: u16 = 53;

/// Lines in one list of entries.
pub(super) const MAX_ENTRIES: usize = 1000;

/// Characters of a secret.
pub(super) const MAX_SECRET_CHARS: usize = 256;

/// Bytes of a text that is sent or looked for.
pub(super) const MAX_TEXT_BYTES: usize = 1024;

/// What is shown of a secret.
pub(super) const MASK: &str = "***";

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

pub(super) fn flag(node: &Node) -> Result<bool, Refusal> {
    if let Node::Flag(value) = node {
        Ok(*value)
    } else {
        Err(Refusal::because(node, "is not true or false"))
    }
}

pub(super) fn integer<T>(node: &Node, (least, most): (T, T)) -> Result<T, Refusal>
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

pub(super) fn number(node: &Node, (least, most): (f64, f64)) -> Result<f64, Refusal> {
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

pub(super) fn duration(node: &Node, (least, most): (Duration, Duration)) -> Result<Duration, Refusal> {
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

pub(super) fn file_name(node: &Node) -> Result<&str, Refusal> {
    let name = text(node)?;
    if name.trim().is_empty() || name.contains('\0') {
        return Err(Refusal::because(node, "is not a file path"));
    }
    Ok(name)
}

/// The empty text is none.
pub(super) fn file_or_none(node: &Node) -> Result<Option<&str>, Refusal> {
    let is_empty = text(node)?.is_empty();
    if is_empty {
        Ok(None)
    } else {
        file_name(node).map(Some)
    }
}

/// A secret, or none if it is empty. What was refused may be one, so it is not shown.
pub(super) fn secret(node: &Node) -> Result<Option<String>, Refusal> {
    let allowed =
        |text: &&str| text.len() <= MAX_SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_graphic());
    match text(node).ok().filter(allowed) {
        Some(text) => Ok((!text.is_empty()).then(|| text.to_owned())),
        None => Err(Refusal {
            item: None,
            what: format!("{MASK} is not such a text"),
        }),
    }
}

/// One line, or nothing.
pub(super) fn line(node: &Node) -> Result<String, Refusal> {
    let line = text(node)?;
    if line.len() > MAX_TEXT_BYTES || line.chars().any(char::is_control) {
        return Err(Refusal::because(node, "is no such line"));
    }
    Ok(line.to_owned())
}

/// The name of an interface, as Linux has them (`dev_valid_name`, whose limit counts a zero at the end), or none if it is empty.
pub(super) fn interface_or_none(node: &Node) -> Result<Option<String>, Refusal> {
    let name = text(node)?;
    let is_plain = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if name.len() > 15 || name == "." || name == ".." || !name.chars().all(is_plain) {
        return Err(Refusal::because(node, "is no name of an interface"));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// A list of lines, each of which says something.
pub(super) fn lines(node: &Node) -> Result<Vec<String>, Vec<Refusal>> {
    let Node::List(items) = node else {
        return Err(Refusal::because(node, "is not a list").into());
    };
    if items.len() > MAX_ENTRIES {
        let what = format!("a list of {} is out of range", items.len());
        return Err(Refusal { item: None, what }.into());
    }
    every_item(items, |item| {
        let said = line(item)?;
        if said.trim().is_empty() {
            return Err(Refusal::because(item, "is empty"));
        }
        Ok(said)
    })
}

/// Bytes, as text or in hexadecimal.
pub(super) fn pattern(node: &Node) -> Result<Pattern, Refusal> {
    let text = text(node)?;
    Pattern::of(text)
        .filter(|_| text.len() <= MAX_TEXT_BYTES)
        .ok_or_else(|| Refusal::because(node, "are no such bytes"))
}

/// A URL, or none if it is empty. What was refused may hold a key, so it is not shown.
pub(super) fn http_url(node: &Node) -> Result<Option<HttpUrl>, Refusal> {
    let text = text(node)?;
    if text.is_empty() {
        return Ok(None);
    }
    HttpUrl::parse(text).map(Some).map_err(|fault| Refusal {
        item: None,
        what: format!("the URL {fault}"),
    })
}

pub(super) fn url_path(node: &Node) -> Result<String, Refusal> {
    let path = text(node)?;
    let plain = path.chars().all(|c| c.is_ascii_graphic() && c != '?' && c != '#');
    if path.starts_with('/') && plain {
        Ok(path.to_owned())
    } else {
        Err(Refusal::because(node, "is not such a path"))
    }
}

pub(super) fn address(node: &Node) -> Result<SocketAddr, Refusal> {
    let addr = text(node).ok().and_then(|text| text.parse().ok());
    let addr: SocketAddr = addr.ok_or_else(|| Refusal::because(node, "is not an address with a port"))?;
    // A listener of one family hears nobody there: it is bound to nothing.
    match addr.ip().to_canonical() {
        ip if ip == addr.ip() => Ok(addr),
        ip => {
            let plain = SocketAddr::new(ip, addr.port());
            Err(Refusal::because(
                node,
                &format!("is an IPv4 address written as IPv6: write {plain}"),
            ))
        }
    }
}

pub(super) fn addresses(node: &Node) -> Result<Vec<SocketAddr>, Vec<Refusal>> {
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

/// Servers of DNS, or none.
pub(super) fn servers(node: &Node) -> Result<Vec<SocketAddr>, Vec<Refusal>> {
    let one = |node: &Node| {
        let said = text(node).ok();
        let ip = |said: &str| Some(SocketAddr::new(said.parse().ok()?, DNS_PORT));
        let server = said.and_then(|said| said.parse().ok().or_else(|| ip(said)));
        let server = server.filter(|server| server.port() != 0 && !server.ip().is_unspecified());
        server.ok_or_else(|| Refusal::because(node, "is not the address of a server"))
    };
    let Node::List(items) = node else {
        return Ok(vec![one(node)?]);
    };
    if items.len() > MAX_SERVERS {
        let what = format!("a list of {} servers is out of range", items.len());
        return Err(vec![Refusal { item: None, what }]);
    }
    every_item(items, one)
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
