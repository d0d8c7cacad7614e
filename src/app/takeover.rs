//! Handing over to a new process: what this one listens on is offered, and given up only once the other one serves.
//!
//! Each offer is waited for by a thread of its own, for a new process may take its time, hang or die; the worker hears of
//! one that is ready and decides. Whatever goes wrong, this process goes on as if nothing had been.

use std::sync::Arc;

use log::{info, warn};

use super::admin::Doors;
use super::circular::ask_all;
use super::handle::{Errand, Handle};
use super::ports::Port;
use crate::admin::Guest;
use crate::handover::{Claimed, Entry, HandoverError, Offer, OfferedSocket, Waiting};
use crate::reactor::{Letter, Mailbox};
use crate::service::ListenerId;

/// Offers all that this process listens on to a new one; the worker hears of it once that is ready.
pub(super) fn offer(
    guest: Guest,
    mailboxes: &[Arc<Mailbox>],
    ports: &[Port],
    doors: &Doors,
    worker: &Handle,
) {
    if !guest.read_ahead.is_empty() {
        return warn!("a new process that wants to take over says something out of turn; it is turned away");
    }
    let offer = Offer {
        build: build(),
        sockets: sockets(mailboxes, ports, doors),
    };
    let worker = worker.clone();
    let wait = move || {
        let claimed = offer.send(guest.stream).and_then(Waiting::wait_ready);
        match claimed {
            Ok(claimed) => worker.ask(Errand::HandOver(Box::new(claimed))),
            Err(error) => warn!("not handed over, this process goes on: {error}"),
        }
    };
    info!("a new process asks for what this one listens on; it is served here until that is ready");
    let thread = std::thread::Builder::new()
        .name("takeover".to_owned())
        .spawn(wait);
    if let Err(error) = thread {
        warn!("not handed over, this process goes on: no thread: {error}");
    }
}

/// Which build of the program this is, for the log of the other one.
fn build() -> String {
    format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// Duplicates of all that this process listens on.
fn sockets(mailboxes: &[Arc<Mailbox>], ports: &[Port], doors: &Doors) -> Vec<OfferedSocket> {
    let lent = ask_all(mailboxes, Letter::Lend).into_iter().flatten();
    let listener = |(id, socket)| {
        let port = ports.iter().find(|port| port.id == id)?;
        let entry = Entry::Listener {
            addr: port.bound,
            service: port.service.to_string(),
        };
        Some(OfferedSocket { entry, socket })
    };
    let mut offered: Vec<OfferedSocket> = lent.filter_map(listener).collect();
    if let Some((addr, socket)) = &doors.metrics
        && let Ok(socket) = socket.try_clone()
    {
        let entry = Entry::Metrics { addr: *addr };
        offered.push(OfferedSocket { entry, socket });
    }
    if let Some(control) = &doors.control
        && let Ok(listener) = control.duplicate()
    {
        let path = control.path().to_owned();
        let entry = Entry::Control { path };
        let socket = listener.into();
        offered.push(OfferedSocket { entry, socket });
    }
    offered
}

/// Gives up what a new process has taken; this one is to drain then.
///
/// # Errors
/// When the new process is gone, or silent. Nothing has changed then.
pub(super) fn give_up(
    claimed: Claimed,
    mailboxes: &[Arc<Mailbox>],
    ports: &[Port],
) -> Result<u32, HandoverError> {
    let pid = claimed.ready.pid;
    let is_taken = |port: &&Port| claimed.ready.taken.contains(&port.bound);
    let ids: Vec<ListenerId> = ports.iter().filter(is_taken).map(|port| port.id).collect();
    ask_all(mailboxes, |done| Letter::Hold(ids.clone(), done));
    if let Err(error) = claimed.confirm() {
        for mailbox in mailboxes {
            mailbox.send(Letter::Resume(ids.clone()));
        }
        return Err(error);
    }
    ask_all(mailboxes, |done| Letter::Yield(ids.clone(), done));
    Ok(pid)
}
