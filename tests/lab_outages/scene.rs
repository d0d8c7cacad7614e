//! A lab with a forwarder in it, and how it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tcp_forwarder::base::clock;

use crate::lab::{
    self, Forwarder, LISTEN, Lab, Link, Reading, Responder, Service, comes_true, pause, say, series,
};
use crate::{ECHO, GROWTH_KIB, LONG, candidate};

/// A lab, its backends, and a forwarder over so many candidates, the first of them the nearest.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    _backends: Responder,
    pub(crate) forwarder: Forwarder,
    before: Usage,
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Usage {
    descriptors: usize,
    kib: u64,
}

impl Scene {
    pub(crate) fn open(test: &str, candidates: u16, config: &str) -> Option<Self> {
        let lab = lab::open(test)?;
        let backends = Responder::start(lab.server(), &[(ECHO, Service::Echo)]).unwrap();
        let mut list = String::new();
        for number in 1..=candidates {
            let near = if number <= 3 { 5 } else { 60 };
            lab.links().set(candidate(number).ip(), Link::millis(near));
            writeln!(list, "{}", candidate(number)).unwrap();
        }
        let mut forwarder = Forwarder::start(&lab, config, &list).unwrap();
        let listening = forwarder.wait_until_listening(&lab, LONG);
        assert!(listening, "{}", forwarder.program().output());
        let mut scene = Self {
            lab,
            _backends: backends,
            forwarder,
            before: Usage {
                descriptors: 0,
                kib: 0,
            },
        };
        scene.wait("the nearest three and full pools", LONG, || {
            scene.active() == (1..=3).map(candidate).collect()
                && scene.sum("pool_available_connections") == 12
        });
        // Probes come and go; what is always there is the least of some readings.
        let mut readings = (0..20).map(|_| {
            pause(Duration::from_millis(10));
            scene.usage()
        });
        let first = readings.next().unwrap();
        let before = readings.fold(first, |least, now| Usage {
            descriptors: least.descriptors.min(now.descriptors),
            kib: least.kib.max(now.kib),
        });
        scene.before = before;
        Some(scene)
    }

    pub(crate) fn wait(&self, what: &str, patience: Duration, condition: impl FnMut() -> bool) -> Duration {
        let begun = clock::now();
        let holds = comes_true(patience, condition);
        assert!(
            holds,
            "not within {patience:?}: {what}\n{}\n{}",
            self.forwarder.program().output(),
            Reading::take(&self.lab)
                .map_or_else(|error| error.to_string(), |reading| reading.text().to_owned()),
        );
        begun.elapsed()
    }

    pub(crate) fn active(&self) -> BTreeSet<SocketAddr> {
        Reading::take(&self.lab)
            .map(|reading| reading.active())
            .unwrap_or_default()
    }

    /// The sum of a family, which counts in whole numbers.
    pub(crate) fn sum(&self, family: &str) -> u64 {
        let sum = Reading::take(&self.lab).unwrap().sum(family);
        format!("{sum:.0}").parse().unwrap()
    }

    /// Probes that have ended.
    pub(crate) fn probes(&self) -> f64 {
        let reading = Reading::take(&self.lab).unwrap();
        series(reading.text(), "tcp_forwarder_health_checks_total", "result")
            .values()
            .sum()
    }

    pub(crate) fn scores(&self) -> BTreeMap<String, f64> {
        let reading = Reading::take(&self.lab).unwrap();
        let active: Vec<String> = reading.active().iter().map(SocketAddr::to_string).collect();
        let mut scores = series(reading.text(), "tcp_forwarder_server_score", "server");
        scores.retain(|server, _| active.contains(server));
        scores
    }

    fn usage(&self) -> Usage {
        let process = Path::new("/proc").join(self.forwarder.program().pid().to_string());
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        Usage {
            descriptors: std::fs::read_dir(process.join("fd")).unwrap().count(),
            kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }

    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        self.lab.client().run(|| {
            let stream = TcpStream::connect(LISTEN)?;
            stream.set_read_timeout(Some(LONG))?;
            Ok(stream)
        })?
    }

    /// Whether a new connection gets its bytes back.
    pub(crate) fn serves(&self) -> bool {
        self.connect()
            .and_then(|mut stream| echo(&mut stream, 1, 1_000))
            .is_ok()
    }

    /// A client is let in and told nothing.
    pub(crate) fn nobody_answers(&self) {
        let mut client = self.connect().unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }

    /// Nothing is left over, but for what was there before.
    fn is_clean(&self) {
        let usage = || {
            (
                self.usage(),
                self.sum("active_connections"),
                self.sum("lb_backend_connections"),
            )
        };
        // Two descriptors come and go with each reading of the metrics, and with each probe.
        self.wait("no relay and no descriptor left over", LONG, || {
            let (now, active, at_backends) = usage();
            active == 0 && at_backends == 0 && now.descriptors <= self.before.descriptors + 2
        });
        let now = self.usage();
        assert!(
            now.kib <= self.before.kib + GROWTH_KIB,
            "{now:?}, before {:?}",
            self.before
        );
        say(&format!("  before {:?}, after {now:?}", self.before));
    }

    pub(crate) fn finish(self) {
        self.is_clean();
        let status = self.forwarder.into_program().stop(LONG).unwrap();
        assert!(status.expect("it stops when asked").success());
    }
}

/// Sends patterned bytes and compares what comes back with them.
pub(crate) fn echo(stream: &mut TcpStream, seed: u64, total: usize) -> std::io::Result<()> {
    let mut bytes = vec![0; total];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    let mut back = vec![0; total];
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&bytes));
        let read = stream.read_exact(&mut back);
        writing.join().unwrap()?;
        read
    })?;
    if back == bytes {
        Ok(())
    } else {
        Err(std::io::Error::other("other bytes came back"))
    }
}
