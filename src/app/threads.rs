//! What the threads share, how each of them is made, and who hears of its end.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use log::error;
use mio::Waker;
use mio::net::TcpListener;

use super::{AppError, Occurrence, StopHandle};
use crate::admin::{AdminLoop, ServiceSource};
use crate::admission::Admission;
use crate::backend::ActiveSet;
use crate::candidates::CandidateSet;
use crate::candidates::watch::Watch;
use crate::clock;
use crate::config::{Config, FileProvider};
use crate::loadbalancer::LoadBalancer;
use crate::metrics::counters::{ControlCounters, ReactorCounters};
use crate::pools::{self, Scaler};
use crate::probing::{Links, Prober};
use crate::reactor::bursts::Burst;
use crate::reactor::limits::Limits;
use crate::reactor::{Farewell, Reactor, Shared};
use crate::relay::bandwidth::Bandwidth;
use crate::scorer::link::Phase;
use crate::scorer::{
    FailingDials, LinkDuty, LinkView, LinkWatch, ProbeStats, SampleInbox, ScoreBoard, Scorer,
};
use crate::selector::{Evaluate, Hooks, Selector, Sinks, Sources};
use crate::shutdown::Shutdown;
use crate::snapshot::{Published, Reader};

/// What the threads share.
pub(super) struct Common {
    pub(super) shutdown: Arc<Shutdown>,
    pub(super) occurrences: Sender<Occurrence>,
    pub(super) inbox: Arc<SampleInbox>,
    pub(super) board: Arc<RwLock<ScoreBoard>>,
    pub(super) control: Arc<ControlCounters>,
    pub(super) probes: Arc<ProbeStats>,
    pub(super) link: Arc<Published<LinkView>>,
    pub(super) prober_waker: Option<Arc<Waker>>,
    pub(super) active: Arc<Published<ActiveSet>>,
    pub(super) candidates: Arc<Published<CandidateSet>>,
    pub(super) evaluate: Arc<Evaluate>,
    pub(super) counters: Arc<[ReactorCounters]>,
    pub(super) wakers: Arc<RwLock<Vec<Arc<Waker>>>>,
    pub(super) rng: fastrand::Rng,
    pub(super) started_at: Instant,
}

impl Common {
    pub(super) fn new(
        handle: &StopHandle,
        config: &Config,
        candidates: CandidateSet,
        reactors: usize,
    ) -> Self {
        Self {
            shutdown: Arc::clone(&handle.shutdown),
            occurrences: handle.occurrences.clone(),
            inbox: Arc::default(),
            board: Arc::new(RwLock::new(ScoreBoard::new(config.remotes.scoring.clone()))),
            control: Arc::default(),
            probes: Arc::default(),
            link: Arc::new(Published::new(LinkView::unknown(clock::now()))),
            prober_waker: None,
            active: Arc::new(Published::new(ActiveSet::default())),
            candidates: Arc::new(Published::new(candidates)),
            evaluate: Arc::default(),
            counters: (0..reactors).map(|_| ReactorCounters::default()).collect(),
            wakers: Arc::default(),
            #[expect(clippy::disallowed_methods, reason = "this is the one place that makes seeds")]
            rng: fastrand::Rng::new(),
            started_at: clock::now(),
        }
    }

