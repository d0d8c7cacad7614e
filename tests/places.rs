//! Backends that take only so many connections, with the program as a process between a slow server that counts and more clients
//! than it has places for: from the entry of a list to the queue, through reloads, and by system calls.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use rustix::process::Signal;
use serde_json::{Value, json};

#[path = "support/server.rs"]
mod server;
mod support;

use server::programs;
use support::{Files, Forwarder, pause, settings, wait_for};

/// What a server knows of its connections.
#[derive(Default)]
struct Books {
    open: Mutex<Vec<(usize, TcpStream)>>,
    next: AtomicUsize,
    /// The most that were open at once: neither finished nor reset by the other side when another one was accepted.
    most: AtomicUsize,
    /// The most that it would count who counts those as open that it has not looked at since.
    most_noticed: AtomicUsize,
    /// What was asked, in order.
    asked: Mutex<Vec<u8>>,
    /// How many may be answered.
    answers: Mutex<usize>,
    more: Condvar,
}

impl Books {
    /// Enters a connection that was just accepted.
    fn enter(&self, stream: &TcpStream) -> usize {
        let name = self.next.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().unwrap();
        open.push((name, stream.try_clone().unwrap()));
        let is_open = |(_, stream): &&(usize, TcpStream)| {
            let seen = recv(stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            match seen {
                Ok((_, count)) => count > 0,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        };
        let now = open.iter().filter(is_open).count();
        self.most.fetch_max(now, Ordering::SeqCst);
        self.most_noticed.fetch_max(open.len(), Ordering::SeqCst);
        name
    }

    fn leave(&self, name: usize) {
        self.open.lock().unwrap().retain(|(other, _)| *other != name);
    }

    /// Waits until one more may be answered.
    fn await_turn(&self) {
        let answers = self.answers.lock().unwrap();
        let mut answers = self.more.wait_while(answers, |left| *left == 0).unwrap();
        *answers -= 1;
    }
}

/// A server that answers each connection with the byte that it asks with, as soon as the test lets it, and ends it when the other
/// side does.
struct Server {
    addr: SocketAddr,
    books: Arc<Books>,
}

impl Server {
    /// One that takes so long for each answer, beyond being let.
    fn start(work: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let books = Arc::new(Books::default());
        let kept = Arc::clone(&books);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, books) = (stream.unwrap(), Arc::clone(&kept));
                let name = books.enter(&stream);
                std::thread::spawn(move || {
                    serve(stream, &books, work);
                    books.leave(name);
                });
            }
        });
        Self { addr, books }
    }

    fn answer(&self, count: usize) {
        *self.books.answers.lock().unwrap() += count;
        self.books.more.notify_all();
    }

    fn asked(&self) -> Vec<u8> {
        self.books.asked.lock().unwrap().clone()
    }

    fn most(&self) -> usize {
        self.books.most.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, books: &Books, work: Duration) {
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        books.asked.lock().unwrap().push(byte[0]);
        books.await_turn();
        pause(work);
        if stream.write_all(&byte).is_err() {
            return;
        }
    }
}

/// A client that asks once; whether it was answered.
fn client(addr: SocketAddr, name: u8) -> JoinHandle<bool> {
    let mut stream = support::patient(TcpStream::connect(addr).unwrap());
    std::thread::spawn(move || {
        let mut answer = [0];
        let is_answered = stream.write_all(&[name]).is_ok() && stream.read_exact(&mut answer).is_ok();
        assert!(!is_answered || answer == [name]);
        is_answered
    })
}

fn answered(clients: Vec<JoinHandle<bool>>) -> usize {
    let ends = clients.into_iter().map(|one| one.join().unwrap());
    ends.filter(|is_answered| *is_answered).count()
}

/// Settings of these tests: three reactors, dials only, clients that wait for long.
fn limited(changes: &Value) -> Value {
    let mut all = json!({
        "server": { "reactors": 3 },
        "pools": { "strategy": { "type": "off" }, "common": { "queue_timeout": "20s" } },
        "remotes": { "probing": { "interval": "10m" }, "selector": { "evaluation_interval": "100ms" } },
    });
    support::merge(&mut all, changes);
    all
}

fn list(server: &Server, options: &str) -> String {
    format!("{} {options}\n", server.addr)
}

