//! How each thread of the process is woken. Knows who sleeps, not what for.
//!
//! Threads that serve all services hear with a ring of which service: they look at those, and not at all others.

use std::sync::Arc;

use super::id::ServiceId;
use crate::base::doorbell::{Doorbell, Listeners, Ring, listeners};
use crate::base::ready::{Mark, ReadyList};

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
    pub reactors: Arc<[Arc<Doorbell>]>,
    /// At which services those of these threads are to look that serve all of them.
    pub ready: Arc<Ready>,
}

/// At which services each thread is to look.
#[derive(Debug)]
pub struct Ready {
    /// The prober.
    pub prober: Arc<ReadyList<ServiceId>>,
    /// The scorer.
    pub scorer: Arc<ReadyList<ServiceId>>,
    /// The selector.
    pub selector: Arc<ReadyList<ServiceId>>,
    /// The pools thread.
    pub pools: Arc<ReadyList<ServiceId>>,
    /// The reactors, in their order.
    pub reactors: Box<[Arc<ReadyList<ServiceId>>]>,
}

/// How each thread hears of one service.
#[derive(Debug)]
pub struct Marks {
    /// The prober.
    pub prober: Arc<Mark<ServiceId>>,
    /// The scorer.
    pub scorer: Arc<Mark<ServiceId>>,
    /// The selector.
    pub selector: Arc<Mark<ServiceId>>,
    /// The pools thread.
    pub pools: Arc<Mark<ServiceId>>,
    /// The reactors, in their order.
    pub reactors: Box<[Arc<Mark<ServiceId>>]>,
}

impl Marks {
    /// These threads, and then all reactors, as listeners to something of this service.
    pub fn with_reactors<const N: usize>(&self, others: [Arc<dyn Ring>; N]) -> Listeners {
        let reactor = |mark: &Arc<Mark<ServiceId>>| Arc::clone(mark) as Arc<dyn Ring>;
        others
            .into_iter()
            .chain(self.reactors.iter().map(reactor))
            .collect()
    }
}

impl Doorbells {
    /// Doorbells for a process with this many reactors.
    #[must_use]
    pub fn new(reactors: usize) -> Self {
        let [prober, scorer, selector, pools]: [Arc<Doorbell>; 4] = Default::default();
        let reactors: Arc<[Arc<Doorbell>]> = (0..reactors).map(|_| Arc::default()).collect();
        let of = |bell: &Arc<Doorbell>| Arc::new(ReadyList::of(Arc::clone(bell)));
        let ready = Ready {
            prober: of(&prober),
            scorer: of(&scorer),
            selector: of(&selector),
            pools: of(&pools),
            reactors: reactors.iter().map(of).collect(),
        };
        Self {
            prober,
            scorer,
            selector,
            pools,
            worker: Arc::default(),
            providers: Arc::default(),
            main: Arc::default(),
            admin: Arc::default(),
            supervisor: Arc::default(),
            fleet: Arc::default(),
            reactors,
            ready: Arc::new(ready),
        }
    }

    /// Those of all threads that follow the directory.
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
        listeners(control.into_iter().chain(self.reactors.iter()))
    }

    /// How each thread hears of one service.
    #[must_use]
    pub fn marks(&self, id: ServiceId) -> Marks {
        let of = |list: &Arc<ReadyList<ServiceId>>| Arc::new(list.mark(id));
        let ready = &self.ready;
        Marks {
            prober: of(&ready.prober),
            scorer: of(&ready.scorer),
            selector: of(&ready.selector),
            pools: of(&ready.pools),
            reactors: ready.reactors.iter().map(of).collect(),
        }
    }
}
