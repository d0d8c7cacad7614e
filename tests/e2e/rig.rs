//! A data path without control threads: reactors over a fixed active set, and backends made of closures.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use tcp_forwarder::admission::Admission;
use tcp_forwarder::backend::{ActiveSet, Backend};
use tcp_forwarder::config::{Config, Strategy};
use tcp_forwarder::loadbalancer::LoadBalancer;
use tcp_forwarder::metrics::counters::{Cell, ReactorCounters};
use tcp_forwarder::net;
use tcp_forwarder::reactor::bursts::Burst;
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::reactor::{Farewell, Reactor, Shared};
use tcp_forwarder::relay::bandwidth::Bandwidth;
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::scorer::{LinkView, SampleInbox};
use tcp_forwarder::shutdown::Shutdown;
use tcp_forwarder::snapshot::Published;

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
}

/// Reactors over a fixed active set.
pub struct Rig {
    pub addr: SocketAddr,
    pub shared: Arc<Shared>,
    pub wakers: Vec<Arc<mio::Waker>>,
    threads: Vec<JoinHandle<std::io::Result<Farewell>>>,
}

impl Rig {
    /// Starts reactors as `config` says, with every pool at its smallest size.
    pub fn start(config: &Config, backends: &[SocketAddr], reactors: usize) -> Self {
        let active = Arc::new(Published::new(set_of(config, backends, reactors)));
        let shared = Arc::new(Shared {
            server: config.server.clone(),
            pools: config.pools.clone(),
            limits: Limits::of(net::raise_descriptor_limit(), config.server.max_connections),
            admission: Admission::of(&config.server, Instant::now()),
            bandwidth: Bandwidth::of(&config.server.bandwidth, Instant::now()),
            pauses: Burst::new(Instant::now()),
            shortages: Burst::new(Instant::now()),
            active_set: active,
            link: Arc::new(Published::new(LinkView::unknown(Instant::now()))),
            samples: Arc::new(SampleInbox::default()),
            counters: (0..reactors).map(|_| ReactorCounters::default()).collect(),
            balancer: LoadBalancer::new(config.pools.algorithm),
            shutdown: Arc::new(Shutdown::default()),
        });
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listeners = net::listen(listen, reactors, &config.server.keepalive).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let mut wakers = Vec::new();
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let rng = fastrand::Rng::with_seed(index as u64);
            let (reactor, waker) = Reactor::new(index, Arc::clone(&shared), vec![listener], rng).unwrap();
            wakers.push(waker);
            threads.push(std::thread::spawn(move || reactor.run()));
        }
        Self {
            addr,
            shared,
            wakers,
            threads,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Relays closed for this reason so far.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.shared
            .counters
            .iter()
            .map(|one| one.closed[reason as usize].value())
            .sum()
    }

    pub fn active(&self) -> u64 {
        self.sum_counters(|one| &one.active)
    }

    pub fn sum_counters(&self, cell: impl Fn(&ReactorCounters) -> &Cell) -> u64 {
        self.shared.counters.iter().map(|one| cell(one).value()).sum()
    }

    pub fn in_use(&self) -> u32 {
        self.sum(|share| share.in_use.load(Ordering::Relaxed))
    }

    /// Connections sent to backends.
    pub fn requests(&self) -> u64 {
        let set = self.shared.active_set.load();
        let shares = set.backends.iter().flat_map(|backend| backend.shares.iter());
        shares.map(|share| share.requests.load(Ordering::Relaxed)).sum()
    }

    pub fn warm(&self) -> u32 {
        self.sum(|share| share.warm.load(Ordering::Relaxed))
    }

    pub fn hits(&self) -> u64 {
        let set = self.shared.active_set.load();
        set.backends
            .iter()
            .flat_map(|b| b.shares.iter())
            .map(|s| s.hits.load(Ordering::Relaxed))
            .sum()
    }

    pub fn misses(&self) -> u64 {
        let set = self.shared.active_set.load();
        let shares = set.backends.iter().flat_map(|backend| backend.shares.iter());
        shares.map(|share| share.misses.load(Ordering::Relaxed)).sum()
    }

    fn sum(&self, field: impl Fn(&tcp_forwarder::backend::ReactorShare) -> u32) -> u32 {
        let set = self.shared.active_set.load();
        set.backends
            .iter()
            .flat_map(|backend| backend.shares.iter())
            .map(field)
            .sum()
    }

    pub fn publish(&self, config: &Config, backends: &[SocketAddr]) {
        let reactors = self.shared.counters.len();
        self.shared
            .active_set
            .publish(Arc::new(set_of(config, backends, reactors)));
        self.wake();
    }

    pub fn wake(&self) {
        for waker in &self.wakers {
            waker.wake().unwrap();
        }
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

    pub fn begin_stop(&self) {
        self.shared.shutdown.begin();
        self.wake();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

fn set_of(config: &Config, backends: &[SocketAddr], reactors: usize) -> ActiveSet {
    let size = match &config.pools.strategy {
        Strategy::Off => 0,
        Strategy::Static { size_per_remote } => *size_per_remote,
        Strategy::Dynamic(dynamic) => dynamic.min_size,
    };
    let backends = backends
        .iter()
        .map(|addr| {
            let backend = Backend::new(*addr, Instant::now(), reactors);
            for share in &backend.shares {
                share
                    .target
                    .store(u32::try_from(size / reactors).unwrap(), Ordering::Relaxed);
            }
            Arc::new(backend)
        })
        .collect();
    ActiveSet { backends }
}
