//! The ordered start.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use log::info;

use super::error::AppError;
use super::lists::Lists;
use super::ports::{self, Inherited, Reservation};
use super::run::{App, Handle};
use super::threads::{Occurrence, Spawner};
use super::worker::{Errand, Services, Worker};
use crate::base::clock;
use crate::config::Config;
use crate::net;
use crate::pools::Scaler;
use crate::probing::Prober;
use crate::reactor::limits::{self, Limits};
use crate::reactor::{Bursts, Farewell, Mailbox, Reactor};
use crate::scorer::Scorer;
use crate::selector::Selector;
use crate::service::{Directory, Hub};

/// Descriptors of a reactor's poll and its waker.
const POLL_DESCRIPTORS: usize = 2;

/// Descriptors without which nobody is served: a client and its backend, one that waits, a probe, a scrape and what
/// it reads, the list.
const FEWEST_DESCRIPTORS: usize = 8;

/// What a process is started with.
#[derive(Debug)]
pub struct Boot {
    /// The configuration.
    pub config: Config,
    /// Where it was read from, if it was: what a reload reads again.
    pub file: Option<PathBuf>,
    /// The candidates of each service.
    pub lists: Lists,
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
    /// When a port is in use or the system refuses a thread or descriptor; nothing runs then.
    pub fn start(self, boot: Boot) -> Result<App, AppError> {
        let hub = Arc::clone(self.handle.hub());
        let started = start(self, boot);
        if started.is_err() {
            hub.stop();
        }
        started
    }
}

fn start(launch: Launch, boot: Boot) -> Result<App, AppError> {
    let descriptors = net::raise_descriptor_limit();
    let Launch { handle, occurrences, errands } = launch;
    let spawner = handle.spawner.clone();
    let hub = Arc::clone(&spawner.hub);
    let reactors = hub.gauges.len();
    // Everything that can be refused comes first, so that a refusal finds nothing started.
    let reservation = ports::reserve(&boot.config, &[], &mut Inherited::default(), reactors)?;
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes seeds")]
    let mut rng = fastrand::Rng::new();
    let prober = Prober::new(Arc::clone(&hub), limits::max_probes(descriptors), rng.fork());
    let prober = prober.map_err(|source| AppError::System {
        what: "poll for probing",
        source,
    })?;
    let room = room_for_connections(descriptors, reactors)?;
    let limits = Limits::of(room, boot.config.process.max_connections);
    hub.directory.replace(|_| Some(Arc::new(Directory::empty(limits))));
    todo(spawner, prober, reservation, rng, errands, handle, occurrences)
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
