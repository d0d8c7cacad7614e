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
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use log::info;

use crate::admin::AdminHandle;
use crate::backend::ActiveSet;
use crate::candidates::CandidateSet;
use crate::clock;
use crate::config::Config;
use crate::net;
use crate::reactor::Farewell;
use crate::reactor::limits::{self, Limits};
use crate::scorer::ScoreBoard;
use crate::shutdown::Shutdown;
use crate::snapshot::Published;

mod ports;
mod threads;

use ports::{listen, open_admin, reserve_ports};
use threads::Common;

/// Descriptors of a reactor's poll and its waker.
const POLL_DESCRIPTORS: usize = 2;

/// Descriptors without which nobody is served: a client and its backend, one that waits, a probe, a scrape and what
/// it reads, the list.
const FEWEST_DESCRIPTORS: usize = 8;

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
    metrics: (JoinHandle<Option<()>>, AdminHandle),
}

impl App {
    /// Runs until it is asked to stop and every relay has ended.
    ///
    /// # Errors
    /// [`AppError::ThreadEnded`] when a thread ended by itself, after which the process cannot go on; and when a
    /// reactor failed while it was stopping, which cut its relays.
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
        let (thread, admin) = self.metrics;
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

fn start(launch: Launch, config: &Config, candidates: CandidateSet) -> Result<App, AppError> {
    let descriptors = net::raise_descriptor_limit();
    let reactors = reactor_count(config.server.reactors);
    let count = candidates.len();
    let mut common = Common::new(&launch.handle, config, candidates, reactors);
    // Everything that can be refused comes first, so that a refusal finds nothing started.
    let reserved = reserve_ports(config, reactors)?;
    let admin = open_admin(config, &common)?;
    let prober = common.prober(config, limits::max_probes(descriptors))?;
    let room = room_for_connections(descriptors, reactors)?;
    let limits = Limits::of(room, config.server.max_connections);
    info!(
        "{count} candidates, {reactors} reactors, up to {} connections",
        limits.max_connections
    );

    let metrics_addr = admin.metrics_addr;
    if let Some(addr) = metrics_addr {
        info!("metrics on http://{addr}{}", config.metrics.path);
    }
    let services = admin.services;
    let metrics = (common.serve_admin(admin.port)?, admin.handle);
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
    services.publish(common.services(&listen_addrs));
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

/// Descriptors that are left for connections, once all that the process needs by itself has been made but for
/// the polls of reactors.
fn room_for_connections(descriptors: usize, reactors: usize) -> Result<usize, AppError> {
    let refused = |source| AppError::System {
        what: "descriptors for connections",
        source,
    };
    let in_use = net::descriptors_in_use().map_err(refused)?;
    let room = descriptors.saturating_sub(in_use + reactors * POLL_DESCRIPTORS);
    if room < FEWEST_DESCRIPTORS {
        let why =
            format!("the limit of {descriptors} leaves {room} of the {FEWEST_DESCRIPTORS} that are needed");
        return Err(refused(io::Error::other(why)));
    }
    Ok(room)
}

fn reactor_count(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
