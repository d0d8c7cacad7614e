//! How far a handshake has come.

/// How far a handshake has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// It goes on with the next event.
    Blocked,
    /// It is done.
    Done {
        /// Whether the keys of an earlier connection were taken up.
        is_resumed: bool,
        /// Whether plaintext is here already, or may be had from the wire.
        is_readable: bool,
    },
}
