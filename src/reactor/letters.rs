//! What is delivered: listeners come, change hands and go.
//!
//! Owns which listener is whose, as the directory says. A directory may never be seen, for the next one was published
//! before this reactor's turn came; so a listener is closed not only when it leaves the directory, but also when that
//! which had it must have been passed over.

use std::collections::HashMap;
use std::sync::mpsc::Sender;

use super::core::Reactor;
use super::listener::Listener;
use super::mailbox::Letter;
use crate::service::{ListenerId, ServiceId};

/// What follows from letters.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Whether listeners have come.
    pub(super) have_come: bool,
    /// Who wants to hear once the directory is followed.
    pub(super) to_tell: Vec<Sender<()>>,
}

impl Reactor {
    /// Takes over what was delivered, and gives away what was asked for.
    pub(super) fn open_letters(&mut self) -> Opened {
        let mut opened = Opened::default();
        for (sent_under, letter) in self.mailbox.take() {
            match letter {
                Letter::Open(sockets) => {
                    opened.have_come = true;
                    for (id, socket) in sockets {
                        self.add_listener(Listener::new(id, socket, sent_under));
                    }
                }
                Letter::Lend(reply) => {
                    // Whoever asked and does not wait any more asked for nothing.
                    drop(reply.send(self.lend_listeners()));
                }
                Letter::Hold(ids, done) => {
                    self.hold_listeners(&ids, true);
                    // As above.
                    let _heard = done.send(());
                }
                Letter::Resume(ids) => self.hold_listeners(&ids, false),
                Letter::Yield(ids, done) => {
                    for place in 0..self.listeners.len() {
                        if self.listener(place).is_some_and(|one| ids.contains(&one.id)) {
                            self.remove_listener(place);
                        }
                    }
                    // As above.
                    let _heard = done.send(());
                }
                Letter::Follow(done) => opened.to_tell.push(done),
                // As above.
                Letter::List(most, reply) => drop(reply.send(self.list_clients(most))),
            }
        }
        opened
    }

    /// Has each listener accept for whom the directory says, and closes those of which it says nothing any more.
    pub(super) fn follow_listeners(&mut self) {
        let directory = self.directory.shared();
        let listening = directory.listening.iter();
        let owners: HashMap<ListenerId, ServiceId> =
            listening.map(|one| (one.id, one.service.live.id)).collect();
        for place in 0..self.listeners.len() {
            let Some(listener) = self.listener(place) else {
                continue;
            };
            let owner = owners.get(&listener.id).and_then(|id| self.current.get(id));
            let is_to_come = self.directory.version() <= listener.sent_under;
            match (owner.copied(), listener.tenant) {
                (Some(owner), _) => self.assign_listener(place, owner),
                (None, Some(_)) => self.close_listener(place),
                (None, None) if is_to_come => {}
                // The directory that had it has come and gone, and with it whoever would serve what is queued.
                (None, None) => self.remove_listener(place),
            }
        }
    }
}
