//! As much of Markdown as the documents use: headings, fenced blocks, tables, links.

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

fn heading_of(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    (level > 0).then(|| title.strip_prefix(' ').map(|title| (level, title.trim())))?
}
