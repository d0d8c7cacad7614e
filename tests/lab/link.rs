//! What a link does to a packet: pure, with the time and the random source as arguments.
//!
//! A link is described by its round trip; each direction takes half of it. Loss is per packet and per
//! direction, as on a real path, so a handshake on a link with loss `p` passes at once with `(1 - p)²`.
//! Order is a matter of one stream: a late packet holds back those of its own connection, nobody else's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A capped link holds back packets for at most this long, then drops them as a router's full queue does.
const QUEUE: Duration = Duration::from_millis(250);

/// Streams remembered before those at rest are forgotten.
const STREAMS: usize = 10_000;

/// The qualities of one path, both directions alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    /// Round trip without jitter.
    pub(crate) rtt: Duration,
    /// What varies from packet to packet.
    pub(crate) jitter: Jitter,
    /// Probability that a packet is lost, 0 to 1, in each direction; 1 is a black hole.
    pub(crate) loss: f64,
    /// Probability that the packet which opens a connection is lost, 0 to 1: it is sent again after a second.
    pub(crate) stall: f64,
    /// Whether jitter may make packets overtake each other.
    pub(crate) order: Order,
    /// Bytes a second that fit through, in each direction.
    pub(crate) bytes_per_second: Option<u32>,
}

/// Variation of the delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jitter {
    /// None at all.
    None,
    /// The round trip grows by up to this much; each direction by a uniform share of its half.
    Uniform(Duration),
    /// The round trip has this standard deviation; a delay is never below zero.
    Normal(Duration),
}

/// Whether packets of one direction keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// A late packet holds back those behind it.
    Kept,
    /// Each packet for itself.
    Free,
}

/// Why a packet goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// By the link's loss.
    Lost,
    /// By the queue before a capped link.
    QueueFull,
}

/// One direction of one connection: addresses and ports of sender and receiver.
pub(crate) type Stream = (SocketAddr, SocketAddr);

/// Keeps the packets of each stream in order, though each may be delayed differently.
#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    last: HashMap<Stream, Instant>,
}

impl Sequencer {
    /// When a packet that could leave at `due` leaves behind those before it.
    pub(crate) fn hold_back(&mut self, stream: Stream, due: Instant, now: Instant) -> Instant {
        if self.last.len() >= STREAMS {
            // Streams whose packets have all left need no memory.
            self.last.retain(|_, last| *last > now);
        }
        let last = self.last.entry(stream).or_insert(due);
        *last = due.max(*last);
        *last
    }
}

impl Link {
    /// A clean link with this round trip.
    pub(crate) fn rtt(rtt: Duration) -> Self {
        Self {
            rtt,
            jitter: Jitter::None,
            loss: 0.0,
            stall: 0.0,
            order: Order::Kept,
            bytes_per_second: None,
        }
    }

    /// A clean link with this round trip in milliseconds.
    pub(crate) fn millis(rtt: u64) -> Self {
        Self::rtt(Duration::from_millis(rtt))
    }

    /// A link through which nothing passes, and nobody says so.
    pub(crate) fn dead() -> Self {
        Self::millis(0).loss(1.0)
    }

    /// The same with this jitter.
    pub(crate) fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// The same with this loss probability.
    pub(crate) fn loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// The same with this probability that a connect stalls for a second.
    pub(crate) fn stalling(self, stall: f64) -> Self {
        Self { stall, ..self }
    }

    /// The same with packets overtaking each other.
    pub(crate) fn reordering(self) -> Self {
        Self {
            order: Order::Free,
            ..self
        }
    }

    /// The same with this many bytes a second.
    pub(crate) fn capped(self, bytes_per_second: u32) -> Self {
        Self {
            bytes_per_second: Some(bytes_per_second),
            ..self
        }
    }

    /// Whether packets that this link delays must be put in order again.
    pub(crate) fn must_sequence(&self) -> bool {
        self.jitter != Jitter::None && self.order == Order::Kept
    }

    /// Whether the packet that opens a connection is lost.
    pub(crate) fn stalls(&self, rng: &mut fastrand::Rng) -> bool {
        self.stall > 0.0 && rng.f64() < self.stall
    }

    /// When a packet that enters at `arrival` leaves again, if it does. `free_at` is when the link is done with
    /// the packet before, in the same direction; only capped links use it.
    pub(crate) fn transit(
        &self,
        free_at: &mut Option<Instant>,
        arrival: Instant,
        bytes: u32,
        rng: &mut fastrand::Rng,
    ) -> Result<Instant, Dropped> {
        if rng.f64() < self.loss {
            return Err(Dropped::Lost);
        }
        Ok(self.serialize(free_at, arrival, bytes)? + self.delay(rng))
    }

    fn serialize(
        &self,
        free_at: &mut Option<Instant>,
        arrival: Instant,
        bytes: u32,
    ) -> Result<Instant, Dropped> {
        let Some(rate) = self.bytes_per_second else {
            return Ok(arrival);
        };
        let start = free_at.map_or(arrival, |free| free.max(arrival));
        if start.duration_since(arrival) > QUEUE {
            return Err(Dropped::QueueFull);
        }
        let end = start + Duration::from_secs_f64(f64::from(bytes) / f64::from(rate.max(1)));
        *free_at = Some(end);
        Ok(end)
    }

