//! What events told about a wire, and I/O has not used up yet.
//!
//! Knows no sockets and no events: whoever polls sets it, whoever reads and writes clears it.

/// What events told about one wire, and I/O has not used up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    readable: bool,
    writable: bool,
    urgent: bool,
    closure: Closure,
}

/// What events told about the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closure {
    /// Nothing yet.
    Open,
    /// The peer has finished, or worse.
    Finished,
    /// The connection is gone in both directions: reset, or timed out.
    Failed,
}

impl Readiness {
    /// A fresh connection: writable until a write says otherwise, silent so far.
    pub const FRESH: Self = Self {
        readable: false,
        writable: true,
        urgent: false,
        closure: Closure::Open,
    };

    /// For whoever keeps no events in mind: everything is tried until it would block.
    pub const ANYTHING: Self = Self {
        readable: true,
        closure: Closure::Finished,
        ..Self::FRESH
    };

    /// A read may yield something.
    pub fn set_readable(&mut self) {
        self.readable = true;
    }

    /// A write may take something.
    pub fn set_writable(&mut self) {
        self.writable = true;
    }

    /// The peer has finished or reset: read on to the end, no further event will come.
    pub fn set_closure(&mut self, closure: Closure) {
        self.closure = self.closure.max(closure);
        self.readable |= self.is_read_closed();
    }

    /// Urgent data has come: from now on a read may stop short at its mark.
    pub fn set_urgent(&mut self) {
        self.urgent = true;
    }

    /// Whether urgent data has ever come.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self.urgent
    }

    /// Whether a read may yield something.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.readable
    }

    /// Whether a write may take something.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.writable
    }

    /// Whether the peer is known to have finished or reset.
    #[must_use]
    pub fn is_read_closed(self) -> bool {
        self.closure > Closure::Open
    }

    /// Whether the peer is known to have finished, and nothing worse.
    #[must_use]
    pub fn has_finished(self) -> bool {
        self.closure == Closure::Finished
    }

    /// Whether the connection is known to be gone in both directions.
    #[must_use]
    pub fn has_failed(self) -> bool {
        self.closure == Closure::Failed
    }

    /// The wire is drained.
    pub fn read_blocked(&mut self) {
        self.readable = false;
    }

    /// The wire is full.
    pub fn write_blocked(&mut self) {
        self.writable = false;
    }
}