fn service(forwarder: &Forwarder) -> Value {
    forwarder.api("services/default")
}

fn wait_for_queue(forwarder: &Forwarder, length: usize) {
    wait_for(&format!("{length} in the queue"), || {
        service(forwarder)["queued"] == length
    });
}

/// Reads the configuration and the lists again.
fn reload(forwarder: &Forwarder) {
    let before = forwarder.metric("config_reloads_total");
    forwarder.signal(Signal::HUP);
    wait_for("the reload", || forwarder.metric("config_reloads_total") > before);
}

#[test]
fn the_limit_of_an_entry_is_seen_everywhere_and_clients_are_served_in_the_order_in_which_they_came() {
    let server = Server::start(Duration::ZERO);
    let forwarder = Forwarder::start(&limited(&json!({})), &list(&server, "max_connections=2 # small"));
    let mut clients = Vec::new();
    for name in 1..=2 {
        clients.push(client(forwarder.addr(), name));
        wait_for("it has a place", || server.asked().len() == usize::from(name));
    }
    for name in 3..=14 {
        clients.push(client(forwarder.addr(), name));
        wait_for_queue(&forwarder, usize::from(name) - 2);
    }
    let one = service(&forwarder);
    assert_eq!((&one["queued"], &one["full"]), (&json!(12), &json!(1)));
    let places = |row: &Value| {
        let told = (&row["max_connections"], &row["open"], &row["is_full"]);
        assert_eq!(told, (&json!(2), &json!(2), &json!(true)), "{row}");
    };
    places(&one["members"][0]);
    places(&forwarder.api("services/default/candidates")["candidates"][0]);
    let explained = forwarder.api("services/default/explain");
    places(&explained["members"][0]);
    let text = explained["text"].to_string();
    for words in [
        "1 of 1 members is full (max_connections): clients pass it over.",
        "12 clients wait for a place, each for up to 20 s (queue_timeout).",
    ] {
        assert!(text.contains(words), "{text}");
    }
    let status = forwarder.api("status");
    let status = &status["services"][0];
    assert_eq!((&status["queued"], &status["full"]), (&json!(12), &json!(1)));
    assert_eq!(forwarder.api("services")["services"][0]["queued"], 12);
    for (family, value) in [
        ("queued_connections", 12.0),
        ("lb_backend_max_connections", 2.0),
        ("lb_backend_open_connections", 2.0),
    ] {
        assert_eq!(forwarder.metric(family), value, "{family}");
    }
    // One at a time, so that the order tells.
    for served in 3..=14 {
        server.answer(1);
        wait_for("the next one has a place", || server.asked().len() == served);
    }
    server.answer(2);
    assert_eq!(answered(clients), 14);
    assert_eq!(server.asked(), (1..=14).collect::<Vec<u8>>());
    assert_eq!(server.most(), 2);
    assert_eq!(
        forwarder.metric("connections_closed_total{reason=\"queue_timeout\"}"),
        0.0
    );
    assert_eq!(forwarder.metric("queue_duration_seconds_count"), 12.0);
}

#[test]
fn who_finds_no_place_in_time_is_told_and_has_a_line_that_says_so() {
    let server = Server::start(Duration::ZERO);
    let changes = json!({
        "pools": { "common": { "queue_timeout": "150ms" } },
        "access_log": { "output": "access.log", "format": "json" },
    });
    let forwarder = Forwarder::start(&limited(&changes), &list(&server, "max_connections=1"));
    let first = client(forwarder.addr(), 1);
    wait_for("it has the place", || server.asked().len() == 1);
    let late = (2..=7).map(|name| client(forwarder.addr(), name)).collect();
    assert_eq!(answered(late), 0);
    let lines = || fs::read_to_string(forwarder.files().path("access.log")).unwrap_or_default();
    wait_for("a line each", || lines().lines().count() == 6);
    for line in lines().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["end"], &line["reason"]),
            (&json!("sQ"), &json!("queue_timeout")),
            "{line}"
        );
        let waited = line["total_ms"].as_f64().unwrap();
        assert!((150.0..5_000.0).contains(&waited), "{line}");
        assert!(line["backend"].is_null(), "{line}");
    }
    server.answer(1);
    assert!(first.join().unwrap(), "it has its place for as long as it likes");
    assert_eq!(server.asked(), [1]);
}

