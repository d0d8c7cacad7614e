//! What is hot, ready to be repeated: each workload is built once, and one step of it is measured.
//!
//! Shared by `micro.rs`, which measures time, and `instructions.rs`, which a script counts instructions of.

pub(crate) mod line;
mod list;
mod request;
pub(crate) mod scale;

use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcp_forwarder::backend::{ActiveSet, Backend};
use tcp_forwarder::base::clock;
use tcp_forwarder::base::timers::Timers;
use tcp_forwarder::config::{Algorithm, LogFormat, Scoring};
use tcp_forwarder::loadbalancer::slow_start::SLOW_START;
use tcp_forwarder::loadbalancer::{LoadBalancer, Seeker};
use tcp_forwarder::relay::half::{End, Half};
use tcp_forwarder::relay::pump::pump;
use tcp_forwarder::relay::readiness::Readiness;
use tcp_forwarder::scorer::{Outcome, Sample, ScoreBoard, Source};
use tcp_forwarder::selector::decide::{Footing, best, by_rank};
use tcp_forwarder::service::{Candidate, ServiceId};

/// Members of the active set and size of the set that is selected: the defaults.
const ACTIVE: u32 = 3;
/// Relays of a process with 20,000 descriptors.
const RELAYS: u32 = 9_000;
/// Candidates of a /16.
const CANDIDATES: u32 = 65_536;
/// Bytes of one read of the reactor.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Something that can be done again and again.
pub(crate) trait Workload {
    /// One step.
    fn step(&mut self);

    /// What else was seen of it, for people.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// The names of all workloads.
pub(crate) const NAMES: [&str; 18] = [
    "access_log_text",
    "access_log_json",
    "pick_least_connections",
    "pick_round_robin",
    "pick_random",
    "pick_two_choices",
    "pick_least_time",
    "pick_source_hash",
    "pump_200_bytes",
    "pump_64_kib",
    "pump_stuck_sink",
    "request_on_a_relay",
    "timers_postpone",
    "timers_expire",
    "score_one_sample_of_65536",
    "select_of_65536",
    "read_list_of_10000_lines",
    "read_list_of_10000_forms",
];

/// Builds a workload by its name: one of [`NAMES`], or a kind of [`scale::KINDS`] and how many there are.
pub(crate) fn build(name: &str) -> Option<Box<dyn Workload>> {
    if let Some((kind, count)) = name.rsplit_once(':') {
        return scale::build(kind, count.parse().ok()?);
    }
    Some(match name {
        "access_log_text" => Box::new(line::Line::new(LogFormat::Text)),
        "access_log_json" => Box::new(line::Line::new(LogFormat::Json)),
        "pick_least_connections" => Box::new(Pick::new(Algorithm::LeastConnections)),
        "pick_round_robin" => Box::new(Pick::new(Algorithm::RoundRobin)),
        "pick_random" => Box::new(Pick::new(Algorithm::Random)),
        "pick_two_choices" => Box::new(Pick::new(Algorithm::TwoChoices)),
        "pick_least_time" => Box::new(Pick::new(Algorithm::LeastTime)),
        "pick_source_hash" => Box::new(Pick::new(Algorithm::SourceHash)),
        "pump_200_bytes" => Box::new(Pump::new(200, usize::MAX)),
        "pump_64_kib" => Box::new(Pump::new(SCRATCH_BYTES, usize::MAX)),
        "pump_stuck_sink" => Box::new(Pump::new(4096, 1024)),
        "request_on_a_relay" => Box::new(request::Request::new().ok()?),
        "timers_postpone" => Box::new(Postpone(Deadlines::new())),
        "timers_expire" => Box::new(Expire(Deadlines::new())),
        "score_one_sample_of_65536" => Box::new(Score(Scored::new())),
        "select_of_65536" => Box::new(Select(Scored::new())),
        "read_list_of_10000_lines" => Box::new(list::Lines::plain()),
        "read_list_of_10000_forms" => Box::new(list::Lines::mixed()),
        _ => return None,
    })
}

/// A connection comes and goes: choose a backend, join it, leave it.
struct Pick {
    balancer: LoadBalancer,
    set: ActiveSet,
    rng: fastrand::Rng,
    now: Instant,
}

impl Pick {
    fn new(algorithm: Algorithm) -> Self {
        let joined = clock::now();
        let backends = (0..ACTIVE)
            .map(|number| {
                let backend = Backend::new(address(number), joined, 1);
                for _ in 0..number {
                    backend.join();
                }
                Arc::new(backend)
            })
            .collect();
        Self {
            balancer: LoadBalancer::new(algorithm, Arc::default()),
            set: ActiveSet::new(backends, Footing::Good),
            rng: fastrand::Rng::with_seed(1),
            now: joined + SLOW_START,
        }
    }
}

impl Workload for Pick {
    fn step(&mut self) {
        let seeker = Seeker {
            client: address(7),
            failed: &[],
            tries: 3,
            reactor: 0,
        };
        let chosen = self
            .balancer
            .choose(black_box(&self.set), &seeker, &mut self.rng, self.now);
        if let Some(backend) = chosen.and_then(|index| self.set.backends.get(index)) {
            backend.join();
            black_box(backend).leave();
        }
    }
}

/// A message goes through one half, between streams in memory.
struct Pump {
    half: Half,
    message: Vec<u8>,
    /// The most that the sink takes at once; after less than it was offered it is full until the next event.
    sink_bytes: usize,
    scratch: Vec<u8>,
}

impl Pump {
    fn new(message_bytes: usize, sink_bytes: usize) -> Self {
        Self {
            half: Half::default(),
            message: vec![7; message_bytes],
            sink_bytes,
            scratch: vec![0; SCRATCH_BYTES],
        }
    }
}

impl Workload for Pump {
    fn step(&mut self) {
        let mut source = Message(&self.message);
        let mut sink = Room(self.sink_bytes);
        let mut from = Readiness::FRESH;
        from.set_readable();
        let mut to = Readiness::FRESH;
        let expected = self.message.len() as u64;
        let mut moved = 0;
        while moved < expected {
            let pumped = pump(
                &mut self.half,
                &mut End {
                    stream: &mut source,
                    ready: &mut from,
                    short_io_blocks: true,
                },
                &mut End {
                    stream: &mut sink,
                    ready: &mut to,
                    short_io_blocks: true,
                },
                &mut self.scratch,
                u64::MAX,
            );
            moved += black_box(pumped.moved);
            to.set_writable();
        }
    }
}

/// Has these bytes, then nothing.
struct Message<'a>(&'a [u8]);

