//! Ends that are held back while bytes are on their way which a reset would destroy.
//!
//! Knows nothing of how a relay comes to its end. No client's reset is held back for longer than a half-close
//! may last.

use super::slots::{self, Key, Kind};
use super::{Reactor, Signal};
use crate::net;
use crate::relay::close::{Ending, RESET_GRACE, Side};
use crate::relay::readiness::Closure;

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
    /// For [`RESET_GRACE`].
    Grace(Ending),
}

impl Reactor {
    /// Ends a relay; the end after a reset waits while bytes written before it may still be on their way.
    pub(super) fn end(&mut self, key: Key, ending: Ending) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let settled = connection.relay.last_activity + RESET_GRACE;
        let moved = connection.relay.bytes_to_backend + connection.relay.bytes_to_client > 0;
        let (held_back, until) = if ending.reset.is_of(Side::Client) && connection.relay.bytes_to_client > 0 {
            (HeldBack::Unasked(ending), self.now)
        } else if ending.is_abrupt() && moved && settled > self.now {
            (HeldBack::Grace(ending), settled)
        } else {
            return self.close(key, ending);
        };
        connection.ending = Some(held_back);
        self.connection_timers.set(key.index(), until);
    }

    /// Asks to be told when a client has what was written to it. A slow one may take as long for it as for the
    /// rest of a stream that finished.
    pub(super) fn wait_until_sent(&mut self, key: Key, ending: Ending) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let token = slots::token(Kind::Relay, key);
        let client = &mut connection.relay.client.stream;
        if net::tell_when_sent(self.poll.registry(), client, token).is_err() {
            return self.close(key, ending);
        }
        connection.ending = Some(HeldBack::UntilSent(ending));
        self.connection_timers
            .set(key.index(), self.now + self.shared.server.half_close_timeout);
    }

    /// An event of a client whose reset waits until it has what was written to it.
    pub(super) fn on_sent(&mut self, key: Key, ending: Ending, signal: Signal) {
        if signal.closure == Closure::Failed {
            return self.close(key, ending);
        }
        if signal.writable
            && let Some(connection) = self.connections.get_mut(key)
        {
            // But for a packet or so.
            connection.ending = Some(HeldBack::Grace(ending));
            self.connection_timers.set(key.index(), self.now + RESET_GRACE);
        }
    }
}
