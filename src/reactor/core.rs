//! The reactor itself: what one thread of the data path owns.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::{Poll, Waker};

use super::client::Client;
use super::cut::Cut;
use super::due::Due;
use super::farewell::Farewell;
use super::listener::Listener;
use super::mailbox::Mailbox;
use super::queue::Queue;
use super::tenant::Tenant;
use super::time::ReactorTime;
use super::token;
use super::upstream::Upstream;
use crate::base::burst::Burst;
use crate::base::clock;
use crate::base::doorbell::Ring;
use crate::base::published::Reader;
use crate::base::slots::{Key, Slots};
use crate::base::timers::Timers;
use crate::pools::warm::Pool;
use crate::relay::pipe::PipeReserve;
use crate::scorer::LinkView;
use crate::service::traffic::{Gauges, Traffic};
use crate::service::{Directory, Hub, ServiceId};

/// Room for one read.
const SCRATCH_BYTES: usize = 128 * 1024;

/// What reactors log once a burst, over all of them and all services.
#[derive(Debug, Default)]
pub struct Bursts {
    /// Pauses of accepting.
    pub pauses: Burst,
    /// Dials that failed for want of a descriptor or a port.
    pub shortages: Burst,
}

/// One thread of the data path.
#[derive(Debug)]
pub struct Reactor {
    pub(super) index: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) bursts: Arc<Bursts>,
    pub(super) poll: Poll,
    pub(super) directory: Reader<Directory>,
    pub(super) link: Reader<LinkView>,
    /// How often our own link has come back, as far as the pools were told.
    pub(super) recoveries: u64,
    /// By their places; a place may be free.
    pub(super) listeners: Vec<Option<Listener>>,
    pub(super) tenants: Slots<Tenant>,
    /// The tenant of each service that gets new clients.
    pub(super) current: HashMap<ServiceId, Key>,
    /// The last tenant of each service that has left, as long as it is here.
    pub(super) departed: HashMap<ServiceId, Key>,
    /// Room for the services that are to be looked at.
    pub(super) marked: Vec<ServiceId>,
    pub(super) clients: Slots<Client>,
    pub(super) upstreams: Slots<Upstream>,
    pub(super) pools: Slots<Pool<Key>>,
    /// When accepting goes on, by the listeners' places.
    pub(super) listener_timers: Timers,
    /// When the tenant's clients are cut, at a stop.
    pub(super) tenant_timers: Timers,
    /// The one deadline of each client's stage.
    pub(super) client_timers: Timers,
    /// When clients that a limit of bandwidth has paused go on.
    pub(super) resume_timers: Timers,
    pub(super) upstream_timers: Timers,
    /// When a refill may be tried again; of a pool that retired, when its clients are cut.
    pub(super) pool_timers: Timers,
    /// The soonest of all deadlines, as they stood when the present turn was waited for.
    pub(super) next_deadline: Option<Instant>,
    /// Listeners at which connections wait.
    pub(super) due_listeners: Queue<usize>,
    /// Clients that have more to move at once.
    pub(super) due_clients: Queue<Key>,
    /// TLS handshakes that can go on, with clients and backends; each at most once.
    pub(super) due_handshakes: VecDeque<Due>,
    /// Pools that are to be brought to their size.
    pub(super) due_pools: Queue<Key>,
    /// Tenants at whose backends a place may be free.
    pub(super) due_places: Queue<Key>,
    /// Retired pools whose warm connections are to be closed.
    pub(super) closing_pools: Queue<Key>,
    /// Pools whose relays are to be ended.
    pub(super) cuts: VecDeque<Cut>,
    /// Places of listeners that are free.
    pub(super) free_listeners: Vec<usize>,
    /// When all listeners were paused last, for those who wait for a descriptor.
    pub(super) listeners_paused_at: Option<Instant>,
    /// Until when it is not looked again for a warm connection to give up.
    pub(super) nothing_warm_until: Option<Instant>,
    pub(super) scratch: Box<[u8]>,
    /// Room for one line of an access log.
    pub(super) line: Vec<u8>,
    pub(super) pipes: PipeReserve,
    /// What services get whose spec forbids pipes.
    pub(super) no_pipes: PipeReserve,
    pub(super) rng: fastrand::Rng,
    pub(super) time: ReactorTime,
    /// The time of the present turn: the reactor's own, see [`time`](super::time).
    pub(super) now: Instant,
    /// What became of clients since the stop began, once it has.
    pub(super) farewell: Option<Farewell>,
    #[cfg(debug_assertions)]
    pub(super) turns_until_audit: usize,
}