#[test]
fn another_limit_holds_at_once_and_what_is_open_beyond_it_goes_on() {
    let server = Server::start(Duration::ZERO);
    let forwarder = Forwarder::start(&limited(&json!({})), &list(&server, "max_connections=1"));
    let mut clients: Vec<_> = (1..=8).map(|name| client(forwarder.addr(), name)).collect();
    wait_for_queue(&forwarder, 7);
    // Up: nobody has left, and four more are served.
    let path = forwarder.files().path("ip_list.txt");
    fs::write(&path, list(&server, "max_connections=5")).unwrap();
    reload(&forwarder);
    wait_for("five have places", || server.asked().len() == 5);
    wait_for_queue(&forwarder, 3);
    // Down: they go on, and nobody comes before there are fewer than two.
    fs::write(&path, list(&server, "max_connections=2")).unwrap();
    reload(&forwarder);
    wait_for("the limit is another one", || {
        service(&forwarder)["members"][0]["max_connections"] == 2
    });
    for open in [4, 3, 2] {
        server.answer(1);
        wait_for("one leaves", || service(&forwarder)["members"][0]["open"] == open);
        assert_eq!(
            (server.asked().len(), &service(&forwarder)["queued"]),
            (5, &json!(3))
        );
    }
    server.answer(1);
    wait_for("the next one has its place", || server.asked().len() == 6);
    assert_eq!(service(&forwarder)["members"][0]["open"], 2);
    // None: as many as come. Its provider's limit is that of who has none of its own.
    fs::write(&path, list(&server, "")).unwrap();
    reload(&forwarder);
    clients.extend((9..=20).map(|name| client(forwarder.addr(), name)));
    wait_for("all have places", || server.asked().len() == 20);
    server.answer(20);
    assert_eq!((answered(clients), server.most()), (20, 16));
}

#[test]
fn the_limit_of_a_provider_is_that_of_entries_without_one() {
    let [one, other, third] = [(); 3].map(|()| Server::start(Duration::ZERO));
    let provider = |max: u32| {
        json!([
            { "file": { "path": "ip_list.txt" }, "max_connections": max },
            { "type": "inline", "inline": { "entries": [third.addr.to_string()] }, "max_connections": 7 },
        ])
    };
    let changes = |max| limited(&json!({ "remotes": { "provider": provider(max) } }));
    let text = format!("{}{}", list(&one, ""), list(&other, "max_connections=3"));
    let files = Files::new(&settings(&changes(4)), &text);
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command).listening();
    let limits = || -> BTreeMap<String, Value> {
        let one = service(&forwarder);
        let members = one["members"].as_array().unwrap().iter();
        let limit = |member: &Value| {
            (
                member["addr"].as_str().unwrap().to_owned(),
                member["max_connections"].clone(),
            )
        };
        members.map(limit).collect()
    };
    let expected = |max: u32| {
        let of = |server: &Server, max: u32| (server.addr.to_string(), json!(max));
        BTreeMap::from([of(&one, max), of(&other, 3), of(&third, 7)])
    };
    wait_for("their limits", || limits() == expected(4));
    let config = serde_json::to_string(&settings(&changes(6))).unwrap();
    fs::write(forwarder.files().path("config.yaml"), config).unwrap();
    reload(&forwarder);
    wait_for("another limit", || limits() == expected(6));
    fs::write(forwarder.files().path("ip_list.txt"), text.replace("=3", "=2")).unwrap();
    reload(&forwarder);
    wait_for("another limit of the entry's own", || {
        limits().get(&other.addr.to_string()) == Some(&json!(2))
    });
}

