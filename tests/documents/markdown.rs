//! As much of Markdown as the documents use: headings, fenced blocks, tables, links.

use std::collections::BTreeSet;

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The nearest heading above it.
    pub(crate) heading: String,
    /// What stands behind the fence: a language and perhaps a mark, such as `yaml prometheus`.
    pub(crate) info: String,
    /// What is inside, each line with its line feed.
    pub(crate) text: String,
}

impl Block {
    /// The lines that are not blank.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim().is_empty())
    }
}

/// Every fenced block.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(info)) => {
                open = Some(Block {
                    heading: heading.clone(),
                    info: info.trim().to_owned(),
                    text: String::new(),
                });
            }
            (None, None) => {
                if let Some((_, title)) = heading_of(line) {
                    title.clone_into(&mut heading);
                }
            }
        }
    }
    assert_eq!(open, None, "a block without an end");
    blocks
}

/// The text without its fenced blocks.
pub(crate) fn prose(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.lines()
        .filter(|line| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !inside && !fence
        })
        .collect()
}

/// Level and title of every heading.
pub(crate) fn headings(text: &str) -> Vec<(usize, String)> {
    prose(text)
        .into_iter()
        .filter_map(heading_of)
        .map(|(level, title)| (level, title.to_owned()))
        .collect()
}

fn heading_of(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    (level > 0).then(|| title.strip_prefix(' ').map(|title| (level, title.trim())))?
}

/// Names of sections as links use them.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let anchor = |title: String| {
        title
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings(text)
        .into_iter()
        .map(|(_, title)| anchor(title))
        .collect()
}

/// Every link that leads to a file or a section of the repository.
pub(crate) fn links(text: &str) -> Vec<String> {
    prose(text)
        .into_iter()
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .filter(|target| !target.contains("://"))
        .collect()
}

/// The rows of every table whose first column has this name, header and rule left out.
pub(crate) fn rows(text: &str, first_column: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut wanted = false;
    let mut inside = false;
    for line in prose(text) {
        match line.strip_prefix('|') {
            None => inside = false,
            Some(row) if !inside => {
                inside = true;
                wanted = cells(row).first().is_some_and(|cell| cell == first_column);
            }
            Some(row) if wanted && !row.starts_with('-') => rows.push(cells(row)),
            Some(_) => {}
        }
    }
    rows
}

/// A `|` inside a cell is written `\|`.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim_end().strip_suffix('|').expect("a row ends with |");
    row.replace("\\|", "\u{0}")
        .split('|')
        .map(|cell| cell.trim().replace('\u{0}', "|"))
        .collect()
}
