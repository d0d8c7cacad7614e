//! `docs/config.schema.json`, for editors, made from the table of keys; the test files of the configuration are held to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use tcp_forwarder::config::{self, KeyDoc, Scope};

use super::reference::words_of_allowed;
use super::schema_check::complaints;
use super::texts::{Language, Texts};
use crate::{hold, root};

const FILE: &str = "docs/config.schema.json";

/// Sections that a service has under their own names; it has the keys of `server` directly.
const OF_SERVICES: [&str; 4] = ["remotes", "pools", "sleep", "access_log"];

/// Bad files in which only the program finds what is wrong: relations between keys, numbers inside texts, names
/// that files, other keys or the YAML itself give.
const BEYOND_IT: &[&str] = &[
    "alias.yaml",
    "bind.yaml",
    "checks.yaml",
    "conflicts.yaml",
    "listener_twice.yaml",
    "overruled.yaml",
    "services_addresses.yaml",
    "services_conflicts.yaml",
    "tls_for_nobody.yaml",
];

/// One type, or a list of that many.
fn or_list(one: &Value, least: u64, most: u64) -> Value {
    let item = json!({ "anyOf": [one, { "$ref": "#/$defs/variable" }] });
    json!({ "anyOf": [one, { "type": "array", "items": item, "minItems": least, "maxItems": most }] })
}

/// The numbers in the words of what is allowed.
fn range(key: &KeyDoc) -> (Value, Value) {
    let (words, _) = words_of_allowed(key);
    let number = |text: &str| {
        text.parse::<i64>()
            .map_or_else(|_| json!(text.parse::<f64>().unwrap()), Value::from)
    };
    let (least, most) = words.split_once(" – ").unwrap();
    (number(least), number(most))
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^([0-9]+ *[a-zA-Zµ]+ *)+$" })
}

fn choice(names: &str) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for name in names.split(", ") {
        all.push(json!(name));
        // Versions may be written without quotes.
        if let Ok(number) = name.parse::<f64>() {
            all.push(json!(number));
        }
    }
    json!({ "enum": all })
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// What a value of this key may be.
fn type_of(key: &KeyDoc) -> Value {
    let text = json!({ "type": "string" });
    let address = json!({ "type": "string", "pattern": "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]+$" });
    let names = or_list(&text, 0, 1024);
    match key.kind {
        "flag" => json!({ "type": "boolean" }),
        "integer" | "number" => {
            let (least, most) = range(key);
            json!({ "type": key.kind, "minimum": least, "maximum": most })
        }
        "duration" => duration(),
        "duration or auto" => json!({ "anyOf": [{ "const": "auto" }, duration()] }),
        "choice" => choice(&key.allowed),
        "address" => address,
        "address or list" => or_list(&address, 1, 64),
        "server or list" => or_list(&text, 0, 8),
        "own address or list" => or_list(&text, 0, 2),
        "network or list" => or_list(
            &json!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]+)?$" }),
            0,
            4096,
        ),
        "route or list" => {
            let route = object(&json!({ "sni": names, "alpn": names, "to": text }), &["to"]);
            or_list(&route, 0, 256)
        }
        "byte rate" => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+ *[a-zA-Z]*(/s)?$" },
        ] }),
        "status or list" => {
            let one = json!({ "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 999 },
                { "type": "string", "pattern": "^[1-9][0-9]{2}(-[1-9][0-9]{2})?$" },
            ] });
            or_list(&one, 1, 32)
        }
        "list of certificates" => {
            let pair = object(&json!({ "cert": text, "key": text }), &["cert", "key"]);
            json!({ "type": "array", "items": pair, "maxItems": 1000 })
        }
        "list of fields" => {
            let fields = key.allowed.strip_prefix("a list of ").unwrap();
            json!({ "type": "array", "items": choice(fields), "uniqueItems": true })
        }
        "section of texts" => {
            let value = json!({ "anyOf": [text, { "$ref": "#/$defs/variable" }] });
            json!({ "type": "object", "additionalProperties": value })
        }
        "list of entries" | "list of names" => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "uniqueItems": true })
        }
        "text" | "service" | "interface" | "URL" => text,
        other => panic!("{}: a type that the schema does not know: {other}", key.path),
    }
}

/// A key: what it may be, or a variable of the environment.
fn leaf(key: &KeyDoc, texts: &Texts) -> Value {
    let mut made = match type_of(key) {
        plain if plain == json!({ "type": "string" }) => plain,
        other => json!({ "anyOf": [other, { "$ref": "#/$defs/variable" }] }),
    };
    let allowed = texts.allowed(key, Language::English);
    made["description"] = json!(format!(
        "{}. Allowed: {allowed}. Default: {:?}",
        key.meaning, key.default
    ));
    made
}

/// The tree of keys below a path.
enum Tree {
    Key(Box<KeyDoc>),
    Section(BTreeMap<String, Tree>),
}

