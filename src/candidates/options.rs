//! What an entry of a list says of its addresses beside where they are.
//!
//! Pure. Knows no text: the words for it are those of the entry's form.

use std::num::{NonZeroU16, NonZeroU32};

/// What holds for each address of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryOptions {
    /// Its share of new connections, against the weights of the others; 1 to 65,535.
    pub weight: NonZeroU16,
    /// Its tier: a higher number is used only while nobody in a lower one passes the threshold.
    pub tier: u16,
    /// Connections that it takes at once, over all reactors; `None`: as many as come.
    pub max_connections: Option<NonZeroU32>,
}

impl Default for EntryOptions {
    fn default() -> Self {
        Self {
            weight: NonZeroU16::MIN,
            tier: 0,
            max_connections: None,
        }
    }
}

/// What one entry says; `None` is what it leaves to the entries before it, and to the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stated {
    /// See [`EntryOptions::weight`].
    pub weight: Option<NonZeroU16>,
    /// See [`EntryOptions::tier`].
    pub tier: Option<u16>,
    /// See [`EntryOptions::max_connections`].
    pub max_connections: Option<NonZeroU32>,
}

impl Stated {
    /// Whether it leaves everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
