//! By whom and in which phase a connection ended: `HAProxy`'s two letters, and words. Pure.
//!
//! `docs/ACCESS-LOG.md` has the table.

use crate::relay::close::{CloseReason, Ending, Reset, Side};

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Nobody before its end: both sides have finished.
    Nobody,
    /// The client has left.
    Client,
    /// The client was waited for, for too long.
    ClientTimeout,
    /// The backend has refused, reset or failed.
    Backend,
    /// The backend was waited for, for too long.
    BackendTimeout,
    /// This forwarder, which does not serve it: a limit, a route, a wrong preface.
    Forwarder,
    /// A lack of our own: descriptors, ports, memory, an address to leave from.
    Resources,
    /// The stop, or a reload without its service.
    Stop,
    /// Its backend was taken away.
    Removal,
    /// A socket that failed in a way of its own.
    Failure,
}

impl By {
    /// Everybody.
    pub const ALL: [Self; 10] = [
        Self::Nobody,
        Self::Client,
        Self::ClientTimeout,
        Self::Backend,
        Self::BackendTimeout,
        Self::Forwarder,
        Self::Resources,
        Self::Stop,
        Self::Removal,
        Self::Failure,
    ];

    /// The first letter.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            Self::Nobody => b'-',
            Self::Client => b'C',
            Self::ClientTimeout => b'c',
            Self::Backend => b'S',
            Self::BackendTimeout => b's',
            Self::Forwarder => b'P',
            Self::Resources => b'R',
            Self::Stop => b'K',
            Self::Removal => b'D',
            Self::Failure => b'I',
        }
    }

    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Client => "client",
            Self::ClientTimeout => "client_timeout",
            Self::Backend => "backend",
            Self::BackendTimeout => "backend_timeout",
            Self::Forwarder => "forwarder",
            Self::Resources => "resources",
            Self::Stop => "stop",
            Self::Removal => "removal",
            Self::Failure => "failure",
        }
    }
}

/// How far a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It had not said yet what is awaited of it before it gets a backend.
    Preface,
    /// It waited for a descriptor, a port, the first active set, or a place at a backend.
    Queue,
    /// It was dialled for.
    Connect,
    /// Its backend had not said anything yet.
    FirstByte,
    /// Its backend had.
    Data,
    /// One side had finished, or what was left was being delivered.
    Last,
}

impl Phase {
    /// Every phase, in the order in which they come.
    pub const ALL: [Self; 6] = [
        Self::Preface,
        Self::Queue,
        Self::Connect,
        Self::FirstByte,
        Self::Data,
        Self::Last,
    ];

    /// The second letter.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            Self::Preface => b'R',
            Self::Queue => b'Q',
            Self::Connect => b'C',
            Self::FirstByte => b'H',
            Self::Data => b'D',
            Self::Last => b'L',
        }
    }

    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Preface => "preface",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Data => "data",
            Self::Last => "last",
        }
    }
}

/// Why the last dial for a client came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialFailure {
    /// It was refused, or there was no way.
    Refused,
    /// It took too long.
    TimedOut,
    /// A lack of our own.
    Ours,
}

/// How a connection stood when it ended.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// How far it had come.
    pub phase: Phase,
    /// Who was waited for: whose turn it was to say or to take something.
    pub awaited: Side,
    /// Why the last dial for it came to nothing, if one did.
    pub dial: Option<DialFailure>,
    /// Whether the client left where something was awaited of it.
    pub has_left: bool,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// By whom.
    pub by: By,
    /// How far it had come; none of one that both sides have finished.
    pub phase: Option<Phase>,
    /// The reason that is counted.
    pub reason: CloseReason,
}

impl End {
    /// What an ending comes to.
    #[must_use]
    pub fn of(ending: Ending, standing: Standing) -> Self {
        let by = by(ending, standing);
        Self {
            by,
            phase: (by != By::Nobody).then_some(standing.phase),
            reason: ending.reason,
        }
    }

    /// The two letters.
    #[must_use]
    pub fn code(self) -> [u8; 2] {
        [self.by.letter(), self.phase.map_or(b'-', Phase::letter)]
    }
}

