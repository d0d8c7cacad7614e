//! How far a handshake has come; what is new on a session on which nothing was exchanged.

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

/// What a session has for whoever reads, as far as it was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a session that cannot exist has none")
)]
pub(super) enum News {
    /// Nothing: what came was for the session itself.
    #[default]
    Nothing,
    /// Plaintext.
    Words,
    /// Its end, whether the peer has said it or not.
    End,
}
