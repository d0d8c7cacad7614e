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
use super::record::Record;
use super::report::{self, Output, Row};
use super::strain::Strain;
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::candidates::CandidateSet;
use crate::config::{Bind, Scoring};
use crate::net;
use crate::probing::connect::{Connector, Start};
use crate::probing::probe::{Errand, Probe};
use crate::scorer::sample::Sample;
use crate::service::id::{Candidate, ServiceId};
use crate::state::snapshot::SavedAnswer;

/// Probes that begin between two looks at the poll, so that answers are timed when they come.
const STARTS_PER_TURN: usize = 16;
/// Descriptors that are not for probes.
const OTHER_DESCRIPTORS: usize = 64;
/// Pause when descriptors or ports have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);

/// What is scanned, and what a service that gets the result as its state is like.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The candidates.
    pub set: Arc<CandidateSet>,
    /// The name of the service.
    pub service: String,
    /// How it gives points.
    pub scoring: Scoring,
    /// How many members its active set has.
    pub members: usize,
    /// Where connections to them leave from.
    pub bind: Bind,
    /// What its providers have said.
    pub answers: Vec<SavedAnswer>,
}

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
    /// What becomes of that.
    pub output: Output,
    /// What the best are asked for at the end.
    pub download: Option<Target>,
    /// A run with the same seed asks the same candidates, as far as their answers are the same.
    pub seed: Option<u64>,
}

/// Scans a list, until it has found what there is or `is_over`; `bell` wakes it for that. The result in its form.
///
/// # Errors
/// When nobody has answered, what probes are to leave from is not there, the system has no poll or descriptor to give, or
/// its poll fails.
pub fn run(
    subject: &Subject,
    options: &Options,
    bell: &Doorbell,
    is_over: &AtomicBool,
) -> io::Result<Vec<u8>> {
    let mut scan = Scan::new(subject, options, bell)?;
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
    match (options.output, &scan.record) {
        (Output::Rows(form), _) => {
            let row = |(addr, note)| {
                let download = scan.download(addr, is_over);
                let name = subject.set.name_of(&addr).unwrap_or_default().to_owned();
                row(addr, name, note, download)
            };
            let rows: Vec<Row> = best.into_iter().map(row).collect();
            Ok(report::render(&rows, form).into_bytes())
        }
        (Output::State, record) => {
            debug_assert!(record.is_some(), "what is written was recorded");
            let active = best.into_iter().map(|(addr, _)| addr).take(subject.members);
            let file = |record: &Record| {
                let whose = (subject.service.as_str(), subject.answers.clone());
                record.file(whose, active.collect(), clock::now(), clock::wall())
            };
            Ok(record.as_ref().map(file).unwrap_or_default())
        }
    }
}

fn row(addr: SocketAddr, name: String, note: Note, Download { bits, region }: Download) -> Row {
    Row {
        addr,
        name,
        note,
        bits,
        region,
    }
}

struct Scan<'a> {
    options: &'a Options,
    hunt: Hunt,
    /// Where it is for a state file.
    record: Option<Record>,
    pace: Pace,
    strain: Strain,
    connector: Connector,
    bind: Bind,
    /// Why no probe can leave: that does not pass while it waits.
    homeless: Option<io::Error>,
    progress: Progress,
    service: ServiceId,
    rng: fastrand::Rng,
    /// Of its own, for what it chooses depends on the time, which no seed repeats.
    strain_rng: fastrand::Rng,
    began_at: Instant,
    most: u64,
    concurrency: usize,
}

impl<'a> Scan<'a> {
    fn new(subject: &Subject, options: &'a Options, bell: &Doorbell) -> io::Result<Self> {
        let now = clock::now();
        #[expect(clippy::disallowed_methods, reason = "there is no process of threads here")]
        let mut rng = options
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let room = net::raise_descriptor_limit()
            .saturating_sub(OTHER_DESCRIPTORS)
            .max(1);
        let set = &subject.set;
        let most = u64::try_from(set.len()).unwrap_or(u64::MAX).min(options.probes);
        let is_recorded = options.output == Output::State;
        Ok(Self {
            hunt: Hunt::new(Arc::clone(set), options.probes, options.top, now, &mut rng),
            record: is_recorded.then(|| Record::new(subject.scoring.clone())),
            pace: Pace::new(options.rate, now),
            strain: Strain::new(options.rate, now),
            connector: Connector::new(bell)?,
            bind: subject.bind.clone(),
            homeless: None,
            progress: Progress::new(now),
            service: ServiceId::fresh(),
            strain_rng: rng.fork(),
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
            if let Some(error) = self.homeless.take() {
                return Err(error);
            }
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
            let witness = self.witness(now);
            let addr = match witness.map_or_else(|| self.hunt.next(&mut self.rng), Next::Ask) {
                Next::Ask(addr) => addr,
                Next::Wait => return Some(now + self.options.timeout),
                Next::Over => return None,
            };
            self.pace.step(now);
            if !self.start(addr, ended) {
                match witness {
                    Some(addr) => self.strain.put_off(&addr),
                    None => self.hunt.put_off(addr),
                }
                return Some(now + SHORTAGE_PAUSE);
            }
        }
        Some(now)
    }

    /// Who is to be asked about our own link now, if anybody is: nobody any more once the best are proved.
    fn witness(&mut self, now: Instant) -> Option<SocketAddr> {
        let is_looking = self.hunt.end().is_none();
        is_looking
            .then(|| self.strain.next(now, &mut self.strain_rng))
            .flatten()
    }

    /// Downloads from a candidate, if that is asked for.
    fn download(&self, addr: SocketAddr, is_over: &AtomicBool) -> Download {
        let Some(target) = &self.options.download else {
            return Download::default();
        };
        if is_over.load(Ordering::Relaxed) {
            return Download::default();
        }
        net::connect_from(&self.bind, addr, self.options.timeout)
            .and_then(|stream| download(stream, target, is_over))
            .unwrap_or_default()
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
        match self.connector.start(None, &probe, None, &self.bind) {
            Start::Begun => true,
            Start::Ended(sample) => {
                ended.push(sample);
                true
            }
            Start::NoSource(error) => {
                self.homeless = net::is_without_source(&error).then_some(error);
                false
            }
            Start::Exhausted => false,
        }
    }

    fn end(&mut self, sample: &Sample) {
        if let Some(record) = &mut self.record {
            record.take(sample);
        }
        let (addr, latency) = (sample.candidate.addr, sample.outcome.latency());
        if self.strain.ended(addr, latency, sample.at) {
            return self.pace.set_rate(self.strain.rate());
        }
        if let Some(latency) = latency {
            self.strain.heard(addr, latency);
        }
        self.hunt.ended(addr, latency, sample.at, &mut self.rng);
    }
}
