//! How text is laid out for people. Pure.
//!
//! Plain ASCII, and letters of other scripts where they can be shown: whatever else is in an answer is escaped, so that it
//! neither plays with a terminal nor depends on what that can show.

use std::time::Duration;

use crate::terminal::{Letters, columns};

/// What is written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paper {
    /// Columns of a line; none: nothing breaks it.
    pub width: Option<usize>,
    /// What it shows.
    pub letters: Letters,
}

/// Text that is written line by line.
#[derive(Debug)]
pub(super) struct Layout {
    width: usize,
    letters: Letters,
    text: String,
}

impl Layout {
    /// Lines as wide as the paper, but for words that are longer; where that has no width, nothing breaks them: whoever reads
    /// from a pipe finds each sentence in one line.
    pub(super) fn new(paper: Paper) -> Self {
        Self {
            width: paper.width.unwrap_or(usize::MAX),
            letters: paper.letters,
            text: String::new(),
        }
    }

    /// A paragraph: `first` before its first line, as many blanks before the others.
    pub(super) fn say(&mut self, first: &str, text: &str) {
        let text = plain(text, self.letters);
        let mut column = first.len();
        self.text.push_str(first);
        for (place, word) in text.split(' ').filter(|word| !word.is_empty()).enumerate() {
            if place > 0 {
                if column + 1 + columns(word) > self.width {
                    self.text.push('\n');
                    self.text.extend(std::iter::repeat_n(' ', first.len()));
                    column = first.len();
                } else {
                    self.text.push(' ');
                    column += 1;
                }
            }
            self.text.push_str(word);
            column += columns(word);
        }
        self.text.push('\n');
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// All of it.
    pub(super) fn end(self) -> String {
        self.text
    }
}

/// The same, with what is not shown as it is escaped.
fn plain(text: &str, letters: Letters) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letters.show(letter) {
            plain.push(letter);
        } else {
            plain.extend(letter.escape_default());
        }
    }
    plain
}

/// A number of things, with their name in the singular or with an `s`.
pub(crate) fn count(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {one}{ending}")
}

/// How somebody is called, as it stands behind an address; nothing if that has no name.
pub(super) fn name_behind(name: Option<&String>) -> String {
    name.map_or_else(String::new, |name| format!(" ({name})"))
}

/// The two largest units of a time.
pub(super) fn span(seconds: u64) -> String {
    let whole = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn laid(first: &str, text: &str, width: Option<usize>) -> String {
        laid_on(first, text, (width, Letters::Ascii))
    }

    fn laid_on(first: &str, text: &str, (width, letters): (Option<usize>, Letters)) -> String {
        let mut layout = Layout::new(Paper { width, letters });
        layout.say(first, text);
        layout.end()
    }

    #[test]
    fn lines_are_broken_between_words_and_stand_below_one_another() {
        let text = "All members pass the threshold of 50 points.";
        assert_eq!(
            laid("  ", text, Some(20)),
            "  All members pass\n  the threshold of\n  50 points.\n"
        );
        assert_eq!(laid("- ", text, None), format!("- {text}\n"));
        let addr = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
        assert_eq!(
            laid("  ", addr, Some(40)),
            format!("  {addr}\n"),
            "addresses stay whole"
        );
        assert_eq!(laid("a:", "", Some(9)), "a:\n");
    }

    #[test]
    fn nothing_but_ascii_is_written_where_nothing_else_is_shown() {
        assert_eq!(
            laid("", "\u{1b}[2J \u{914d}\n", None),
            "\\u{1b}[2J \\u{914d}\\n\n"
        );
        assert_eq!(
            (count(1, "member"), count(0, "member")),
            ("1 member".into(), "0 members".into())
        );
        assert_eq!((span(0), span(3_725)), ("0s".into(), "1h 2m".into()));
    }

    #[test]
    fn letters_of_every_script_are_shown_where_they_can_be_and_are_wide() {
        let on = |width, text| laid_on("", text, (Some(width), Letters::Any));
        assert_eq!(on(12, "a (香港 1) \u{1b}"), "a (香港 1)\n\\u{1b}\n");
        assert_eq!(on(6, "a (香港 1)"), "a\n(香港\n1)\n");
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_too_long(text: String, width in 1..100_usize, any: bool) {
            let letters = if any { Letters::Any } else { Letters::Ascii };
            let laid = laid_on("  ", &text, (Some(width), letters));
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&laid), words(&plain(&text, letters)));
            for line in laid.lines() {
                let is_one_word = words(line).len() == 1;
                // What stands before a paragraph is not broken, even where there is no word behind it.
                prop_assert!(columns(line) <= width.max("  ".len()) || is_one_word, "{:?}", line);
            }
        }
    }
}
