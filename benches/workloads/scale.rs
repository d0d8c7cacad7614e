//! What a turn costs beside many others that are idle: services, their backends, relays. The real threads of control and the
//! real reactor, filled without sockets; of relays, whose sockets are too many for one machine, what the reactor keeps of each.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tcp_forwarder::backend::{ActiveSet, Backend};
use tcp_forwarder::base::clock;
use tcp_forwarder::base::doorbell::Ring as _;
use tcp_forwarder::base::slots::{Key, Slots};
use tcp_forwarder::base::timers::Timers;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{ServiceName, Spec, Strategy};
use tcp_forwarder::metrics::{Exporter, Format, Sources};
use tcp_forwarder::pools::Scaler;
use tcp_forwarder::probing::Dispatch;
use tcp_forwarder::reactor::{Bursts, CLIENT_BYTES, Letter, Mailbox, Reactor, UPSTREAM_BYTES};
use tcp_forwarder::scorer::{Heard, Outcome, Sample, Scorer, Source};
use tcp_forwarder::selector::Selector;
use tcp_forwarder::selector::decide::Footing;
use tcp_forwarder::service::{Candidate, Directory, Hub, Live, Service, ServiceId};

use super::Workload;

/// What can be filled, and what one step of it is.
pub(crate) const KINDS: [&str; 8] = [
    "reactor_of_services",  // a ring for one of them: its set is looked at, and its pools
    "pools_of_services",    // the same for the pools thread
    "selector_of_services", // one of them is evaluated
    "scorer_of_services",   // one sample of one of them is taken in
    "scorer_of_failures",   // one that used to answer fails: whose fault is it?
    "prober_of_services",   // something is published of one of them
    "prober_of_lists", // one of them has another list: its candidates, and to whom our own way is looked at
    "reactor_of_relays", // an event of one of them, and another one that comes and goes
];

/// What looks at all of them: a scrape, off the data path; and for comparison a ring for all services at once, which is what each
/// ring cost before there was a ready list.
pub(crate) const OF_ALL: [&str; 2] = ["scrape_of_services", "reactor_of_all_services"];

/// A kind with so many entries.
pub(crate) fn build(kind: &str, count: usize) -> Option<Box<dyn Workload>> {
    Some(match kind {
        "reactor_of_services" => Box::new(Rings::new(count)?),
        "reactor_of_all_services" => Box::new(AllRings(Rings::new(count)?)),
        "pools_of_services" => Box::new(Pools::new(count)?),
        "selector_of_services" => Box::new(Choices::new(count)?),
        "scorer_of_services" => Box::new(Samples::new(count)?),
        "scorer_of_failures" => Box::new(Failures(Samples::new(count)?)),
        "prober_of_services" => Box::new(Probes::new(count)?),
        "prober_of_lists" => Box::new(Relists(Probes::new(count)?)),
        "scrape_of_services" => Box::new(Scrapes::new(count)?),
        "reactor_of_relays" => Box::new(Relays::new(count)),
        _ => return None,
    })
}

/// A process without threads, of one reactor and many services, each with one backend and nothing warm.
struct Crowd {
    hub: Arc<Hub>,
    services: Vec<Arc<Service>>,
    now: Instant,
    turn: usize,
}

impl Crowd {
    fn new(count: usize) -> Option<Self> {
        let now = clock::now();
        let hub = Arc::new(Hub::new(1, now));
        let mut spec = Spec::default();
        spec.pools.strategy = Strategy::Off;
        let spec = Arc::new(spec);
        let list = Arc::new(CandidateSet::parse("127.0.0.1", 80).ok()?);
        let one = |number: usize| {
            let live = Live::new(Arc::clone(&list), &spec.remotes.scoring, &hub.bells);
            let backend = Backend::new(addr(), now, 1);
            live.active
                .publish(Arc::new(ActiveSet::new(vec![Arc::new(backend)], Footing::Good)));
            let name = ServiceName::parse(&format!("s{number}"))?;
            Some(Arc::new(Service::new(
                name,
                Arc::clone(&spec),
                Arc::new(live),
                now,
            )))
        };
        let services = (0..count).map(one).collect::<Option<Vec<_>>>()?;
        let present = hub.directory.load();
        hub.directory.publish(Arc::new(Directory {
            services: services.clone(),
            listening: Vec::new(),
            ..Directory::empty(present.limits)
        }));
        Some(Self {
            hub,
            services,
            now,
            turn: 0,
        })
    }

