//! Variables of the environment in values: `${NAME}`, `${NAME:-DEFAULT}`.
//!
//! What stands for a variable is asked of whoever calls. Invariants: a value stays one value, whatever a variable
//! stands for, and is at most [`MAX_BYTES`] long; what comes from a variable is not looked through for others; no
//! [`Fault`] says what a variable stands for.

use std::ffi::OsString;

use super::tree::{Address, Node};
use super::value::show_text;

/// Bytes of a value, once its variables are replaced: as much as the longest path.
const MAX_BYTES: usize = 4096;

/// Bytes of a variable's name.
const MAX_NAME_BYTES: usize = 128;

/// What a variable stands for, if it is set.
pub(super) type Variables<'v> = &'v dyn Fn(&str) -> Option<OsString>;

/// What the process's own environment says.
pub(super) const ENVIRONMENT: Variables<'static> = &|name| std::env::var_os(name);

/// Why a value has none that it could stand for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where it stands within the value that was looked through.
    pub(super) address: Address,
    /// The same as errors show it: `[2].sni`.
    pub(super) path: String,
    /// The value as it is written.
    pub(super) written: String,
    /// What is wrong with it, and what is allowed.
    pub(super) why: String,
}

/// Whether a text means something else than it says.
pub(super) fn has_variables(node: &Node) -> bool {
    match node {
        Node::Text(text) => text.contains("${"),
        Node::List(items) => items.iter().any(has_variables),
        Node::Map(entries) => entries.iter().any(|(_, value)| has_variables(value)),
        Node::Null | Node::Flag(_) | Node::Integer(_) | Node::Number(_) | Node::Tagged(_) => false,
    }
}

/// A value whose variables are replaced; `read` makes a value of each text that has any. Keys stay as they are.
///
/// # Errors
/// Each text whose variables are not set, or are none.
pub(super) fn replace(
    node: &Node,
    variables: Variables<'_>,
    read: fn(String) -> Node,
) -> Result<Node, Vec<Fault>> {
    let mut walk = Walk {
        variables,
        read,
        address: Address::new(),
        path: String::new(),
        faults: Vec::new(),
    };
    let replaced = walk.node(node);
    if walk.faults.is_empty() {
        Ok(replaced)
    } else {
        Err(walk.faults)
    }
}

struct Walk<'v> {
    variables: Variables<'v>,
    read: fn(String) -> Node,
    address: Address,
    path: String,
    faults: Vec<Fault>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node) -> Node {
        match node {
            Node::Text(text) if text.contains("${") => self.text(text),
            Node::List(items) => {
                let items = items.iter().enumerate();
                Node::List(
                    items
                        .map(|(index, item)| self.inside(index, &format!("[{index}]"), item))
                        .collect(),
                )
            }
            Node::Map(entries) => {
                let replaced = entries.iter().enumerate().map(|(index, (key, value))| {
                    let name = if let Node::Text(name) = key {
                        format!(".{}", show_key(name))
                    } else {
                        String::new()
                    };
                    (key.clone(), self.inside(index, &name, value))
                });
                Node::Map(replaced.collect())
            }
            Node::Text(_)
            | Node::Null
            | Node::Flag(_)
            | Node::Integer(_)
            | Node::Number(_)
            | Node::Tagged(_) => node.clone(),
        }
    }

    fn inside(&mut self, index: usize, name: &str, node: &Node) -> Node {
        let back = self.path.len();
        self.path.push_str(name);
        self.address.push(index);
        let replaced = self.node(node);
        self.address.pop();
        self.path.truncate(back);
        replaced
    }

    fn text(&mut self, written: &str) -> Node {
        match expand(written, self.variables) {
            Ok(text) => (self.read)(text),
            Err(why) => {
                self.faults.push(Fault {
                    address: self.address.clone(),
                    path: self.path.clone(),
                    written: written.to_owned(),
                    why,
                });
                Node::Null
            }
        }
    }
}

/// A name within a value, as errors show it.
fn show_key(name: &str) -> String {
    let is_plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain {
        name.to_owned()
    } else {
        show_text(name)
    }
}

/// Replaces the variables of one text, or says why that cannot be, and what is allowed.
fn expand(written: &str, variables: Variables<'_>) -> Result<String, String> {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(brace) = rest.find("${") {
        let (before, after) = rest.split_at(brace + 1);
        // Dollars before a brace come in pairs, each of which is one; what is left over begins a variable.
        let plain = before.trim_end_matches('$');
        let dollars = before.len() - plain.len();
        text.push_str(plain);
        text.extend(std::iter::repeat_n('$', dollars / 2));
        let inside = after.strip_prefix('{').unwrap_or(after);
        if dollars.is_multiple_of(2) {
            text.push('{');
            rest = inside;
        } else {
            let (inside, behind) = inside.split_once('}').ok_or_else(no_variable)?;
            value_of(inside, variables, &mut text)?;
            rest = behind;
        }
        if text.len() > MAX_BYTES {
            break;
        }
    }
    text.push_str(rest);
    if text.len() > MAX_BYTES {
        return Err(format!(
            "is too long once its variables are replaced; allowed: {MAX_BYTES} bytes"
        ));
    }
    Ok(text)
}

