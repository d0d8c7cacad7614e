//! A thousand services in one process: how fast they start, what each costs at rest, and that each is one of its own.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use socket2::{Domain, Socket, Type};

mod support;

use support::{
    Files, Forwarder, PATIENCE, comes_to_rest, comes_true, echo_on, http_body, patient, pause, ping,
    settings, wait_for,
};

/// As many as are promised.
const MANY: usize = 1_000;

/// Promised, of a release build on a machine that does nothing else; a debug build among other tests gets more.
const START: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_millis(100);
const PATIENT: u32 = if cfg!(debug_assertions) { 10 } else { 2 };

/// Promised, of anonymous memory for one service at rest.
const SERVICE_KB: u64 = 32;

/// For how long wake-ups are counted.
const WINDOW: Duration = Duration::from_secs(4);

/// A thousand services need as few wake-ups as one, but a batch of a thousand probes is answered in parts.
const WAKE_UP_FACTOR: u64 = 4;

/// The loopback address of a service, which is nobody else's.
fn own_ip(place: usize) -> Ipv4Addr {
    let block = 128 + std::process::id() % 96;
    Ipv4Addr::from((127 << 24) | (block << 16) | u32::try_from(place + 1).unwrap())
}

/// So many services, each with a listener and a candidate.
fn services(count: usize) -> Value {
    let service = |place| {
        let addr = SocketAddr::from((own_ip(place), 0));
        (format!("s{place:04}"), json!({ "listen_addr": addr.to_string() }))
    };
    Value::Object((0..count).map(service).collect::<Map<_, _>>())
}

/// What they have in common; `changes` on top.
fn common(count: usize, changes: &Value) -> Value {
    let mut common = settings(&json!({ "pools": { "strategy": { "type": "off" } } }));
    common["server"] = json!({ "reactors": 2 });
    common["services"] = services(count);
    support::merge(&mut common, changes);
    common
}

/// A server whose queue takes the probes of all services at once; it says nothing.
fn roomy() -> SocketAddr {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(4096).unwrap();
    let listener = TcpListener::from(listener);
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    addr
}

/// A forwarder of so many services to one candidate, and how long it took to open the last port.
fn start(count: usize, candidate: SocketAddr, changes: &Value) -> (Forwarder, Duration) {
    let list = format!("{candidate}\n");
    let files = Files::new(&common(count, changes), &list);
    let command = files.command();
    let began = Instant::now();
    let mut forwarder = Forwarder::spawn(files, command);
    let last = format!("listening on {}:", own_ip(count - 1));
    let listens = comes_true(PATIENCE, || {
        forwarder.log().contains(&last) || forwarder.has_ended()
    });
    let took = began.elapsed();
    assert!(
        listens && !forwarder.has_ended(),
        "it does not start: {}{}",
        forwarder.log(),
        forwarder.stderr()
    );
    (forwarder, took)
}

/// Where each service listens, in the order of their names.
fn addrs(forwarder: &Forwarder) -> Vec<SocketAddr> {
    let log = forwarder.log();
    let said = log.lines().filter_map(|line| line.split_once("listening on "));
    let mut addrs: Vec<SocketAddr> = said.map(|(_, addr)| addr.trim().parse().unwrap()).collect();
    addrs.sort_unstable();
    addrs
}

/// A number of the status of a process or thread.
fn field(status: &str, name: &str) -> u64 {
    let rest = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

fn anonymous_kb(forwarder: &Forwarder) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", forwarder.pid())).unwrap();
    field(&status, "RssAnon:")
}

/// Anonymous memory once it does not move any more.
fn anonymous_kb_at_rest(forwarder: &Forwarder) -> u64 {
    let rests = comes_to_rest(PATIENCE, Duration::from_millis(300), || anonymous_kb(forwarder));
    rests.expect("memory comes to rest")
}