    /// One after the other, in an order that is not theirs.
    fn next(&mut self) -> &Service {
        self.turn = (self.turn + 7_919) % self.services.len();
        &self.services[self.turn]
    }
}

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 80))
}

/// A reactor, on a thread of its own, which ends with the process.
struct Rings {
    crowd: Crowd,
    mailbox: Arc<Mailbox>,
}

impl Rings {
    fn new(count: usize) -> Option<Self> {
        let crowd = Crowd::new(count)?;
        let hub = Arc::clone(&crowd.hub);
        let mailbox = Arc::new(Mailbox::new(
            Arc::clone(&hub.bells.reactors[0]),
            Arc::clone(&hub.directory),
        ));
        let bursts = Arc::<Bursts>::default();
        let rng = fastrand::Rng::with_seed(1);
        let reactor = Reactor::new(0, Arc::clone(&hub), Arc::clone(&mailbox), bursts, rng).ok()?;
        std::thread::spawn(move || reactor.run());
        // The reactor follows what is published from now on.
        let present = hub.directory.load();
        hub.directory.publish(present);
        let rings = Self { crowd, mailbox };
        rings.wait();
        Some(rings)
    }

    /// Has the reactor look around once more.
    fn wait(&self) {
        let (done, heard) = channel();
        self.mailbox.send(Letter::Follow(done));
        let answer = heard.recv();
        assert!(answer.is_ok(), "the reactor answers: {answer:?}");
    }
}

impl Workload for Rings {
    fn step(&mut self) {
        if let Some(mark) = self.crowd.next().live.marks.reactors.first() {
            mark.ring();
        }
        self.wait();
    }
}

/// The same for all services at once.
struct AllRings(Rings);

impl Workload for AllRings {
    fn step(&mut self) {
        for service in &self.0.crowd.services {
            if let Some(mark) = service.live.marks.reactors.first() {
                mark.set();
            }
        }
        self.0.wait();
        // What was marked is looked at behind the answer.
        self.0.wait();
    }
}

/// The pools thread: a ring for one service.
struct Pools {
    crowd: Crowd,
    scaler: Scaler,
}

impl Pools {
    fn new(count: usize) -> Option<Self> {
        let crowd = Crowd::new(count)?;
        let mut scaler = Scaler::new(Arc::clone(&crowd.hub));
        scaler.step(crowd.now);
        Some(Self { crowd, scaler })
    }
}

impl Workload for Pools {
    fn step(&mut self) {
        self.crowd.next().live.marks.pools.ring();
        black_box(self.scaler.step(self.crowd.now));
    }
}

/// The selector: one service is to be evaluated.
struct Choices {
    crowd: Crowd,
    selector: Selector,
}

impl Choices {
    fn new(count: usize) -> Option<Self> {
        let crowd = Crowd::new(count)?;
        let mut selector = Selector::new(Arc::clone(&crowd.hub));
        selector.step(crowd.now);
        Some(Self { crowd, selector })
    }
}

impl Workload for Choices {
    fn step(&mut self) {
        self.crowd.next().live.evaluation.ask();
        black_box(self.selector.step(self.crowd.now));
    }
}

/// The scorer: one sample of one service.
struct Samples {
    crowd: Crowd,
    scorer: Scorer,
}

impl Samples {
    /// Between two samples: more than reports are left to gather.
    const APART: Duration = Duration::from_secs(1);

    fn new(count: usize) -> Option<Self> {
        let crowd = Crowd::new(count)?;
        let scorer = Scorer::new(Arc::clone(&crowd.hub));
        let mut samples = Self { crowd, scorer };
        // Each service is looked at a few times at first.
        for _ in 0..4 {
            samples.step();
        }
        Some(samples)
    }

    /// One sample of a service.
    fn take(&mut self, service: ServiceId, outcome: Outcome) {
        self.crowd.now += Self::APART;
        let at = self.crowd.now;
        self.crowd.hub.samples.push(Sample {
            candidate: Candidate {
                service,
                addr: addr(),
            },
            outcome,
            heard: Heard::NotAsked,
            source: Source::Probe,
            began_at: at,
            at,
        });
        black_box(self.scorer.step(at));
    }
}

impl Workload for Samples {
    fn step(&mut self) {
        let service = self.crowd.next().live.id;
        self.take(service, Outcome::Success(Duration::from_millis(5)));
    }
}

/// The scorer: one that used to answer fails while nobody else is heard of, so that our own link is in doubt until the next step.
struct Failures(Samples);

