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

/// Those errands, without what a later one does again: a reload reads what those before it would, and a log is opened by
/// its name. A signal asks for both, so they come by turns.
pub(super) fn merged(errands: impl Iterator<Item = Errand>) -> Vec<Errand> {
    let errands: Vec<_> = errands.collect();
    let (mut is_reloaded, mut is_reopened) = (false, false);
    let mut merged: Vec<_> = errands
        .into_iter()
        .rev()
        .filter(|errand| match errand {
            Errand::Reload => !std::mem::replace(&mut is_reloaded, true),
            Errand::ReopenLogs => !std::mem::replace(&mut is_reopened, true),
            Errand::Apply(_) => {
                (is_reloaded, is_reopened) = (false, false);
                true
            }
            #[cfg(unix)]
            Errand::HandOver(_) => {
                (is_reloaded, is_reopened) = (false, false);
                true
            }
        })
        .collect();
    merged.reverse();
    merged
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_errand_does_again_is_left_out() {
        let asked = || [Errand::ReopenLogs, Errand::Reload].into_iter();
        let many = (0..100).flat_map(|_| asked());
        let applied = Errand::Apply(Box::new((Config::default(), Lists::new())));
        let merged = merged(many.chain([applied]).chain(asked()));
        assert!(
            matches!(
                merged.as_slice(),
                [
                    Errand::ReopenLogs,
                    Errand::Reload,
                    Errand::Apply(_),
                    Errand::ReopenLogs,
                    Errand::Reload
                ]
            ),
            "{merged:?}"
        );
    }
}
