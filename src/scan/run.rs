//! The loop of a scan: connects of a hunt at a pace, then downloads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::download::{Download, Target, download};
use super::hunt::{End, Hunt, Next};
use super::notes::Note;
use super::pace::Pace;
use super::progress::{Progress, Standing};
use super::report::{self, Output, Row};
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::candidates::CandidateSet;
use crate::net;
use crate::probing::connect::{Connector, Start};
use crate::probing::probe::{Errand, Probe};
use crate::scorer::sample::Sample;
use crate::service::id::{Candidate, ServiceId};

/// Probes that begin between two looks at the poll, so that answers are timed when they come.
const STARTS_PER_TURN: usize = 16;
/// Descriptors that are not for probes.
const OTHER_DESCRIPTORS: usize = 64;
/// Pause when descriptors or ports have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Probes at most, but for those that prove the best.
    pub probes: u64,
    /// It looks no longer than this.
    pub time: Option<Duration>,
    /// Probes a second at most.
    pub rate: u32,
    /// Probes at once at most.
    pub concurrency: usize,
    /// A connect that takes longer failed.
    pub timeout: Duration,
    /// How many of the best are told.
    pub top: usize,
    /// In which form.
    pub output: Output,
    /// What the best are asked for at the end.
    pub download: Option<Target>,
    /// A run with the same seed asks the same candidates, as far as their answers are the same.
    pub seed: Option<u64>,
}

/// Scans a list, until it has found what there is or `is_over`; `bell` wakes it for that. The result as text.
///
/// # Errors
/// When nobody has answered, the system has no poll or descriptor to give, or its poll fails.
pub fn run(
    set: Arc<CandidateSet>,
    options: &Options,
    bell: &Doorbell,
    is_over: &AtomicBool,
) -> io::Result<String> {
    let mut scan = Scan::new(set, options, bell)?;
    scan.hunt(is_over)?;
    let best = scan.hunt.best();
    let why = scan.hunt.end().map_or("", End::words);
    scan.progress.end(&format!(
        "{} probes in {:.1} s: {why}",
        scan.hunt.begun(),
        (clock::now() - scan.began_at).as_secs_f64()
    ));
    if best.is_empty() {
        return Err(io::Error::other("nobody has answered"));
    }
    let rows: Vec<Row> = best
        .into_iter()
        .map(|(addr, note)| row(addr, note, options, is_over))
        .collect();
    Ok(report::render(&rows, options.output))
}

fn row(addr: SocketAddr, note: Note, options: &Options, is_over: &AtomicBool) -> Row {
    let Download { bits, region } = match &options.download {
        Some(target) if !is_over.load(Ordering::Relaxed) => download(addr, target, options.timeout, is_over),
        Some(_) | None => Download::default(),
    };
    Row {
        addr,
        note,
        bits,
        region,
    }
}

struct Scan<'a> {
    options: &'a Options,
    hunt: Hunt,
    pace: Pace,
    connector: Connector,
    progress: Progress,
    service: ServiceId,
    rng: fastrand::Rng,
    began_at: Instant,
    most: u64,
    concurrency: usize,
}

impl<'a> Scan<'a> {
    fn new(set: Arc<CandidateSet>, options: &'a Options, bell: &Doorbell) -> io::Result<Self> {
        let now = clock::now();
        #[expect(clippy::disallowed_methods, reason = "there is no process of threads here")]
        let mut rng = options
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let room = net::raise_descriptor_limit()
            .saturating_sub(OTHER_DESCRIPTORS)
            .max(1);
        let most = u64::try_from(set.len()).unwrap_or(u64::MAX).min(options.probes);
        Ok(Self {
            hunt: Hunt::new(set, options.probes, options.top, now, &mut rng),
            pace: Pace::new(options.rate, now),
            connector: Connector::new(bell)?,
            progress: Progress::new(now),
            service: ServiceId::fresh(),
            rng,
            began_at: now,
            most,
            concurrency: options.concurrency.min(room),
            options,
        })
    }

    /// Until the hunt is over.
    fn hunt(&mut self, is_over: &AtomicBool) -> io::Result<()> {
        let mut ended = Vec::new();
        loop {
            let now = clock::now();
            if is_over.load(Ordering::Relaxed) {
                self.hunt.stop(End::Interrupted);
            }
            if self.options.time.is_some_and(|time| now - self.began_at >= time) {
                self.hunt.stop(End::Time);
            }
            let Some(until) = self.begin(now, &mut ended) else {
                return Ok(());
            };
            self.connector
                .turn(Some(until.min(self.progress.next_at())), &mut ended)?;
            for sample in ended.drain(..) {
                self.end(&sample);
            }
            let standing = Standing {
                begun: self.hunt.begun(),
                most: self.most,
                best: self.hunt.lowest(),
            };
            self.progress.tell(standing, clock::now());
        }
    }

    /// Begins what is due; when to go on, if it is not over.
    fn begin(&mut self, now: Instant, ended: &mut Vec<Sample>) -> Option<Instant> {
        for _ in 0..STARTS_PER_TURN {
            if self.connector.in_flight() >= self.concurrency {
                return Some(now + self.options.timeout);
            }
            if self.pace.next() > now {
                return Some(self.pace.next());
            }
            match self.hunt.next(&mut self.rng) {
                Next::Ask(addr) => {
                    self.pace.step(now);
                    if !self.start(addr, ended) {
                        return Some(now + SHORTAGE_PAUSE);
                    }
                }
                Next::Wait => return Some(now + self.options.timeout),
                Next::Over => return None,
            }
        }
        Some(now)
    }

    /// Begins one probe; whether there were means for it.
    fn start(&mut self, addr: SocketAddr, ended: &mut Vec<Sample>) -> bool {
        let probe = Probe {
            candidate: Candidate {
                service: self.service,
                addr,
            },
            timeout: self.options.timeout,
            errand: Errand::Sweep,
            port: 0,
            asks: false,
        };
        match self.connector.start(&probe, None) {
            Start::Begun => true,
            Start::Ended(sample) => {
                ended.push(sample);
                true
            }
            Start::Exhausted | Start::NoPort => {
                self.hunt.put_off(addr);
                false
            }
        }
    }

    fn end(&mut self, sample: &Sample) {
        let (addr, latency) = (sample.candidate.addr, sample.outcome.latency());
        self.hunt.ended(addr, latency, sample.at, &mut self.rng);
    }
}