impl Workload for Failures {
    fn step(&mut self) {
        let service = self.0.crowd.next().live.id;
        self.0.take(service, Outcome::Success(Duration::from_millis(5)));
        self.0.take(service, Outcome::Failure);
    }
}

/// The prober without sockets, which has one probe under way and begins no other.
struct Probes {
    crowd: Crowd,
    dispatch: Dispatch,
}

impl Probes {
    fn new(count: usize) -> Option<Self> {
        let crowd = Crowd::new(count)?;
        let rng = fastrand::Rng::with_seed(1);
        let mut dispatch = Dispatch::new(Arc::clone(&crowd.hub), 1, rng);
        dispatch.hear(crowd.now);
        Some(Self { crowd, dispatch })
    }
}

impl Workload for Probes {
    fn step(&mut self) {
        self.crowd.next().live.marks.prober.ring();
        self.dispatch.hear(self.crowd.now);
        let (mut endings, mut begins) = (Vec::new(), Vec::new());
        black_box(self.dispatch.step(self.crowd.now, &mut endings, &mut begins));
    }
}

/// The prober, when one service has another list.
struct Relists(Probes);

impl Workload for Relists {
    fn step(&mut self) {
        let list = self.0.crowd.next().live.candidates.load();
        self.0.crowd.services[self.0.crowd.turn]
            .live
            .candidates
            .publish(list);
        self.0.dispatch.hear(self.0.crowd.now);
        black_box(self.0.dispatch.landmarks());
    }
}

/// Whoever scrapes metrics, which tell of each service.
struct Scrapes {
    exporter: Exporter,
    bytes: usize,
}

impl Scrapes {
    fn new(count: usize) -> Option<Self> {
        let sources = Sources {
            hub: Crowd::new(count)?.hub,
            bad_requests: Arc::default(),
        };
        let exporter = Exporter::new(sources).ok()?;
        Some(Self { exporter, bytes: 0 })
    }
}

impl Workload for Scrapes {
    fn step(&mut self) {
        self.bytes = self.exporter.text(Format::Text).iter().map(String::len).sum();
    }

    fn remark(&self) -> Option<String> {
        Some(format!("{} bytes of text", self.bytes))
    }
}

/// What a reactor keeps of relays: a place in each slab, and a deadline.
struct Relays {
    clients: Slots<Room<CLIENT_BYTES>>,
    upstreams: Slots<Room<UPSTREAM_BYTES>>,
    timers: Timers,
    keys: Vec<(Key, Key)>,
    now: Instant,
    turn: usize,
    /// How long the slowest of all took to come, and it alone.
    slowest: Duration,
}

/// As large as what stands in its place.
struct Room<const BYTES: usize>([u8; BYTES]);

impl Relays {
    const IDLE: Duration = Duration::from_secs(3600);

    fn new(count: usize) -> Self {
        let now = clock::now();
        let mut relays = Self {
            clients: Slots::default(),
            upstreams: Slots::default(),
            timers: Timers::new(now),
            keys: Vec::with_capacity(count + 1),
            now,
            turn: 0,
            slowest: Duration::ZERO,
        };
        for _ in 0..count {
            let began_at = clock::now();
            relays.come();
            relays.slowest = relays.slowest.max(began_at.elapsed());
        }
        relays
    }

    fn come(&mut self) {
        self.now += Duration::from_micros(100);
        let client = self.clients.insert(Room([1; CLIENT_BYTES]));
        let upstream = self.upstreams.insert(Room([1; UPSTREAM_BYTES]));
        if let (Ok(client), Ok(upstream)) = (client, upstream) {
            self.timers.set(client.index(), self.now + Self::IDLE);
            self.keys.push((client, upstream));
        }
    }

    fn go(&mut self) {
        if let Some((client, upstream)) = self.keys.pop() {
            self.timers.clear(client.index());
            self.clients.remove(client);
            self.upstreams.remove(upstream);
        }
    }
}

impl Workload for Relays {
    fn step(&mut self) {
        self.turn = (self.turn + 7_919) % self.keys.len();
        let (client, upstream) = self.keys[self.turn];
        let room = self.clients.get_mut(client).map(|room| &mut room.0[..64]);
        room.into_iter()
            .flatten()
            .for_each(|byte| *byte = byte.wrapping_add(1));
        black_box(self.upstreams.get_mut(upstream).map(|room| room.0[0]));
        self.come();
        black_box(self.timers.next());
        black_box(self.timers.pop_due(self.now));
        self.go();
    }

    fn remark(&self) -> Option<String> {
        let micros = self.slowest.as_micros();
        Some(format!("slowest to come: {micros} us"))
    }
}
