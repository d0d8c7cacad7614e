//! Whom of a service's candidates somebody has taken out, by hand. Pure.
//!
//! Owns the administrative states, by address: nothing is kept of who is ready. It knows nothing of who chooses,
//! probes or connects. The words are those of `HAProxy`:
//!
//! | state | new clients | clients that it has | probes |
//! |---|---|---|---|
//! | ready | yes, if it is chosen | go on | yes |
//! | drain | no | go on | yes |
//! | maintenance | no | go on | no |
//!
//! Invariant: at most [`MAX_WITHDRAWN`] candidates of a service are not ready.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The most candidates of one service that are not ready.
pub const MAX_WITHDRAWN: usize = 1024;

/// What a candidate is allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    /// Everything.
    #[default]
    Ready,
    /// It gets no new clients; it is still probed.
    Drain,
    /// It gets no new clients, and nobody probes it.
    Maintenance,
}

impl AdminState {
    /// Every state, in the order of how much it forbids.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maintenance];

    /// In one word: as in paths of the API.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// The candidates of one service that are not ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminStates(BTreeMap<SocketAddr, AdminState>);

impl AdminStates {
    /// The state of a candidate.
    #[must_use]
    pub fn of(&self, addr: &SocketAddr) -> AdminState {
        self.0.get(addr).copied().unwrap_or_default()
    }

    /// Whether a candidate may get new clients.
    #[must_use]
    pub fn is_ready(&self, addr: &SocketAddr) -> bool {
        !self.0.contains_key(addr)
    }

    /// Whether nobody is to probe it.
    #[must_use]
    pub fn is_in_maintenance(&self, addr: &SocketAddr) -> bool {
        self.of(addr) == AdminState::Maintenance
    }

    /// Those that are not ready, by address.
    pub fn withdrawn(&self) -> impl Iterator<Item = (SocketAddr, AdminState)> {
        self.0.iter().map(|(addr, state)| (*addr, *state))
    }

    /// Those that get no new clients, and are probed as often as members.
    pub fn draining(&self) -> impl Iterator<Item = SocketAddr> {
        self.withdrawn()
            .filter(|(_, state)| *state == AdminState::Drain)
            .map(|(addr, _)| addr)
    }

    /// How many are not ready.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all are ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The states after one is another; `None` where there is no room for one more.
    #[must_use]
    pub fn with(&self, addr: SocketAddr, state: AdminState) -> Option<Self> {
        let mut next = self.clone();
        match state {
            AdminState::Ready => {
                next.0.remove(&addr);
            }
            AdminState::Drain | AdminState::Maintenance => {
                next.0.insert(addr, state);
            }
        }
        (next.len() <= MAX_WITHDRAWN).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn who_is_ready_again_leaves_no_trace() {
        let states = AdminStates::default();
        let drained = states.with(addr(1), AdminState::Drain).expect("room");
        assert!(!drained.is_ready(&addr(1)) && drained.is_ready(&addr(2)));
        assert!(!drained.is_in_maintenance(&addr(1)), "it is probed");
        assert_eq!(drained.draining().collect::<Vec<_>>(), [addr(1)]);
        let out = drained.with(addr(1), AdminState::Maintenance).expect("room");
        assert!(out.is_in_maintenance(&addr(1)));
        assert_eq!(out.draining().count(), 0);
        assert_eq!(out.with(addr(1), AdminState::Ready).expect("room"), states);
    }

    #[test]
    fn there_is_a_bound_and_readiness_needs_no_room() {
        let mut states = AdminStates::default();
        for port in (1..).take(MAX_WITHDRAWN) {
            states = states.with(addr(port), AdminState::Drain).expect("room");
        }
        assert_eq!(states.with(addr(0), AdminState::Drain), None);
        assert!(states.with(addr(1), AdminState::Maintenance).is_some());
        assert!(states.with(addr(1), AdminState::Ready).is_some());
    }
}
