//! The control threads of a process without their threads: the steps that they loop around, with virtual time in the
//! place of the clock and a simulated network in that of sockets. All else is what runs in a real process: the hub, the
//! services, the doorbells, and what each step reads and writes there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcp_forwarder::base::doorbell::Doorbell;
use tcp_forwarder::pools::Scaler;
use tcp_forwarder::probing::Dispatch;
use tcp_forwarder::probing::probe::{Ending, Probe};
use tcp_forwarder::scorer::{Outcome, Sample, Scorer, Source};
use tcp_forwarder::selector::Selector;
use tcp_forwarder::service::{Candidate, Directory, Hub, Service};

/// Probes in flight at once.
const MAX_PROBES: usize = 4_000;

/// So often a thread may be woken at one instant before it is said to spin.
const SPINNING: usize = 100_000;

/// A thread of the control side, in the order in which they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thread {
    Prober,
    Scorer,
    Selector,
    Pools,
}

impl Thread {
    pub(crate) const ALL: [Self; 4] = [Self::Prober, Self::Scorer, Self::Selector, Self::Pools];
}

/// When a thread wants to be woken, and how often it was.
#[derive(Debug, Clone, Copy)]
struct Sleep {
    until: Option<Instant>,
    woken_at: Option<Instant>,
    /// Different instants at which it was woken.
    wakes: usize,
    /// How often in a row at one instant.
    at_once: usize,
}

/// A connect that ends.
#[derive(Debug, Clone, Copy)]
struct Connect {
    candidate: Candidate,
    source: Source,
    outcome: Outcome,
    began_at: Instant,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) hub: Arc<Hub>,
    pub(crate) now: Instant,
    prober: Dispatch,
    scorer: Scorer,
    selector: Selector,
    pools: Scaler,
    sleeps: [Sleep; 4],
    endings: Vec<Ending>,
    /// Connects under way, by when they end and which began first.
    network: BTreeMap<(Instant, u64), Connect>,
    connects: u64,
}

impl Process {
    /// A process that starts now; no thread was woken yet.
    pub(crate) fn new(hub: Arc<Hub>, seed: u64) -> Self {
        let now = hub.started_at;
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            prober: Dispatch::new(Arc::clone(&hub), MAX_PROBES, rng),
            scorer: Scorer::new(Arc::clone(&hub)),
            selector: Selector::new(Arc::clone(&hub)),
            pools: Scaler::new(Arc::clone(&hub)),
            hub,
            now,
            sleeps: [Sleep {
                until: Some(now),
                woken_at: None,
                wakes: 0,
                at_once: 0,
            }; 4],
            endings: Vec::new(),
            network: BTreeMap::new(),
            connects: 0,
        }
    }

    /// Publishes another directory, as a reload does.
    pub(crate) fn publish(&self, services: &[Arc<Service>]) {
        self.hub.directory.replace(|present| {
            Some(Arc::new(Directory {
                services: services.to_vec(),
                ..Directory::empty(present.limits)
            }))
        });
    }

    /// How often a thread was woken; several times at one instant are once.
    pub(crate) fn wakes(&self, thread: Thread) -> usize {
        self.sleeps[thread as usize].wakes
    }

    /// The first thread that is to be woken now.
    pub(crate) fn awake(&mut self) -> Result<Option<Thread>, String> {
        for thread in Thread::ALL {
            let is_rung = self.bell(thread).answer();
            if is_rung && thread == Thread::Prober {
                self.prober.hear(self.now);
            }
            let has_endings = thread == Thread::Prober && !self.endings.is_empty();
            let now = self.now;
            let sleep = &mut self.sleeps[thread as usize];
            if is_rung || has_endings || sleep.until.is_some_and(|until| until <= now) {
                if sleep.woken_at.replace(now) == Some(now) {
                    sleep.at_once += 1;
                } else {
                    (sleep.at_once, sleep.wakes) = (0, sleep.wakes + 1);
                }
                if sleep.at_once > SPINNING {
                    return Err(format!("{thread:?} spins"));
                }
                return Ok(Some(thread));
            }
        }
        Ok(None)
    }

    /// One turn of a thread; the probes that begin, if it is the prober's.
    pub(crate) fn turn(&mut self, thread: Thread) -> Vec<Probe> {
        let mut begins = Vec::new();
        let until = match thread {
            Thread::Prober => self.prober.step(self.now, &mut self.endings, &mut begins),
            Thread::Scorer => self.scorer.step(self.now),
            Thread::Selector => self.selector.step(self.now),
            Thread::Pools => self.pools.step(self.now),
        };
        self.sleeps[thread as usize].until = until;
        begins
    }

    /// A connect has begun that will come to this.
    pub(crate) fn connect(
        &mut self,
        candidate: Candidate,
        source: Source,
        outcome: Outcome,
        timeout: Duration,
    ) {
        let ends_at = self.now + outcome.latency().unwrap_or(timeout);
        self.connects += 1;
        let connect = Connect {
            candidate,
            source,
            outcome,
            began_at: self.now,
        };
        self.network.insert((ends_at, self.connects), connect);
    }

    /// Lets time run to the next thing that happens, `until` at most; whether something does.
    pub(crate) fn pass(&mut self, until: Instant) -> bool {
        let sleeps = self.sleeps.iter().filter_map(|sleep| sleep.until);
        let ends = self.network.keys().next().map(|(at, _)| *at);
        let next = sleeps.chain(ends).min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(first) = self.network.first_entry()
            && first.key().0 <= self.now
        {
            let connect = first.remove();
            self.end(connect);
        }
        true
    }

    fn end(&mut self, connect: Connect) {
        let sample = Sample {
            candidate: connect.candidate,
            outcome: connect.outcome,
            heard: tcp_forwarder::scorer::Heard::NotAsked,
            source: connect.source,
            began_at: connect.began_at,
            at: self.now,
        };
        match connect.source {
            Source::Probe | Source::Peer => self.endings.push(Ending::Ended(sample)),
            Source::Dial => self.hub.samples.push(sample),
        }
    }

    fn bell(&self, thread: Thread) -> &Arc<Doorbell> {
        let bells = &self.hub.bells;
        match thread {
            Thread::Prober => &bells.prober,
            Thread::Scorer => &bells.scorer,
            Thread::Selector => &bells.selector,
            Thread::Pools => &bells.pools,
        }
    }
}