fn by(ending: Ending, standing: Standing) -> By {
    let too_long = match standing.awaited {
        Side::Client => By::ClientTimeout,
        Side::Backend => By::BackendTimeout,
    };
    match ending.reason {
        CloseReason::Finished => By::Nobody,
        CloseReason::ClientReset => By::Client,
        CloseReason::BackendReset => By::Backend,
        CloseReason::IdleTimeout | CloseReason::HalfCloseTimeout => too_long,
        CloseReason::DialFailed => match standing.dial {
            _ if standing.phase == Phase::Queue => By::Resources,
            Some(DialFailure::Refused) => By::Backend,
            Some(DialFailure::TimedOut) => By::BackendTimeout,
            Some(DialFailure::Ours) | None => By::Resources,
        },
        CloseReason::QueueTimeout => By::BackendTimeout,
        CloseReason::Drained => By::Stop,
        CloseReason::BackendRemoved => By::Removal,
        CloseReason::HandshakeFailed if standing.has_left => By::Client,
        CloseReason::HandshakeFailed | CloseReason::Refused | CloseReason::Routed => By::Forwarder,
        CloseReason::HandshakeTimeout => By::ClientTimeout,
        CloseReason::Error => match ending.reset {
            Reset::OfBoth => By::Resources,
            Reset::Of(_) | Reset::Nobody => By::Failure,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(ending: Ending, phase: Phase, awaited: Side) -> String {
        let standing = Standing {
            phase,
            awaited,
            dial: Some(DialFailure::Refused),
            has_left: false,
        };
        String::from_utf8(End::of(ending, standing).code().to_vec()).expect("ASCII")
    }

    #[test]
    fn letters_and_words_are_each_ones_own() {
        let letters: std::collections::BTreeSet<u8> = By::ALL.into_iter().map(By::letter).collect();
        let words: std::collections::BTreeSet<&str> = By::ALL.into_iter().map(By::word).collect();
        assert_eq!((letters.len(), words.len()), (By::ALL.len(), By::ALL.len()));
        let letters: std::collections::BTreeSet<u8> = Phase::ALL.into_iter().map(Phase::letter).collect();
        let words: std::collections::BTreeSet<&str> = Phase::ALL.into_iter().map(Phase::word).collect();
        assert_eq!((letters.len(), words.len()), (Phase::ALL.len(), Phase::ALL.len()));
    }

    #[test]
    fn every_reason_has_somebody() {
        use CloseReason::{
            BackendRemoved, BackendReset, ClientReset, DialFailed, Drained, Error, Finished,
            HalfCloseTimeout, HandshakeFailed, HandshakeTimeout, IdleTimeout, QueueTimeout, Refused, Routed,
        };
        for reason in CloseReason::ALL {
            let expected = match reason {
                Finished => "--",
                ClientReset => "CD",
                BackendReset | DialFailed => "SD",
                IdleTimeout | HalfCloseTimeout | QueueTimeout => "sD",
                Drained => "KD",
                BackendRemoved => "DD",
                HandshakeFailed | Refused | Routed => "PD",
                HandshakeTimeout => "cD",
                Error => "ID",
            };
            assert_eq!(
                code(Ending::quiet(reason), Phase::Data, Side::Backend),
                expected,
                "{reason:?}"
            );
        }
        let idle = Ending::quiet(IdleTimeout);
        assert_eq!(code(idle, Phase::Data, Side::Client), "cD");
        assert_eq!(code(Ending::OUT_OF_MEMORY, Phase::Data, Side::Client), "RD");
        let none = Ending::quiet(DialFailed);
        assert_eq!(
            code(none, Phase::Queue, Side::Client),
            "RQ",
            "whatever was dialled before"
        );
        let full = Ending::quiet(QueueTimeout);
        assert_eq!(code(full, Phase::Queue, Side::Client), "sQ");
    }

    #[test]
    fn a_dial_tells_why_it_failed_and_a_client_that_left_was_not_sent_away() {
        let of = |reason, dial, has_left| {
            let standing = Standing {
                phase: Phase::Connect,
                awaited: Side::Client,
                dial,
                has_left,
            };
            End::of(Ending::quiet(reason), standing).by
        };
        let failed = CloseReason::DialFailed;
        assert_eq!(of(failed, Some(DialFailure::Refused), false), By::Backend);
        assert_eq!(of(failed, Some(DialFailure::TimedOut), false), By::BackendTimeout);
        assert_eq!(of(failed, Some(DialFailure::Ours), false), By::Resources);
        assert_eq!(of(failed, None, false), By::Resources);
        assert_eq!(of(CloseReason::HandshakeFailed, None, true), By::Client);
        assert_eq!(of(CloseReason::HandshakeFailed, None, false), By::Forwarder);
    }
}
