//! The prober thread: the [`Dispatch`] with sockets.
//!
//! Owns nothing but the loop. It sleeps until a probe is due, ends, or times out, or until it is rung.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connect::{Connector, Start};
use super::dispatch::Dispatch;
use super::probe::{Ending, Probe};
use super::uplinks::{Change, Sources, Uplinks};
use crate::base::burst::Burst;
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::net;
use crate::scorer::link::Phase as LinkPhase;
use crate::service::hub::Hub;
use crate::service::id::Candidate;

/// Pause after an error of the poll, which no retry is known to heal.
const POLL_FAILED_PAUSE: Duration = Duration::from_secs(1);

/// The prober: made on any thread, run on one of its own.
#[derive(Debug)]
pub struct Prober {
    bell: Arc<Doorbell>,
    dispatch: Dispatch,
    connector: Connector,
    uplinks: Uplinks,
    /// As our own link stood when the way to the network was last looked at.
    looked_in: LinkPhase,
    hub: Arc<Hub>,
    /// Probes that had nowhere to leave from.
    homeless: Burst,
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
            uplinks: Uplinks::default(),
            looked_in: LinkPhase::Up,
            dispatch: Dispatch::new(Arc::clone(&hub), max_in_flight, rng),
            homeless: Burst::default(),
            hub,
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
            self.look_at_uplink(now);
            let next = self.dispatch.step(now, &mut self.endings, &mut self.begins);
            self.begin();
            // What ended at its start is handed in without waiting.
            let until = if self.endings.is_empty() { next } else { Some(now) };
            self.turn(until);
        }
    }

    /// Looks whether our way to the network is another one, if it is time to or the link is in a new doubt. Nobody is woken for
    /// that: whoever sleeps has no probe to make that could go wrong.
    fn look_at_uplink(&mut self, now: Instant) {
        let link = self.dispatch.link();
        let is_in_doubt = std::mem::replace(&mut self.looked_in, link) != link && link != LinkPhase::Up;
        if !is_in_doubt && !self.uplinks.is_due(now) {
            return;
        }
        let landmarks = self.dispatch.landmarks();
        let face = |one: &Candidate| net::source_towards(one.addr, self.dispatch.bind(one)?);
        let sources = Sources::of(landmarks.iter().flatten().filter_map(face));
        let landmarks = landmarks.map(|one| one.map(|one| one.addr));
        if let Some((change, uplink)) = self.uplinks.look(landmarks, sources, (now, clock::wall())) {
            tell(change);
            self.hub.uplink.publish(Arc::new(uplink));
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
            let Some(bind) = self.dispatch.bind(&probe.candidate) else {
                debug_assert!(false, "who is probed is served");
                self.endings.push(Ending::LeftOut(probe));
                continue;
            };
            let Ok(place) = self.dispatch.place(&probe) else {
                self.endings.push(Ending::LeftOut(probe));
                continue;
            };
            let plan = self.dispatch.plan(&probe);
            match self.connector.start(place, &probe, plan, bind) {
                Start::Begun => {}
                Start::Ended(sample) => self.endings.push(Ending::Ended(sample)),
                Start::NoSource(error) => {
                    if net::is_without_source(&error) && self.homeless.begins(clock::now()) {
                        log::warn!(target: "tcp_forwarder::probing", "probes are left out: {error}");
                    }
                    self.endings.push(Ending::LeftOut(probe));
                }
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

fn tell(change: Change) {
    let words = match change {
        Change::New => {
            "the route to the network has changed: what was learned is put aside, and all is probed anew"
        }
        Change::Back => {
            "the route to the network is a former one again: what was learned there is taken up and confirmed"
        }
        Change::Slept => "this machine has slept: all is probed anew",
    };
    log::info!(target: "tcp_forwarder::probing", "{words}");
}
