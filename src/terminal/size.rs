//! How large a terminal is.

/// Columns and rows of a terminal; each at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl Size {
    /// What terminals had before anybody could ask them.
    pub const USUAL: Self = Self {
        columns: 80,
        rows: 24,
    };
}