#[test]
fn a_queue_outlives_other_rules_and_moves_to_other_members() {
    let (server, other) = (Server::start(Duration::ZERO), Server::start(Duration::ZERO));
    let settings_of = |changes: &Value| serde_json::to_string(&settings(&limited(changes))).unwrap();
    let forwarder = Forwarder::start(&limited(&json!({})), &list(&server, "max_connections=1"));
    let mut clients = vec![client(forwarder.addr(), 1)];
    wait_for("it has the place", || server.asked().len() == 1);
    // In the queues of all reactors.
    clients.extend((2..=25).map(|name| client(forwarder.addr(), name)));
    wait_for_queue(&forwarder, 24);
    // Under another spec the queue is another tenant's, in each reactor.
    let config = settings_of(&json!({ "server": { "idle_timeout": "9m" } }));
    fs::write(forwarder.files().path("config.yaml"), config).unwrap();
    reload(&forwarder);
    for served in 2..=13 {
        server.answer(1);
        wait_for("the next one has the place", || server.asked().len() == served);
    }
    wait_for_queue(&forwarder, 12);
    // The list names somebody else, who has three places.
    fs::write(
        forwarder.files().path("ip_list.txt"),
        list(&other, "max_connections=3"),
    )
    .unwrap();
    reload(&forwarder);
    wait_for("the queue moves", || other.asked().len() == 3);
    wait_for_queue(&forwarder, 9);
    server.answer(1);
    other.answer(12);
    assert_eq!(answered(clients), 25);
    assert_eq!((server.asked().len(), other.asked().len()), (13, 12));
    assert_eq!((server.most(), other.most()), (1, 3));
}

#[test]
fn a_full_backend_is_passed_over_and_backups_are_no_help() {
    let [small, large, backup] = [(); 3].map(|()| Server::start(Duration::ZERO));
    let text = [
        list(&small, "max_connections=1"),
        list(&large, "max_connections=4"),
        list(&backup, "backup"),
    ];
    let forwarder = Forwarder::start(&limited(&json!({})), &text.concat());
    let clients = (1..=9).map(|name| client(forwarder.addr(), name)).collect();
    wait_for("five have places", || {
        small.asked().len() + large.asked().len() == 5
    });
    wait_for_queue(&forwarder, 4);
    assert_eq!(service(&forwarder)["full"], 2);
    let most = [&small, &large, &backup].map(|server| server.asked().len());
    assert_eq!(most, [1, 4, 0]);
    small.answer(9);
    large.answer(9);
    assert_eq!(answered(clients), 9);
    assert_eq!(backup.asked().len(), 0);
}

/// A crowd at a slow server, whose connections are warm, dialled and probed all at once.
fn crowd(forwarder: &Forwarder, server: &Server, clients: usize) {
    const THREADS: usize = 25;
    server.answer(clients);
    let addr = forwarder.addr();
    let ask = move |name: usize| {
        let name = u8::try_from(name % 250).unwrap();
        client(addr, name).join().unwrap()
    };
    let threads: Vec<_> = (0..THREADS)
        .map(|_| std::thread::spawn(move || (0..clients / THREADS).filter(|one| ask(*one)).count()))
        .collect();
    let served: usize = threads.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(served, clients, "all are served");
}

/// Probes ten times a second, and warm connections for all places.
fn busy() -> Value {
    limited(&json!({
        "remotes": { "probing": { "interval": "100ms" } },
        "pools": { "strategy": { "type": "static", "static": { "size_per_remote": 6 } } },
    }))
}

#[test]
fn a_server_never_has_more_than_its_limit_with_warm_connections_and_probes() {
    for places in [1, 2, 7] {
        let server = Server::start(Duration::from_millis(2));
        let entry = list(&server, &format!("max_connections={places}"));
        let forwarder = Forwarder::start(&busy(), &entry);
        crowd(&forwarder, &server, 250);
        let probes = forwarder.metric("health_checks_total");
        let noticed = server.books.most_noticed.load(Ordering::SeqCst);
        let hits = forwarder.metric("pool_hits_total");
        println!(
            "{places} places: {} open, {noticed} noticed, {probes} probes, {hits} warm",
            server.most()
        );
        assert!(
            (1..=places).contains(&server.most()),
            "{} of {places}",
            server.most()
        );
        // A lower limit closes what is warm beyond it, without a client.
        if places == 7 {
            wait_for("warm connections", || {
                forwarder.metric("pool_available_connections") >= 3.0
            });
            fs::write(
                forwarder.files().path("ip_list.txt"),
                list(&server, "max_connections=2"),
            )
            .unwrap();
            reload(&forwarder);
            wait_for("two at most", || {
                service(&forwarder)["members"][0]["open"].as_u64().unwrap() <= 2
            });
        }
    }
}

