//! What the service manager hears while the process runs: that it is well, how it stands, and that it stops.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::error;

use super::error::AppError;
use super::threads::Spawner;
use super::worker::status;
use crate::base::clock;
use crate::systemd::{Notice, Notifier, Watchdog};

/// How often it hears how things stand, where it wants no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);

/// Starts the thread that tells it; none where nobody listens.
pub(super) fn start(
    spawner: &Spawner,
    notifier: Arc<Notifier>,
) -> Result<Option<JoinHandle<Option<()>>>, AppError> {
    if !notifier.is_heard() {
        return Ok(None);
    }
    let hub = Arc::clone(&spawner.hub);
    let watchdog = Watchdog::from_env();
    let body = move || {
        let interval = watchdog.map_or(STATUS_INTERVAL, Watchdog::interval);
        loop {
            // Reloads ring too; who is asked is given the whole interval to answer.
            let due = clock::now() + interval;
            while clock::now() < due && !hub.is_stopping() {
                hub.bells.supervisor.wait(Some(due));
            }
            if hub.is_stopping() {
                break;
            }
            match hub.heartbeats.late() {
                Some(reactor) => error!(
                    "reactor {reactor} has not answered; the service manager is not told that all is well"
                ),
                None if watchdog.is_some() => {
                    notifier.tell(&[Notice::Watchdog, Notice::Status(&status(&hub))]);
                }
                None => notifier.tell(&[Notice::Status(&status(&hub))]),
            }
            if watchdog.is_none() && hub.directory.load().is_asleep() {
                // Nobody waits for their answers, and each would wake a core.
                continue;
            }
            hub.heartbeats.ask();
            hub.bells.reactors.iter().for_each(|bell| bell.ring());
        }
        notifier.tell(&[Notice::Stopping]);
        Ok(())
    };
    spawner.spawn("supervisor".to_owned(), body).map(Some)
}
