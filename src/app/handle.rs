//! How a process is asked for something, from any thread. Does nothing of it.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::lists::Lists;
use super::threads::{Occurrence, Spawner};
use crate::config::Config;
#[cfg(unix)]
use crate::handover::Claimed;
use crate::service::Hub;

/// What the worker is asked for.
#[derive(Debug)]
pub enum Errand {
    /// Read the configuration again, and the lists.
    Reload,
    /// Put this configuration in force, which was made in memory.
    Apply(Box<(Config, Lists)>),
    /// Open the log file again, by its name.
    ReopenLogs,
    /// Give up what a new process has taken, which is ready to serve.
    #[cfg(unix)]
    HandOver(Box<Claimed>),
}

/// Asks a process to stop or to do something else; from any thread, and before it has started too.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) spawner: Spawner,
    pub(super) errands: Sender<Errand>,
}

impl Handle {
    /// Begins the graceful stop.
    pub fn stop(&self) {
        self.spawner.hub.stop();
        self.spawner.tell(Occurrence::Stop);
    }

    /// Has the worker do something.
    pub fn ask(&self, errand: Errand) {
        // Nobody does it any more: the process is past its end already.
        drop(self.errands.send(errand));
        self.spawner.hub.bells.worker.ring();
    }

    /// What all threads share.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.spawner.hub
    }
}