    /// Starts a thread of the process: if it ends before the stop has begun, the process ends with it.
    fn spawn<T: Send + 'static>(
        &self,
        name: String,
        body: impl FnOnce(&Shutdown) -> Result<T, String> + Send + 'static,
    ) -> Result<JoinHandle<Option<T>>, AppError> {
        let shutdown = Arc::clone(&self.shutdown);
        let mut obituary = Obituary {
            name: name.clone(),
            why: "it panicked".to_owned(),
            shutdown: Arc::clone(&self.shutdown),
            occurrences: self.occurrences.clone(),
        };
        let run = move || {
            let result = body(&shutdown);
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

    pub(super) fn spawn_background(
        &self,
        name: &str,
        body: impl FnOnce(&Shutdown) + Send + 'static,
    ) -> Result<JoinHandle<Option<()>>, AppError> {
        self.spawn(name.to_owned(), move |shutdown| {
            body(shutdown);
            Ok(())
        })
    }

    pub(super) fn serve_admin(&self, port: AdminLoop) -> Result<JoinHandle<Option<()>>, AppError> {
        self.spawn("metrics".to_owned(), move |_| {
            port.run().map_err(|error| error.to_string())
        })
    }

    /// The services of the process, as its status tells them.
    pub(super) fn services(&self, listen_addrs: &[SocketAddr]) -> Arc<Vec<ServiceSource>> {
        Arc::new(vec![ServiceSource {
            name: "default".into(),
            listen_addrs: listen_addrs.to_vec(),
            active: Arc::clone(&self.active),
            counters: Arc::clone(&self.counters),
        }])
    }

    pub(super) fn prober(&mut self, config: &Config, max_probes: usize) -> Result<Prober, AppError> {
        let links = Links {
            candidates: Arc::clone(&self.candidates),
            active: Arc::clone(&self.active),
            board: Arc::clone(&self.board),
            inbox: Arc::clone(&self.inbox),
            link: Arc::clone(&self.link),
        };
        let prober = Prober::new(links, config.remotes.probing.clone(), max_probes, self.rng.fork())
            .map_err(|source| AppError::System {
                what: "poll for probing",
                source,
            })?;
        let waker = prober.waker();
        self.prober_waker = Some(Arc::clone(&waker));
        self.shutdown.on_begin(move || wake(&waker));
        Ok(prober)
    }

    pub(super) fn scorer(&self, config: &Config) -> Scorer {
        let evaluate = Arc::clone(&self.evaluate);
        let inbox = Arc::clone(&self.inbox);
        self.shutdown.on_begin(move || inbox.wake());
        Scorer {
            inbox: Arc::clone(&self.inbox),
            board: Arc::clone(&self.board),
            counters: Arc::clone(&self.control),
            probes: Arc::clone(&self.probes),
            active: Reader::new(Arc::clone(&self.active)),
            candidates: Reader::new(Arc::clone(&self.candidates)),
            failing: FailingDials::new(config.pools.dial_attempts),
            link: self.link_duty(config),
            on_news: Box::new(move || evaluate.ask()),
        }
    }

    fn link_duty(&self, config: &Config) -> LinkDuty {
        let longest = config.remotes.probing.timeout.max(config.pools.dial_timeout);
        let prober = self.prober_waker.clone();
        let reactors = Arc::clone(&self.wakers);
        let announce = move |view: &LinkView| {
            if let Some(prober) = &prober {
                wake(prober);
            }
            if view.phase == Phase::Settling {
                read(&reactors).iter().for_each(|waker| wake(waker));
            }
        };
        LinkDuty::new(
            LinkWatch::new(longest),
            Arc::clone(&self.link),
            Box::new(announce),
        )
    }

    pub(super) fn selector(&self, config: &Config, reactors: usize) -> Selector {
        let evaluate = Arc::clone(&self.evaluate);
        self.shutdown.on_begin(move || evaluate.ask());
        let strategy = config.pools.strategy.clone();
        let wakers = Arc::clone(&self.wakers);
        let inbox = Arc::clone(&self.inbox);
        let hooks = Hooks {
            prepare: Box::new(move |backend| pools::prepare(backend, &strategy)),
            announce: Box::new(move || {
                read(&wakers).iter().for_each(|waker| wake(waker));
                inbox.wake();
            }),
        };
        let sources = Sources {
            candidates: Reader::new(Arc::clone(&self.candidates)),
            board: Arc::clone(&self.board),
        };
        let sinks = Sinks {
            active: Arc::clone(&self.active),
            counters: Arc::clone(&self.control),
            hooks,
        };
        Selector::new(config.remotes.selector.clone(), reactors, sources, sinks)
    }

    pub(super) fn scaler(&self, config: &Config) -> Scaler {
        let wakers = Arc::clone(&self.wakers);
        let active = Reader::new(Arc::clone(&self.active));
        let on_share_moved = move |reactor: usize| {
            if let Some(waker) = read(&wakers).get(reactor) {
                wake(waker);
            }
        };
        Scaler::new(config.pools.strategy.clone(), active, Box::new(on_share_moved))
    }

    pub(super) fn start_reactors(
        &mut self,
        config: &Config,
        limits: Limits,
        rows: Vec<Vec<TcpListener>>,
    ) -> Result<Vec<JoinHandle<Option<Farewell>>>, AppError> {
        let shared = Arc::new(Shared {
            server: config.server.clone(),
            pools: config.pools.clone(),
            limits,
            admission: Admission::of(&config.server, self.started_at),
            bandwidth: Bandwidth::of(&config.server.bandwidth, self.started_at),
            pauses: Burst::new(self.started_at),
            shortages: Burst::new(self.started_at),
            active_set: Arc::clone(&self.active),
            link: Arc::clone(&self.link),
            samples: Arc::clone(&self.inbox),
            counters: Arc::clone(&self.counters),
            balancer: LoadBalancer::new(config.pools.algorithm),
            shutdown: Arc::clone(&self.shutdown),
        });
        let mut reactors = Vec::with_capacity(rows.len());
        for (index, listeners) in rows.into_iter().enumerate() {
            let (reactor, waker) = Reactor::new(index, Arc::clone(&shared), listeners, self.rng.fork())
                .map_err(|source| AppError::System {
                    what: "poll for a reactor",
                    source,
                })?;
            let on_stop = Arc::clone(&waker);
            self.shutdown.on_begin(move || wake(&on_stop));
            self.wakers
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(waker);
            reactors.push(reactor);
        }
        let start = |(index, reactor): (usize, Reactor)| {
            self.spawn(format!("reactor-{index}"), move |_| {
                reactor.run().map_err(|error| error.to_string())
            })
        };
        reactors.into_iter().enumerate().map(start).collect()
    }

    pub(super) fn start_watch(
        &self,
        provider: &FileProvider,
        port: u16,
    ) -> Result<Option<JoinHandle<Option<()>>>, AppError> {
        if !provider.watch {
            return Ok(None);
        }
        let watch = Watch::new(
            provider.path.clone(),
            port,
            Arc::clone(&self.candidates),
            Arc::clone(&self.control),
        );
        self.spawn_background("watch", move |shutdown| watch.run(shutdown))
            .map(Some)
    }
}

/// Says that a thread has ended, when it is dropped; so a panic says it too.
struct Obituary {
    name: String,
    why: String,
    shutdown: Arc<Shutdown>,
    occurrences: Sender<Occurrence>,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        if !self.shutdown.has_begun() {
            let name = std::mem::take(&mut self.name);
            let why = std::mem::take(&mut self.why);
            // Nobody listens any more: the process is past its end already.
            drop(self.occurrences.send(Occurrence::ThreadEnded { name, why }));
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        error!("a thread could not be woken: {error}");
    }
}
