//! What a reactor is to own, or to give away: sockets cannot be published.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use mio::net::TcpListener;
use socket2::Socket;

use crate::base::doorbell::Doorbell;
use crate::service::ListenerId;

/// One delivery.
#[derive(Debug)]
pub enum Letter {
    /// Listeners to accept from, once the directory says for whom. They are sent before that is published.
    Open(Vec<(ListenerId, TcpListener)>),
    /// A duplicate of every listener is wanted.
    Lend(Sender<Vec<(ListenerId, Socket)>>),
    /// Nobody is to be accepted at these listeners for now: somebody else is about to.
    Hold(Vec<ListenerId>, Sender<()>),
    /// Accepting at these goes on.
    Resume(Vec<ListenerId>),
    /// These are somebody else's now, who serves what is queued too: they are closed as they are.
    Yield(Vec<ListenerId>, Sender<()>),
}

/// Deliveries to one reactor, from any thread.
#[derive(Debug)]
pub struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    bell: Arc<Doorbell>,
}

impl Mailbox {
    /// An empty mailbox of the reactor that sleeps at `bell`.
    #[must_use]
    pub fn new(bell: Arc<Doorbell>) -> Self {
        Self {
            letters: Mutex::default(),
            bell,
        }
    }

    /// Delivers a letter, and rings.
    pub fn send(&self, letter: Letter) {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(letter);
        self.bell.ring();
    }

    /// All that was delivered, in its order.
    pub(super) fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
