//! What one file of Rust imports, read from its text. No compiler: words, paths, and the items that are there for
//! tests only. Comments and texts are no code.

use std::collections::BTreeMap;

/// A path from the root of the crate, without `crate`.
pub(crate) type Path = Vec<String>;

/// What one file says of others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// Paths that it uses, each with its line.
    pub(crate) uses: Vec<(Path, usize)>,
    /// What a `use` brings here, as a whole path; if that is a module, what counts is what is used of it.
    pub(crate) brought: Vec<(Path, usize)>,
    /// Names that it re-exports, and what each stands for: more than one where systems differ.
    pub(crate) exports: BTreeMap<String, Vec<Path>>,
    /// The modules that it declares for tests only.
    pub(crate) tests: Vec<Path>,
    /// Whether it only declares and re-exports.
    pub(crate) facade: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// Reads the file of `module`.
pub(crate) fn read(module: &[String], text: &str) -> Source {
    let mut tests = Vec::new();
    let tokens = without_tests(&tokens(text), &mut tests);
    let mut source = Source {
        facade: is_facade(&tokens),
        tests: tests.into_iter().map(|name| below(module, name)).collect(),
        ..Source::default()
    };
    let mut names: BTreeMap<String, Path> = declared(&tokens)
        .into_iter()
        .map(|name| (name.clone(), below(module, name)))
        .collect();
    // What is brought comes first, for a name may be used above the line that brings it.
    let imports = imports(&tokens, module, &names);
    for Import { name, path, .. } in &imports {
        names.insert(name.clone(), path.clone());
    }
    for Import {
        name,
        path,
        public,
        line,
    } in imports
    {
        if public {
            source.exports.entry(name).or_default().push(path.clone());
        }
        source.brought.push((path, line));
    }
    source.uses = paths(&tokens, module, &names);
    source
}

fn below(module: &[String], name: String) -> Path {
    let mut path = module.to_vec();
    path.push(name);
    path
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::` and single characters; no comments, texts, characters and life times.
fn tokens(text: &str) -> Vec<Token> {
    let bytes: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&first) = bytes.get(at) {
        let begin = at;
        let next = bytes.get(at + 1).copied();
        let kept = match (first, next) {
            ('/', Some('/')) => {
                at = end_of(&bytes, at, |rest| rest.starts_with(&['\n']));
                false
            }
            ('/', Some('*')) => {
                at = end_of_comment(&bytes, at);
                false
            }
            ('"', _) => {
                at = end_of_text(&bytes, at);
                false
            }
            ('\'', _) => {
                at = end_of_quote(&bytes, at);
                false
            }
            (':', Some(':')) => {
                at += 2;
                true
            }
            _ if is_word(&first.to_string()) => {
                at = end_of(&bytes, at, |rest| !(rest[0].is_alphanumeric() || rest[0] == '_'));
                let raw = matches!(bytes[begin..at], ['r'] | ['b', 'r']);
                match raw.then(|| end_of_raw(&bytes, at)).flatten() {
                    Some(end) => {
                        at = end;
                        false
                    }
                    None => true,
                }
            }
            _ => {
                at += 1;
                !first.is_whitespace()
            }
        };
        let part = &bytes[begin..at];
        if kept {
            found.push(Token {
                text: part.iter().collect(),
                line,
            });
        }
        line += part.iter().filter(|&&c| c == '\n').count();
    }
    found
}

/// The first place from `at` whose rest is the end, or the end of all.
fn end_of(bytes: &[char], at: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    (at..bytes.len())
        .find(|&place| is_end(&bytes[place..]))
        .unwrap_or(bytes.len())
}

fn end_of_comment(bytes: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match bytes[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_text(bytes: &[char], mut at: usize) -> usize {
    at += 1;
    while let Some(&next) = bytes.get(at) {
        at += if next == '\\' { 2 } else { 1 };
        if next == '"' {
            break;
        }
    }
    at.min(bytes.len())
}

/// The end of `"..."` or `#"..."#` at `at`, if that is a raw text.
fn end_of_raw(bytes: &[char], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|&&c| c == '#').count();
    if bytes.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.extend(std::iter::repeat_n('#', hashes));
    let inside = at + hashes + 1;
    Some(end_of(bytes, inside, |rest| rest.starts_with(&close)) + close.len())
}

