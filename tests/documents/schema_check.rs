//! As much of JSON Schema, draft 2020-12, as the schema of the configuration uses. A keyword that is not known here is a
//! panic, so none is passed over.

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::{Map, Value};

/// Keywords that ask for nothing.
const REMARKS: [&str; 5] = ["$schema", "$defs", "title", "description", "then"];

/// What is wrong with a value, each with the path to it.
pub(crate) fn complaints(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Checker { root: schema }.check(schema, value, "", &mut found);
    found
}

struct Checker<'a> {
    root: &'a Value,
}

impl Checker<'_> {
    fn is_good(&self, schema: &Value, value: &Value) -> bool {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        match schema.as_bool() {
            Some(true) => return,
            Some(false) => return found.push(format!("{path}: not allowed")),
            None => {}
        }
        let schema = schema.as_object().expect("a schema is a flag or an object");
        for (keyword, rule) in schema {
            let good = match keyword.as_str() {
                "$ref" => {
                    let target = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.check(&self.root["$defs"][target], value, path, found);
                    true
                }
                "anyOf" => rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|one| self.is_good(one, value)),
                "if" => {
                    if self.is_good(rule, value) {
                        self.check(&schema["then"], value, path, found);
                    }
                    true
                }
                "properties" => self.members(schema, value, path, found),
                "patternProperties" if !schema.contains_key("properties") => {
                    self.members(schema, value, path, found)
                }
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{path}[{place}]"), found);
                    }
                    true
                }
                // With the members.
                "patternProperties" | "additionalProperties" => true,
                keyword if REMARKS.contains(&keyword) => true,
                keyword => is_met(keyword, rule, value),
            };
            if !good {
                found.push(format!("{path}: {keyword} {rule}: {value}"));
            }
        }
    }

    /// Members of an object by name, by pattern, and others.
    fn members(
        &self,
        schema: &Map<String, Value>,
        value: &Value,
        path: &str,
        found: &mut Vec<String>,
    ) -> bool {
        for (name, member) in value.as_object().into_iter().flatten() {
            let by_pattern = schema.get("patternProperties").and_then(Value::as_object);
            let of_pattern = by_pattern
                .into_iter()
                .flatten()
                .find(|(pattern, _)| Regex::new(pattern).unwrap().is_match(name));
            let named = schema.get("properties").and_then(|named| named.get(name));
            let rule = named.or(of_pattern.map(|(_, rule)| rule));
            if let Some(rule) = rule.or_else(|| schema.get("additionalProperties")) {
                self.check(rule, member, &format!("{path}.{name}"), found);
            }
        }
        true
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("no type: {other}"),
    }
}

fn length(value: &Value) -> Option<u64> {
    let length = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        Value::String(text) => text.chars().count(),
        Value::Null | Value::Bool(_) | Value::Number(_) => return None,
    };
    Some(length as u64)
}

/// Whether a keyword without schemas in it is content with a value.
fn is_met(keyword: &str, rule: &Value, value: &Value) -> bool {
    let number = value.as_f64();
    match keyword {
        "type" => {
            let names = rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice);
            names.iter().any(|name| is_of_type(name.as_str().unwrap(), value))
        }
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "pattern" => {
            let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "minimum" => number.is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => number.is_none_or(|number| number <= rule.as_f64().unwrap()),
        "minItems" => !value.is_array() || length(value) >= rule.as_u64(),
        "maxItems" => !value.is_array() || length(value) <= rule.as_u64(),
        "minProperties" => !value.is_object() || length(value) >= rule.as_u64(),
        "minLength" => !value.is_string() || length(value) >= rule.as_u64(),
        "uniqueItems" => {
            let items = value.as_array().into_iter().flatten();
            let texts: Vec<String> = items.map(Value::to_string).collect();
            texts.iter().collect::<BTreeSet<_>>().len() == texts.len()
        }
        "required" => {
            let mut names = rule.as_array().unwrap().iter().filter_map(Value::as_str);
            value
                .as_object()
                .is_none_or(|object| names.all(|name| object.contains_key(name)))
        }
        other => panic!("a keyword that is not known here: {other}"),
    }
}
