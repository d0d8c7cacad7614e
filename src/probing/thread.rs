//! The prober thread: the [`Dispatch`] with sockets.
//!
//! Owns nothing but the loop. It sleeps until a probe is due, ends, or times out, or until it is rung.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connect::{Connector, Start};
use super::dispatch::Dispatch;
use super::probe::{Ending, Probe};
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::service::hub::Hub;

/// Pause after an error of the poll, which no retry is known to heal.
const POLL_FAILED_PAUSE: Duration = Duration::from_secs(1);

/// The prober: made on any thread, run on one of its own.
#[derive(Debug)]
pub struct Prober {
    bell: Arc<Doorbell>,
    dispatch: Dispatch,
    connector: Connector,
    /// What ended since the last step; kept for its memory.
    endings: Vec<Ending>,
    begins: Vec<Probe>,
}

impl Prober {
    /// A prober with at most `max_in_flight` probes at once (at least 1).
    ///
    /// # Errors
    /// When the system has no poll or descriptor to give.
    pub fn new(hub: Arc<Hub>, max_in_flight: usize, rng: fastrand::Rng) -> io::Result<Self> {
        let bell = Arc::clone(&hub.bells.prober);
        Ok(Self {
            connector: Connector::new(&bell)?,
            bell,
            dispatch: Dispatch::new(hub, max_in_flight, rng),
            endings: Vec::new(),
            begins: Vec::new(),
        })
    }

    /// The body of the thread; returns when the stop begins.
    pub fn run(mut self) {
        self.dispatch.hear(clock::now());
        loop {
            let now = clock::now();
            if self.bell.answer() {
                self.dispatch.hear(now);
                if self.dispatch.is_over() {
                    return;
                }
            }
            if self.dispatch.is_over() {
                return;
            }
            let next = self.dispatch.step(now, &mut self.endings, &mut self.begins);
            self.begin();
            // What ended at its start is handed in without waiting.
            let until = if self.endings.is_empty() { next } else { Some(now) };
            self.turn(until);
        }
    }

    /// Begins the probes of a step.
    fn begin(&mut self) {
        let mut is_exhausted = false;
        for probe in self.begins.drain(..) {
            if is_exhausted {
                self.endings.push(Ending::PutOff(probe));
                continue;
            }
            match self.connector.start(&probe, self.dispatch.plan(&probe)) {
                Start::Begun => {}
                Start::Ended(sample) => self.endings.push(Ending::Ended(sample)),
                Start::NoPort => self.endings.push(Ending::LeftOut(probe)),
                Start::Exhausted => {
                    is_exhausted = true;
                    self.endings.push(Ending::PutOff(probe));
                }
            }
        }
    }

    /// Waits for probes to end, at most until `until`.
    fn turn(&mut self, until: Option<Instant>) {
        let mut ended = Vec::new();
        if let Err(error) = self.connector.turn(until, &mut ended) {
            log::error!(target: "tcp_forwarder::probing", "probing pauses: the poll failed: {error}");
            std::thread::park_timeout(POLL_FAILED_PAUSE);
        }
        self.endings.extend(ended.into_iter().map(Ending::Ended));
        debug_assert_eq!(
            self.connector.in_flight() + self.endings.len(),
            self.dispatch.in_flight(),
            "every probe has one ending"
        );
    }
}