impl Reactor {
    /// A reactor without listeners, of a hub whose directory it follows; its doorbell rings its poll from now on.
    ///
    /// # Errors
    /// When the system gives no poll or waker.
    pub fn new(
        index: usize,
        hub: Arc<Hub>,
        mailbox: Arc<Mailbox>,
        bursts: Arc<Bursts>,
        rng: fastrand::Rng,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), token::BELL)?;
        let directory = Reader::new(Arc::clone(&hub.directory));
        let link = Reader::new(Arc::clone(&hub.link));
        let now = clock::now();
        let reactor = Self {
            index,
            mailbox,
            bursts,
            poll,
            pipes: PipeReserve::of(directory.limits.pipes(hub.gauges.len())),
            no_pipes: PipeReserve::of(0),
            directory,
            recoveries: link.recoveries,
            link,
            listeners: Vec::new(),
            tenants: Slots::default(),
            current: HashMap::new(),
            departed: HashMap::new(),
            marked: Vec::new(),
            clients: Slots::default(),
            upstreams: Slots::default(),
            pools: Slots::default(),
            listener_timers: Timers::new(now),
            tenant_timers: Timers::new(now),
            client_timers: Timers::new(now),
            resume_timers: Timers::new(now),
            upstream_timers: Timers::new(now),
            pool_timers: Timers::new(now),
            next_deadline: None,
            due_listeners: Queue::default(),
            due_clients: Queue::default(),
            due_handshakes: VecDeque::new(),
            due_pools: Queue::default(),
            due_places: Queue::default(),
            closing_pools: Queue::default(),
            cuts: VecDeque::new(),
            free_listeners: Vec::new(),
            listeners_paused_at: None,
            nothing_warm_until: None,
            scratch: vec![0; SCRATCH_BYTES].into(),
            line: Vec::new(),
            rng,
            time: ReactorTime::new(now),
            now,
            farewell: None,
            #[cfg(debug_assertions)]
            turns_until_audit: 0,
            hub,
        };
        if let Some(bell) = reactor.hub.bells.reactors.get(index) {
            bell.attach(waker);
            // Whatever was published before is to be looked at.
            bell.ring();
        }
        Ok(reactor)
    }

    /// What this reactor counts of all services.
    pub(super) fn gauges(&self) -> &Gauges {
        // Made with one entry a reactor; an index beyond them would be a bug worth dying of.
        &self.hub.gauges[self.index]
    }

    /// What it counts of the service of a tenant.
    pub(super) fn traffic(&self, tenant: Key) -> Option<&Traffic> {
        let tenant = self.tenants.get(tenant);
        debug_assert!(tenant.is_some(), "a tenant stays as long as anything of it");
        tenant.map(|tenant| tenant.traffic(self.index))
    }

    /// A client has come or gone: its service is in use.
    pub(super) fn note_client(&self, tenant: Key) {
        let Some(tenant) = self.tenants.get(tenant) else {
            return;
        };
        let since = self.time.clock().saturating_duration_since(self.hub.started_at);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        tenant.traffic(self.index).last_client_micros.set(micros);
        let marks = &tenant.service.live.marks;
        if tenant.clients == 1 {
            // The scorer looks at what its clients get, from now on or once more.
            marks.scorer.set();
        }
        if tenant.slumber.is_asleep() {
            marks.pools.ring();
        }
    }

    /// Has a pool brought to its size at the end of this turn.
    pub(super) fn pool_is_due(&mut self, key: Key) {
        if let Some(pool) = self.pools.get_mut(key)
            && !pool.is_due
        {
            pool.is_due = true;
            self.due_pools.push(key);
        }
    }
}
