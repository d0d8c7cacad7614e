//! How each thread is made, and who hears of its end.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use super::error::AppError;
use crate::service::Hub;

/// What may happen to a running process.
#[derive(Debug)]
pub(super) enum Occurrence {
    /// It was asked to stop.
    Stop,
    /// A thread ended by itself.
    ThreadEnded { name: String, why: String },
}

/// Who hears of what happens: the main thread, which is woken.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    pub(super) hub: Arc<Hub>,
    pub(super) occurrences: Sender<Occurrence>,
}

impl Spawner {
    pub(super) fn tell(&self, occurrence: Occurrence) {
        // Nobody listens any more: the process is past its end already.
        drop(self.occurrences.send(occurrence));
        self.hub.bells.main.ring();
    }

    /// Starts a thread of the process: if it ends before the stop has begun, the process ends with it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        name: String,
        body: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<JoinHandle<Option<T>>, AppError> {
        let mut obituary = Obituary {
            name: name.clone(),
            why: "it panicked".to_owned(),
            spawner: self.clone(),
        };
        let run = move || {
            let result = body();
            match &result {
                Ok(_) => "it came to its end too soon".clone_into(&mut obituary.why),
                Err(why) => obituary.why.clone_from(why),
            }
            drop(obituary);
            result.ok()
        };
        std::thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(|source| AppError::System {
                what: "thread",
                source,
            })
    }
}

/// Says that a thread has ended, when it is dropped; so a panic says it too.
struct Obituary {
    name: String,
    why: String,
    spawner: Spawner,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        if !self.spawner.hub.is_stopping() {
            self.spawner.tell(Occurrence::ThreadEnded {
                name: std::mem::take(&mut self.name),
                why: std::mem::take(&mut self.why),
            });
        }
    }
}
