//! The ordered start.

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use log::{info, warn};

use super::admin::Admin;
use super::assemble::Past;
use super::certificates::{self, Certificates};
use super::error::AppError;
use super::handle::{Errand, Handle};
use super::inherited::Inherited;
use super::journals::{self, Journals};
use super::lists::{self, Lists};
use super::ports;
use super::run::App;
use super::supervise;
use super::threads::{Occurrence, Spawner};
use super::worker::{Watches, Worker, status};
use crate::backend::Backend;
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::config::Config;
use crate::handover::{Claim, Predecessor};
use crate::net;
use crate::pools::Scaler;
use crate::probing::Prober;
use crate::providers::Providers;
use crate::reactor::limits::{self, Limits};
use crate::reactor::{Bursts, Farewell, Mailbox, Reactor};
use crate::scorer::Scorer;
use crate::selector::Selector;
use crate::service::{Directory, Hub, Phase, Service};
use crate::state::Keeper;
use crate::systemd::{Notice, Notifier};

/// Descriptors of a reactor's poll and its waker.
const POLL_DESCRIPTORS: usize = 2;

/// Descriptors without which nobody is served: a client and its backend, one that waits, a probe, a scrape and what
/// it reads, the list.
const FEWEST_DESCRIPTORS: usize = 8;

/// Longest wait for warm connections before another process hands over, and between two looks.
const WARM_PATIENCE: Duration = Duration::from_secs(2);
const WARM_STEP: Duration = Duration::from_millis(10);

/// Warm connections to a backend that are enough to begin with.
const WARM_ENOUGH: u32 = 4;

/// What a process is started with.
#[derive(Debug)]
pub struct Boot {
    /// The configuration.
    pub config: Config,
    /// Where it was read from, if it was: what a reload reads again.
    pub file: Option<PathBuf>,
    /// The candidates of each service.
    pub lists: Lists,
    /// Sockets that listen already.
    pub inherited: Inherited,
}

/// A process that is yet to be started; it can be asked to stop already.
#[derive(Debug)]
pub struct Launch {
    handle: Handle,
    occurrences: Receiver<Occurrence>,
    errands: Receiver<Errand>,
}

impl Launch {
    /// A process with so many reactors; 0 is one per core.
    #[must_use]
    pub fn new(reactors: usize) -> Self {
        let reactors = match reactors {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            configured => configured,
        };
        let hub = Arc::new(Hub::new(reactors, clock::now()));
        let (sender, occurrences) = mpsc::channel();
        let (errand_sender, errands) = mpsc::channel();
        Self {
            handle: Handle {
                spawner: Spawner {
                    hub,
                    occurrences: sender,
                },
                errands: errand_sender,
            },
            occurrences,
            errands,
        }
    }

    /// What asks this process for something.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts everything, in order. Returns once connections are accepted.
    ///
    /// # Errors
    /// When certificates cannot be used, an access log cannot be opened, a port is in use, or the system refuses a thread or
    /// descriptor; nothing runs then.
    pub fn start(self, boot: Boot) -> Result<App, AppError> {
        let hub = Arc::clone(self.handle.hub());
        let certificates = certificates::load(&boot.config).map_err(AppError::Certificates);
        let started = certificates.and_then(|certificates| {
            let journals = journals::open(&boot.config).map_err(AppError::AccessLog)?;
            start(self, boot, (certificates, journals))
        });
        if started.is_err() {
            hub.stop();
        }
        started
    }
}

/// What was made before any thread, because the system could have refused it.
struct Made {
    spawner: Spawner,
    handle: Handle,
    mailboxes: Arc<[Arc<Mailbox>]>,
    reactors: Vec<Reactor>,
    prober: Prober,
    providers: Providers,
    admin: Admin,
    room: usize,
    /// The number of this process in a fleet.
    node: u64,
}

