//! A thread that panics: the process says so and ends with status 1, whichever thread it is.
//!
//! The panic comes from a logger, in a copy of this program that runs the forwarder: every thread logs something
//! sooner or later, so none needs a way in that users would get as well.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use log::{Log, Metadata, Record};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tcp_forwarder::app::{Boot, Inherited, Launch, load_lists};
use tcp_forwarder::{config, last_words, logging};

use crate::support::{Files, echo_on, http_body, settings, wait_for};

/// Set for the copy of this program: the name of the thread that panics.
const THREAD: &str = "TCP_FORWARDER_TEST_PANIC";

/// Set for the copy of this program: its folder.
const FOLDER: &str = "TCP_FORWARDER_TEST_PANIC_FOLDER";

/// Panics when a certain thread logs, once the forwarder is up.
struct Trap {
    thread: String,
    armed: PathBuf,
}

impl Log for Trap {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let here = std::thread::current();
        // The panic itself is logged by the same thread.
        let is_due = here.name() == Some(&self.thread) && std::fs::remove_file(&self.armed).is_ok();
        assert!(!is_due, "injected at: {}", record.args());
    }

    fn flush(&self) {}
}

/// Not a test by itself: the copy of this program that runs the forwarder.
#[test]
fn copy_that_panics() {
    let (Some(thread), Some(folder)) = (std::env::var_os(THREAD), std::env::var_os(FOLDER)) else {
        return;
    };
    let folder = PathBuf::from(folder);
    last_words::end_on_panic();
    let thread = thread.into_string().unwrap();
    if thread == "logger" {
        return panic_in_the_logger(&folder);
    }
    let armed = folder.join("armed");
    let is_metrics = thread == "metrics";
    log::set_boxed_logger(Box::new(Trap {
        thread,
        armed: armed.clone(),
    }))
    .unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let config = config::load(&folder.join("config.yaml")).unwrap();
    let launch = Launch::new(config.process.reactors);
    let app = launch
        .start(Boot {
            file: Some(folder.join("config.yaml")),
            lists: load_lists(&config).unwrap(),
            config,
            inherited: Inherited::default(),
        })
        .unwrap();
    let addrs = format!("{} {}", app.listen_addrs()[0], app.metrics_addr.unwrap());
    std::fs::write(&armed, "").unwrap();
    std::fs::write(folder.join("addrs.new"), &addrs).unwrap();
    std::fs::rename(folder.join("addrs.new"), folder.join("addrs")).unwrap();
    if is_metrics {
        // This thread logs only when it finds no descriptor for a connection.
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count() - 1;
        let current = Some(u64::try_from(open).unwrap());
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    }
    let end = app.run();
    // Reached only if the panic did not end the process: with another status than the one that is right.
    let _ = writeln!(std::io::stderr(), "{end:?}");
    #[expect(clippy::exit, reason = "it must not look like the end of a test")]
    std::process::exit(42);
}

/// Something that cannot be logged: the panic comes while the logger is locked.
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        unreachable!("injected into the logger");
    }
}

fn panic_in_the_logger(folder: &Path) {
    let config = config::load(&folder.join("config.yaml")).unwrap();
    logging::init(&config.process.logging).unwrap();
    log::error!("{Unspeakable}");
}

/// A copy in which the named thread is going to panic.
struct Copy {
    child: Child,
    files: Files,
}

impl Copy {
    fn start(thread: &str, list: &str, stderr: Stdio) -> Self {
        let quick = json!({
            "remotes": {
                "provider": { "file": { "watch": true } },
                "probing": { "interval": "200ms" },
                "selector": { "evaluation_interval": "200ms", "min_score_threshold": 60.0 },
            },
            "pools": {
                "common": { "idle_timeout": "1s" },
                "strategy": {
                    "type": "dynamic",
                    "dynamic": { "min_size": 1, "scaling": { "interval": "100ms" } },
                },
            },
        });
        let files = Files::new(&settings(&quick), list);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process_panic::copy_that_panics", "--nocapture"])
            .env(THREAD, thread)
            .env(FOLDER, files.path(""))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, files }
    }

    /// Where it listens and where its metrics are, once it is up.
    fn addrs(&self) -> (SocketAddr, SocketAddr) {
        wait_for("it is up", || self.files.path("addrs").exists());
        let text = std::fs::read_to_string(self.files.path("addrs")).unwrap();
        let (listen, metrics) = text.split_once(' ').unwrap();
        (listen.parse().unwrap(), metrics.parse().unwrap())
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the end of the process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A backend that is shut when it is dropped, and a list of it and one that refuses.
fn backend() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let refusing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let list = format!("{}\n{refusing}\n", listener.local_addr().unwrap());
    (listener, list)
}

/// Makes the named thread log something, and expects the end that follows.
fn a_panic_of(thread: &str) {
    let (listener, mut list) = backend();
    if thread.starts_with("reactor") {
        list = format!("{}\n", echo_on(Ipv4Addr::LOCALHOST));
    }
    let mut copy = Copy::start(thread, &list, Stdio::piped());
    let (listen, metrics) = copy.addrs();
    match thread {
        "reactor-0" => {
            // Either reactor may get it: as many as it takes.
            for _ in 0..100 {
                let Ok(mut client) = TcpStream::connect(listen) else {
                    break;
                };
                if client.write_all(b"x").is_err() {
                    break;
                }
            }
        }
        "selector" => drop(listener),
        "pools" => {
            let held: Vec<_> = (0..20).map(|_| TcpStream::connect(listen)).collect();
            wait_for("it has ended", || copy.child.try_wait().unwrap().is_some());
            drop(held);
        }
        // The descriptors may not have run out yet.
        "metrics" => wait_for("it has ended", || {
            drop(http_body(metrics, "/metrics"));
            copy.child.try_wait().unwrap().is_some()
        }),
        "worker" => std::fs::write(copy.files.path("ip_list.txt"), "nonsense\n").unwrap(),
        // They do something all the time.
        "prober" | "scorer" => {}
        other => unreachable!("{other}"),
    }
    let status = copy.end();
    let mut said = String::new();
    std::io::Read::read_to_string(copy.child.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{thread}: {status}: {said}");
    assert!(
        said.contains(&format!("thread '{thread}'")) && said.contains("injected"),
        "{said}"
    );
    assert!(
        TcpStream::connect(listen).is_err(),
        "{thread}: nothing is left of it"
    );
}

/// Injected: one panic in each kind of thread.
#[test]
fn a_thread_that_panics_ends_the_process_with_status_1() {
    let threads = [
        "reactor-0",
        "prober",
        "scorer",
        "selector",
        "pools",
        "metrics",
        "worker",
    ];
    std::thread::scope(|scope| {
        for thread in threads {
            scope.spawn(move || a_panic_of(thread));
        }
    });
}

/// Injected: a panic while the logger is locked, which the words about it would wait for.
#[test]
fn a_panic_inside_the_logger_ends_the_process_too() {
    let mut copy = Copy::start("logger", "127.0.0.1\n", Stdio::piped());
    assert_eq!(copy.end().code(), Some(1));
}

/// Injected: a panic with a standard error that nobody reads and that is full.
#[test]
fn a_panic_that_cannot_be_told_ends_the_process_too() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    std::thread::spawn(move || while filler.write_all(&[b'.'; 4096]).is_ok() {});
    let (_listener, list) = backend();
    let began = Instant::now();
    let mut copy = Copy::start("prober", &list, Stdio::from(writer));
    assert_eq!(copy.end().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(15));
    drop(reader);
}
