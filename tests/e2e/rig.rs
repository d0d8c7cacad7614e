//! A data path without control threads: reactors, services that a test makes and publishes, and backends made of
//! closures.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tcp_forwarder::access_log::Journal;
use tcp_forwarder::backend::{ActiveSet, Backend, ReactorShare};
use tcp_forwarder::base::counters::Cell;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{ServiceName, Spec};
use tcp_forwarder::net;
use tcp_forwarder::pools::sizing::first_target;
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::reactor::{Bursts, Farewell, Letter, Mailbox, Reactor};
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::selector::decide::Footing;
use tcp_forwarder::service::traffic::Traffic;
use tcp_forwarder::service::{Directory, Hub, ListenerId, Listening, Live, Service};

pub use crate::support::{PATIENCE, wait_for};

/// A listening backend; each connection is served by `serve` in a thread of its own.
pub struct TestBackend {
    pub addr: SocketAddr,
}

impl TestBackend {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { addr }
    }

    /// Sends back what it receives, and finishes when the client has finished.
    pub fn echo() -> Self {
        Self::start(|mut stream| {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count) = stream.read(&mut buffer) {
                if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers every byte with its name.
    pub fn named(name: u8) -> Self {
        Self::start(
            move |mut stream| {
                while stream.read_exact(&mut [0]).is_ok() && stream.write_all(&[name]).is_ok() {}
            },
        )
    }
}

/// An address of 127.0.0.0/8 that no other port of this process has, and most likely no other process: a port that was
/// closed is nobody else's then, and refuses.
pub fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    let block = 128 + std::process::id() % 96;
    Ipv4Addr::from((127 << 24) | (block << 16) | (place + 1))
}

/// Listeners that are to be one reactor's.
pub type Sockets = Vec<(ListenerId, mio::net::TcpListener)>;

/// Reactors of one hub, without control threads.
pub struct Reactors {
    pub hub: Arc<Hub>,
    pub mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<JoinHandle<std::io::Result<Farewell>>>,
}

impl Reactors {
    /// Starts so many, which serve nobody yet.
    pub fn start(count: usize, limits: Limits) -> Self {
        let hub = Arc::new(Hub::new(count, Instant::now()));
        hub.directory.publish(Arc::new(Directory::empty(limits)));
        let bursts = Arc::<Bursts>::default();
        let mailbox = |bell: &Arc<_>| Arc::new(Mailbox::new(Arc::clone(bell), Arc::clone(&hub.directory)));
        let mailboxes: Vec<_> = hub.bells.reactors.iter().map(mailbox).collect();
        let start = |(index, mailbox): (usize, &Arc<Mailbox>)| {
            let rng = fastrand::Rng::with_seed(index as u64);
            let (hub, mailbox, bursts) = (Arc::clone(&hub), Arc::clone(mailbox), Arc::clone(&bursts));
            let reactor = Reactor::new(index, hub, mailbox, bursts, rng).unwrap();
            std::thread::spawn(move || reactor.run())
        };
        let threads = mailboxes.iter().enumerate().map(start).collect();
        Self {
            hub,
            mailboxes,
            threads,
        }
    }

    /// A new service, which is in no directory yet and has no active set.
    pub fn service(&self, name: &str, spec: &Spec) -> Arc<Service> {
        let candidates = CandidateSet::parse("127.0.0.1", 80).unwrap();
        let live = Live::new(Arc::new(candidates), &spec.remotes.scoring, &self.hub.bells);
        let (name, spec) = (ServiceName::parse(name).unwrap(), spec.clone());
        let journal = Journal::open(&spec.access_log).unwrap().map(Arc::new);
        let service = Service::new(name, Arc::new(spec), Arc::new(live), Instant::now());
        Arc::new(service.writing(journal))
    }

    /// Opens a port for a service, in every reactor; nobody is accepted there before a directory says so.
    pub fn open_for(&self, service: &Arc<Service>) -> Listening {
        let (listening, letters) = self.reserve_for(service);
        self.deliver(letters);
        listening
    }

    /// Opens a port for a service, and does not deliver its listeners yet.
    pub fn reserve_for(&self, service: &Arc<Service>) -> (Listening, Vec<Sockets>) {
        let wanted = SocketAddr::from((own_ip(), 0));
        let keepalive = &service.spec.server.keepalive;
        let listeners = net::listen(wanted, self.mailboxes.len(), keepalive).unwrap();
        let listening = Listening {
            id: ListenerId::fresh(),
            wanted,
            bound: listeners[0].local_addr().unwrap(),
            service: Arc::clone(service),
        };
        let letters = listeners
            .into_iter()
            .map(|one| vec![(listening.id, one)])
            .collect();
        (listening, letters)
    }

    /// Delivers its listeners to each reactor.
    pub fn deliver(&self, letters: Vec<Sockets>) {
        for (mailbox, sockets) in self.mailboxes.iter().zip(letters) {
            mailbox.send(Letter::Open(sockets));
        }
    }

    /// Makes these all services there are, and these their listeners.
    pub fn publish(&self, services: &[&Arc<Service>], listening: &[&Listening]) {
        let present = self.hub.directory.load();
        self.hub.directory.publish(Arc::new(Directory {
            services: services.iter().copied().cloned().collect(),
            listening: listening.iter().copied().cloned().collect(),
            ..Directory::empty(present.limits)
        }));
    }

    /// Clients of all services.
    pub fn clients(&self) -> u64 {
        self.hub.gauges.iter().map(|one| one.clients.value()).sum()
    }

    /// Connections to backends, whatever for.
    pub fn upstreams(&self) -> u64 {
        self.hub.gauges.iter().map(|one| one.upstreams.value()).sum()
    }

    pub fn begin_stop(&self) {
        self.hub.stop();
    }

    /// Stops the reactors and says how they ended.
    pub fn stop(mut self) -> Farewell {
        self.begin_stop();
        let mut sum = Farewell::default();
        for thread in self.threads.drain(..) {
            let farewell = thread
                .join()
                .expect("a reactor does not panic")
                .expect("a reactor does not fail");
            sum.finished += farewell.finished;
            sum.cut += farewell.cut;
        }
        sum
    }
}

impl Drop for Reactors {
    fn drop(&mut self) {
        self.begin_stop();
        // A reactor that panicked (its books do not add up, say) fails the test, whatever else that has looked at.
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            let has_ended = matches!(thread.join(), Ok(Ok(_)));
            assert!(has_ended || std::thread::panicking(), "a reactor failed");
        }
    }
}

