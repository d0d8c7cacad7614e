//! Lists of certificates with their keys, and of protocols: from YAML, in words.

use super::server_tls::CertificateFiles;
use super::tree::Node;
use super::value::{Refusal, every_item, file_name, text};

/// Certificates in one list.
const MAX_CERTIFICATES: usize = 1000;

/// Protocols in one list.
const MAX_PROTOCOLS: usize = 16;

/// Bytes of the name of a protocol (RFC 7301, section 3.1).
const MAX_PROTOCOL_BYTES: usize = 255;

pub(super) fn allowed() -> String {
    format!("a list of up to {MAX_CERTIFICATES} of {{ cert: FILE, key: FILE }}, relative to this file")
}

pub(super) fn allowed_protocols() -> String {
    format!("a list of up to {MAX_PROTOCOLS} names, such as h2 and http/1.1")
}

pub(super) fn read(node: &Node) -> Result<Vec<CertificateFiles>, Vec<Refusal>> {
    every_item(items(node, MAX_CERTIFICATES)?, pair)
}

fn pair(node: &Node) -> Result<CertificateFiles, Refusal> {
    let wrong = || Refusal::because(node, "is no pair of cert and key");
    let Node::Map(entries) = node else {
        return Err(wrong());
    };
    let of = |wanted: &str| {
        let is_it = |(key, _): &&(Node, Node)| matches!(key, Node::Text(name) if name == wanted);
        let (_, value) = entries.iter().find(is_it).ok_or_else(wrong)?;
        file_name(value).map(Into::into)
    };
    let pair = CertificateFiles {
        cert: of("cert")?,
        key: of("key")?,
    };
    if entries.len() == 2 {
        Ok(pair)
    } else {
        Err(wrong())
    }
}

pub(super) fn read_protocols(node: &Node) -> Result<Vec<String>, Vec<Refusal>> {
    let mut seen: Vec<String> = Vec::new();
    every_item(items(node, MAX_PROTOCOLS)?, |item| {
        let name = text(item)?;
        if name.is_empty() || name.len() > MAX_PROTOCOL_BYTES || name.chars().any(char::is_control) {
            return Err(Refusal::because(item, "is no name of a protocol"));
        }
        if seen.iter().any(|one| one == name) {
            return Err(Refusal::because(item, "is in the list twice"));
        }
        seen.push(name.to_owned());
        Ok(name.to_owned())
    })
}

fn items(node: &Node, most: usize) -> Result<&[Node], Refusal> {
    let Node::List(items) = node else {
        return Err(Refusal::because(node, "is not a list"));
    };
    if items.len() > most {
        return Err(Refusal {
            item: None,
            what: format!("a list of {} is out of range", items.len()),
        });
    }
    Ok(items)
}

pub(super) fn shown(all: &[CertificateFiles]) -> String {
    let pair = |pair: &CertificateFiles| format!("{} with {}", pair.cert.display(), pair.key.display());
    let all: Vec<String> = all.iter().map(pair).collect();
    listed(&all)
}

pub(super) fn shown_protocols(all: &[String]) -> String {
    listed(all)
}

fn listed(all: &[String]) -> String {
    if all.is_empty() {
        "[]".to_owned()
    } else {
        all.join(", ")
    }
}
