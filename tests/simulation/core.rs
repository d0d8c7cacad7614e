//! The composition in a loop of virtual time, with its invariants asked at every step.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcp_forwarder::base::clock;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{AccessLog, Dynamic, Pools, Remotes, Server, ServiceName, Sleep, Spec, Strategy};
use tcp_forwarder::scorer::Source;
use tcp_forwarder::scorer::link::Phase;
use tcp_forwarder::service::{Hub, Live, Service};

use super::process::{Process, Thread};
use super::watched::{Before, Watched};
use super::world::{Weather, World};

const REACTORS: usize = 3;

macro_rules! hold {
    ($condition:expr, $($text:tt)*) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use hold;

/// A process with its services in a world.
pub(crate) struct Core {
    pub(crate) world: World,
    pub(crate) process: Process,
    start: Instant,
    rng: fastrand::Rng,
    /// Seconds between two dials to a backend.
    dials_every: u64,
    /// When the selector had its last turn: it evaluates once at a time at which that is due.
    chosen_at: Option<Instant>,
    pub(crate) services: Vec<Watched>,
}

/// The defaults, but that pools are sized less often, as that takes most of the time here; and but for what `change`
/// does.
pub(crate) fn spec(change: impl FnOnce(&mut Spec)) -> Spec {
    let mut spec = Spec {
        server: Server::default(),
        remotes: Remotes::default(),
        pools: Pools {
            strategy: Strategy::Dynamic(dynamic()),
            ..Pools::default()
        },
        sleep: Sleep::default(),
        access_log: AccessLog::default(),
    };
    change(&mut spec);
    spec
}

pub(crate) fn dynamic() -> Dynamic {
    Dynamic {
        interval: Duration::from_secs(5),
        ..Dynamic::default()
    }
}

impl Core {
    /// A process without services.
    pub(crate) fn empty(seed: u64, weather: Weather) -> Self {
        let start = clock::now();
        let hub = Arc::new(Hub::new(REACTORS, start));
        Self {
            world: World::new(seed, weather, start),
            process: Process::new(hub, seed),
            start,
            rng: fastrand::Rng::with_seed(!seed),
            dials_every: if weather == Weather::Stormy { 3 } else { 1 },
            chosen_at: None,
            services: Vec::new(),
        }
    }

    /// One service with everybody on its list; in storms it is configured at random.
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let mut core = Self::empty(seed, weather);
        let spec = spec(|spec| {
            if weather == Weather::Stormy {
                spec.remotes.probing.probe_candidate_count = core.rng.usize(6..25);
                spec.remotes.selector.active_set_size = core.rng.usize(1..6);
            }
        });
        let set = core.world.set.clone();
        core.open("one", spec, set);
        core
    }

    /// Adds a service; published by [`reload`](Self::reload).
    pub(crate) fn open(&mut self, name: &str, spec: Spec, list: CandidateSet) {
        let live = Live::new(Arc::new(list), &spec.remotes.scoring, &self.process.hub.bells);
        let name = ServiceName::parse(name).expect("a name");
        let service = Service::new(name, Arc::new(spec), Arc::new(live), self.now());
        self.services.push(Watched::new(Arc::new(service), self.now()));
    }

    /// Has a service go on under another spec; published by [`reload`](Self::reload).
    pub(crate) fn change(&mut self, place: usize, change: impl FnOnce(&mut Spec)) {
        let now = self.now();
        let watched = &mut self.services[place];
        let mut spec = Spec::clone(&watched.service.spec);
        change(&mut spec);
        watched.service = Arc::new(watched.service.under(Arc::new(spec), now));
        watched.forgive(now);
    }

    /// Gives a service another list, at once.
    pub(crate) fn relist(&mut self, place: usize, list: CandidateSet) {
        let now = self.now();
        let watched = &mut self.services[place];
        watched.service.live.candidates.publish(Arc::new(list));
        watched.follow_list(now);
    }

    /// Publishes the services as they are now.
    pub(crate) fn reload(&self) {
        let services: Vec<_> = self.services.iter().map(|one| Arc::clone(&one.service)).collect();
        self.process.publish(&services);
    }

    /// The only service.
    pub(crate) fn one(&self) -> &Watched {
        &self.services[0]
    }

    pub(crate) fn now(&self) -> Instant {
        self.process.now
    }

    pub(crate) fn phase(&self) -> Phase {
        self.process.hub.link.load().phase
    }

    pub(crate) fn outages(&self) -> u64 {
        self.process.hub.link.load().outages
    }

    /// Initial probing, and the first sets.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        self.reload();
        let sweeps = |one: &Watched| one.spec().remotes.probing.initial.enabled;
        for _ in 0..15 {
            self.second()?;
        }
        for one in self.services.iter().filter(|one| sweeps(one)) {
            hold!(!one.active.is_empty(), "no first set of {:?}", one.service.name);
        }
        Ok(())
    }

    /// One second: what happens in the world, clients, and what the threads make of it.
    pub(crate) fn second(&mut self) -> Result<(), String> {
        let second = (self.now() - self.start).as_secs();
        let until = self.start + Duration::from_secs(second + 1);
        self.world.advance(self.now());
        let is_down = self.phase() == Phase::Down;
        // Traffic by day.
        if second % 86_400 < 57_600 && second.is_multiple_of(self.dials_every) {
            self.dial();
        }
        self.advance(until)?;
        for one in &mut self.services {
            if is_down && self.process.hub.link.load().phase == Phase::Down {
                // Nobody has a right to be probed while nobody can be reached.
                one.excuse_probes(Duration::from_secs(1));
            }
            one.pools_are_sound()?;
            let interval = one.spec().remotes.probing.interval.as_secs().max(1);
            if second.is_multiple_of(interval) {
                one.nobody_starves(until)?;
            }
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, until: Instant) -> Result<(), String> {
        loop {
            while let Some(thread) = self.process.awake()? {
                self.turn(thread)?;
            }
            if !self.process.pass(until) {
                return Ok(());
            }
        }
    }

    /// So much time passes in which nothing was done.
    pub(crate) fn jump(&mut self, gap: Duration) {
        // Whole seconds, so that a second remains one.
        self.process.now += gap;
        self.world.excuse(gap);
        for one in &mut self.services {
            one.excuse(gap);
        }
    }

    fn turn(&mut self, thread: Thread) -> Result<(), String> {
        match thread {
            Thread::Scorer | Thread::Pools => drop(self.process.turn(thread)),
            Thread::Prober => {
                for probe in self.process.turn(thread) {
                    let candidate = probe.candidate;
                    let now = self.now();
                    let one = self.services.iter_mut();
                    let mut one = one.filter(|one| one.service.live.id == candidate.service);
                    let one = one.next().ok_or("a probe of a service that left")?;
                    one.probed(candidate.addr, now)?;
                    let outcome = self.world.connect(candidate.addr, probe.timeout);
                    self.process
                        .connect(candidate, Source::Probe, outcome, probe.timeout);
                }
            }
            Thread::Selector => {
                let before: Vec<Before> = self.services.iter().map(Watched::before).collect();
                self.process.turn(thread);
                self.chosen(&before)?;
            }
        }
        Ok(())
    }

    /// The selector had a turn.
    fn chosen(&mut self, before: &[Before]) -> Result<(), String> {
        let now = self.now();
        let is_down = self.phase() == Phase::Down;
        let passed = now - self.start;
        let is_first = self.chosen_at.replace(now) != Some(now);
        for (one, before) in self.services.iter_mut().zip(before) {
            let has_changed = one.after(before, passed.as_secs(), now)?;
            let interval = one.rules().evaluation_interval;
            let is_due = is_first && passed.as_nanos().is_multiple_of(interval.as_nanos());
            if (has_changed || is_due) && !is_down && !one.active.is_empty() {
                let told = |broken| format!("{}: {broken}", one.service.name.as_str());
                one.the_set_is_sound().map_err(told)?;
                one.the_set_is_good(&self.world, now).map_err(told)?;
            }
        }
        Ok(())
    }

    fn dial(&mut self) {
        let timeout = Duration::from_secs(1);
        for one in &mut self.services {
            one.serve(&mut self.rng);
            for addr in &one.active {
                let outcome = self.world.connect(*addr, timeout);
                self.process
                    .connect(one.candidate(*addr), Source::Dial, outcome, timeout);
            }
        }
    }

    /// The truth about those that a service uses, and all that it could.
    pub(crate) fn ideal(&self, addr: &SocketAddr) -> f64 {
        self.world.truth(addr).ideal()
    }
}