/// One service under one spec, with a fixed active set.
pub struct Rig {
    pub addr: SocketAddr,
    /// As it was at first.
    pub service: Arc<Service>,
    listening: (ListenerId, SocketAddr),
    reactors: Reactors,
}

impl Rig {
    /// Starts reactors of a service, with every pool at its smallest size.
    pub fn start(spec: &Spec, backends: &[SocketAddr], reactors: usize) -> Self {
        Self::start_with(spec, backends, reactors, 0)
    }

    /// The same, with so many clients at once; 0 is as many as descriptors allow.
    pub fn start_with(spec: &Spec, backends: &[SocketAddr], reactors: usize, max_connections: usize) -> Self {
        let limits = Limits::of(net::raise_descriptor_limit(), max_connections);
        let reactors = Reactors::start(reactors, limits);
        let service = reactors.service("default", spec);
        activate(&service, backends);
        let listening = reactors.open_for(&service);
        reactors.publish(&[&service], &[&listening]);
        Self {
            addr: listening.bound,
            listening: (listening.id, listening.wanted),
            service,
            reactors,
        }
    }

    /// Makes its service this one: it is when this returns.
    pub fn succeed(&self, service: &Arc<Service>) {
        let (id, wanted) = self.listening;
        let listening = Listening {
            id,
            wanted,
            bound: self.addr,
            service: Arc::clone(service),
        };
        self.publish(&[service], &[&listening]);
        drop(listening);
        // The directory has it twice, a reactor once, the caller once.
        wait_for("it is in force", || {
            Arc::strong_count(service) >= 3 + self.mailboxes.len()
        });
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.addr)
    }

    /// The members that connections go to.
    pub fn set(&self) -> Arc<ActiveSet> {
        self.service.live.active.load()
    }

    /// What the reactor with this index counts.
    pub fn traffic(&self, reactor: usize) -> &Traffic {
        &self.service.live.traffic[reactor]
    }

    /// Relays closed for this reason so far.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.sum_counters(|one| &one.closed[reason as usize])
    }

    pub fn active(&self) -> u64 {
        self.sum_counters(|one| &one.active)
    }

    pub fn sum_counters(&self, cell: impl Fn(&Traffic) -> &Cell) -> u64 {
        sum_counters(&self.service, cell)
    }

    pub fn in_use(&self) -> u32 {
        self.sum(|share| share.in_use.load(Ordering::Relaxed))
    }

    /// Connections sent to backends.
    pub fn requests(&self) -> u64 {
        self.sum(|share| share.requests.load(Ordering::Relaxed))
    }

    pub fn warm(&self) -> u32 {
        warm(&self.service)
    }

    pub fn hits(&self) -> u64 {
        self.sum(|share| share.hits.load(Ordering::Relaxed))
    }

    pub fn misses(&self) -> u64 {
        self.sum(|share| share.misses.load(Ordering::Relaxed))
    }

    fn sum<N: std::iter::Sum>(&self, field: impl Fn(&ReactorShare) -> N) -> N {
        sum_shares(&self.set(), field)
    }

    /// Makes these the active set: members that are new, even if their addresses are not.
    pub fn activate(&self, backends: &[SocketAddr]) {
        activate(&self.service, backends);
    }

    /// Stops the reactors and says how they ended.
    pub fn stop(self) -> Farewell {
        self.reactors.stop()
    }
}

