//! What becomes of a list with bad lines.

/// `remotes.provider.on_bad_line`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnBadLine {
    /// The whole list is refused.
    Error,
    /// Its other lines count, if there are any.
    Skip,
}

impl OnBadLine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Error, Self::Skip];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Skip => "skip",
        }
    }
}
