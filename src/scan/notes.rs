//! What a scan has seen of the best so far: bounded, whatever the list. Pure.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Candidates that are remembered; twice as many for a moment.
const KEPT: usize = 4_000;

/// What is known of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Note {
    /// Probes that ended.
    pub(super) sent: u32,
    /// Those that were answered.
    pub(super) received: u32,
    /// Sum of latencies, in seconds.
    sum: f64,
    /// Sum of differences of neighbouring latencies, in seconds.
    differences: f64,
    last: Option<f64>,
}

impl Note {
    /// Takes a probe in.
    fn take(&mut self, latency: Option<Duration>) {
        self.sent += 1;
        let Some(latency) = latency else { return };
        let seconds = latency.as_secs_f64();
        self.received += 1;
        self.sum += seconds;
        if let Some(last) = self.last.replace(seconds) {
            self.differences += (seconds - last).abs();
        }
    }

    /// The mean latency in seconds; infinite if there was no answer.
    pub(super) fn mean(&self) -> f64 {
        if self.received == 0 {
            f64::INFINITY
        } else {
            self.sum / f64::from(self.received)
        }
    }

    /// The mean difference of neighbouring latencies in seconds; 0 of a single one.
    pub(super) fn jitter(&self) -> f64 {
        self.differences / f64::from(self.received.saturating_sub(1).max(1))
    }

    /// The share of probes without an answer.
    pub(super) fn loss(&self) -> f64 {
        1.0 - f64::from(self.received) / f64::from(self.sent.max(1))
    }
}

/// Notes on those that answered.
#[derive(Debug, Default)]
pub(super) struct Notes(HashMap<SocketAddr, Note>);

impl Notes {
    /// Takes a probe in. Of who never answered nothing is kept.
    pub(super) fn take(&mut self, addr: SocketAddr, latency: Option<Duration>) {
        if latency.is_some() {
            self.0.entry(addr).or_default().take(latency);
        } else if let Some(note) = self.0.get_mut(&addr) {
            note.take(None);
        }
        if self.0.len() > 2 * KEPT {
            let kept: HashMap<_, _> = self.best(KEPT).into_iter().collect();
            self.0 = kept;
        }
    }

    /// The best, best first: by loss in tenths, then by mean latency.
    pub(super) fn best(&self, count: usize) -> Vec<(SocketAddr, Note)> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10")]
        let lost = |note: &Note| (note.loss() * 10.0).round() as u32;
        let mut all: Vec<_> = self.0.iter().map(|(addr, note)| (*addr, *note)).collect();
        all.sort_by(|(a_addr, a), (b_addr, b)| {
            lost(a)
                .cmp(&lost(b))
                .then(a.mean().total_cmp(&b.mean()))
                .then(a_addr.cmp(b_addr))
        });
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u32) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + number), 80))
    }

    #[test]
    fn notes_say_what_was_seen() {
        let mut notes = Notes::default();
        for millis in [Some(10), Some(14), None, Some(12)] {
            notes.take(addr(1), millis.map(Duration::from_millis));
        }
        let (_, note) = notes.best(1)[0];
        assert_eq!((note.sent, note.received), (4, 3));
        assert!((note.mean() - 0.012).abs() < 1e-9 && (note.jitter() - 0.003).abs() < 1e-9);
        assert!((note.loss() - 0.25).abs() < 1e-9);
        notes.take(addr(2), None);
        assert_eq!(notes.best(9).len(), 1, "who never answered is not kept");
    }

    #[test]
    fn the_best_are_kept_of_any_number() {
        let mut notes = Notes::default();
        for number in 0..50_000_u32 {
            let micros = 1_000 + u64::from(number.wrapping_mul(2_654_435_761) >> 12);
            notes.take(addr(number), Some(Duration::from_micros(micros)));
        }
        assert!(notes.0.len() <= 2 * KEPT);
        let best = notes.best(3);
        assert!(
            best[0].1.mean() <= best[1].1.mean() && best[2].1.mean() < 0.001_1,
            "{best:?}"
        );
    }
}
