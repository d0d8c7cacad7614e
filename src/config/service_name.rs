//! Names of services.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name.
const MAX_BYTES: usize = 32;

/// The name of a service: 1 to 32 of `a-z`, `0-9`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// What is allowed, in words.
    pub(super) const ALLOWED: &str = "1 to 32 of a-z, 0-9, _ and -";

    /// The name of the only service of a file without `services`.
    #[must_use]
    pub fn default_service() -> Self {
        Self("default".into())
    }

    /// A text as a name, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let is_name = (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(is_allowed);
        is_name.then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// So that a service is found by a text.
impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "a".repeat(32);
        for name in ["a", "web", "0", "_", "-", "web_1-b", longest.as_str()] {
            assert_eq!(ServiceName::parse(name).expect("a name").as_str(), name);
        }
        let longer = "a".repeat(33);
        for text in ["", "Web", "a b", "a.b", "ä", "a\n", "a/b", longer.as_str()] {
            assert_eq!(ServiceName::parse(text), None, "{text:?}");
        }
        assert_eq!(
            ServiceName::parse("default"),
            Some(ServiceName::default_service())
        );
    }
}
