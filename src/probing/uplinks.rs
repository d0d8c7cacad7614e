//! Whether our way to the network has changed. Pure.
//!
//! A way is known by the addresses that candidates see us come from: another network gives another address. Of IPv6 the prefix
//! counts alone, for the rest of an address changes by itself (RFC 8981), and only where there is no IPv4 to compare: the two
//! families come and go at different times.
//!
//! A machine that has slept may be anywhere. The wall clock goes on in a sleep and the monotonic one does not; where they have
//! come apart by [`SLEEP`], everybody is looked at anew, on whatever way. A clock that was set forward is one sweep for nothing.
//!
//! Invariants: no route at all is no other way, the last one stays; other candidates to look at are no other way; without
//! candidates beyond this machine nothing ever changes; at most [`MAX_UPLINKS`] are remembered, the one that was left longest ago is forgotten.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use crate::service::uplink::{MAX_UPLINKS, Uplink, UplinkId};

/// Least time between two looks, but for a doubt. What is learned between a change and the look that shows it is put down to the
/// way that was left; a look takes some microseconds.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// By how much the wall clock must run ahead for a sleep.
const SLEEP: Duration = Duration::from_secs(10);

/// Candidates to which the route is looked at: at most one of each family.
pub type Landmarks = [Option<SocketAddr>; 2];

/// What candidates see us come from; a name for a way to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sources {
    v4: Option<Ipv4Addr>,
    /// The upper half of an IPv6 address.
    v6: Option<u64>,
}

impl Sources {
    /// The addresses that face the landmarks, as far as there are routes.
    pub fn of(faces: impl Iterator<Item = IpAddr>) -> Self {
        let mut sources = Self::default();
        for face in faces {
            match face {
                IpAddr::V4(face) => sources.v4 = Some(face),
                IpAddr::V6(face) => sources.v6 = u64::try_from(face.to_bits() >> 64).ok(),
            }
        }
        sources
    }

    fn is_none(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// Whether both can be of one way.
    fn agrees(&self, other: &Self) -> bool {
        match (self.v4, other.v4) {
            (Some(a), Some(b)) => a == b,
            (None, _) | (_, None) => self.v6.is_some() && self.v6 == other.v6,
        }
    }

    /// What is known from two looks at one way.
    fn join(&mut self, newer: &Self) {
        self.v4 = newer.v4.or(self.v4);
        self.v6 = newer.v6.or(self.v6);
    }
}

/// What a look has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The way is one that was never seen, or was forgotten.
    New,
    /// The way is one that was seen before.
    Back,
    /// The way is the same, after a sleep.
    Slept,
}

/// The ways that are remembered.
#[derive(Debug)]
pub struct Uplinks {
    /// The present one last, before it those that were left, in their order.
    known: Vec<(UplinkId, Sources)>,
    next_id: UplinkId,
    sweeps: u64,
    landmarks: Landmarks,
    /// The two clocks at the last look.
    looked_at: Option<(Instant, SystemTime)>,
}

impl Default for Uplinks {
    fn default() -> Self {
        Self {
            known: vec![(0, Sources::default())],
            next_id: 1,
            sweeps: 0,
            landmarks: Landmarks::default(),
            looked_at: None,
        }
    }
}

impl Uplinks {
    /// Whether it is time to look.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.looked_at
            .is_none_or(|(at, _)| now.saturating_duration_since(at) >= LOOK_INTERVAL)
    }

    /// Takes in what faces the landmarks now; what is to be published if anything has changed.
    pub fn look(
        &mut self,
        landmarks: Landmarks,
        seen: Sources,
        (now, wall): (Instant, SystemTime),
    ) -> Option<(Change, Uplink)> {
        let before = self.looked_at.replace((now, wall));
        let is_same_view = landmarks == self.landmarks;
        self.landmarks = landmarks;
        if landmarks == Landmarks::default() {
            return None;
        }
        let slept = before.is_some_and(|before| has_slept(before, (now, wall)));
        let change = self
            .compare(seen, is_same_view)
            .or(slept.then_some(Change::Slept))?;
        self.sweeps += 1;
        debug_assert!(self.known.len() <= MAX_UPLINKS, "what is remembered is bounded");
        let known: Vec<UplinkId> = self.known.iter().map(|(id, _)| *id).collect();
        let uplink = Uplink {
            id: known.last().copied().unwrap_or_default(),
            known,
            sweeps: self.sweeps,
            since: now,
        };
        Some((change, uplink))
    }

    fn compare(&mut self, seen: Sources, is_same_view: bool) -> Option<Change> {
        let (_, present) = self.known.last_mut()?;
        if seen.is_none() {
            return None;
        }
        if present.is_none() || seen.agrees(present) {
            present.join(&seen);
            return None;
        }
        if !is_same_view {
            // Others are looked at: their route may always have been another.
            *present = seen;
            return None;
        }
        if let Some(i) = self.known.iter().position(|(_, known)| seen.agrees(known)) {
            let (id, mut known) = self.known.remove(i);
            known.join(&seen);
            self.known.push((id, known));
            return Some(Change::Back);
        }
        if self.known.len() == MAX_UPLINKS {
            self.known.remove(0);
        }
        self.known.push((self.next_id, seen));
        self.next_id += 1;
        Some(Change::New)
    }
}

/// Whether the machine slept between two readings of both clocks.
fn has_slept(before: (Instant, SystemTime), now: (Instant, SystemTime)) -> bool {
    let awake = now.0.saturating_duration_since(before.0);
    let passed = now.1.duration_since(before.1).unwrap_or_default();
    passed.saturating_sub(awake) >= SLEEP
}

/// Whether the route to a candidate can tell one way from another: those to this machine, and to what is on the same wire
/// whatever the wire is, cannot.
#[must_use]
pub fn is_landmark(addr: &SocketAddr) -> bool {
    match addr.ip() {
        IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            let is_mapped = ip.to_ipv4_mapped().is_some();
            !(ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || is_mapped)
        }
    }
}

#[cfg(test)]
mod tests;
