//! How a relay ends, and what its peers are told.
//!
//! | what was seen | the other side gets | counted as |
//! |---|---|---|
//! | FIN of one side, all its bytes written | FIN; the other direction goes on | – |
//! | FIN without the `close_notify` of TLS: cut off | as a reset of that side | as a reset |
//! | FIN of both sides, all written | close | `finished` |
//! | reset (or failure) of the client | reset | `client_reset`, `error` |
//! | reset (or failure) of the backend | its last bytes, then a reset | `backend_reset`, `error` |
//! | backend takes no more (write fails) | what it said before; then as it ended | as above |
//! | reset of a side that had finished | close; what it said before is still delivered | as above |
//! | reset of the client behind bytes that the backend does not take | reset | `client_reset` |
//! | no memory for its bytes | reset on both sides | `error` |
//! | idle, half-close time-out | close on both sides; over TLS without `close_notify`, unless it had finished | the time-out |
//! | before there is a backend: what was awaited is wrong, or did not come in time | reset | `handshake_failed`, `handshake_timeout` |
//! | the client that a PROXY header names may not connect | reset | `refused` |
//! | before there is a backend: all are full for too long | close | `queue_timeout` |
//! | cut: the end of the time to drain, of a backend that left | reset on both sides | `drained`, `backend_removed` |
//!
//! Over TLS an end is said by the half that has come to it (`close_notify`), and by nobody else: whatever closes a relay before
//! that, the peer must not take what it has for the whole.
//!
//! A reset is passed on only for a reset: never after a stream that finished, and never on top of bytes
//! that may still be on their way ([`RESET_GRACE`]).

use std::io::{Error, ErrorKind};
use std::time::Duration;

/// How long the end after a reset waits when bytes were written just before: the kernel drops what it has not
/// sent yet when a connection is reset, and also when it is closed while bytes of its peer are unread. A reset
/// for the client waits that long from when the client's kernel has all of it but a packet or so.
pub const RESET_GRACE: Duration = Duration::from_millis(200);

/// Why a relay ended; label `reason` of `connections_closed_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Both directions finished.
    Finished,
    /// The client reset the connection.
    ClientReset,
    /// The backend reset the connection.
    BackendReset,
    /// No byte for `server.idle_timeout`.
    IdleTimeout,
    /// No byte for `server.half_close_timeout` after one direction had finished.
    HalfCloseTimeout,
    /// No backend could be reached in `dial_attempts` dials.
    DialFailed,
    /// All backends were full for `pools.common.queue_timeout`.
    QueueTimeout,
    /// Cut at the end of `drain_timeout` at a stop.
    Drained,
    /// Its backend left the active set, with `reset_on_removal`.
    BackendRemoved,
    /// It ended before it had a backend: what it said first was wrong (see
    /// [`Failure`](crate::preface::Failure)).
    HandshakeFailed,
    /// What it has to say before it gets a backend was not here within `server.handshake_timeout`.
    HandshakeTimeout,
    /// The client that its PROXY header names, or that a route led here, may not connect.
    Refused,
    /// It goes on as another service's: a route led there.
    Routed,
    /// A socket failed in another way.
    Error,
}

impl CloseReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 14] = [
        Self::Finished,
        Self::ClientReset,
        Self::BackendReset,
        Self::IdleTimeout,
        Self::HalfCloseTimeout,
        Self::DialFailed,
        Self::QueueTimeout,
        Self::Drained,
        Self::BackendRemoved,
        Self::HandshakeFailed,
        Self::HandshakeTimeout,
        Self::Refused,
        Self::Routed,
        Self::Error,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientReset => "client_reset",
            Self::BackendReset => "backend_reset",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfCloseTimeout => "half_close_timeout",
            Self::DialFailed => "dial_failed",
            Self::QueueTimeout => "queue_timeout",
            Self::Drained => "drained",
            Self::BackendRemoved => "backend_removed",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Refused => "refused",
            Self::Routed => "routed",
            Self::Error => "error",
        }
    }
}

/// One side of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The backend.
    Backend,
}

/// Who gets a reset instead of a FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Nobody.
    Nobody,
    /// One side.
    Of(Side),
    /// Both sides.
    OfBoth,
}

impl Reset {
    /// Whether this side gets one.
    #[must_use]
    pub fn is_of(self, side: Side) -> bool {
        match self {
            Self::Nobody => false,
            Self::Of(one) => one == side,
            Self::OfBoth => true,
        }
    }
}

/// How a relay ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Why, for the counters.
    pub reason: CloseReason,
    /// Who gets a reset instead of a FIN.
    pub reset: Reset,
}

impl Ending {
    /// Whether it follows a failure of a side, so that bytes may be on their way still.
    #[must_use]
    pub fn is_abrupt(self) -> bool {
        match self.reason {
            CloseReason::ClientReset | CloseReason::BackendReset | CloseReason::Error => true,
            CloseReason::Finished
            | CloseReason::IdleTimeout
            | CloseReason::HalfCloseTimeout
            | CloseReason::DialFailed
            | CloseReason::QueueTimeout
            | CloseReason::Drained
            | CloseReason::BackendRemoved
            | CloseReason::HandshakeFailed
            | CloseReason::HandshakeTimeout
            | CloseReason::Refused
            | CloseReason::Routed => false,
        }
    }

    /// Whether it is a cut.
    #[must_use]
    pub fn is_cut(self) -> bool {
        matches!(self.reason, CloseReason::Drained | CloseReason::BackendRemoved)
    }

    /// Both directions finished.
    pub const FINISHED: Self = Self::quiet(CloseReason::Finished);

    /// The kernel has no memory for its bytes: both sides are well, and must not take this for a proper end.
    pub const OUT_OF_MEMORY: Self = Self {
        reason: CloseReason::Error,
        reset: Reset::OfBoth,
    };

    /// It is cut while it may be in the middle of something: a cut must not look like an end.
    #[must_use]
    pub const fn cut(reason: CloseReason) -> Self {
        Self {
            reason,
            reset: Reset::OfBoth,
        }
    }

    /// Both sides are closed without a reset.
    #[must_use]
    pub const fn quiet(reason: CloseReason) -> Self {
        Self {
            reason,
            reset: Reset::Nobody,
        }
    }

    /// A side reset the connection, or its socket failed in another way (keep-alive ran out, say).
    #[must_use]
    pub fn reset_by(side: Side, error: &Error) -> Self {
        let is_reset = matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted
                | ErrorKind::UnexpectedEof
        );
        match side {
            Side::Client => Self {
                reason: if is_reset {
                    CloseReason::ClientReset
                } else {
                    CloseReason::Error
                },
                reset: Reset::Of(Side::Backend),
            },
            Side::Backend => Self {
                reason: if is_reset {
                    CloseReason::BackendReset
                } else {
                    CloseReason::Error
                },
                reset: Reset::Of(Side::Client),
            },
        }
    }
}
