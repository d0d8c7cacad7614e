//! What is known of an answer.

/// What is known of an answer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More must come.
    Open,
    /// It is right.
    Right,
    /// It is not, for this reason.
    Wrong(&'static str),
}
