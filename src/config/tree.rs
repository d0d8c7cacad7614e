//! YAML text as a bounded tree, and the line of each of its nodes.
//!
//! `serde_yaml` says where a value stands only in an error. So the line of a node is found by deserializing
//! the text once more and failing on purpose at that node. It knows nothing of configuration keys.
//!
//! Invariant: a tree has at most [`MAX_NODES`] nodes, however often aliases repeat their anchor.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// Nodes of one tree. A complete configuration has under 200, one of a thousand services 50,000.
const MAX_NODES: usize = 200_000;

/// One value of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Flag(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    /// Entries in the order of the text; a key may come twice, and need not be a text.
    Map(Vec<(Node, Node)>),
    /// A value with a tag such as `!secret`.
    Tagged(String),
}

/// The text is no YAML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Where a node stands: at each level the number of the entry or item, counted from 0.
pub(super) type Address = Vec<usize>;

/// Reads one document; an empty text is `Null`.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let left = Cell::new(MAX_NODES);
    let builder = Builder { left: &left };
    builder
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| SyntaxError {
            line: error.location().map_or(1, |location| location.line()),
            message: error.to_string(),
        })
}

/// The line, counted from 1, of a node of `text`; of an entry of a map, the line of its key.
///
/// A node behind an alias stands where its anchor does.
pub(super) fn line_of(text: &str, address: &[usize]) -> usize {
    match (Finder { address }).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(()) => 1,
        Err(error) => error.location().map_or(1, |location| location.line()),
    }
}

/// A text as a value of the file without quotes would be read, where that is a number or a flag; else the text.
pub(super) fn scalar(text: String) -> Node {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
    if !text.bytes().all(is_word) {
        return Node::Text(text);
    }
    match parse(&text) {
        Ok(node @ (Node::Flag(_) | Node::Integer(_) | Node::Number(_))) => node,
        Ok(Node::Null | Node::Text(_) | Node::List(_) | Node::Map(_) | Node::Tagged(_)) | Err(_) => {
            Node::Text(text)
        }
    }
}

/// Builds a tree while its budget of nodes lasts.
#[derive(Clone, Copy)]
struct Builder<'b> {
    left: &'b Cell<usize>,
}

impl Builder<'_> {
    fn spend<E: Error>(self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(E::custom(format_args!(
                "more than {MAX_NODES} values, repeated aliases included"
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Builder<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Builder<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        // Larger than any setting can be: kept as written, so that the error can show it.
        Ok(i128::try_from(value).map_or_else(|_| Node::Text(value.to_string()), Node::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry_seed(self, self)? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, content) = tagged.variant::<String>()?;
        content.newtype_variant_seed(self)?;
        Ok(Node::Tagged(tag))
    }
}

/// Walks to the node at an address and fails there: nothing but an error carries a location. What the
/// visitor does not implement fails by itself, which is what is wanted.
#[derive(Clone, Copy)]
struct Finder<'a> {
    address: &'a [usize],
}

impl<'de> DeserializeSeed<'de> for Finder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node that is looked for")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((&index, rest)) = self.address.split_first() else {
            return Err(A::Error::custom("found"));
        };
        for _ in 0..index {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Finder { address: rest }).map(drop)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((&index, rest)) = self.address.split_first() else {
            return Err(A::Error::custom("found"));
        };
        for _ in 0..index {
            entries.next_entry::<IgnoredAny, IgnoredAny>()?;
        }
        if rest.is_empty() {
            entries.next_key_seed(Finder { address: rest }).map(drop)
        } else {
            // Without a key there is no value, and serde_yaml panics when it is asked for one.
            if entries.next_key::<IgnoredAny>()?.is_none() {
                return Err(A::Error::custom("no such node"));
            }
            entries.next_value_seed(Finder { address: rest })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\nserver:\n  listen_addr:\n    - one\n    - two\n  flow: { a: 1,\n    b: [x,\n      y] }\nother: &anchor\n  key: 1\nalias: *anchor\n? [odd]\n: value\n";

    #[test]
    fn every_node_has_its_line_in_block_and_flow_style() {
        for (address, line) in [
            (&[0_usize][..], 2),
            (&[0, 0], 3),
            (&[0, 0, 0], 4),
            (&[0, 0, 1], 5),
            (&[0, 1], 6),
            (&[0, 1, 0], 6),
            (&[0, 1, 1], 7),
            (&[0, 1, 1, 0], 7),
            (&[0, 1, 1, 1], 8),
            (&[1], 9),
            (&[1, 0], 10),
            (&[2], 11),
            (&[2, 0], 10),
            (&[3], 12),
        ] {
            assert_eq!(line_of(TEXT, address), line, "{address:?}");
        }
    }

    #[test]
    fn an_address_outside_the_tree_is_no_panic() {
        assert_eq!(line_of("", &[1, 2]), 1);
        assert!(line_of(TEXT, &[9, 9]) >= 1);
        assert!(line_of("a: 1", &[0, 3]) >= 1);
    }

    #[test]
    fn nothing_is_null() {
        for text in ["", "\n", "# only a comment\n", "---\n", "~"] {
            assert_eq!(parse(text).expect("empty"), Node::Null, "{text:?}");
        }
    }

    #[test]
    fn aliases_are_bounded() {
        use std::fmt::Write as _;
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            let items = [previous.as_str(); 9].join(", ");
            writeln!(laughs, "a{level}: &a{level} [{items}]").expect("a string");
        }
        // The library counts jumps to anchors, too.
        let error = parse(&laughs).expect_err("a billion laughs");
        assert!(error.message.contains("repetition limit"), "{}", error.message);
        let item = "x, ".repeat(MAX_NODES / 10);
        let chuckles = format!("a: &a [{item}]\nb: [{}]\n", "*a, ".repeat(10));
        let error = parse(&chuckles).expect_err("ten times too many");
        assert!(
            error.message.contains("more than 200000 values"),
            "{}",
            error.message
        );
        assert!(parse("a: &a [*a]").is_err());
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let error = parse("server:\n  reactors: [1,\n").expect_err("not closed");
        assert!(error.line >= 2, "{error:?}");
        assert_eq!(parse("a: 1\nb: *nowhere\n").expect_err("no anchor").line, 2);
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
    }

    #[test]
    fn a_text_is_what_it_would_be_without_quotes() {
        let text = |text: &str| Node::Text(text.to_owned());
        for (written, expected) in [
            ("8080", Node::Integer(8080)),
            ("-5", Node::Integer(-5)),
            ("0x10", Node::Integer(16)),
            ("1.5", Node::Number(1.5)),
            ("true", Node::Flag(true)),
            ("off", text("off")),
            ("15s", text("15s")),
            ("", text("")),
            ("~", text("~")),
            ("null", text("null")),
            ("-", text("-")),
            ("---", text("---")),
            ("...", text("...")),
            (" 1", text(" 1")),
            ("a: 1", text("a: 1")),
            ("[1]", text("[1]")),
            ("1 # one", text("1 # one")),
            ("!t 1", text("!t 1")),
        ] {
            assert_eq!(scalar(written.to_owned()), expected, "{written:?}");
        }
    }

    #[test]
    fn tags_are_seen() {
        assert_eq!(
            parse("a: !secret x").expect("tagged"),
            Node::Map(vec![(
                Node::Text("a".to_owned()),
                Node::Tagged("secret".to_owned())
            )])
        );
    }
}