/// The end of a character, or of a life time's quote.
fn end_of_quote(bytes: &[char], at: usize) -> usize {
    match bytes[at + 1..] {
        ['\\', _, ..] => end_of(bytes, at + 3, |rest| rest[0] == '\'') + 1,
        [_, '\'', ..] => at + 3,
        _ => at + 1,
    }
}

/// The place behind the bracket that closes the one at `at`.
fn closed(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    tokens.len()
}

fn text_at(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// Whether there is the attribute of what is compiled for tests only: `cfg(test)`, `cfg(all(.., test, ..))`.
fn is_for_tests(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().map(|token| token.text.as_str()).collect();
    match words.as_slice() {
        ["#", "[", "cfg", "(", "test", ")", "]"] => true,
        ["#", "[", "cfg", "(", "all", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
        _ => false,
    }
}

/// Leaves out what is compiled for tests only; tells the modules among it that are files.
fn without_tests(tokens: &[Token], modules: &mut Vec<String>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !(text_at(tokens, at) == "#" && text_at(tokens, at + 1) == "[") {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = closed(tokens, at + 1);
        if is_for_tests(&tokens[at..end]) {
            at = end_of_item(tokens, end, modules);
        } else {
            at = end;
        }
    }
    kept
}

/// The place behind the item at `at`: behind its body, its `;`, or the `,` of a field.
fn end_of_item(tokens: &[Token], mut at: usize, modules: &mut Vec<String>) -> usize {
    while at < tokens.len() {
        match text_at(tokens, at) {
            "mod" if text_at(tokens, at + 2) == ";" => {
                modules.push(text_at(tokens, at + 1).to_owned());
                at += 1;
            }
            "{" => {
                let end = closed(tokens, at);
                // `use a::{b, c};`
                return if text_at(tokens, end) == ";" { end + 1 } else { end };
            }
            "(" | "[" => at = closed(tokens, at),
            ";" | "," => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The modules that are declared here, as files or in place.
fn declared(tokens: &[Token]) -> Vec<String> {
    (0..tokens.len())
        .filter(|&at| text_at(tokens, at) == "mod" && matches!(text_at(tokens, at + 2), ";" | "{"))
        .map(|at| text_at(tokens, at + 1).to_owned())
        .collect()
}

/// Whether there is nothing but `mod a;` and `pub use b::C;`.
fn is_facade(tokens: &[Token]) -> bool {
    let mut at = 0;
    while at < tokens.len() {
        match text_at(tokens, at) {
            "pub" => at += 1,
            // `#![..]` of a whole crate, `pub(super)`.
            "#" => at = closed(tokens, at + 2),
            "(" => at = closed(tokens, at),
            "mod" if text_at(tokens, at + 2) == ";" => at += 3,
            "use" if is_public(tokens, at) => at = end_of_use(tokens, at),
            _ => return false,
        }
    }
    true
}

/// Whether the item at `at` is for others: `pub`, `pub(..)`.
fn is_public(tokens: &[Token], at: usize) -> bool {
    at > 0 && matches!(text_at(tokens, at - 1), "pub" | ")")
}

fn end_of_use(tokens: &[Token], at: usize) -> usize {
    (at..tokens.len())
        .find(|&place| text_at(tokens, place) == ";")
        .map_or(tokens.len(), |place| place + 1)
}

struct Import {
    name: String,
    path: Path,
    public: bool,
    line: usize,
}

/// The modules in place that a token stands in, told token by token.
#[derive(Default)]
struct Inside {
    /// Each with the depth of its brackets.
    modules: Vec<(String, usize)>,
    depth: usize,
}

impl Inside {
    fn pass(&mut self, tokens: &[Token], at: usize) {
        match text_at(tokens, at) {
            "{" => {
                self.depth += 1;
                if at >= 2 && text_at(tokens, at - 2) == "mod" {
                    self.modules
                        .push((text_at(tokens, at - 1).to_owned(), self.depth));
                }
            }
            "}" => {
                self.modules.retain(|(_, depth)| *depth != self.depth);
                self.depth -= 1;
            }
            _ => {}
        }
    }

    fn scope(&self, module: &[String]) -> Path {
        let inner = self.modules.iter().map(|(name, _)| name.clone());
        module.iter().cloned().chain(inner).collect()
    }
}

fn imports(tokens: &[Token], module: &[String], names: &BTreeMap<String, Path>) -> Vec<Import> {
    let mut found = Vec::new();
    let mut inside = Inside::default();
    let mut at = 0;
    while at < tokens.len() {
        inside.pass(tokens, at);
        if text_at(tokens, at) != "use" {
            at += 1;
            continue;
        }
        let public = is_public(tokens, at);
        let line = tokens[at].line;
        let mut leaves = Vec::new();
        tree(tokens, at + 1, &[], &mut leaves);
        let scope = inside.scope(module);
        for (words, name) in leaves {
            if let Some(path) = absolute(&words, &scope, names) {
                found.push(Import {
                    name,
                    path,
                    public,
                    line,
                });
            }
        }
        at = end_of_use(tokens, at);
    }
    found
}

/// Reads a tree of `use` at `at`: each leaf's words and the name that it gets. Returns the place behind the tree.
fn tree(tokens: &[Token], mut at: usize, before: &[String], leaves: &mut Vec<(Path, String)>) -> usize {
    let mut words = before.to_vec();
    loop {
        match text_at(tokens, at) {
            "::" => at += 1,
            "{" => {
                at += 1;
                while !matches!(text_at(tokens, at), "}" | "") {
                    at = tree(tokens, at, &words, leaves);
                    at += usize::from(text_at(tokens, at) == ",");
                }
                return at + 1;
            }
            "*" => {
                leaves.push((words, "*".to_owned()));
                return at + 1;
            }
            "self" if !words.is_empty() => at += 1,
            "as" => {
                leaves.push((words, text_at(tokens, at + 1).to_owned()));
                return at + 2;
            }
            word if is_word(word) => {
                words.push(word.to_owned());
                at += 1;
            }
            _ => {
                let name = words.last().cloned().unwrap_or_default();
                leaves.push((words, name));
                return at;
            }
        }
    }
}

/// The path from the root; none if it leads out of the crate.
fn absolute(words: &[String], scope: &[String], names: &BTreeMap<String, Path>) -> Option<Path> {
    let (first, mut rest) = words.split_first()?;
    let mut path = match first.as_str() {
        "crate" | "tcp_forwarder" => Vec::new(),
        "self" => scope.to_vec(),
        "super" => scope.split_last()?.1.to_vec(),
        other => names.get(other)?.clone(),
    };
    while let Some(("super", behind)) = rest.split_first().map(|(word, behind)| (word.as_str(), behind)) {
        path.pop()?;
        rest = behind;
    }
    path.extend(rest.iter().cloned());
    Some(path)
}

/// The qualified paths outside of `use`.
fn paths(tokens: &[Token], module: &[String], names: &BTreeMap<String, Path>) -> Vec<(Path, usize)> {
    let mut found = Vec::new();
    let mut inside = Inside::default();
    let mut at = 0;
    while at < tokens.len() {
        inside.pass(tokens, at);
        let before = at.checked_sub(1).map_or("", |before| text_at(tokens, before));
        if text_at(tokens, at) == "use" {
            at = end_of_use(tokens, at);
            continue;
        }
        // `pub(in crate::a)` says who may see, not what is used.
        let begins = is_word(text_at(tokens, at)) && !matches!(before, "." | "::");
        let begins = begins && !(before == "in" && at >= 2 && text_at(tokens, at - 2) == "(");
        if !begins || text_at(tokens, at + 1) != "::" {
            at += 1;
            continue;
        }
        let line = tokens[at].line;
        let mut words = vec![text_at(tokens, at).to_owned()];
        while text_at(tokens, at + 1) == "::" && is_word(text_at(tokens, at + 2)) {
            words.push(text_at(tokens, at + 2).to_owned());
            at += 2;
        }
        if let Some(path) = absolute(&words, &inside.scope(module), names) {
            found.push((path, line));
        }
        at += 1;
    }
    found
}
