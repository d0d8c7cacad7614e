//! Headers of requests: from YAML, and in words without their values, which may be secrets.

use super::http_provider::Header;
use super::tree::Node;
use super::value::{MASK, Refusal, show};
use crate::base::http_parts::is_token;

/// Headers in one section.
const MAX_HEADERS: usize = 32;

/// Bytes of the value of one.
const MAX_VALUE_BYTES: usize = 4096;

/// What a request says by itself.
const RESERVED: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "if-modified-since",
    "if-none-match",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn allowed() -> String {
    format!(
        "a section of up to {MAX_HEADERS} names with a text each, such as {{ Authorization: \"Bearer ${{TOKEN}}\" }}"
    )
}

/// A section of headers; what is refused is not shown but for its name.
pub(super) fn read(node: &Node) -> Result<Vec<Header>, Vec<Refusal>> {
    let Node::Map(entries) = node else {
        let what = format!("{MASK} is not a section");
        return Err(Refusal { item: None, what }.into());
    };
    if entries.len() > MAX_HEADERS {
        let what = format!("a section of {} headers is out of range", entries.len());
        return Err(Refusal { item: None, what }.into());
    }
    let (mut headers, mut refused) = (Vec::<Header>::new(), Vec::new());
    for (index, (name, value)) in entries.iter().enumerate() {
        match header(name, value) {
            Ok(header)
                if headers
                    .iter()
                    .any(|one| one.name.eq_ignore_ascii_case(&header.name)) =>
            {
                refused.push((index, format!("{} is said twice", show(name))));
            }
            Ok(header) => headers.push(header),
            Err(why) => refused.push((index, format!("{} {why}", show(name)))),
        }
    }
    if refused.is_empty() {
        return Ok(headers);
    }
    let refusal = |(index, what)| Refusal {
        item: Some(index),
        what,
    };
    Err(refused.into_iter().map(refusal).collect())
}

fn header(name: &Node, value: &Node) -> Result<Header, &'static str> {
    let Node::Text(name) = name else {
        return Err("is no name of a header");
    };
    if !is_token(name) {
        return Err("is no name of a header");
    }
    if RESERVED.iter().any(|one| one.eq_ignore_ascii_case(name)) {
        return Err("is said by every request itself");
    }
    let Node::Text(value) = value else {
        return Err("has a value that is not a text");
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if value.len() > MAX_VALUE_BYTES || !value.bytes().all(is_plain) || value.trim() != value {
        return Err("has a value that is none: visible ASCII characters, with blanks only between them");
    }
    Ok(Header {
        name: name.clone(),
        value: value.clone(),
    })
}

/// Headers as they would be written in the file, but for their values.
pub(super) fn shown(headers: &[Header]) -> String {
    if headers.is_empty() {
        return "{}".to_owned();
    }
    let all: Vec<String> = headers
        .iter()
        .map(|header| format!("{}: \"{MASK}\"", header.name))
        .collect();
    format!("{{ {} }}", all.join(", "))
}
