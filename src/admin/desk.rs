//! The desk: where the admin port leaves what others have to do, and how their answers find back.
//!
//! A bounded queue to the one thread that makes calls which block. It never waits: a full desk is told to
//! the client. An errand may be given up by its client at any time; its answer is thrown away then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::base::doorbell::Doorbell;
use crate::net::BlockingLocalStream;

/// Errands that wait at once: more than there are connections that could ask for one.
const ERRANDS: usize = 64;

/// What an answer is for; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Something that is done elsewhere.
#[derive(Debug)]
pub enum Errand {
    /// The configuration is to be read again. The answer goes to this ticket, if anybody waits for one.
    Reload(Option<Ticket>),
    /// At most so many clients' connections are to be told of. The answer goes to this ticket.
    Connections(Ticket, usize),
    /// A new process asks for what this one holds.
    Takeover(Guest),
}

/// A connection of the control socket that speaks another protocol now.
#[derive(Debug)]
pub struct Guest {
    /// The connection, which blocks.
    pub stream: BlockingLocalStream,
    /// What came behind the request and was read already.
    pub read_ahead: Vec<u8>,
}

/// Why an errand was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// There are too many.
    Busy,
    /// Nobody does errands any more: the process stops.
    Stopping,
}

/// Takes errands, from any thread.
#[derive(Debug, Clone)]
pub struct Desk {
    errands: SyncSender<Errand>,
    /// Of the thread that does them.
    bell: Arc<Doorbell>,
    tickets: Arc<AtomicU64>,
}

impl Desk {
    /// A desk that rings whoever does the errands, and the end where those are taken out. The process counts as stopping once that is dropped.
    #[must_use]
    pub fn new(bell: Arc<Doorbell>) -> (Self, Receiver<Errand>) {
        let (errands, taken) = sync_channel(ERRANDS);
        let tickets = Arc::default();
        (
            Self {
                errands,
                bell,
                tickets,
            },
            taken,
        )
    }

    /// Asks for a reload whose outcome somebody waits for.
    pub(super) fn reload(&self) -> Result<Ticket, Unavailable> {
        let ticket = self.ticket();
        self.put(Errand::Reload(Some(ticket)))?;
        Ok(ticket)
    }

    /// Asks for at most so many clients' connections.
    pub(super) fn connections(&self, limit: usize) -> Result<Ticket, Unavailable> {
        let ticket = self.ticket();
        self.put(Errand::Connections(ticket, limit))?;
        Ok(ticket)
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Leaves an errand that nobody waits for.
    ///
    /// # Errors
    /// When there are too many, or the process stops.
    pub fn put(&self, errand: Errand) -> Result<(), Unavailable> {
        self.errands.try_send(errand).map_err(|error| match error {
            TrySendError::Full(_) => Unavailable::Busy,
            TrySendError::Disconnected(_) => Unavailable::Stopping,
        })?;
        self.bell.ring();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desk_is_bounded_and_ends() {
        let (desk, taken) = Desk::new(Arc::default());
        let tickets: Vec<_> = (0..ERRANDS).map(|_| desk.reload().expect("room")).collect();
        assert_ne!(tickets.first(), tickets.last());
        assert_eq!(desk.reload(), Err(Unavailable::Busy));
        assert!(matches!(taken.recv(), Ok(Errand::Reload(Some(_)))));
        assert_eq!(desk.put(Errand::Reload(None)), Ok(()));
        drop(taken);
        assert_eq!(desk.reload(), Err(Unavailable::Stopping));
    }
}
