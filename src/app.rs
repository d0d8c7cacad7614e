//! Composition root: the only place that makes threads, seeds and the start time; ordered start and stop.
//!
//! Start: metrics port, score board, candidates, prober, first active set with its pools, background
//! threads, reactors with their listeners. Whatever can be refused by the system (ports, descriptors) is
//! asked for before the first connection is accepted, and a refusal leaves nothing half started. Stop:
//! [`Shutdown`] wakes everybody; reactors drain; the metrics port ends last.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use log::{error, info};
use mio::Waker;

use crate::backend::ActiveSet;
use crate::candidates::CandidateSet;
use crate::candidates::watch::Watch;
use crate::clock;
use crate::config::{Config, FileProvider};
use crate::loadbalancer::LoadBalancer;
use crate::metrics::counters::{ControlCounters, ReactorCounters};
use crate::metrics::http::{HttpPort, Stopper};
use crate::metrics::{Exporter, Sources as MetricSources};
use crate::net;
use crate::pools::{self, Scaler};
use crate::probing::{Links, Prober};
use crate::reactor::limits::Limits;
use crate::reactor::{Farewell, Reactor, Shared};
use crate::scorer::{FailingDials, ProbeStats, SampleInbox, ScoreBoard, Scorer};
use crate::selector::{Evaluate, Hooks, Selector, Sinks, Sources};
use crate::shutdown::Shutdown;
use crate::snapshot::{Published, Reader};

/// Why the process could not start, or cannot go on.
#[derive(Debug)]
pub enum AppError {
    /// A port could not be opened.
    Listen {
        /// The configuration key that names the address.
        key: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread, poll or descriptor.
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A thread ended that should not have.
    ThreadEnded {
        /// Its name.
        name: String,
        /// Why, if it said so.
        why: String,
    },
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { key, addr, source } => write!(f, "cannot listen on {addr} ({key}): {source}"),
            Self::System { what, source } => write!(f, "cannot start: no {what}: {source}"),
            Self::ThreadEnded { name, why } => write!(f, "thread {name} ended: {why}"),
        }
    }
}

impl std::error::Error for AppError {}

/// What may happen to a running process.
#[derive(Debug)]
enum Occurrence {
    /// It was asked to stop.
    Stop,
    /// A thread ended by itself.
    ThreadEnded { name: String, why: String },
}

/// Asks a running [`App`] to stop; from any thread, and before it has started too.
#[derive(Debug, Clone)]
pub struct StopHandle {
    shutdown: Arc<Shutdown>,
    occurrences: Sender<Occurrence>,
}

impl StopHandle {
    /// Begins the graceful stop.
    pub fn stop(&self) {
        self.shutdown.begin();
        // Nobody listens any more: the process is past its end already.
        drop(self.occurrences.send(Occurrence::Stop));
    }
}

/// A process that is yet to be started; it can be asked to stop already.
#[derive(Debug)]
pub struct Launch {
    handle: StopHandle,
    occurrences: Receiver<Occurrence>,
}

impl Default for Launch {
    fn default() -> Self {
        let (sender, occurrences) = mpsc::channel();
        Self {
            handle: StopHandle {
                shutdown: Arc::default(),
                occurrences: sender,
            },
            occurrences,
        }
    }
}

impl Launch {
    /// What asks this process to stop.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.handle.clone()
    }

    /// Starts everything, in order. Returns once connections are accepted.
    ///
    /// # Errors
    /// When a port is in use or the system refuses a thread or descriptor; nothing runs then.
    pub fn start(self, config: &Config, candidates: CandidateSet) -> Result<App, AppError> {
        let handle = self.handle.clone();
        let started = start(self, config, candidates);
        if started.is_err() {
            handle.shutdown.begin();
        }
        started
    }
}

/// A running process.
#[derive(Debug)]
pub struct App {
    /// The addresses that connections are accepted on.
    pub listen_addrs: Vec<SocketAddr>,
    /// The address of the metrics port.
    pub metrics_addr: Option<SocketAddr>,
    /// The members that connections go to.
    pub active: Arc<Published<ActiveSet>>,
    /// What is known of the candidates.
    pub board: Arc<RwLock<ScoreBoard>>,
    handle: StopHandle,
    occurrences: Receiver<Occurrence>,
    reactors: Vec<JoinHandle<Option<Farewell>>>,
    background: Vec<JoinHandle<Option<()>>>,
    metrics: Option<(JoinHandle<Option<()>>, Stopper)>,
}