/// How often the threads of the process have gone to sleep, all together and by name.
fn wake_ups(forwarder: &Forwarder) -> (u64, Vec<(String, u64)>) {
    let threads = std::fs::read_dir(format!("/proc/{}/task", forwarder.pid())).unwrap();
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let name = status
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("Name:\t");
        (name.to_owned(), field(&status, "voluntary_ctxt_switches:"))
    };
    let mut by_name: Vec<_> = threads.map(of_thread).collect();
    by_name.sort();
    (by_name.iter().map(|one| one.1).sum(), by_name)
}

/// Wake-ups in a window, and who woke up.
fn wake_ups_in_window(forwarder: &Forwarder) -> (u64, Vec<(String, u64)>) {
    let (before, threads_before) = wake_ups(forwarder);
    pause(WINDOW);
    let (after, threads_after) = wake_ups(forwarder);
    let threads = threads_after.into_iter().zip(threads_before);
    let moved = threads.map(|((name, after), (_, before))| (name, after - before));
    (after - before, moved.collect())
}

#[expect(clippy::print_stdout, reason = "the test harness shows it with a failure")]
fn note(words: &str) {
    println!("{words}");
}

#[test]
fn a_thousand_services_start_serve_and_are_scraped() {
    let (forwarder, took) = start(MANY, echo_on(Ipv4Addr::LOCALHOST), &json!({}));
    note(&format!("start: {took:?}"));
    assert!(took < START * PATIENT, "start: {took:?}");
    let addrs = addrs(&forwarder);
    assert_eq!(addrs.len(), MANY);
    for (place, addr) in addrs.iter().enumerate() {
        let mut client = patient(TcpStream::connect(addr).unwrap());
        ping(&mut client, format!("to service {place}").as_bytes());
    }
    wait_for("each service counts its own client", || {
        let seen = forwarder.scrape();
        let is_counted = |line: &&str| {
            line.starts_with("tcp_forwarder_new_connections_total{service=\"s") && line.ends_with("} 1")
        };
        seen.lines().filter(is_counted).count() == MANY
    });
    let addr = forwarder.metrics_addr();
    let scrape = || {
        let began = Instant::now();
        let bytes = http_body(addr, "/metrics").unwrap().len();
        (began.elapsed(), bytes)
    };
    let mut scrapes: Vec<_> = (0..9).map(|_| scrape()).collect();
    scrapes.sort_unstable();
    let (median, bytes) = scrapes[scrapes.len() / 2];
    note(&format!("scrape: {median:?}, {bytes} bytes"));
    assert!(median < SCRAPE * PATIENT, "scrape: {scrapes:?}");
    assert_eq!(forwarder.stop().status, Some(0));
}

#[test]
fn a_service_at_rest_takes_little_memory() {
    let (one, _) = start(1, roomy(), &json!({}));
    let (many, _) = start(MANY + 1, roomy(), &json!({}));
    let (one_kb, many_kb) = (anonymous_kb_at_rest(&one), anonymous_kb_at_rest(&many));
    let each_kb = many_kb.saturating_sub(one_kb) / MANY as u64;
    note(&format!(
        "memory: {one_kb} kB with one, {many_kb} kB with {MANY} more, {each_kb} kB each"
    ));
    assert!(each_kb <= SERVICE_KB, "{each_kb} kB a service");
}

#[test]
fn what_is_due_together_is_one_wake_up() {
    let often = json!({ "remotes": {
        "probing": { "interval": "1s" },
        "selector": { "evaluation_interval": "1s" },
    } });
    let of = |count| {
        let (forwarder, _) = start(count, roomy(), &often);
        pause(Duration::from_secs(2));
        wake_ups_in_window(&forwarder)
    };
    let (one, many) = (of(1), of(MANY));
    note(&format!("wake-ups: {one:?} with one, {many:?} with {MANY}"));
    assert!(
        many.0 <= one.0 * WAKE_UP_FACTOR,
        "{one:?} with one, {many:?} with {MANY}"
    );
}
