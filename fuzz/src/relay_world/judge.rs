//! Who knows both ends of every connection, and so the truth.

use std::io::ErrorKind;

use tcp_forwarder::config::Rescue;
use tcp_forwarder::relay::Verdict;
use tcp_forwarder::relay::close::{CloseReason, Ending, Reset, Side};
use tcp_forwarder::relay::flight::{Hello, hello};

use super::actor::Heard;
use super::driver::{Ride, Upstream};
use super::socket::{Fin, Socket};
use super::wire::Shared;
use super::world::World;

/// How the sockets of a relay stood before its turn.
#[derive(Debug)]
pub(super) struct Before {
    written: [u64; 2],
    is_finished: [bool; 2],
    /// All that has happened to them.
    steps: u64,
}

impl Before {
    pub(super) fn of(client: &Shared, backend: &Shared) -> Self {
        let (client, backend) = (client.borrow(), backend.borrow());
        Self {
            written: [backend.written, client.written],
            is_finished: [backend.fin != Fin::No, client.fin != Fin::No],
            steps: steps(&client, &backend),
        }
    }
}

fn steps(client: &Socket, backend: &Socket) -> u64 {
    client.taken + client.written + backend.taken + backend.written
}

/// Whether all that came from one side, its finish included, was written to the other.
fn is_passed_on(from: &Socket, to: &Socket) -> bool {
    from.has_fin_arrived && from.is_drained() && to.written == from.arrived
}

/// The sockets of a relay that has a backend.
fn sides(ride: &Ride) -> Option<(Shared, Shared)> {
    match &ride.upstream {
        Upstream::Attached(_, peer) => Some((
            Shared::clone(&ride.relay.client.stream.socket),
            Shared::clone(&peer.stream.socket),
        )),
        Upstream::Dialling | Upstream::None => None,
    }
}