fn tree() -> BTreeMap<String, Tree> {
    let mut top = BTreeMap::new();
    for key in config::reference() {
        let mut parts = key.path.split('.').peekable();
        let mut here = &mut top;
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                here.insert(part.to_owned(), Tree::Key(Box::new(key)));
                break;
            }
            let below = here
                .entry(part.to_owned())
                .or_insert_with(|| Tree::Section(BTreeMap::new()));
            let Tree::Section(section) = below else {
                panic!("{} is in a key", key.path)
            };
            here = section;
        }
    }
    top
}

/// What stands at a path: a section, which may be empty, or a key.
fn built(path: &str, tree: &Tree, texts: &Texts) -> Value {
    let section = match tree {
        Tree::Key(key) => return leaf(key, texts),
        Tree::Section(section) => section,
    };
    let properties: BTreeMap<&String, Value> = section
        .iter()
        .map(|(name, below)| (name, built(&format!("{path}.{name}"), below, texts)))
        .collect();
    let made = json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false });
    let mut made = if path == "remotes.provider" {
        let one = object(&made["properties"], &[]);
        json!({ "anyOf": [made, { "type": "array", "items": one, "minItems": 1, "maxItems": 16 }] })
    } else {
        made
    };
    made["description"] = json!(texts.section(path, Language::English));
    made
}

/// Whether a service has it: what is the process's, it has not.
fn is_of_a_service(tree: &Tree) -> bool {
    match tree {
        Tree::Key(key) => key.scope == Scope::Service,
        Tree::Section(section) => section.values().all(is_of_a_service),
    }
}

fn made(texts: &Texts) -> Value {
    let tree = tree();
    let mut shared = BTreeMap::from([(
        "variable".to_owned(),
        json!({ "type": "string", "pattern": "\\$\\{", "description": "${NAME} or ${NAME:-DEFAULT}" }),
    )]);
    let mut top = BTreeMap::new();
    let mut service = BTreeMap::new();
    for (name, below) in &tree {
        let mut made = built(name, below, texts);
        if let (true, Tree::Section(keys)) = (name == "server", below) {
            for (key, _) in keys.iter().filter(|(_, below)| is_of_a_service(below)) {
                let to = format!("server.{key}");
                let reference = json!({ "$ref": format!("#/$defs/{to}") });
                shared.insert(to, made["properties"][key].take());
                made["properties"][key] = reference.clone();
                service.insert(key.clone(), reference);
            }
        }
        if OF_SERVICES.contains(&name.as_str()) {
            shared.insert(name.clone(), made);
            made = json!({ "$ref": format!("#/$defs/{name}") });
            service.insert(name.clone(), made.clone());
        }
        top.insert(name.clone(), made);
    }
    shared.insert("service".to_owned(), object(&json!(service), &["listen_addr"]));
    let services = json!({
        "type": "object",
        "description": "Many services in one process; what one leaves out is what the top level says.",
        "patternProperties": { "^[a-z0-9_-]{1,32}$": { "$ref": "#/$defs/service" } },
        "additionalProperties": false,
        "minProperties": 1,
    });
    top.insert("services".to_owned(), services);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tcp-forwarder",
        "description": "The configuration of tcp-forwarder.",
        "type": ["object", "null"],
        "properties": top,
        "additionalProperties": false,
        // With services, each says where it listens, and the top level does not.
        "if": { "required": ["services"] },
        "then": { "properties": { "server": { "properties": { "listen_addr": false } } } },
        "$defs": shared,
    })
}

#[test]
fn the_schema_is_what_the_sources_say() {
    let text = serde_json::to_string_pretty(&made(&Texts::load())).unwrap();
    hold(FILE, &(text + "\n"));
}

#[test]
fn the_schema_takes_good_files_and_refuses_what_it_can_of_bad_ones() {
    let schema = made(&Texts::load());
    let said = |path: &std::path::Path| {
        let text = fs::read_to_string(path).unwrap();
        // First as YAML, which has more to refuse: keys that are there twice.
        match serde_yaml::from_str::<serde_yaml::Value>(&text) {
            Ok(_) => match serde_yaml::from_str(&text) {
                Ok(value) => complaints(&schema, &value),
                Err(error) => vec![error.to_string()],
            },
            Err(error) => vec![error.to_string()],
        }
    };
    let files = |folder: &str| {
        fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
            .collect::<Vec<_>>()
    };
    let mut good = files("tests/config/good");
    good.push(root().join("config.yaml"));
    assert!(good.len() > 5);
    for path in good {
        assert_eq!(said(&path), Vec::<String>::new(), "{}", path.display());
    }
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let taken: BTreeSet<String> = files("tests/config/bad")
        .iter()
        .filter(|path| said(path).is_empty())
        .map(|path| name(path))
        .collect();
    assert_eq!(taken, BEYOND_IT.iter().map(|name| (*name).to_owned()).collect());
}
