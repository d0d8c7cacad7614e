//! Ends that are held back while bytes are on their way which a reset would destroy.
//!
//! Knows nothing of how a relay comes to its end. No client's reset is held back for longer than a half-close
//! may last.

use super::client::{HeldBack, Stage};
use super::core::Reactor;
use super::signal::Signal;
use super::tenant::Tenant;
use super::token;
use crate::base::slots::Key;
use crate::net;
use crate::relay::close::{Ending, RESET_GRACE, Side};
use crate::relay::readiness::Closure;

impl Reactor {
    /// Ends a relay; the end after a reset waits while bytes written before it may still be on their way.
    pub(super) fn end(&mut self, key: Key, ending: Ending) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Stage::Relaying(attached) = client.stage else {
            debug_assert!(false, "only a relay comes to an end: {:?}", client.stage);
            return self.close(key, ending);
        };
        let settled = client.relay.last_activity + RESET_GRACE;
        let moved = client.relay.bytes_to_backend + client.relay.bytes_to_client > 0;
        let (held_back, until) = if ending.reset.is_of(Side::Client) && client.relay.bytes_to_client > 0 {
            (HeldBack::Unasked(ending), self.now)
        } else if ending.is_abrupt() && moved && settled > self.now {
            (HeldBack::Grace(ending), settled)
        } else {
            return self.close(key, ending);
        };
        client.stage = Stage::Leaving(attached, held_back);
        self.client_timers.set(key.index(), until);
    }

    /// What an end waits for has changed, until a time.
    fn hold_back(&mut self, key: Key, held_back: HeldBack, until: std::time::Instant) {
        if let Some(client) = self.clients.get_mut(key)
            && let Stage::Leaving(attached, _) = client.stage
        {
            client.stage = Stage::Leaving(attached, held_back);
            self.client_timers.set(key.index(), until);
        }
    }

    /// The deadline of an end that is held back.
    pub(super) fn on_leaving_deadline(&mut self, key: Key, held_back: HeldBack) {
        match held_back {
            HeldBack::Unasked(ending) => self.wait_until_sent(key, ending),
            HeldBack::UntilSent(ending) | HeldBack::Grace(ending) => self.close(key, ending),
        }
    }

    /// Asks to be told when a client has what was written to it. A slow one may take as long for it as for the
    /// rest of a stream that finished.
    fn wait_until_sent(&mut self, key: Key, ending: Ending) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let tenant = client.tenant;
        let stream = client.relay.client.stream.wire_mut();
        if net::tell_when_sent(self.poll.registry(), stream, token::of_client(key)).is_err() {
            return self.close(key, ending);
        }
        let Some(spec) = self.tenants.get(tenant).map(Tenant::spec) else {
            return;
        };
        let until = self.now + spec.server.half_close_timeout;
        self.hold_back(key, HeldBack::UntilSent(ending), until);
    }

    /// An event of a client whose end is held back.
    pub(super) fn on_leaving(&mut self, key: Key, held_back: HeldBack, signal: Signal) {
        let HeldBack::UntilSent(ending) = held_back else {
            return;
        };
        if signal.closure == Closure::Failed {
            return self.close(key, ending);
        }
        if signal.writable {
            // But for a packet or so.
            self.hold_back(key, HeldBack::Grace(ending), self.now + RESET_GRACE);
        }
    }
}
