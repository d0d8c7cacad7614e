//! Lists of routes: from YAML, and in words.

use super::server::Route;
use super::service_name::ServiceName;
use super::tree::Node;
use super::value::{Refusal, every_item, text};

/// Routes in one list.
const MAX_ROUTES: usize = 256;

/// Names, or protocols, of one route.
const MAX_NAMES: usize = 1024;

/// Bytes of a name of a host, and of a protocol.
const MAX_NAME_BYTES: usize = 255;

const KEYS: [&str; 3] = ["sni", "alpn", "to"];

/// One route, or a list of them.
pub(super) fn read(node: &Node) -> Result<Vec<Route>, Vec<Refusal>> {
    if let Node::Map(_) = node {
        return Ok(vec![route(node)?]);
    }
    every_item(list(node, MAX_ROUTES)?, route)
}

fn route(node: &Node) -> Result<Route, Refusal> {
    let Node::Map(entries) = node else {
        return Err(Refusal::because(node, "is not a route"));
    };
    let mut seen = Vec::new();
    for (key, _) in entries {
        let name = text(key)
            .ok()
            .filter(|name| KEYS.contains(name) && !seen.contains(name));
        seen.push(name.ok_or_else(|| Refusal::because(key, "is no key of a route, or is given twice"))?);
    }
    let value = |wanted: &str| {
        let is_it = |(key, _): &&(Node, Node)| matches!(key, Node::Text(name) if name == wanted);
        entries.iter().find(is_it).map(|(_, value)| value)
    };
    let to = value("to").ok_or_else(|| Refusal::because(node, "without `to` leads nowhere"))?;
    Ok(Route {
        sni: value("sni").map_or(Ok(Vec::new()), |node| names(node, pattern))?,
        alpn: value("alpn").map_or(Ok(Vec::new()), |node| names(node, protocol))?,
        to: service(to)?,
    })
}

/// One, or a list of them, which has at least one.
fn names(node: &Node, read: fn(&Node) -> Result<String, Refusal>) -> Result<Vec<String>, Refusal> {
    if let Node::Text(_) = node {
        return Ok(vec![read(node)?]);
    }
    match list(node, MAX_NAMES)? {
        [] => Err(Refusal::because(node, "is empty, so that nothing would match")),
        items => items.iter().map(read).collect(),
    }
}

fn list(node: &Node, most: usize) -> Result<&[Node], Refusal> {
    let Node::List(items) = node else {
        return Err(Refusal::because(node, "is not a list"));
    };
    if items.len() > most {
        let what = format!("a list of {} is out of range", items.len());
        return Err(Refusal { item: None, what });
    }
    Ok(items)
}

/// A name as clients send it: `example.org`, `*.example.org`, `*`.
fn pattern(node: &Node) -> Result<String, Refusal> {
    let all = text(node)?;
    let name = all.strip_prefix("*.").unwrap_or(all);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_name = name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label);
    if all != "*" && !is_name {
        return Err(Refusal::because(node, "is not a name of a host"));
    }
    Ok(all.strip_suffix('.').unwrap_or(all).to_ascii_lowercase())
}

fn protocol(node: &Node) -> Result<String, Refusal> {
    let name = text(node)?;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Refusal::because(node, "is no name of a protocol"));
    }
    Ok(name.to_owned())
}

fn service(node: &Node) -> Result<ServiceName, Refusal> {
    let name = text(node).ok().and_then(ServiceName::parse);
    name.ok_or_else(|| Refusal::because(node, "is not a name of a service"))
}

/// A service, or none if the text is empty.
pub(super) fn service_or_none(node: &Node) -> Result<Option<ServiceName>, Refusal> {
    if text(node)?.is_empty() {
        return Ok(None);
    }
    service(node).map(Some)
}

/// What is allowed, in words.
pub(super) fn allowed() -> String {
    format!(
        "{{ sni: NAMES, alpn: PROTOCOLS, to: SERVICE }}, such as {{ sni: \"*.example.org\", to: web }}, or a list of \
         0 to {MAX_ROUTES} of them"
    )
}

/// A list as it would be written in the file.
pub(super) fn shown(all: &[Route]) -> String {
    let one = |route: &Route| {
        let mut words = Vec::new();
        for (key, names) in [("sni", &route.sni), ("alpn", &route.alpn)] {
            if !names.is_empty() {
                words.push(format!("{key}: [{}]", names.join(", ")));
            }
        }
        words.push(format!("to: {}", route.to));
        format!("{{ {} }}", words.join(", "))
    };
    let all: Vec<String> = all.iter().map(one).collect();
    if all.is_empty() {
        "[]".to_owned()
    } else {
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    fn said(text: &str) -> Result<String, String> {
        let node = tree::parse(text).expect("a value");
        let refused = |all: Vec<Refusal>| all.into_iter().map(|one| one.what).collect::<Vec<_>>().join("; ");
        read(&node).map(|routes| shown(&routes)).map_err(refused)
    }

    #[test]
    fn routes_are_read() {
        for (text, expected) in [
            ("[]", "[]"),
            ("[{ to: web }]", "{ to: web }"),
            (
                "[{ sni: A.Example.ORG., to: web }]",
                "{ sni: [a.example.org], to: web }",
            ),
            (
                "[{ sni: ['*.example.org', '*'], alpn: [h2, http/1.1], to: a }, { alpn: h2, to: b }]",
                "{ sni: [*.example.org, *], alpn: [h2, http/1.1], to: a }, { alpn: [h2], to: b }",
            ),
        ] {
            assert_eq!(said(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for (text, expected) in [
            ("web", "\"web\" is not a list"),
            ("[web]", "\"web\" is not a route"),
            ("[{ sni: a.example }]", "a section without `to` leads nowhere"),
            (
                "[{ to: web, port: 1 }]",
                "\"port\" is no key of a route, or is given twice",
            ),
            ("[{ to: 'We b' }]", "\"We b\" is not a name of a service"),
            (
                "[{ sni: [], to: web }]",
                "a list is empty, so that nothing would match",
            ),
            ("[{ sni: 'a..b', to: web }]", "\"a..b\" is not a name of a host"),
            ("[{ sni: 'a.*.b', to: web }]", "\"a.*.b\" is not a name of a host"),
            (
                "[{ sni: 'bücher.example', to: web }]",
                "\"bücher.example\" is not a name of a host",
            ),
            ("[{ sni: 1, to: web }]", "1 is not a list"),
            ("[{ alpn: '', to: web }]", "\"\" is no name of a protocol"),
        ] {
            assert_eq!(said(text), Err(expected.to_owned()), "{text}");
        }
    }
}