impl Deref for Rig {
    type Target = Reactors;

    fn deref(&self) -> &Reactors {
        &self.reactors
    }
}

/// A connection to `addr`, with deadlines.
pub fn connect(addr: SocketAddr) -> TcpStream {
    crate::support::patient(TcpStream::connect(addr).unwrap())
}

/// Makes these the active set of a service: members that are new, with pools at their smallest size.
pub fn activate(service: &Service, backends: &[SocketAddr]) {
    let members = backends.iter().map(|addr| member(service, *addr)).collect();
    publish_set(service, members);
}

/// Makes these the active set of a service.
pub fn publish_set(service: &Service, backends: Vec<Arc<Backend>>) {
    let set = ActiveSet::new(backends, Footing::default());
    service.live.active.publish(Arc::new(set));
}

/// A backend that is yet to be a member of the active set of this service, its pool at its smallest size.
pub fn member(service: &Service, addr: SocketAddr) -> Arc<Backend> {
    let reactors = service.live.traffic.len();
    let backend = Backend::new(addr, Instant::now(), reactors);
    let share = first_target(&service.spec.pools.strategy) / u32::try_from(reactors).unwrap();
    for one in &backend.shares {
        one.target.store(share, Ordering::Relaxed);
    }
    Arc::new(backend)
}

/// One counter of a service over all reactors.
pub fn sum_counters(service: &Service, cell: impl Fn(&Traffic) -> &Cell) -> u64 {
    service.live.traffic.iter().map(|one| cell(one).value()).sum()
}

/// Warm connections to the members of a service.
pub fn warm(service: &Service) -> u32 {
    sum_shares(&service.live.active.load(), |share| {
        share.warm.load(Ordering::Relaxed)
    })
}

/// One number over the members of a set and all reactors.
pub fn sum_shares<N: std::iter::Sum>(set: &ActiveSet, field: impl Fn(&ReactorShare) -> N) -> N {
    let shares = set.backends.iter().flat_map(|backend| backend.shares.iter());
    shares.map(field).sum()
}
