//! Each line of a list in `docs/LISTS.md` is taken, taken with a warning, or refused, as its table says.

use tcp_forwarder::candidates::{List, ListErrors, Rules, list_file};

use super::markdown;
use crate::read;

fn list(text: &str) -> Result<List, ListErrors> {
    list_file::read(text.as_bytes(), Rules::with_names(80)).expect("memory can be read")
}

/// The lines in the first column with this name.
fn lines(document: &str, column: &str) -> Vec<String> {
    let rows = markdown::rows(document, column);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    assert!(lines.len() > 4, "{column}");
    lines
}

#[test]
fn every_line_of_the_document_is_what_it_says() {
    let document = read("docs/LISTS.md");
    for line in lines(&document, "Line") {
        let list = list(&line).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(list.account.warnings, [], "{line}");
    }
    for line in lines(&document, "Line that is ambiguous") {
        let list = list(&line).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(list.account.warnings.len(), 1, "{line}");
    }
    for line in lines(&document, "Line that is refused") {
        assert!(list(&line).is_err(), "{line}");
    }
    let blocks = markdown::blocks(&document);
    for block in blocks.iter().filter(|block| block.info.starts_with("text")) {
        let list = list(&block.text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(list.account.warnings, [], "{}", block.text);
    }
}
