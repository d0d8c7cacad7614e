//! A load generator: so many connections a second, and for each the time from the call of `connect` to the
//! first byte of the reply.
//!
//! Open loop: connections begin on their schedule whatever became of those before. One thread inside the
//! namespace, on one poll.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tcp_forwarder::base::clock;

use super::Namespace;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Whom to connect to.
    pub(crate) target: SocketAddr,
    /// Connections begun per second.
    pub(crate) per_second: u32,
    /// For how long connections are begun.
    pub(crate) duration: Duration,
    /// How long a connection stays open after its reply.
    pub(crate) hold: Duration,
    /// After this long without a reply a connection failed.
    pub(crate) patience: Duration,
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// When it began, from the start of the run.
    pub(crate) begun: Duration,
    /// Time from `connect` to the first byte of the reply, or what went wrong.
    pub(crate) first_byte: Result<Duration, ErrorKind>,
    /// The backend that answered, as it names itself.
    pub(crate) backend: Option<IpAddr>,
}

/// Every connection of a run, in order of their beginning.
#[derive(Debug, Clone)]
pub(crate) struct LoadReport {
    pub(crate) samples: Vec<Sample>,
}

/// Times to the first byte; zero when nothing was answered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Percentiles {
    pub(crate) p50: Duration,
    pub(crate) p90: Duration,
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl LoadReport {
    /// The part of the run that began in `[from, to)`.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> Self {
        let inside = |sample: &&Sample| (from..to).contains(&sample.begun);
        let samples = self.samples.iter().filter(inside).cloned().collect();
        Self { samples }
    }

    /// Connections that were not answered.
    pub(crate) fn failed(&self) -> usize {
        let failed = |sample: &&Sample| sample.first_byte.is_err();
        self.samples.iter().filter(failed).count()
    }

    /// Connections answered within `limit`, in thousandths of all that were begun.
    pub(crate) fn per_mille_within(&self, limit: Duration) -> usize {
        let quick = |sample: &&Sample| sample.first_byte.is_ok_and(|time| time <= limit);
        self.samples.iter().filter(quick).count() * 1_000 / self.samples.len().max(1)
    }

    /// Percentiles of those answered.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut times: Vec<_> = self.samples.iter().filter_map(|s| s.first_byte.ok()).collect();
        times.sort_unstable();
        let at = |per_mille: usize| {
            let index = times.len().saturating_sub(1) * per_mille / 1_000;
            times.get(index).copied().unwrap_or_default()
        };
        Percentiles {
            p50: at(500),
            p90: at(900),
            p95: at(950),
            p99: at(990),
            max: at(1_000),
        }
    }

    /// How many connections each backend answered.
    pub(crate) fn by_backend(&self) -> HashMap<IpAddr, usize> {
        let mut counts = HashMap::new();
        for backend in self.samples.iter().filter_map(|sample| sample.backend) {
            *counts.entry(backend).or_default() += 1;
        }
        counts
    }

    /// The figures of the run as one JSON object; times in milliseconds.
    pub(crate) fn json(&self) -> serde_json::Value {
        let times = self.percentiles();
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        serde_json::json!({
            "connections": self.samples.len(),
            "failed": self.failed(),
            "backends": self.by_backend().len(),
            "first_byte_ms": {
                "p50": millis(times.p50),
                "p90": millis(times.p90),
                "p95": millis(times.p95),
                "p99": millis(times.p99),
                "max": millis(times.max),
            },
        })
    }
}

impl Load {
    /// Runs it inside `namespace` and waits for the last reply.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the poll fails; what happens to a connection is in the report.
    pub(crate) fn run(&self, namespace: &Namespace) -> io::Result<LoadReport> {
        namespace.run(|| self.run_here())?
    }

    fn run_here(&self) -> io::Result<LoadReport> {
        let start = clock::now();
        let mut run = Run {
            load: self,
            start,
            poll: Poll::new()?,
            samples: Vec::new(),
            open: HashMap::new(),
        };
        let mut events = Events::with_capacity(256);
        loop {
            let now = clock::now();
            let next = run.begin_due(now)?;
            run.expire(now);
            if next.is_none() && run.open.is_empty() {
                return Ok(LoadReport { samples: run.samples });
            }
            let wake = run.open.values().map(|open| open.until).chain(next).min();
            let timeout = wake.map(|at| at.saturating_duration_since(clock::now()));
            match run.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                run.on_ready(event.token());
            }
        }
    }
}

struct Run<'a> {
    load: &'a Load,
    start: Instant,
    poll: Poll,
    /// One per connection begun, failed until answered.
    samples: Vec<Sample>,
    open: HashMap<Token, Open>,
}

struct Open {
    stream: TcpStream,
    begun: Instant,
    /// When it is given up, or, once answered, closed.
    until: Instant,
    asked: bool,
}

impl Run<'_> {
    /// Begins every connection whose time has come; gives the time of the next one.
    fn begin_due(&mut self, now: Instant) -> io::Result<Option<Instant>> {
        loop {
            let number = u32::try_from(self.samples.len()).unwrap_or(u32::MAX);
            let offset = Duration::from_secs(number.into()) / self.load.per_second.max(1);
            if offset >= self.load.duration {
                return Ok(None);
            }
            if self.start + offset > now {
                return Ok(Some(self.start + offset));
            }
            let token = Token(self.samples.len());
            let begun = clock::now();
            let mut sample = Sample {
                begun: begun.duration_since(self.start),
                first_byte: Err(ErrorKind::TimedOut),
                backend: None,
            };
            match TcpStream::connect(self.load.target) {
                Ok(mut stream) => {
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut stream, token, interest)?;
                    let open = Open {
                        stream,
                        begun,
                        until: begun + self.load.patience,
                        asked: false,
                    };
                    self.open.insert(token, open);
                }
                Err(error) => sample.first_byte = Err(error.kind()),
            }
            self.samples.push(sample);
        }
    }

    fn expire(&mut self, now: Instant) {
        self.open.retain(|_, open| open.until > now);
    }

    fn on_ready(&mut self, token: Token) {
        let (Some(open), Some(sample)) = (self.open.get_mut(&token), self.samples.get_mut(token.0)) else {
            return;
        };
        let outcome = open.advance();
        match outcome {
            Ok(None) => {}
            Ok(Some(reply)) => {
                if sample.first_byte.is_err() {
                    let now = clock::now();
                    sample.first_byte = Ok(now.duration_since(open.begun));
                    open.until = now + self.load.hold;
                }
                let named = reply.lines().last().and_then(|line| line.parse().ok());
                sample.backend = sample.backend.or(named);
            }
            Err(error) => {
                if sample.first_byte.is_err() {
                    sample.first_byte = Err(error.kind());
                }
                self.open.remove(&token);
            }
        }
    }
}

impl Open {
    /// Asks once the connection stands, and reads what there is of the reply.
    fn advance(&mut self) -> io::Result<Option<String>> {
        if !self.asked {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
                other => other?,
            };
            self.stream.set_nodelay(true)?;
            if self.stream.write(REQUEST)? < REQUEST.len() {
                return Err(ErrorKind::WriteZero.into());
            }
            self.asked = true;
        }
        let mut reply = Vec::new();
        let mut buffer = [0_u8; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) if reply.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => break,
                Ok(length) => reply.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(reply)
            .filter(|reply| !reply.is_empty())
            .map(|reply| String::from_utf8_lossy(&reply).into_owned()))
    }
}
