//! A client and its stage.
//!
//! ```text
//! Opening ──(it has said what is awaited of it first)──► Seeking
//!
//! Seeking ──(a warm connection, or a dial that succeeds)──► Relaying ──(a reset that waits)──► Leaving
//!    ▲                                                          │
//!    └──────(stale, rescued: with what was said before)─────────┘
//! ```
//!
//! Each stage has one deadline of its own; what it means is the stage's. A client may be closed from any of them.

use std::net::SocketAddr;
use std::time::Instant;

use super::opening::Opening;
use super::story::Story;
use crate::admission::Seat;
use crate::base::slots::Key;
use crate::relay::Relay;
use crate::relay::close::Ending;
use crate::service::front::Preface;
use crate::tls::Channel;

/// A client's connection, as the reactor keeps it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) relay: Relay<Channel>,
    /// Under whose spec it ends.
    pub(super) tenant: Key,
    pub(super) stage: Stage,
    /// What happened while it sought a backend, if anything did; and what its line in the access log needs, if it has one.
    pub(super) search: Option<Box<Search>>,
    /// What it says before it gets a backend, and then what is known by that, if anything is.
    pub(super) opening: Option<Box<Opening>>,
    /// Whether it stands in the run queue.
    pub(super) is_queued: bool,
    /// Counts it for its client, for as long as it is here.
    pub(super) seat: Option<Box<Seat>>,
}

/// Bytes that a reactor keeps of a client while that is idle: what stands in its slab.
pub const CLIENT_BYTES: usize = size_of::<Client>();

/// How far a client has come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// It has not said yet what is awaited of it before it gets a backend. The deadline: this preface's.
    Opening(Preface),
    /// It has no backend yet; what it says waits in the kernel, or in its first flight.
    Seeking(Wait),
    /// Bytes move. The deadline: its first look, silence, or a doubt.
    Relaying(Attachment),
    /// Its end is held back while bytes are on their way which a reset would destroy.
    Leaving(Attachment, HeldBack),
}

/// What a client that seeks a backend waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing: it is looked for right now. No deadline.
    Nothing,
    /// This dial, for the pool that counts it as in use. The dial has a deadline of its own; this one: another backend is
    /// tried beside it, if that is done.
    Dial { upstream: Key, pool: Key },
    /// A descriptor or a port. The deadline: the next try.
    Socket,
    /// The first active set of its service. The deadline: it has waited for too long.
    Set,
    /// A place at a backend, all of which are full. The deadline: it has waited for `pools.common.queue_timeout`.
    Place,
}

/// The backend's side of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attachment {
    /// The connection.
    pub(super) upstream: Key,
    /// The pool that counts it as in use.
    pub(super) pool: Key,
}

/// What is remembered of a search that did not succeed at once, or of a client that has a line in the access log: few
/// clients, so that all others have room for one pointer only.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Backends that failed for it, in order.
    pub(super) failed: Vec<SocketAddr>,
    pub(super) trust: Trust,
    /// Whether it has been counted as rescued.
    pub(super) is_rescued: bool,
    pub(super) race: Race,
    /// Since when it stands in the queue for a place, if it did.
    pub(super) queued: Option<Queued>,
    /// What the line in the access log needs, if there is one.
    pub(super) story: Option<Box<Story>>,
}

/// The second dial of a client.
///
/// ```text
/// Nobody ──► Rival ──(the first dial failed)──► SecondAlone
///    ▲         │ it was through, or failed            │
///    └─────────┴──────────────────────────────────────┘
/// ```
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Race {
    /// There is none.
    #[default]
    Nobody,
    /// It goes on beside that of the client's stage.
    Rival(Attachment),
    /// It is that of the client's stage.
    SecondAlone,
}

/// Where a client stands in the queue for a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued {
    /// When it first came there, as all reactors count: microseconds from the start of the process. Who comes back keeps that.
    pub(super) stamp: u64,
    /// Since when it waits; none of one that has had a place since.
    pub(super) since: Option<Instant>,
}

/// How a client takes warm connections.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// As they come.
    #[default]
    Full,
    /// One turned out stale for it: the next ones are looked at before they are used.
    AfterALook,
    /// One died under its first flight: it gets a dial of its own.
    None,
}

/// An end that waits for bytes which are still on their way.
///
/// ```text
/// reset by the backend ──► Unasked ──► UntilSent ──(the client has them; time-out)──► Grace ──► closed
/// otherwise ────────────────────────────────────────────────────────────────────────► Grace ──► closed
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) enum HeldBack {
    /// The client is to have all that was written to it; the poll is to be asked once this turn's events are
    /// through, which tell of before.
    Unasked(Ending),
    /// The poll has been asked.
    UntilSent(Ending),
    /// For [`RESET_GRACE`](crate::relay::close::RESET_GRACE).
    Grace(Ending),
}

impl Client {
    pub(super) fn new(relay: Relay<Channel>, tenant: Key, seat: Option<Box<Seat>>) -> Self {
        Self {
            relay,
            tenant,
            stage: Stage::Seeking(Wait::Nothing),
            search: None,
            opening: None,
            is_queued: false,
            seat,
        }
    }

    /// What is remembered of its search, to be added to.
    pub(super) fn search(&mut self) -> &mut Search {
        self.search.get_or_insert_default()
    }

    /// What its line in the access log needs, if it has one.
    pub(super) fn story(&mut self) -> Option<&mut Story> {
        self.search.as_mut()?.story.as_deref_mut()
    }

    /// Backends that failed for it.
    pub(super) fn failed(&self) -> &[SocketAddr] {
        self.search.as_ref().map_or(&[], |search| &search.failed)
    }

    /// Whether it has had nothing of a backend yet, nor waited for a place: it stands behind those who did.
    pub(super) fn is_newcomer(&self) -> bool {
        self.search.as_ref().is_none_or(|search| {
            search.failed.is_empty() && search.trust == Trust::Full && search.queued.is_none()
        })
    }

    /// Whether it waits for the first active set of its service.
    pub(super) fn waits_for_set(&self) -> bool {
        matches!(self.stage, Stage::Seeking(Wait::Set))
    }

    /// Whether it waits for a place at a backend.
    pub(super) fn waits_for_place(&self) -> bool {
        matches!(self.stage, Stage::Seeking(Wait::Place))
    }

    /// How far its race has come.
    pub(super) fn race(&self) -> Race {
        self.search.as_ref().map_or(Race::Nobody, |search| search.race)
    }

    /// Its second dial beside that of its stage, if there is one.
    pub(super) fn rival(&self) -> Option<Attachment> {
        match self.race() {
            Race::Rival(rival) => Some(rival),
            Race::Nobody | Race::SecondAlone => None,
        }
    }

    /// How far its race had come, which is over.
    pub(super) fn end_race(&mut self) -> Race {
        let search = self.search.as_mut();
        search.map_or(Race::Nobody, |search| std::mem::take(&mut search.race))
    }

    pub(super) fn trust(&self) -> Trust {
        self.search.as_ref().map_or(Trust::Full, |search| search.trust)
    }

    /// The pool that counts it as in use.
    pub(super) fn pool(&self) -> Option<Key> {
        match self.stage {
            Stage::Seeking(Wait::Dial { pool, .. }) => Some(pool),
            Stage::Opening(_) | Stage::Seeking(Wait::Nothing | Wait::Socket | Wait::Set | Wait::Place) => {
                None
            }
            Stage::Relaying(seat) | Stage::Leaving(seat, _) => Some(seat.pool),
        }
    }
}
