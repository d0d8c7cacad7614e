//! When the state file is read and written. Belongs to the worker, the one thread that may wait for a disk.
//!
//! Read once, at the start; written every `state.interval` if something has changed, before a hand-over and at the end. What
//! cannot be read or written is told once and changes nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};

pub use super::collect::Answers;
use super::collect::{Progress, collect, progress};
use super::file::{self, Loaded};
use super::format;
use super::snapshot::{State, wall_ms};
use crate::base::clock;
use crate::config::StateFile;
use crate::service::directory::{Directory, Phase, Service};
use crate::service::hub::Hub;

/// The state file, and what was written there.
#[derive(Debug)]
pub struct Keeper {
    hub: Arc<Hub>,
    rules: StateFile,
    /// As long as the process served: at the end there are none any more.
    services: Vec<Arc<Service>>,
    /// What has been written.
    written: Progress,
    /// Whether providers have said something that has not been written.
    has_answers: bool,
    /// When it is looked at next whether something has changed.
    next: Option<Instant>,
    /// Whether the last attempt failed, and that was told.
    is_failing: bool,
}

impl Keeper {
    /// A keeper of the file that `rules` name, if they do.
    #[must_use]
    pub fn new(hub: Arc<Hub>, rules: &StateFile) -> Self {
        let mut keeper = Self {
            hub,
            rules: StateFile {
                path: None,
                interval: rules.interval,
            },
            services: Vec::new(),
            written: Progress::new(),
            has_answers: false,
            next: None,
            is_failing: false,
        };
        keeper.adopt(rules, clock::now());
        keeper.has_answers = false;
        keeper
    }

    /// Reads what a process before this one knew, as it is worth something at `wall`: with how long ago that was.
    pub fn recall(&mut self, wall: SystemTime) -> (State, Duration) {
        let Some(path) = self.rules.path.clone() else {
            return (State::default(), Duration::ZERO);
        };
        let loaded = file::load(&path);
        let prepared = file::prepare(&path, wall);
        let shown = path.display();
        match loaded {
            Ok(Loaded::State(state)) => {
                let elapsed = state.elapsed(wall);
                let state = state.still_fresh(elapsed);
                tell(&state, elapsed, &path);
                self.check(&path, prepared);
                return (state, elapsed);
            }
            Ok(Loaded::Nothing) => self.check(&path, prepared),
            Ok(Loaded::Broken(why, Ok(aside))) => {
                warn!(
                    "the state file {shown} is not used: {why}; it is now {}",
                    aside.display()
                );
            }
            Ok(Loaded::Broken(why, Err(error))) => {
                self.is_failing = true;
                warn!("the state file {shown} is not used: {why}; it cannot be put aside: {error}");
            }
            Err(error) => {
                self.is_failing = true;
                warn!("the state file {shown} cannot be read: {error}");
            }
        }
        (State::default(), Duration::ZERO)
    }

    /// Follows a configuration: another file is written at the next interval.
    pub fn adopt(&mut self, rules: &StateFile, now: Instant) {
        if self.rules == *rules && self.next.is_some() {
            return;
        }
        if self.rules.path != rules.path {
            self.is_failing = false;
            self.written.clear();
            self.has_answers = true;
        }
        self.rules = rules.clone();
        self.next = self.rules.path.as_ref().map(|_| now + self.rules.interval);
    }

    /// Follows the directory; the last one, which is empty, is none to keep anything of.
    pub fn follow(&mut self, directory: &Directory) {
        if directory.phase == Phase::Serving {
            self.services.clone_from(&directory.services);
        }
    }

    /// Providers have said something.
    pub fn hear_answers(&mut self) {
        self.has_answers = true;
    }

    /// When [`step`](Self::step) is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Writes what has changed, if it is time to; `answers` are what providers have said last.
    pub fn step(&mut self, answers: impl FnOnce() -> Answers, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + self.rules.interval);
            self.write(answers, now);
        }
    }

    /// Writes what has changed since it was written last, if anything has.
    pub fn write(&mut self, answers: impl FnOnce() -> Answers, now: Instant) {
        let Some(path) = self.rules.path.clone() else {
            return;
        };
        let progress = progress(&self.services);
        if progress == self.written && !self.has_answers {
            return;
        }
        let wall = clock::wall();
        let bytes = format::encode(&collect(&self.services, answers(), now, wall));
        let stored = file::store(&path, &bytes, wall);
        if stored.is_ok() {
            self.written = progress;
            self.has_answers = false;
            self.hub.state.written_ms.store(wall_ms(wall), Ordering::Relaxed);
        } else {
            self.hub.state.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.check(&path, stored);
    }

    /// Tells when attempts begin to fail, and when they do not any more.
    fn check(&mut self, path: &Path, attempt: std::io::Result<()>) {
        let shown = path.display();
        let was_failing = std::mem::replace(&mut self.is_failing, attempt.is_err());
        match (attempt, was_failing) {
            (Ok(()), true) => info!("the state file {shown} is written again"),
            (Err(error), false) => warn!("the state file {shown} cannot be written: {error}"),
            (Ok(()), false) | (Err(_), true) => {}
        }
    }
}

fn tell(state: &State, elapsed: Duration, path: &Path) {
    let rows: usize = state.services.values().map(|service| service.rows.len()).sum();
    let (services, seconds) = (state.services.len(), elapsed.as_secs());
    let path = path.display();
    info!("recalled {rows} candidates of {services} services from {path}, saved {seconds} s ago");
}
