//! How text is laid out for people. Pure.
//!
//! Plain ASCII only: whatever else is in an answer is escaped, so that it neither plays with a terminal nor depends on what
//! that can show, and each character is one column.

use std::time::Duration;

/// Text that is written line by line.
#[derive(Debug)]
pub(super) struct Layout {
    width: usize,
    text: String,
}

impl Layout {
    /// Lines of at most `width` columns, but for words that are longer; where it is `None`, nothing breaks them: whoever reads
    /// from a pipe finds each sentence in one line.
    pub(super) fn new(width: Option<usize>) -> Self {
        Self {
            width: width.unwrap_or(usize::MAX),
            text: String::new(),
        }
    }

    /// A paragraph: `first` before its first line, as many blanks before the others.
    pub(super) fn say(&mut self, first: &str, text: &str) {
        let text = plain(text);
        let mut column = first.len();
        self.text.push_str(first);
        for (place, word) in text.split(' ').filter(|word| !word.is_empty()).enumerate() {
            if place > 0 {
                if column + 1 + word.len() > self.width {
                    self.text.push('\n');
                    self.text.extend(std::iter::repeat_n(' ', first.len()));
                    column = first.len();
                } else {
                    self.text.push(' ');
                    column += 1;
                }
            }
            self.text.push_str(word);
            column += word.len();
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

/// The same in printable ASCII.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' '..='~' => plain.push(letter),
            other => plain.extend(other.escape_default()),
        }
    }
    plain
}

/// A number of things, with their name in the singular or with an `s`.
pub(super) fn count(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {one}{ending}")
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
        let mut layout = Layout::new(width);
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
    fn nothing_but_ascii_is_written() {
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

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_too_long(text: String, width in 1..100_usize) {
            let laid = laid("  ", &text, Some(width));
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&laid), words(&plain(&text)));
            for line in laid.lines() {
                let is_one_word = words(line).len() == 1;
                // What stands before a paragraph is not broken, even where there is no word behind it.
                prop_assert!(line.len() <= width.max("  ".len()) || is_one_word, "{:?}", line);
            }
        }
    }
}