    fn delay(&self, rng: &mut fastrand::Rng) -> Duration {
        let half = self.rtt / 2;
        match self.jitter {
            Jitter::None => half,
            Jitter::Uniform(most) => half + most.mul_f64(rng.f64() / 2.0),
            Jitter::Normal(deviation) => {
                // Two independent directions of variance σ²/2 make a round trip of variance σ².
                let away = normal(rng) * deviation.as_secs_f64() / 2.0_f64.sqrt();
                Duration::from_secs_f64((half.as_secs_f64() + away).max(0.0))
            }
        }
    }
}

/// A standard normal sample (Box and Muller, 1958).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcp_forwarder::base::clock;

    fn delays(link: &Link, packets: u32) -> Vec<Duration> {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut free_at = None;
        let start = clock::now();
        (0..packets)
            .filter_map(|n| {
                let arrival = start + Duration::from_millis(n.into());
                let due = link.transit(&mut free_at, arrival, 1000, &mut rng).ok()?;
                Some(due.duration_since(arrival))
            })
            .collect()
    }

    #[test]
    fn a_clean_link_takes_half_the_round_trip_each_way() {
        let all = delays(&Link::millis(50), 100);
        assert_eq!(all, vec![Duration::from_millis(25); 100]);
    }

    #[test]
    fn loss_is_as_frequent_as_said_and_one_is_everything() {
        let passed = delays(&Link::millis(5).loss(0.3), 10_000).len();
        assert!((6_800..7_200).contains(&passed), "{passed} of 10000 passed");
        assert!(delays(&Link::dead(), 1_000).is_empty());
    }

    #[test]
    fn normal_jitter_has_the_deviation_asked_for() {
        let link = Link::millis(200)
            .jitter(Jitter::Normal(Duration::from_millis(20)))
            .reordering();
        let all = delays(&link, 10_000);
        let count = f64::from(u32::try_from(all.len()).unwrap());
        let mean = all.iter().map(Duration::as_secs_f64).sum::<f64>() / count;
        let variance = all.iter().map(|d| (d.as_secs_f64() - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - 0.1).abs() < 0.001, "mean {mean}");
        // One direction of two: 20 ms / √2.
        assert!(
            (variance.sqrt() - 0.014_14).abs() < 0.001,
            "deviation {}",
            variance.sqrt()
        );
    }

    #[test]
    fn a_stream_stays_in_order_and_does_not_hold_back_another() {
        let shaky = Link::millis(10).jitter(Jitter::Uniform(Duration::from_millis(100)));
        assert!(shaky.must_sequence());
        assert!(!shaky.clone().reordering().must_sequence());
        assert!(
            !Link::millis(10).must_sequence(),
            "equal delays keep the order by themselves"
        );

        let start = clock::now();
        let leave: Vec<_> = delays(&shaky, 500)
            .into_iter()
            .zip(0_u64..)
            .map(|(delay, n)| start + delay + Duration::from_millis(n))
            .collect();
        assert!(
            leave.windows(2).any(|pair| pair[1] < pair[0]),
            "jitter alone reorders"
        );
        let stream = |port| {
            (
                SocketAddr::from(([198, 19, 0, 1], port)),
                SocketAddr::from(([198, 18, 0, 1], 80)),
            )
        };
        let mut sequencer = Sequencer::default();
        let ordered: Vec<_> = leave
            .iter()
            .map(|due| sequencer.hold_back(stream(1), *due, start))
            .collect();
        assert!(ordered.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(ordered.iter().zip(&leave).all(|(ordered, due)| ordered >= due));
        assert_eq!(sequencer.hold_back(stream(2), start, start), start);
    }

    #[test]
    fn the_sequencer_forgets_streams_at_rest() {
        let mut sequencer = Sequencer::default();
        let start = clock::now();
        let to = SocketAddr::from(([198, 18, 0, 1], 80));
        for port in 0..u16::MAX {
            let now = start + Duration::from_millis(port.into());
            let from = SocketAddr::from(([198, 19, 0, 1], port));
            sequencer.hold_back((from, to), now + Duration::from_millis(5), now);
            assert!(sequencer.last.len() <= STREAMS);
        }
    }

    #[test]
    fn a_capped_link_spaces_packets_out_and_then_drops() {
        // 1000 bytes a millisecond arrive, half of that fits: the queue grows to its bound, then half is lost.
        let all = delays(&Link::millis(0).capped(500_000), 2_000);
        assert_eq!(all[0], Duration::from_millis(2));
        assert_eq!(all[1], Duration::from_millis(3));
        assert!(all.iter().all(|delay| *delay <= QUEUE + Duration::from_millis(4)));
        assert!((1_050..1_200).contains(&all.len()), "{} passed", all.len());
    }
}
