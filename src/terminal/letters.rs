//! Which letters a terminal shows, and how many columns they take.

/// Which letters are shown as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Letters {
    /// Those of ASCII.
    #[default]
    Ascii,
    /// Those of every script.
    Any,
}

/// Which letters the environment promises: those of every script where its locale has UTF-8.
#[must_use]
pub fn letters() -> Letters {
    let said = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    // The first one that says something counts (POSIX, 8.2).
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(said);
    Letters::of_locale(&locale.unwrap_or_default())
}

impl Letters {
    fn of_locale(locale: &str) -> Self {
        let locale = locale.to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::Any
        } else {
            Self::Ascii
        }
    }

    /// Whether a character is shown as it is: what is printable in ASCII; beyond that letters and digits only, for the rest
    /// plays with terminals.
    #[must_use]
    pub fn show(self, letter: char) -> bool {
        match self {
            _ if letter.is_ascii() => (' '..='~').contains(&letter),
            Self::Ascii => false,
            Self::Any => letter.is_alphanumeric(),
        }
    }
}

/// How many columns a text takes at most: what is no ASCII may be as wide as two.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// How many columns a character takes at most.
#[must_use]
pub fn columns_of(letter: char) -> usize {
    if letter.is_ascii() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_with_utf_8_has_all_letters_and_nothing_that_plays() {
        for locale in ["C.UTF-8", "zh_CN.utf8", "en_US.UTF-8@euro"] {
            let letters = Letters::of_locale(locale);
            assert!(
                letters.show('香') && letters.show('é') && letters.show('7'),
                "{locale}"
            );
            for other in ['\u{1b}', '\n', '\u{202e}', '\u{200b}', '\u{85}'] {
                assert!(!letters.show(other), "{other:?}");
            }
        }
        for locale in ["", "C", "POSIX", "zh_CN.GBK"] {
            let letters = Letters::of_locale(locale);
            assert!(letters.show('a') && !letters.show('香'), "{locale}");
        }
        assert_eq!(columns("hk 香港"), 7);
    }
}
