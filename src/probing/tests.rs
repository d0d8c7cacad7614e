//! The prober thread against real listeners on loopback.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Prober;
use crate::backend::{ActiveSet, Backend};
use crate::base::clock;
use crate::candidates::CandidateSet;
use crate::config::{InitialProbing, Probing};
use crate::scorer::sample::{Outcome, Report, Sample};
use crate::service::directory::Service;
use crate::service::hub::Hub;
use crate::service::stage;

/// Longer than any test may take: a probe or a wait that needs it has failed.
const LONG: Duration = Duration::from_secs(20);

/// Accepts on one port of every loopback address, until it is dropped.
struct Everywhere {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Everywhere {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())
            .expect("a free port");
        // More than any test connects, so that a late acceptor drops nobody.
        socket.listen(4096).expect("a listener");
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                drop(listener.accept());
            }
        });
        Self {
            port,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Everywhere {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

/// A prober on a thread of its own, with one service.
struct Running {
    hub: Arc<Hub>,
    service: Arc<Service>,
    thread: Option<JoinHandle<()>>,
    seen: Vec<Sample>,
    is_swept: bool,
}

fn set(list: &str, port: u16) -> CandidateSet {
    CandidateSet::parse(list, port).expect("a good list")
}

impl Running {
    fn new(list: &str, port: u16, config: Probing, max_in_flight: usize) -> Self {
        let hub = stage::hub();
        let spec = stage::spec(|spec| spec.remotes.probing = config);
        let service = stage::service_of(&hub, "one", set(list, port), spec);
        stage::publish(&hub, &[&service]);
        let rng = fastrand::Rng::with_seed(1);
        let prober = Prober::new(Arc::clone(&hub), max_in_flight, rng).expect("a prober");
        Self {
            hub,
            service,
            thread: Some(std::thread::spawn(move || prober.run())),
            seen: Vec::new(),
            is_swept: false,
        }
    }

    /// Waits until what was seen passes.
    fn wait_until(&mut self, passes: impl Fn(&Self) -> bool) {
        let deadline = clock::now() + LONG;
        while !passes(self) {
            assert!(clock::now() < deadline, "{} samples do not pass", self.seen.len());
            self.hub
                .bells
                .scorer
                .wait(Some(clock::now() + Duration::from_millis(50)));
            self.take();
        }
    }

    fn take(&mut self) {
        let mut batch = Vec::new();
        self.hub.samples.take(&mut batch);
        for report in batch {
            match report {
                Report::Sample(sample) => {
                    assert_eq!(sample.candidate.service, self.service.live.id);
                    self.seen.push(sample);
                }
                Report::Unserved(_) | Report::Doubted(_) => panic!("nobody is served or doubted here"),
                Report::Swept(service) => {
                    assert_eq!(service, self.service.live.id);
                    self.is_swept = true;
                }
            }
        }
    }

    /// How many probes had succeeded when initial probing was over.
    fn swept(&mut self) -> usize {
        self.wait_until(|running| running.is_swept);
        let passed = self.seen.iter().filter(|sample| sample.outcome.is_success());
        passed.count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let begun = clock::now();
        self.hub.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
        assert!(begun.elapsed() < LONG / 2, "the stop is seen at once");
    }
}

fn config(interval: Duration, is_initial: InitialProbing) -> Probing {
    Probing {
        interval,
        timeout: LONG,
        probe_candidate_count: 10,
        check: crate::config::Check::default(),
        initial: is_initial,
        search: crate::config::Search {
            enabled: false,
            ..crate::config::Search::default()
        },
    }
}

fn initial(max_concurrency: usize, timeout: Duration) -> InitialProbing {
    InitialProbing {
        enabled: true,
        max_concurrency,
        timeout,
    }
}

/// A listener that drops connects without a word, because its queue is full.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn silent() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .expect("a free port");
    socket.listen(0).expect("a listener");
    let addr = socket
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IPv4");
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
        queued.push(stream);
    }
    (socket, queued, addr)
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn initial_probing_tries_every_candidate_of_a_small_set_once() {
    let everywhere = Everywhere::new();
    let config = config(LONG * 1000, initial(100, LONG / 20));
    // Half of the budget of 500 at this concurrency; .0 and .255 are no hosts of a /24.
    let list = "127.1.1.0/24\n127.1.2.0/25";
    let mut running = Running::new(list, everywhere.port, config, 30);
    assert_eq!(running.swept(), 254 + 126);
    let probed: HashSet<SocketAddr> = running.seen.iter().map(|sample| sample.candidate.addr).collect();
    let set = running.service.live.candidates.load();
    assert!((0..set.len()).all(|index| probed.contains(&set.at(index).expect("a member"))));
    assert!(
        running
            .seen
            .iter()
            .all(|sample| matches!(sample.outcome, Outcome::Success(_)))
    );
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn initial_probing_takes_an_even_sample_of_a_large_set() {
    let everywhere = Everywhere::new();
    let config = config(LONG * 1000, initial(200, LONG / 20));
    let mut running = Running::new("127.0.0.0/8", everywhere.port, config, 1000);
    assert_eq!(running.swept(), 1000);
    let mut parts = [0; 8];
    for sample in running.seen.iter().take(1000) {
        let SocketAddr::V4(v4) = sample.candidate.addr else {
            panic!("only IPv4 is listed")
        };
        parts[usize::from(v4.ip().octets()[1] / 32)] += 1;
    }
    assert!(parts.iter().all(|part| (110..=140).contains(part)), "{parts:?}");
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn serving_may_start_while_initial_probing_goes_on() {
    let everywhere = Everywhere::new();
    let (_socket, _queued, silent) = silent();
    let list = format!("127.0.0.2\n127.0.0.3\n127.0.0.4\n{silent}");
    let mut running = Running::new(&list, everywhere.port, config(LONG, initial(10, LONG)), 10);
    running.wait_until(|running| running.seen.len() >= 3);
    assert_eq!(running.seen.len(), 3);
    assert!(!running.is_swept, "the silent one is still in flight");
}

#[test]
fn without_initial_probing_nobody_waits() {
    let off = InitialProbing {
        enabled: false,
        ..InitialProbing::default()
    };
    let mut running = Running::new("127.0.0.1:9", 80, config(LONG * 1000, off), 10);
    assert_eq!(running.swept(), 0);
}

#[test]
fn refused_candidates_fail_and_end_initial_probing() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .expect("a free port");
    let refusing = socket
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IPv4");
    let config = config(LONG, initial(10, LONG));
    let mut running = Running::new(&refusing.to_string(), 80, config, 10);
    assert_eq!(running.swept(), 0);
    assert_eq!(
        (running.seen[0].candidate.addr, running.seen[0].outcome),
        (refusing, Outcome::Refused)
    );
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn rounds_probe_the_active_set_and_a_changed_list() {
    let everywhere = Everywhere::new();
    let off = InitialProbing {
        enabled: false,
        ..InitialProbing::default()
    };
    let config = Probing {
        probe_candidate_count: 2,
        ..config(Duration::from_millis(30), off)
    };
    let mut running = Running::new("127.0.0.2\n127.0.0.3", everywhere.port, config, 10);
    let member = SocketAddr::from(([127, 0, 0, 77], everywhere.port));
    let backend = Arc::new(Backend::new(member, clock::now(), 1));
    running.service.live.active.publish(Arc::new(ActiveSet::new(
        vec![backend],
        crate::selector::decide::Footing::Good,
    )));
    let probes = |running: &Running, addr| {
        let seen = running.seen.iter();
        seen.filter(|sample| sample.candidate.addr == addr).count()
    };
    running.wait_until(|running| probes(running, member) >= 5);

    let newcomer = SocketAddr::from(([127, 0, 0, 9], everywhere.port));
    let list = set(&newcomer.to_string(), 80);
    running.service.live.candidates.publish(Arc::new(list));
    running.wait_until(|running| probes(running, newcomer) >= 3);
}
