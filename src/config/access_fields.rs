//! Lists of fields of the access log: from YAML, and in words.

use super::access_log::AccessField;
use super::tree::Node;
use super::value::{Refusal, every_item, text};

/// A list of fields, each once.
pub(super) fn read(node: &Node) -> Result<Vec<AccessField>, Vec<Refusal>> {
    let Node::List(items) = node else {
        return Err(Refusal::because(node, "is not a list").into());
    };
    let mut seen = Vec::new();
    every_item(items, |item| {
        let name = text(item)?;
        let field = AccessField::ALL.into_iter().find(|field| field.name() == name);
        let field = field.ok_or_else(|| Refusal::because(item, "is no field"))?;
        if seen.contains(&field) {
            return Err(Refusal::because(item, "is in the list twice"));
        }
        seen.push(field);
        Ok(field)
    })
}

/// What is allowed, in words.
pub(super) fn allowed() -> String {
    format!("a list of {}", AccessField::ALL.map(AccessField::name).join(", "))
}

/// A list as it would be written in the file.
pub(super) fn shown(fields: &[AccessField]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    format!("[{}]", names.join(", "))
}