impl App {
    /// Asks this process to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.handle.clone()
    }

    /// Runs until it is asked to stop and every relay has ended.
    ///
    /// # Errors
    /// [`AppError::ThreadEnded`] when a thread ended by itself; the process cannot go on then.
    pub fn run(self) -> Result<Farewell, AppError> {
        match self.occurrences.recv() {
            Ok(Occurrence::Stop) | Err(_) => {}
            Ok(Occurrence::ThreadEnded { name, why }) => {
                self.handle.shutdown.begin();
                return Err(AppError::ThreadEnded { name, why });
            }
        }
        info!("stopping: listeners are closed, relays may finish");
        let mut farewell = Farewell::default();
        for reactor in self.reactors {
            match reactor.join() {
                Ok(Some(one)) => {
                    farewell.finished += one.finished;
                    farewell.cut += one.cut;
                }
                Ok(None) | Err(_) => error!("a reactor failed while it was stopping"),
            }
        }
        for thread in self.background {
            drop(thread.join());
        }
        if let Some((thread, stopper)) = self.metrics {
            stopper.stop();
            drop(thread.join());
        }
        info!(
            "stopped: {} connections finished, {} were cut",
            farewell.finished, farewell.cut
        );
        Ok(farewell)
    }
}

/// What the threads share.
struct Common {
    shutdown: Arc<Shutdown>,
    occurrences: Sender<Occurrence>,
    inbox: Arc<SampleInbox>,
    board: Arc<RwLock<ScoreBoard>>,
    control: Arc<ControlCounters>,
    probes: Arc<ProbeStats>,
    active: Arc<Published<ActiveSet>>,
    candidates: Arc<Published<CandidateSet>>,
    evaluate: Arc<Evaluate>,
    counters: Arc<[ReactorCounters]>,
    wakers: Arc<RwLock<Vec<Arc<Waker>>>>,
    rng: fastrand::Rng,
    started_at: Instant,
}

fn start(launch: Launch, config: &Config, candidates: CandidateSet) -> Result<App, AppError> {
    let descriptors = net::raise_descriptor_limit();
    let limits = Limits::of(descriptors, config.server.max_connections);
    let reactors = reactor_count(config.server.reactors);
    info!(
        "{} candidates, {reactors} reactors, up to {} connections",
        candidates.len(),
        limits.max_connections
    );
    let mut common = Common::new(&launch.handle, config, candidates, reactors);
    // Everything that can be refused comes first, so that a refusal finds nothing started.
    let reserved = reserve_ports(config, reactors)?;
    let metrics_port = open_metrics(config, &common)?;
    let prober = common.prober(config, limits.max_probes)?;

    let metrics_addr = metrics_port.as_ref().map(HttpPort::local_addr);
    if let Some(addr) = metrics_addr {
        info!("metrics on http://{addr}{}", config.metrics.path);
    }
    let metrics = metrics_port.map(|port| common.serve_metrics(port)).transpose()?;
    let mut scorer = common.scorer(config);
    let progress = prober.progress();
    let mut background = vec![common.spawn_background("prober", move |shutdown| prober.run(shutdown))?];
    progress.wait_for(config.remotes.selector.active_set_size);

    // The first set is chosen here, from the samples so far, before their thread takes over.
    scorer.apply_waiting();
    let mut selector = common.selector(config, reactors);
    selector.evaluate(clock::now());
    background.push(common.spawn_background("scorer", move |shutdown| scorer.run(shutdown))?);
    let scaler = common.scaler(config);
    let (listen_addrs, rows) = listen(reserved, reactors)?;
    let reactor_threads = common.start_reactors(config, limits, rows)?;
    background.push(common.spawn_background("pools", move |shutdown| scaler.run(shutdown))?);
    let evaluate = Arc::clone(&common.evaluate);
    background.push(common.spawn_background("selector", move |shutdown| selector.run(&evaluate, shutdown))?);
    background.extend(common.start_watch(&config.remotes.provider, config.remotes.default_remote_port)?);
    for addr in &listen_addrs {
        info!("listening on {addr}");
    }
    Ok(App {
        listen_addrs,
        metrics_addr,
        active: common.active,
        board: common.board,
        handle: launch.handle,
        occurrences: launch.occurrences,
        reactors: reactor_threads,
        background,
        metrics,
    })
}