fn start(
    launch: Launch,
    mut boot: Boot,
    (certificates, journals): (Certificates, Journals),
) -> Result<App, AppError> {
    let Launch {
        handle,
        occurrences,
        errands,
    } = launch;
    let hub = Arc::clone(handle.hub());
    let reserved = ports::reserve(&boot.config, &[], &mut boot.inherited, hub.gauges.len())?;
    let made = make(handle, &boot.config, &mut boot.inherited)?;
    let metrics_addr = made.admin.metrics_addr;
    let notifier = Arc::new(Notifier::from_env());
    let spawner = made.spawner.clone();
    let (admin_thread, admin) = made.admin.start(&spawner)?;
    let mut background = start_control(&spawner, made.prober, made.providers)?;
    let (keeper, past) = recall(&hub, (&boot.config, &certificates), &mut boot.lists);
    let mut worker = Worker {
        hub: Arc::clone(&hub),
        mailboxes: made.mailboxes,
        errands,
        file: boot.file,
        ports: reserved.ports.clone(),
        started_reactors: boot.config.process.reactors,
        config: boot.config,
        lists: boot.lists,
        certificates,
        journals,
        room: made.room,
        needs_restart: false,
        admin,
        handle: made.handle.clone(),
        notifier: Arc::clone(&notifier),
        watches: Watches::default(),
        keeper,
        node: Some(made.node),
    };
    worker.publish(&past);
    worker.start_sharing()?;
    let reactors = start_reactors(&spawner, made.reactors)?;
    wait_for_sets(&hub, &occurrences)?;
    let adopted = reserved.adopted();
    let mut opened = reserved.listen()?;
    if let Some(claim) = boot.inherited.claim.take() {
        wait_for_warmth(&hub);
        claim_sockets(claim, adopted)?;
        worker.admin.take_over();
    }
    opened.listen_on_adopted()?;
    worker.ports = opened.deliver(&worker.mailboxes);
    let app = App {
        metrics_addr,
        handle: made.handle,
        occurrences,
        reactors,
        admin: (admin_thread, worker.admin.handle.clone()),
        background: Vec::new(),
    };
    for addr in app.listen_addrs() {
        info!("listening on {addr}");
    }
    background.push(spawner.spawn("worker".to_owned(), move || {
        worker.run();
        Ok(())
    })?);
    notifier.tell(&[
        Notice::MainPid(std::process::id()),
        Notice::Ready,
        Notice::Status(&status(&hub)),
    ]);
    background.extend(supervise::start(&spawner, notifier)?);
    Ok(App { background, ..app })
}

/// Reads what a process before this one knew, and takes up what its providers had said.
fn recall(hub: &Arc<Hub>, made_of: (&Config, &Certificates), lists: &mut Lists) -> (Keeper, Past) {
    let mut keeper = Keeper::new(Arc::clone(hub), &made_of.0.process.state);
    let (state, elapsed) = keeper.recall(clock::wall());
    hub.provided.recall(lists::recall(made_of, lists, &state));
    (keeper, Past { state, elapsed })
}

/// Makes the sockets of another process ours, those at these listen addresses among them.
fn claim_sockets(claim: Claim, adopted: Vec<SocketAddr>) -> Result<(), AppError> {
    let old = claim
        .ready(adopted)
        .map_err(|error| AppError::Control(io::Error::other(error)))?;
    match old {
        Predecessor::Yielded => info!("another process has handed over"),
        Predecessor::Gone => {
            warn!("the other process has ended meanwhile; its sockets are served here alone");
        }
    }
    Ok(())
}

/// Asks the system for all that it can refuse.
fn make(handle: Handle, config: &Config, inherited: &mut Inherited) -> Result<Made, AppError> {
    let spawner = handle.spawner.clone();
    let hub = Arc::clone(&spawner.hub);
    let reactors = hub.gauges.len();
    let descriptors = net::raise_descriptor_limit();
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes seeds")]
    let mut rng = fastrand::Rng::new();
    let admin = Admin::open(&config.process, &hub, inherited)?;
    let prober = Prober::new(Arc::clone(&hub), limits::max_probes(descriptors), rng.fork());
    let prober = prober.map_err(|source| AppError::System {
        what: "poll for probing",
        source,
    })?;
    let ids = RandomState::new();
    let providers = Providers::new(Arc::clone(&hub), rng.fork(), ids).map_err(|source| AppError::System {
        what: "poll for providers",
        source,
    })?;
    let room = room_for_connections(descriptors, reactors)?;
    let limits = Limits::of(room, config.process.max_connections);
    // A stop that has begun already stays.
    hub.directory.replace(|present| {
        let first = || Arc::new(Directory::empty(limits));
        (present.phase == Phase::Serving).then(first)
    });
    info!(
        "{reactors} reactors, up to {} connections",
        limits.max_connections
    );
    let bursts = Arc::<Bursts>::default();
    let mailbox = |bell: &Arc<Doorbell>| Arc::new(Mailbox::new(Arc::clone(bell), Arc::clone(&hub.directory)));
    let mailboxes: Arc<[Arc<Mailbox>]> = hub.bells.reactors.iter().map(mailbox).collect();
    let reactor = |(index, mailbox): (usize, &Arc<Mailbox>)| {
        let (hub, bursts) = (Arc::clone(&hub), Arc::clone(&bursts));
        Reactor::new(index, hub, Arc::clone(mailbox), bursts, rng.fork()).map_err(|source| AppError::System {
            what: "poll for a reactor",
            source,
        })
    };
    let reactors = mailboxes
        .iter()
        .enumerate()
        .map(reactor)
        .collect::<Result<_, _>>()?;
    Ok(Made {
        spawner,
        handle,
        mailboxes,
        reactors,
        prober,
        providers,
        admin,
        room,
        node: rng.u64(1..),
    })
}

