//! How each thread of the process is woken. Knows who sleeps, not what for.

use std::sync::Arc;

use crate::base::doorbell::{Doorbell, Listeners};

/// One doorbell a thread.
#[derive(Debug, Clone)]
pub struct Doorbells {
    /// Probes.
    pub prober: Arc<Doorbell>,
    /// Makes scores of samples.
    pub scorer: Arc<Doorbell>,
    /// Chooses active sets.
    pub selector: Arc<Doorbell>,
    /// Sizes pools.
    pub pools: Arc<Doorbell>,
    /// Makes calls that block.
    pub worker: Arc<Doorbell>,
    /// Asks providers.
    pub providers: Arc<Doorbell>,
    /// The main thread, which waits for the first sets, and for the end.
    pub main: Arc<Doorbell>,
    /// The admin port.
    pub admin: Arc<Doorbell>,
    /// Tells the service manager that the process is well.
    pub supervisor: Arc<Doorbell>,
    /// Shares with other processes.
    pub fleet: Arc<Doorbell>,
    /// The reactors, in their order.
    pub reactors: Listeners,
}

impl Doorbells {
    /// Doorbells of a process with so many reactors.
    #[must_use]
    pub fn new(reactors: usize) -> Self {
        Self {
            prober: Arc::default(),
            scorer: Arc::default(),
            selector: Arc::default(),
            pools: Arc::default(),
            worker: Arc::default(),
            providers: Arc::default(),
            main: Arc::default(),
            admin: Arc::default(),
            supervisor: Arc::default(),
            fleet: Arc::default(),
            reactors: (0..reactors).map(|_| Arc::default()).collect(),
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Listeners {
        let control = [
            &self.prober,
            &self.scorer,
            &self.selector,
            &self.pools,
            &self.worker,
            &self.providers,
            &self.main,
            &self.supervisor,
            &self.fleet,
        ];
        control.into_iter().chain(self.reactors.iter()).cloned().collect()
    }
}