impl Read for Message<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}

/// Takes so many bytes at once.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len().min(self.0))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The idle time-outs of a process full of relays.
struct Deadlines {
    timers: Timers,
    now: Instant,
    turn: u32,
}

impl Deadlines {
    const IDLE: Duration = Duration::from_secs(3600);
    const APART: Duration = Duration::from_millis(1);

    fn new() -> Self {
        let epoch = clock::now();
        let mut deadlines = Self {
            timers: Timers::new(epoch),
            now: epoch,
            turn: 0,
        };
        for _ in 0..RELAYS {
            deadlines.postpone_next();
        }
        deadlines
    }

    fn postpone_next(&mut self) {
        // Steps through all indices, in an order that is not that of the deadlines.
        self.turn = (self.turn + 7_919) % RELAYS;
        self.now += Self::APART;
        self.timers.set(self.turn, self.now + Self::IDLE);
    }
}

/// A relay was active: its deadline moves behind all others.
struct Postpone(Deadlines);

impl Workload for Postpone {
    fn step(&mut self) {
        self.0.postpone_next();
        black_box(self.0.timers.next());
    }
}

/// The earliest deadline passes, and its slot is used again.
struct Expire(Deadlines);

impl Workload for Expire {
    fn step(&mut self) {
        let Some(first) = self.0.timers.next() else { return };
        if let Some(index) = self.0.timers.pop_due(first) {
            self.0.now += Deadlines::APART;
            self.0.timers.set(black_box(index), self.0.now + Deadlines::IDLE);
        }
    }
}

/// A score board on which every candidate was touched.
struct Scored {
    board: ScoreBoard,
    service: ServiceId,
    now: Instant,
    turn: u32,
}

impl Scored {
    fn new() -> Self {
        let now = clock::now();
        let bound = usize::try_from(CANDIDATES).unwrap_or(usize::MAX);
        let mut filled = Self {
            board: ScoreBoard::bounded(Scoring::default(), bound),
            service: ServiceId::fresh(),
            now,
            turn: 0,
        };
        for _ in 0..CANDIDATES {
            filled.sample_next();
        }
        filled
    }

    fn sample_next(&mut self) {
        self.turn = (self.turn + 40_503) % CANDIDATES;
        let outcome = if self.turn.is_multiple_of(10) {
            Outcome::Failure
        } else {
            Outcome::Success(Duration::from_micros(5_000 + u64::from(self.turn) * 10))
        };
        self.board.record(&Sample {
            candidate: Candidate {
                service: self.service,
                addr: address(self.turn),
            },
            outcome,
            heard: tcp_forwarder::scorer::Heard::NotAsked,
            source: Source::Probe,
            began_at: self.now,
            at: self.now,
        });
    }
}

/// One more sample of a candidate that is known.
struct Score(Scored);

impl Workload for Score {
    fn step(&mut self) {
        self.0.sample_next();
        black_box(self.0.board.len());
    }
}

/// One evaluation: score all, take the best.
struct Select(Scored);

impl Workload for Select {
    fn step(&mut self) {
        let count = usize::try_from(ACTIVE).unwrap_or(usize::MAX);
        black_box(best(count, self.0.board.rated(), by_rank, |_| true));
    }
}

fn address(number: u32) -> SocketAddr {
    let [_, _, high, low] = number.to_be_bytes();
    SocketAddr::from(([127, 1, high, low], 80))
}
