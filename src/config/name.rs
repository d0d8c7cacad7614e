//! The name of a service.

use std::fmt;
use std::sync::Arc;

/// Letters of a name at most.
const MOST: usize = 32;

/// The name of a service: 1 to 32 of `a` to `z`, `0` to `9`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// Which names are allowed, in words.
    pub const ALLOWED: &'static str = "names of 1 to 32 of a-z, 0-9, _ and -";

    /// The name, if it is one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_letter =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        let is_name = (1..=MOST).contains(&name.len()) && name.bytes().all(is_letter);
        is_name.then(|| Self(name.into()))
    }

    /// The name of the only service of a file without `services`.
    #[must_use]
    pub fn default_service() -> Self {
        Self("default".into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["a", "web-1", "my_service", &"x".repeat(MOST)] {
            assert_eq!(ServiceName::new(name).expect("a name").as_str(), name);
        }
        for name in ["", "Web", "a b", "a.b", "é", "a/b", &"x".repeat(MOST + 1)] {
            assert_eq!(ServiceName::new(name), None, "{name}");
        }
    }
}