impl World<'_> {
    /// What an actor has heard: a client one backend, a backend its client.
    pub(super) fn judge_heard(&mut self, link: usize, before: u64, heard: &[u8]) {
        if heard.is_empty() {
            return;
        }
        self.count("bytes", heard.len() as u64);
        let ride = self.links[link].ride;
        assert!(ride.is_some(), "{link} hears something, and belongs to nobody");
        let Some(ride) = ride else { return };
        let is_of =
            |speaker: usize| self.links[speaker].actor.voice.bytes(before, heard.len() as u64) == heard;
        let ride = &self.rides[ride];
        if ride.link == link {
            let voices: Vec<usize> = ride
                .voices
                .iter()
                .copied()
                .filter(|voice| is_of(*voice))
                .collect();
            assert!(
                !voices.is_empty(),
                "from {before} on the client {link} hears what no backend, or more than one, has said"
            );
            let ride = self.links[link].ride.unwrap_or_default();
            self.rides[ride].voices = voices;
            return;
        }
        assert!(
            is_of(ride.link),
            "from {before} on the backend {link} hears what its client has not said"
        );
        assert!(
            !self.links[link].must_stay_deaf,
            "the backend {link} hears what was said again to another one"
        );
    }

    /// What a turn has done.
    pub(super) fn judge_turn(&mut self, ride: usize, before: &Before, verdict: Verdict) {
        let Some((client, backend)) = sides(&self.rides[ride]) else {
            return;
        };
        let (client, backend) = (client.borrow(), backend.borrow());
        let written = [
            backend.written - before.written[0],
            client.written - before.written[1],
        ];
        for meters in [&mut self.rides[ride].meters, &mut self.total]
            .into_iter()
            .flatten()
        {
            for (meter, bytes) in meters.iter_mut().zip(written) {
                meter.take(bytes, self.now);
            }
        }
        for (from, to, was_finished) in [
            (&client, &backend, before.is_finished[0]),
            (&backend, &client, before.is_finished[1]),
        ] {
            if to.fin != Fin::No && !was_finished {
                self.count("half_closes", 1);
                assert!(
                    is_passed_on(from, to),
                    "a finish is passed on for a finish, behind all bytes"
                );
            }
        }
        if let Verdict::Wait | Verdict::Again = verdict {
            for (from, to) in [(&client, &backend), (&backend, &client)] {
                let is_owed = from.is_end_taken && is_passed_on(from, to) && to.failure.is_none();
                assert!(!is_owed || to.fin != Fin::No, "a finish is passed on at once");
            }
        }
        match verdict {
            Verdict::Again => assert!(
                steps(&client, &backend) > before.steps,
                "another turn is asked for, and nothing moved"
            ),
            Verdict::Stale => assert!(
                self.rides[ride].is_warm && backend.written == 0 && client.written == 0,
                "nothing was exchanged on a stale connection"
            ),
            Verdict::Rescue => self.judge_rescue(ride, &client),
            Verdict::Wait | Verdict::Doubt(_) | Verdict::End(_) => {}
        }
    }

    /// What may be said again, and when.
    fn judge_rescue(&mut self, ride: usize, client: &Socket) {
        let ride = &self.rides[ride];
        assert!(
            ride.is_warm && !ride.is_rescued && self.rescue != Rescue::Off,
            "a rescue is for a warm connection, and once"
        );
        assert!(
            client.written == 0 && !ride.relay.client.ready.has_failed(),
            "a rescue comes before the client has heard anything, and is known to have gone"
        );
        let said = self.links[ride.link].actor.voice.bytes(0, client.taken);
        if self.rescue == Rescue::Safe
            && hello(&said) != Hello::Lone
            && let Some(link) = ride.met.last()
        {
            let abandoned = &mut self.links[*link];
            assert!(
                abandoned.actor.heard == 0,
                "the backend {link} may have acted upon what is said again"
            );
            abandoned.must_stay_deaf = true;
        }
    }

    /// How a relay ends.
    pub(super) fn judge_ending(&mut self, ride: usize, ending: Ending) {
        let ride_of = &self.rides[ride];
        let Some((client, backend)) = sides(ride_of) else {
            return;
        };
        let (client, backend) = (client.borrow(), backend.borrow());
        let is_reset = |socket: &Socket| {
            matches!(
                socket.failure,
                Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
            )
        };
        let has_failed = |socket: &Socket| socket.failure.is_some();
        assert!(ending.reset != Reset::OfBoth, "memory has not run out");
        assert!(
            !ending.reset.is_of(Side::Client) || has_failed(&backend),
            "the client gets a reset, and its backend has not failed"
        );
        assert!(
            !ending.reset.is_of(Side::Backend) || has_failed(&client),
            "the backend gets a reset, and its client has not failed"
        );
        match ending.reason {
            CloseReason::Finished => {
                assert!(
                    is_passed_on(&backend, &client),
                    "it finishes, and the client has not all"
                );
                assert!(
                    is_passed_on(&client, &backend) || has_failed(&backend),
                    "it finishes, and the backend has not all"
                );
            }
            CloseReason::ClientReset => assert!(is_reset(&client)),
            CloseReason::BackendReset => assert!(is_reset(&backend)),
            CloseReason::Error => {
                let timed_out = |socket: &Socket| socket.failure == Some(ErrorKind::TimedOut);
                assert!(
                    timed_out(&client) || timed_out(&backend),
                    "no other error happens"
                );
            }
            CloseReason::IdleTimeout
            | CloseReason::HalfCloseTimeout
            | CloseReason::DialFailed
            | CloseReason::QueueTimeout
            | CloseReason::Drained
            | CloseReason::BackendRemoved
            | CloseReason::HandshakeFailed
            | CloseReason::HandshakeTimeout
            | CloseReason::Refused
            | CloseReason::Routed => unreachable!("no relay decides {ending:?}"),
        }
        let by_backend = matches!(ending.reset, Reset::Of(Side::Client))
            || ending.reason == CloseReason::BackendReset
            || ending.reason == CloseReason::Error && !has_failed(&client);
        if by_backend {
            assert!(
                client.written == backend.arrived,
                "the last bytes of a backend come before its reset"
            );
            assert!(
                ending.reset.is_of(Side::Client) || backend.has_fin_arrived,
                "a stream that was cut off does not look like one that finished"
            );
        } else if ending.reason != CloseReason::Finished {
            assert!(
                ending.reset.is_of(Side::Backend) || client.has_fin_arrived || has_failed(&backend),
                "what a client was cut off in does not look like all of it"
            );
        }
    }

    /// When nothing is left to happen.
    pub(super) fn judge_the_end(&self) {
        for (ride, ride_of) in self.rides.iter().enumerate() {
            assert!(
                ride_of.ending.is_some(),
                "{ride}: everybody is done, and it goes on for ever: {ride_of:?}"
            );
            let client = ride_of.relay.client.stream.socket.borrow();
            let to_backends = ride_of
                .met
                .iter()
                .map(|link| self.links[*link].ours.borrow().written);
            let written = [to_backends.max().unwrap_or_default(), client.written];
            assert_eq!(
                ride_of.moved, written,
                "{ride}: what it counts is what it moved, once"
            );
            assert_eq!(
                [ride_of.relay.bytes_to_backend, ride_of.relay.bytes_to_client],
                written,
                "{ride}: and so are its sums"
            );
            let is_finished = ride_of.ending == Some(Ending::FINISHED);
            let (Some(last), true) = (ride_of.met.last(), is_finished) else {
                continue;
            };
            let sides = [&self.links[ride_of.link], &self.links[*last]];
            let is_undisturbed = sides
                .iter()
                .all(|link| link.ours.borrow().failure.is_none() && link.actor.end == Some(Heard::Finish));
            if is_undisturbed {
                let [client, backend] = sides.map(|link| &link.actor);
                assert_eq!(client.heard, backend.said, "{ride}: the client has heard all");
                assert_eq!(backend.heard, client.said, "{ride}: the backend has heard all");
            }
        }
    }
}
