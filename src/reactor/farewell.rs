//! What became of the clients of a reactor that has stopped.

/// How a reactor ended.
#[derive(Debug, Default, Clone, Copy)]
pub struct Farewell {
    /// Relays that finished by themselves while it was draining.
    pub finished: usize,
    /// Relays that were cut at the end of `drain_timeout`.
    pub cut: usize,
}
