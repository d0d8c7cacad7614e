//! The prober thread against real listeners on loopback.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::backend::Backend;
use crate::config::{InitialProbing, Scoring};
use crate::scorer::Outcome;

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

/// A prober on a thread of its own, and what it is linked to.
struct Running {
    candidates: Arc<Published<CandidateSet>>,
    active: Arc<Published<ActiveSet>>,
    inbox: Arc<SampleInbox>,
    progress: Arc<InitialProgress>,
    shutdown: Arc<Shutdown>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
    seen: Vec<Sample>,
}

impl Running {
    fn new(list: &str, port: u16, config: Probing, max_in_flight: usize) -> Self {
        let set = CandidateSet::parse(list, port).expect("a good list");
        let candidates = Arc::new(Published::new(set));
        let active: Arc<Published<ActiveSet>> = Arc::new(Published::new(ActiveSet::default()));
        let inbox: Arc<SampleInbox> = Arc::default();
        let links = Links {
            candidates: Arc::clone(&candidates),
            active: Arc::clone(&active),
            board: Arc::new(RwLock::new(ScoreBoard::new(Scoring::default()))),
            inbox: Arc::clone(&inbox),
            link: Arc::new(Published::new(LinkView::unknown(clock::now()))),
        };
        let rng = fastrand::Rng::with_seed(1);
        let prober = Prober::new(links, config, max_in_flight, rng).expect("a prober");
        let (progress, waker) = (prober.progress(), prober.waker());
        let shutdown = Arc::new(Shutdown::default());
        let stop = Arc::clone(&shutdown);
        let thread = Some(std::thread::spawn(move || prober.run(&stop)));
        Self {
            candidates,
            active,
            inbox,
            progress,
            shutdown,
            waker,
            thread,
            seen: Vec::new(),
        }
    }

    /// Waits until what was seen passes.
    fn wait_until(&mut self, passes: impl Fn(&[Sample]) -> bool) {
        let deadline = clock::now() + LONG;
        let mut batch = Vec::new();
        while !passes(&self.seen) {
            assert!(clock::now() < deadline, "{} samples do not pass", self.seen.len());
            self.inbox.take(&mut batch, Duration::from_millis(50));
            self.seen.append(&mut batch);
        }
    }

    fn drain(&mut self) {
        let mut batch = Vec::new();
        self.inbox.take(&mut batch, Duration::ZERO);
        self.seen.append(&mut batch);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let begun = clock::now();
        self.shutdown.begin();
        self.waker.wake().expect("woken");
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
        initial: is_initial,
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
    assert_eq!(running.progress.wait_for(usize::MAX), 254 + 126);
    running.drain();
    let probed: HashSet<SocketAddr> = running.seen.iter().map(|sample| sample.addr).collect();
    let set = running.candidates.load();
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
    let passed = running.progress.wait_for(usize::MAX);
    assert_eq!(passed, 1000);
    running.drain();
    let mut parts = [0; 8];
    for sample in running.seen.iter().take(1000) {
        let SocketAddr::V4(v4) = sample.addr else {
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
    assert!(running.progress.wait_for(3) >= 3);
    running.drain();
    assert_eq!(running.seen.len(), 3, "the silent one is still in flight");
}

#[test]
fn without_initial_probing_nobody_waits() {
    let off = InitialProbing {
        enabled: false,
        ..InitialProbing::default()
    };
    let running = Running::new("127.0.0.1:9", 80, config(LONG, off), 10);
    assert_eq!(running.progress.wait_for(3), 0);
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
    assert_eq!(running.progress.wait_for(1), 0);
    running.wait_until(|seen| !seen.is_empty());
    assert_eq!(
        (running.seen[0].addr, running.seen[0].outcome),
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
    running.active.publish(Arc::new(ActiveSet {
        backends: vec![backend],
    }));
    let probes = move |seen: &[Sample], addr| seen.iter().filter(|sample| sample.addr == addr).count();
    running.wait_until(|seen| probes(seen, member) >= 5);

    let newcomer = SocketAddr::from(([127, 0, 0, 9], everywhere.port));
    let list = CandidateSet::parse(&newcomer.to_string(), 80).expect("a good list");
    running.candidates.publish(Arc::new(list));
    running.wait_until(|seen| probes(seen, newcomer) >= 3);
}
