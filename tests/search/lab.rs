//! The control side of a process in a world: what its active set is worth after so many probes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcp_forwarder::base::clock;
use tcp_forwarder::config::{AccessLog, Pools, Remotes, Server, ServiceName, Sleep, Spec, Strategy};
use tcp_forwarder::probing::probe::Errand;
use tcp_forwarder::scorer::{Outcome, Source};
use tcp_forwarder::service::{Hub, Live, Service};

use super::process::{Process, Thread};
use super::rivals::Notes;
use super::worlds::World;

/// One service, with the default settings but for 100 probes in 10 s.
pub struct Lab {
    world: World,
    process: Process,
    service: Arc<Service>,
    rng: fastrand::Rng,
    pub probes: usize,
    /// What its probes have seen.
    pub notes: Notes,
    /// When the probes of rounds began.
    begun: Vec<Instant>,
}

pub fn spec() -> Spec {
    let mut spec = Spec {
        server: Server::default(),
        remotes: Remotes::default(),
        pools: Pools {
            strategy: Strategy::Off,
            ..Pools::default()
        },
        sleep: Sleep::default(),
        access_log: AccessLog::default(),
    };
    spec.remotes.probing.interval = Duration::from_secs(10);
    spec.remotes.probing.probe_candidate_count = 100;
    spec
}

impl Lab {
    pub fn new(world: World, spec: Spec, seed: u64) -> Self {
        let hub = Arc::new(Hub::new(1, clock::now()));
        let list = Arc::new(world.size.set());
        let live = Live::new(list, &spec.remotes.scoring, &hub.bells);
        let name = ServiceName::parse("lab").expect("a name");
        let service = Arc::new(Service::new(name, Arc::new(spec), Arc::new(live), hub.started_at));
        let process = Process::new(hub, seed);
        process.publish(&[Arc::clone(&service)]);
        Self {
            world,
            process,
            service,
            rng: fastrand::Rng::with_seed(!seed),
            probes: 0,
            notes: Notes::default(),
            begun: Vec::new(),
        }
    }

    /// The most probes of rounds that began within a tenth of a second.
    pub fn widest_burst(&self) -> usize {
        let within = |from: &Instant| {
            let until = *from + Duration::from_millis(100);
            self.begun.iter().filter(|at| *at >= from && **at < until).count()
        };
        self.begun.iter().map(within).max().unwrap_or(0)
    }

    pub fn now(&self) -> Instant {
        self.process.now
    }

    /// All is another world from now on.
    pub fn change(&mut self, world: World) {
        self.world = world;
    }

    /// Goes on until so many probes have begun in all.
    pub fn run(&mut self, probes: usize) {
        let until = self.now() + Duration::from_secs(86_400);
        while self.probes < probes {
            while let Some(thread) = self.process.awake().expect("nobody spins") {
                self.turn(thread);
            }
            assert!(self.process.pass(until), "a day is enough");
        }
    }

    fn turn(&mut self, thread: Thread) {
        for probe in self.process.turn(thread) {
            self.probes += 1;
            if matches!(probe.errand, Errand::Round { .. }) {
                self.begun.push(self.process.now);
            }
            let latency = self.world.ask(&probe.candidate.addr, &mut self.rng);
            self.notes.note(probe.candidate.addr, latency);
            let outcome = match latency.filter(|latency| *latency < probe.timeout) {
                Some(latency) => Outcome::Success(latency),
                None => Outcome::Failure,
            };
            self.process
                .connect(probe.candidate, Source::Probe, outcome, probe.timeout);
        }
    }

    /// How often the prober was woken so far.
    pub fn wakes(&self) -> usize {
        self.process.wakes(Thread::Prober)
    }

    /// The present members.
    pub fn members(&self) -> Vec<SocketAddr> {
        let active = self.service.live.active.load();
        active.backends.iter().map(|backend| backend.addr).collect()
    }
}
