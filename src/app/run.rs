//! A running process, and its end.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use log::info;

use super::error::AppError;
use super::handle::Handle;
use super::threads::Occurrence;
use crate::admin::AdminHandle;
use crate::reactor::Farewell;

/// A running process.
#[derive(Debug)]
pub struct App {
    /// The address of the metrics port, as it was at the start.
    pub metrics_addr: Option<SocketAddr>,
    pub(super) handle: Handle,
    pub(super) occurrences: Receiver<Occurrence>,
    pub(super) reactors: Vec<JoinHandle<Option<Farewell>>>,
    pub(super) background: Vec<JoinHandle<Option<()>>>,
    pub(super) admin: (JoinHandle<Option<()>>, AdminHandle),
}

impl App {
    /// Asks this process for something.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The addresses that connections are accepted on, of all services.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<SocketAddr> {
        let directory = self.handle.hub().directory.load();
        directory.listening.iter().map(|one| one.bound).collect()
    }

    /// Runs until it is asked to stop and every relay has ended.
    ///
    /// # Errors
    /// [`AppError::ThreadEnded`] when a thread ended by itself, after which the process cannot go on; and when a
    /// reactor failed while it was stopping, which cut its relays.
    pub fn run(self) -> Result<Farewell, AppError> {
        // A stop that was heard of while the process started is not told again.
        if !self.handle.hub().is_stopping()
            && let Ok(Occurrence::ThreadEnded { name, why }) = self.occurrences.recv()
        {
            self.handle.hub().stop();
            return Err(AppError::ThreadEnded { name, why });
        }
        info!("stopping: listeners are closed, relays may finish");
        let mut farewell = Farewell::default();
        let mut failed = 0;
        for reactor in self.reactors {
            match reactor.join() {
                Ok(Some(one)) => {
                    farewell.finished += one.finished;
                    farewell.cut += one.cut;
                }
                Ok(None) | Err(_) => failed += 1,
            }
        }
        for thread in self.background {
            drop(thread.join());
        }
        let (thread, admin) = self.admin;
        admin.stop();
        drop(thread.join());
        info!(
            "stopped: {} connections finished, {} were cut",
            farewell.finished, farewell.cut
        );
        if failed > 0 {
            return Err(AppError::ThreadEnded {
                name: "reactor".to_owned(),
                why: format!("{failed} failed while they were stopping"),
            });
        }
        Ok(farewell)
    }
}
