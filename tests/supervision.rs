//! The whole program under a service manager: what that is told, and the sockets that it passes.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic"
)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

mod support;

use support::{Files, Forwarder, PATIENCE, comes_true, echo_on, patient, ping, settings, tools};

/// A service manager's ear.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    /// The next message; its lines.
    fn next(&mut self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let Ok(count) = self.socket.recv(&mut buffer) else {
            panic!("nothing is said any more; until now: {:?}", self.heard);
        };
        let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
        self.heard.push(text.clone());
        text.lines().map(str::to_owned).collect()
    }

    /// The next message that says this.
    fn hears(&mut self, line: &str) -> Vec<String> {
        loop {
            let lines = self.next();
            if lines.iter().any(|one| one.starts_with(line)) {
                return lines;
            }
        }
    }

    /// The next message that is not only about how things stand.
    fn hears_news(&mut self) -> Vec<String> {
        loop {
            let lines = self.next();
            if lines
                .iter()
                .any(|line| !line.starts_with("STATUS=") && line != "WATCHDOG=1")
            {
                return lines;
            }
        }
    }
}

/// Files of a forwarder over one echo server.
fn files(changes: &Value) -> Files {
    Files::new(&settings(changes), &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)))
}

/// The monotonic clock of this machine, as a service manager reads it.
fn monotonic_usec() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000 + u64::try_from(time.tv_nsec).unwrap() / 1_000
}

fn monotonic_of(lines: &[String]) -> u64 {
    let said = lines.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    said.expect("when it begins").parse().unwrap()
}

#[test]
fn the_manager_hears_of_start_reload_health_and_stop() {
    let files = files(&json!({ "server": { "control_socket": "control" } }));
    let path = files.path("notify");
    let mut manager = Manager::at(&path);
    let mut command = files.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let forwarder = Forwarder::spawn(files, command);
    let ready = manager.next();
    let forwarder = forwarder.listening();
    assert!(ready.contains(&"READY=1".to_owned()), "{ready:?}");
    assert!(
        ready.contains(&format!("MAINPID={}", forwarder.pid())),
        "{ready:?}"
    );
    assert!(
        ready
            .iter()
            .any(|line| line.starts_with("STATUS=1 of 1 services well")),
        "{ready:?}"
    );
    ping(&mut forwarder.connect(), b"it is ready indeed");
    for _ in 0..3 {
        let well = manager.hears("WATCHDOG=1");
        assert!(well.iter().any(|line| line.starts_with("STATUS=")), "{well:?}");
    }
    // Of good files and of bad ones it hears the same: that the reload is over.
    let good = std::fs::read_to_string(forwarder.files().path("config.yaml")).unwrap();
    for text in [good.as_str(), "server: { reactors: many }\n", good.as_str()] {
        std::fs::write(forwarder.files().path("config.yaml"), text).unwrap();
        let before = monotonic_usec();
        forwarder.signal(Signal::HUP);
        let begins = manager.hears_news();
        assert_eq!(begins[0], "RELOADING=1", "{begins:?}");
        let at = monotonic_of(&begins);
        assert!(
            (before..=monotonic_usec()).contains(&at),
            "{at} is not after {before}"
        );
        let ends = manager.hears_news();
        assert!(ends.contains(&"READY=1".to_owned()), "{ends:?}");
        assert!(ends.iter().any(|line| line.starts_with("STATUS=")), "{ends:?}");
    }
    forwarder.signal(Signal::TERM);
    assert_eq!(manager.hears_news(), ["STOPPING=1"]);
    assert_eq!(forwarder.ended().status, Some(0));
}