fn reactor_count(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Binds every listen address, so that one in use is known before anything starts; nobody can connect yet.
fn reserve_ports(config: &Config, reactors: usize) -> Result<Vec<net::Reserved>, AppError> {
    let reserve = |addr: &SocketAddr| {
        net::reserve(*addr, reactors, &config.server.keepalive).map_err(|source| refused(*addr, source))
    };
    config.server.listen_addrs.iter().map(reserve).collect()
}

/// Opens the reserved ports: the addresses, and one row of listeners for each reactor.
fn listen(
    reserved: Vec<net::Reserved>,
    reactors: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<mio::net::TcpListener>>), AppError> {
    let mut addrs = Vec::with_capacity(reserved.len());
    let mut rows: Vec<Vec<_>> = (0..reactors).map(|_| Vec::new()).collect();
    for one in reserved {
        let addr = one.addr();
        let listeners = one.listen().map_err(|source| refused(addr, source))?;
        addrs.push(addr);
        for (row, listener) in rows.iter_mut().zip(listeners) {
            row.push(listener);
        }
    }
    Ok((addrs, rows))
}

fn refused(addr: SocketAddr, source: io::Error) -> AppError {
    AppError::Listen {
        key: "server.listen_addr",
        addr,
        source,
    }
}

fn open_metrics(config: &Config, common: &Common) -> Result<Option<HttpPort>, AppError> {
    if !config.metrics.enabled {
        return Ok(None);
    }
    let addr = config.metrics.listen_addr;
    let sources = MetricSources {
        reactors: Arc::clone(&common.counters),
        control: Arc::clone(&common.control),
        active: Arc::clone(&common.active),
        candidates: Arc::clone(&common.candidates),
        board: Arc::clone(&common.board),
        inbox: Arc::clone(&common.inbox),
        probes: Arc::clone(&common.probes),
        algorithm: config.pools.algorithm,
        started_at: common.started_at,
    };
    let refused = |source| AppError::Listen {
        key: "metrics.listen_addr",
        addr,
        source,
    };
    let exporter = Exporter::new(sources).map_err(|error| refused(io::Error::other(error)))?;
    let port = HttpPort::bind(addr, &config.metrics.path, exporter, Arc::clone(&common.control));
    port.map(Some).map_err(refused)
}

impl Common {
    fn new(handle: &StopHandle, config: &Config, candidates: CandidateSet, reactors: usize) -> Self {
        Self {
            shutdown: Arc::clone(&handle.shutdown),
            occurrences: handle.occurrences.clone(),
            inbox: Arc::default(),
            board: Arc::new(RwLock::new(ScoreBoard::new(config.remotes.scoring.clone()))),
            control: Arc::default(),
            probes: Arc::default(),
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

    fn spawn_background(
        &self,
        name: &str,
        body: impl FnOnce(&Shutdown) + Send + 'static,
    ) -> Result<JoinHandle<Option<()>>, AppError> {
        self.spawn(name.to_owned(), move |shutdown| {
            body(shutdown);
            Ok(())
        })
    }

    fn serve_metrics(&self, port: HttpPort) -> Result<(JoinHandle<Option<()>>, Stopper), AppError> {
        let stopper = port.stopper();
        let thread = self.spawn("metrics".to_owned(), move |_| {
            port.run().map_err(|error| error.to_string())
        })?;
        Ok((thread, stopper))
    }

    fn prober(&mut self, config: &Config, max_probes: usize) -> Result<Prober, AppError> {
        let links = Links {
            candidates: Arc::clone(&self.candidates),
            active: Arc::clone(&self.active),
            board: Arc::clone(&self.board),
            inbox: Arc::clone(&self.inbox),
        };
        let prober = Prober::new(links, config.remotes.probing.clone(), max_probes, self.rng.fork())
            .map_err(|source| AppError::System {
                what: "poll for probing",
                source,
            })?;
        let waker = prober.waker();
        self.shutdown.on_begin(move || wake(&waker));
        Ok(prober)
    }

    fn scorer(&self, config: &Config) -> Scorer {
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
            on_failing: Box::new(move || evaluate.ask()),
        }
    }

    fn selector(&self, config: &Config, reactors: usize) -> Selector {
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

    fn scaler(&self, config: &Config) -> Scaler {
        let wakers = Arc::clone(&self.wakers);
        let active = Reader::new(Arc::clone(&self.active));
        let on_share_moved = move |reactor: usize| {
            if let Some(waker) = read(&wakers).get(reactor) {
                wake(waker);
            }
        };
        Scaler::new(config.pools.strategy.clone(), active, Box::new(on_share_moved))
    }

    fn start_reactors(
        &mut self,
        config: &Config,
        limits: Limits,
        rows: Vec<Vec<mio::net::TcpListener>>,
    ) -> Result<Vec<JoinHandle<Option<Farewell>>>, AppError> {
        let shared = Arc::new(Shared {
            server: config.server.clone(),
            pools: config.pools.clone(),
            limits,
            active_set: Arc::clone(&self.active),
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

    fn start_watch(
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