/// Appends what stands for what is between the braces.
fn value_of(inside: &str, variables: Variables<'_>, text: &mut String) -> Result<(), String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if inside.contains("${") {
        return Err("has a variable in a variable; allowed: one behind the other".to_owned());
    }
    if !is_name(name) {
        return Err(no_variable());
    }
    let value = variables(name).map(OsString::into_string);
    match (value, default) {
        (Some(Ok(value)), None) => text.push_str(&value),
        (Some(Ok(value)), Some(_)) if !value.is_empty() => text.push_str(&value),
        (None | Some(Ok(_)), Some(default)) => text.push_str(default),
        (None, None) => {
            return Err(format!(
                "names the variable {name}, which is not set; allowed: one that is, or ${{{name}:-DEFAULT}}"
            ));
        }
        (Some(Err(_)), _) => {
            return Err(format!(
                "names the variable {name}, which is not UTF-8; allowed: text in UTF-8"
            ));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

fn no_variable() -> String {
    "has a ${ that begins no variable; allowed: ${NAME}, ${NAME:-DEFAULT}, and $${ for a ${ that stands for itself"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn variables(name: &str) -> Option<OsString> {
        match name {
            "A" => Some("one".into()),
            "_b2" => Some("two".into()),
            "EMPTY" => Some(OsString::new()),
            "LIKE_ONE" => Some("${A}".into()),
            "LONG" => Some("x".repeat(MAX_BYTES).into()),
            _ => None,
        }
    }

    #[test]
    fn each_variable_is_what_it_stands_for() {
        for (written, expected) in [
            ("${A}", "one"),
            ("${A}${_b2}", "onetwo"),
            ("a ${A}, b ${_b2}.", "a one, b two."),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${A:-d}", "one"),
            ("${NONE:-}", ""),
            ("${NONE:-:-}", ":-"),
            ("${NONE:-{$}}", "{$}"),
            ("${NONE:-a b}-${A}", "a b-one"),
            ("${LIKE_ONE}", "${A}"),
            ("${LONG}", &"x".repeat(MAX_BYTES)),
        ] {
            assert_eq!(expand(written, &variables).as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn dollars_stand_for_themselves_but_before_a_brace() {
        for (written, expected) in [
            ("$", "$"),
            ("$$", "$$"),
            ("$A", "$A"),
            ("-(HKG|NRT)$", "-(HKG|NRT)$"),
            ("$${A}", "${A}"),
            ("$$${A}", "$one"),
            ("$$$${A}", "$${A}"),
            ("$$ ${A}", "$$ one"),
            ("$${", "${"),
            ("${A}$", "one$"),
        ] {
            assert_eq!(expand(written, &variables).as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        let not_utf8 = |_: &str| {
            #[cfg(unix)]
            return Some(std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]));
            #[cfg(not(unix))]
            return None;
        };
        let refused = |written: &str| expand(written, &variables).expect_err(written);
        for written in [
            "${", "${A", "${}", "${1}", "${A-d}", "${A:?}", "${ A}", "${é}", "${:-x}",
        ] {
            assert!(
                refused(written).starts_with("has a ${ that begins no"),
                "{written}"
            );
        }
        assert!(refused(&format!("${{{}}}", "A".repeat(129))).starts_with("has a ${ that begins no"));
        assert!(refused("${NONE}").starts_with("names the variable NONE, which is not set"));
        for written in ["${A${A}}", "${NONE:-${A}}"] {
            assert!(
                refused(written).starts_with("has a variable in a variable"),
                "{written}"
            );
        }
        for written in ["${LONG}x", "${LONG}${LONG}"] {
            assert!(refused(written).starts_with("is too long"), "{written}");
        }
        if cfg!(unix) {
            let why = expand("${A:-d}", &not_utf8).expect_err("no text");
            assert!(
                why.starts_with("names the variable A, which is not UTF-8"),
                "{why}"
            );
        }
    }

    #[test]
    fn faults_say_where_they_are_and_keys_stay() {
        let text = |text: &str| Node::Text(text.to_owned());
        let entry = |key: &str, value: Node| (text(key), value);
        let node = Node::List(vec![
            text("plain"),
            Node::Map(vec![
                entry("${A}", text("${A}")),
                entry("sni", Node::List(vec![text("${NONE}")])),
            ]),
            text("${"),
        ]);
        let faults = replace(&node, &variables, Node::Text).expect_err("two");
        let places: Vec<_> = faults
            .iter()
            .map(|fault| (fault.path.as_str(), fault.address.as_slice()))
            .collect();
        assert_eq!(
            places,
            [("[1].sni[0]", &[1, 1, 0][..]), ("[2]", &[2][..])],
            "{faults:?}"
        );
        let node = Node::Map(vec![entry("${A}", text("${A}"))]);
        assert_eq!(
            replace(&node, &variables, Node::Text),
            Ok(Node::Map(vec![entry("${A}", text("one"))]))
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_stays_bounded_and_untouched_without_a_brace(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("$".to_owned()), Just("{".to_owned()), Just("}".to_owned()), Just("${A}".to_owned()),
                    Just("${LONG}".to_owned()), Just("${N:-".to_owned()), "[a-z: -]{0,3}",
                ],
                0..12,
            ),
        ) {
            let written = pieces.concat();
            if let Ok(text) = expand(&written, &variables) {
                prop_assert!(text.len() <= MAX_BYTES);
                if !written.contains("${") {
                    prop_assert_eq!(text, written);
                }
            }
        }
    }
}