#[test]
fn the_manager_hears_who_is_the_service_after_a_hand_over() {
    let files = files(&json!({ "server": { "control_socket": "control" } }));
    // Its ear is not among the files of the old one, which go with that.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::at(&path);
    let mut command = files.command();
    command.env("NOTIFY_SOCKET", &path);
    let mut successor = files.command();
    successor
        .env("NOTIFY_SOCKET", &path)
        .arg("--takeover")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let old = Forwarder::spawn(files, command).listening();
    assert!(manager.next().contains(&"READY=1".to_owned()));
    // The port is the system's choice: the successor's settings name the one that it was.
    let config = old.files().path("config.yaml");
    let mut named: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    named["server"]["listen_addr"] = json!(old.addr());
    named["metrics"]["listen_addr"] = json!(old.metrics_addr());
    std::fs::write(&config, named.to_string()).unwrap();
    let mut new = successor.spawn().unwrap();
    let pid = format!("MAINPID={}", new.id());
    let mut has_told = (false, false);
    while has_told != (true, true) {
        let lines = manager.next();
        assert!(
            !lines.contains(&"STOPPING=1".to_owned()),
            "the service does not stop: {:?}",
            manager.heard
        );
        has_told.0 |= lines.contains(&pid);
        has_told.1 |= lines.contains(&"READY=1".to_owned());
    }
    let served = old.addr();
    assert_eq!(old.ended().status, Some(0));
    // The old one is gone, and the service goes on: nothing is said to the contrary.
    manager.socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    while let Ok(count) = manager.socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        assert!(!text.contains("STOPPING=1"), "{text}");
    }
    manager.socket.set_nonblocking(false).unwrap();
    ping(
        &mut patient(TcpStream::connect(served).unwrap()),
        b"by the new one",
    );
    let process = rustix::process::Pid::from_raw(i32::try_from(new.id()).unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::TERM).unwrap();
    assert_eq!(manager.hears_news(), ["STOPPING=1"]);
    assert!(new.wait().unwrap().success());
}

/// Whether anybody listens there, without a connection, which would be taken for a client.
fn listens(addr: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", addr.port());
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next().is_some_and(|local| local.ends_with(&port));
        is_it && fields.nth(1) == Some("0A")
    })
}

#[test]
fn sockets_that_systemd_opened_are_served_by_their_names() {
    let test = "socket activation of the whole program";
    let Some(activate) = tools::wanted("systemd-socket-activate", test) else {
        return;
    };
    // It binds by itself, so ports that were free a moment ago; on an address of this process, so nobody takes them.
    let block = 128 + std::process::id() % 96;
    let free = |place: u32| {
        let ip = Ipv4Addr::from((127 << 24) | (block << 16) | (3 << 12) | place);
        TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
    };
    let [web, redis] = [1, 2].map(free);
    let mut settings = settings(&json!({ "services": {
        "web": { "listen_addr": web },
        "redis": { "listen_addr": redis },
    } }));
    settings["server"].as_object_mut().unwrap().remove("listen_addr");
    let files = Files::new(&settings, &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)));
    let program = files.command();
    let mut command = Command::new(&activate);
    command
        .args(["--listen", &redis.to_string(), "--listen", &web.to_string()])
        .args(["--fdname", "redis:web"])
        .arg(program.get_program())
        .args(program.get_args())
        .env_remove("RUST_LOG");
    let mut forwarder = Forwarder::spawn(files, command);
    let is_up = comes_true(PATIENCE, || {
        (listens(web) && listens(redis)) || forwarder.has_ended()
    });
    assert!(is_up && !forwarder.has_ended(), "{}", forwarder.stderr());
    // The first client starts the program, and is served when that is up.
    for (addr, name) in [(web, "web"), (redis, "redis")] {
        let mut client = patient(TcpStream::connect(addr).unwrap());
        ping(&mut client, name.as_bytes());
        let counted = format!("new_connections_total{{service=\"{name}\"}}");
        assert!(
            comes_true(PATIENCE, || forwarder.metric(&counted) > 0.5),
            "{}",
            forwarder.scrape()
        );
    }
    // A reload leaves them as they are.
    forwarder.signal(Signal::HUP);
    assert!(
        comes_true(PATIENCE, || forwarder.log().contains("reloaded: ")),
        "{}",
        forwarder.log()
    );
    ping(&mut patient(TcpStream::connect(web).unwrap()), b"again");
    let ended = forwarder.stop();
    assert_eq!(ended.status, Some(0), "{ended:?}");
}