/// What the program does with its sockets, as `strace` saw it: the most connections to a port that were open at once, from the
/// call of `connect` to the return of `close`, or of the read that found the other side's end.
fn most_by_calls(trace: &str, port: u16) -> usize {
    let towards = format!("sin_port=htons({port})");
    // Of calls that another thread's interrupted in the trace: what they began with.
    let mut begun: BTreeMap<(String, String), String> = BTreeMap::new();
    // Descriptors by number: a number may be somebody's again before its `close` is seen to return.
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut finished: BTreeMap<String, usize> = BTreeMap::new();
    let mut most = 0;
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let (thread, call) = (thread.to_owned(), call.trim_start());
        let (whole, has_begun, has_ended) = if let Some(rest) = call.strip_prefix("<... ") {
            let Some((name, end)) = rest.split_once(" resumed>") else {
                continue;
            };
            let first = begun.remove(&(thread, name.to_owned())).unwrap_or_default();
            (format!("{first}{end}"), false, true)
        } else if let Some(first) = call.strip_suffix(" <unfinished ...>") {
            let name = first.split('(').next().unwrap().to_owned();
            begun.insert((thread, name), first.to_owned());
            (first.to_owned(), true, false)
        } else {
            (call.to_owned(), true, true)
        };
        let Some((name, rest)) = whole.split_once('(') else {
            continue;
        };
        let number = rest.split([',', ')']).next().unwrap().trim().to_owned();
        if name == "connect" && has_begun && whole.contains(&towards) {
            *open.entry(number).or_default() += 1;
            most = most.max(open.values().sum());
        } else if name == "recvfrom" && has_ended && whole.ends_with(" = 0") {
            if let Some(count) = open.get_mut(&number).filter(|count| **count > 0) {
                *count -= 1;
                *finished.entry(number).or_default() += 1;
            }
        } else if name == "close" && has_ended {
            let known = [&mut finished, &mut open];
            let known = known
                .into_iter()
                .find_map(|one| one.get_mut(&number).filter(|count| **count > 0));
            if let Some(count) = known {
                *count -= 1;
            }
        }
    }
    most
}

#[test]
fn a_trace_is_read_rightly() {
    let trace = "7 connect(5, {sa_family=AF_INET, sin_port=htons(80), x}, 16) = -1 EINPROGRESS (x)\n\
        8 connect(6, {sa_family=AF_INET, sin_port=htons(80), x}, 16 <unfinished ...>\n\
        7 close(5 <unfinished ...>\n\
        8 <... connect resumed>) = -1 EINPROGRESS (x)\n\
        9 connect(5, {sa_family=AF_INET, sin_port=htons(80), x}, 16) = -1 EINPROGRESS (x)\n\
        7 <... close resumed>)             = 0\n\
        9 connect(9, {sa_family=AF_INET, sin_port=htons(81), x}, 16) = 0\n\
        9 recvfrom(5, \"\", 99, 0, NULL, NULL) = 0\n\
        9 connect(7, {sa_family=AF_INET, sin_port=htons(80), x}, 16) = 0\n\
        9 close(5)   = 0\n\
        9 connect(8, {sa_family=AF_INET, sin_port=htons(80), x}, 16) = 0\n";
    assert_eq!(most_by_calls(trace, 80), 3);
    assert_eq!(most_by_calls(trace, 81), 1);
}

#[test]
fn by_its_system_calls_it_never_has_more_open_than_the_limit() {
    const PLACES: usize = 3;
    let Some([strace]) = programs(
        "by_its_system_calls_it_never_has_more_open_than_the_limit",
        ["strace"],
    ) else {
        return;
    };
    let server = Server::start(Duration::from_millis(1));
    let files = Files::new(
        &settings(&busy()),
        &list(&server, &format!("max_connections={PLACES}")),
    );
    let trace = files.path("trace");
    let words = ["--seccomp-bpf", "-e", "trace=connect,close,recvfrom", "-s", "1"];
    let traced = files.command_traced(&strace, &words);
    let forwarder = Forwarder::spawn(files, traced).listening();
    crowd(&forwarder, &server, 200);
    wait_for("all have left", || service(&forwarder)["connections"] == 0);
    let text = fs::read_to_string(&trace).unwrap();
    let connects = text.matches(&format!("htons({})", server.addr.port())).count();
    assert!(connects > 50, "{connects} connects in the trace");
    assert_eq!(most_by_calls(&text, server.addr.port()), PLACES);
}