/// The threads that decide: one of each for all services.
fn start_control(
    spawner: &Spawner,
    prober: Prober,
    providers: Providers,
) -> Result<Vec<JoinHandle<Option<()>>>, AppError> {
    let hub = || Arc::clone(&spawner.hub);
    let (scorer, selector, scaler) = (Scorer::new(hub()), Selector::new(hub()), Scaler::new(hub()));
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        spawner.spawn(name.to_owned(), move || {
            body();
            Ok(())
        })
    };
    Ok(vec![
        spawn("prober", Box::new(move || prober.run()))?,
        spawn("providers", Box::new(move || providers.run()))?,
        spawn("scorer", Box::new(move || scorer.run()))?,
        spawn("selector", Box::new(move || selector.run()))?,
        spawn("pools", Box::new(move || scaler.run()))?,
    ])
}

fn start_reactors(
    spawner: &Spawner,
    reactors: Vec<Reactor>,
) -> Result<Vec<JoinHandle<Option<Farewell>>>, AppError> {
    let start = |(index, reactor): (usize, Reactor)| {
        spawner.spawn(format!("reactor-{index}"), move || {
            reactor.run().map_err(|error| error.to_string())
        })
    };
    reactors.into_iter().enumerate().map(start).collect()
}

/// Waits until each service has its first active set, or the process is to stop. A service whose providers have not named
/// anybody yet is not waited for: its clients wait, and are served as soon as there is somebody.
fn wait_for_sets(hub: &Hub, occurrences: &Receiver<Occurrence>) -> Result<(), AppError> {
    let has_set = |service: &Arc<Service>| {
        let live = &service.live;
        !live.active.load().backends.is_empty() || live.candidates.load().is_empty()
    };
    let mut directory = hub.directory.load();
    // Each has one, of these and those before: so many sets are so many looks.
    let mut served = 0;
    loop {
        match occurrences.try_recv() {
            Ok(Occurrence::ThreadEnded { name, why }) => return Err(AppError::ThreadEnded { name, why }),
            // The stop itself is in the directory; whoever runs the process is to hear of it too.
            Ok(Occurrence::Stop) | Err(_) => {}
        }
        let present = hub.directory.load();
        if !Arc::ptr_eq(&present, &directory) {
            directory = present;
            served = 0;
        }
        served += directory
            .services
            .iter()
            .skip(served)
            .take_while(|one| has_set(one))
            .count();
        if directory.phase == Phase::Stopping || served == directory.services.len() {
            return Ok(());
        }
        hub.bells.main.wait(None);
    }
}

/// Waits until each backend that is to have warm connections has one for each reactor's share, for a while at most.
fn wait_for_warmth(hub: &Hub) {
    let until = clock::now() + WARM_PATIENCE;
    let is_cold = |backend: &Arc<Backend>| {
        let warm: u32 = backend
            .shares
            .iter()
            .map(|share| share.warm.load(Ordering::Relaxed))
            .sum();
        warm < backend.target.load(Ordering::Relaxed).min(WARM_ENOUGH)
    };
    let all_warm = || {
        let directory = hub.directory.load();
        directory
            .services
            .iter()
            .all(|service| !service.live.active.load().backends.iter().any(is_cold))
    };
    while !all_warm() && clock::now() < until && !hub.is_stopping() {
        hub.bells.main.wait(Some(clock::now() + WARM_STEP));
    }
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
