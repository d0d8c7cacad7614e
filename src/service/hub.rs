//! What all threads share, and how each of them is woken.
//!
//! One value for the whole process, made before any thread. It owns nothing that is decided: the directory, the state
//! of our own link, the inbox of samples, the doorbells and the gauges of the reactors.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::directory::{Directory, Phase};
use super::doorbells::Doorbells;
use super::events::Events;
use super::fleet::Fleet;
use super::headcount::Headcount;
use super::provided::Provided;
use super::reloads::Reloads;
use super::traffic::Gauges;
use super::uplink::Uplink;
use crate::base::doorbell::listeners;
use crate::base::published::Published;
use crate::config::Config;
use crate::reactor::limits::Limits;
use crate::scorer::inbox::SampleInbox;
use crate::scorer::link::LinkView;
use crate::systemd::Heartbeats;

/// What all threads share.
#[derive(Debug)]
pub struct Hub {
    /// All services. Written by the worker, and by whoever begins the stop; every thread listens.
    pub directory: Arc<Published<Directory>>,
    /// How our own link stands. Written by the scorer; prober, selector and reactors listen.
    pub link: Arc<Published<LinkView>>,
    /// Which way to the network is in use. Written by the prober; the scorer listens.
    pub uplink: Arc<Published<Uplink>>,
    /// What became of reloads. Written by the worker.
    pub reloads: Arc<Published<Reloads>>,
    /// The configuration that is in force, once one is. Written by the worker.
    pub config: Published<Option<Config>>,
    /// What has happened lately. Everybody tells; the admin port listens.
    pub events: Arc<Events>,
    /// Where probes and dials are reported; the scorer takes them out.
    pub samples: SampleInbox,
    /// What is asked of providers, what they say, and how they fare.
    pub provided: Provided,
    /// What forwarders tell one another.
    pub fleet: Fleet,
    /// How threads are woken.
    pub bells: Doorbells,
    /// Clients of all reactors.
    pub clients: Headcount,
    /// Sockets that each reactor holds.
    pub gauges: Box<[Gauges]>,
    /// Which reactors have answered since they were asked.
    pub heartbeats: Heartbeats,
    /// How the state file fares. Written by the worker.
    pub state: StateWrites,
    /// When the process started.
    pub started_at: Instant,
}

/// What became of attempts to write the state file.
#[derive(Debug, Default)]
pub struct StateWrites {
    /// When one last succeeded, in milliseconds since 1970; 0: never.
    pub written_ms: AtomicU64,
    /// Those that failed.
    pub failures: AtomicU64,
}

impl Hub {
    /// A hub without services, for so many reactors.
    #[must_use]
    pub fn new(reactors: usize, now: Instant) -> Self {
        let bells = Doorbells::new(reactors);
        let of_link = [&bells.prober, &bells.selector, &bells.fleet]
            .into_iter()
            .chain(bells.reactors.iter());
        Self {
            directory: Arc::new(Published::heard_by(bells.all(), Directory::empty(Limits::NONE))),
            link: Arc::new(Published::heard_by(listeners(of_link), LinkView::unknown(now))),
            uplink: Arc::new(Published::heard_by(
                listeners([&bells.scorer]),
                Uplink::first(now),
            )),
            reloads: Arc::new(Published::new(Reloads::default())),
            config: Published::new(None),
            events: Arc::new(Events::heard_at(Arc::clone(&bells.admin))),
            samples: SampleInbox::new(Arc::clone(&bells.scorer)),
            provided: Provided::new(Arc::clone(&bells.worker), &bells.providers),
            fleet: Fleet::new(Arc::clone(&bells.fleet), Arc::clone(&bells.prober)),
            heartbeats: Heartbeats::new(reactors),
            clients: Headcount::default(),
            gauges: (0..reactors).map(|_| Gauges::default()).collect(),
            state: StateWrites::default(),
            bells,
            started_at: now,
        }
    }

    /// Begins the graceful stop: the directory becomes an empty one, which is the last. Later calls change nothing.
    pub fn stop(&self) {
        self.directory.replace(|present| {
            let last = || Arc::new(present.last());
            (present.phase == Phase::Serving).then(last)
        });
    }

    /// Whether the stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.directory.load().phase == Phase::Stopping
    }

    /// Sockets that all reactors hold, clients and backends.
    #[must_use]
    pub fn sockets(&self) -> usize {
        let of_one = |gauges: &Gauges| gauges.clients.value() + gauges.upstreams.value();
        let sum: u64 = self.gauges.iter().map(of_one).sum();
        usize::try_from(sum).unwrap_or(usize::MAX)
    }
}
