//! What is typed.

/// What came from the keyboard within a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing will come any more: the terminal is gone.
    Gone,
}
