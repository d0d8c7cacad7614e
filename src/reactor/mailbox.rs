//! What a reactor is to own, or to give away: sockets cannot be published.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use mio::net::TcpListener;
use socket2::Socket;

use super::listed::Listed;
use crate::base::doorbell::Doorbell;
use crate::base::published::Published;
use crate::service::{Directory, ListenerId};

/// One delivery.
#[derive(Debug)]
pub enum Letter {
    /// Listeners to accept from, once the directory says for whom: the present one, or the next.
    Open(Vec<(ListenerId, TcpListener)>),
    /// A duplicate of every listener is wanted.
    Lend(Sender<Vec<(ListenerId, Socket)>>),
    /// Nobody is to be accepted at these listeners for now: somebody else is about to.
    Hold(Vec<ListenerId>, Sender<()>),
    /// Accepting at these goes on.
    Resume(Vec<ListenerId>),
    /// These are somebody else's now, who serves what is queued too: they are closed as they are.
    Yield(Vec<ListenerId>, Sender<()>),
    /// An answer is wanted once the directory of now is followed: listeners that left it are closed then.
    Follow(Sender<()>),
    /// At most so many of its clients are to be told of.
    List(usize, Sender<Listed>),
}

/// Deliveries to one reactor, from any thread.
#[derive(Debug)]
pub struct Mailbox {
    /// With the version of the directory when they were sent.
    letters: Mutex<Vec<(u64, Letter)>>,
    directory: Arc<Published<Directory>>,
    bell: Arc<Doorbell>,
}

impl Mailbox {
    /// An empty mailbox of the reactor that sleeps at `bell` and follows this directory.
    #[must_use]
    pub fn new(bell: Arc<Doorbell>, directory: Arc<Published<Directory>>) -> Self {
        Self {
            letters: Mutex::default(),
            directory,
            bell,
        }
    }

    /// Delivers a letter, and rings.
    pub fn send(&self, letter: Letter) {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((self.directory.version(), letter));
        self.bell.ring();
    }

    /// All that was delivered, in its order; with the version of the directory when it was sent.
    pub(super) fn take(&self) -> Vec<(u64, Letter)> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
