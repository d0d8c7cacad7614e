//! Those who change the configuration of a running forwarder: they write its file and ask for a reload.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::peers::rig::fault_settings;
use crate::support::{Files, Forwarder, PATIENCE, merge};

/// What those who change things show.
const TOKEN: &str = "a-token-that-is-long-enough-for-a-test";

/// Settings of a rig with whom may reload, and `changes` on top.
pub fn office_settings(changes: &Value) -> Value {
    let mut ours = fault_settings(&json!({ "metrics": { "admin_token": TOKEN } }));
    merge(&mut ours, changes);
    ours
}

/// A forwarder of these settings that listens.
pub fn start(settings: &Value, list: &str) -> Forwarder {
    let files = Files::new(settings, list);
    let command = files.command();
    Forwarder::spawn(files, command).listening()
}

/// A listen address that nobody else has: the loopback address is this process's, and the port was free just now.
pub fn own_addr() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    let block = 128 + std::process::id() % 96;
    let ip = Ipv4Addr::from((127 << 24) | (block << 16) | (1 << 12) | place);
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// The way to a running forwarder.
pub struct Office {
    config: PathBuf,
    folder: PathBuf,
    admin: SocketAddr,
}

impl Office {
    pub fn of(forwarder: &Forwarder) -> Self {
        let config = forwarder.files().path("config.yaml");
        let folder = config.parent().unwrap().to_owned();
        let admin = forwarder.metrics_addr();
        Self {
            config,
            folder,
            admin,
        }
    }

    /// Replaces a file of the configuration in one step.
    pub fn replace(&self, name: &str, text: &str) {
        let fresh = self.folder.join(format!("{name}.new"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.folder.join(name)).unwrap();
    }

    /// Writes the configuration over itself.
    pub fn overwrite(&self, text: &str) {
        std::fs::write(&self.config, text).unwrap();
    }

    /// Asks for a reload; the status of the answer, and what it says.
    pub fn ask(&self) -> (u16, Value) {
        self.request("POST /api/v1/reload")
    }

    /// Has the process take these settings, which must be good; what it says of them.
    pub fn change(&self, settings: &Value) -> Value {
        self.replace("config.yaml", &serde_json::to_string_pretty(settings).unwrap());
        let (status, said) = self.ask();
        assert_eq!(status, 200, "{said}");
        said
    }

    /// How the process stands.
    pub fn status(&self) -> Value {
        let (status, said) = self.request("GET /api/v1/status");
        assert_eq!(status, 200, "{said}");
        said
    }

    fn request(&self, line: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect_timeout(&self.admin, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let admin = self.admin;
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {reply}"));
        (status, body)
    }
}

#[expect(clippy::print_stdout, reason = "the test harness shows it with a failure")]
pub fn note(words: &str) {
    println!("{words}");
}

/// A seed that is printed, or that the environment variable `TCP_FORWARDER_SEED` gives.
pub fn seed() -> u64 {
    let given = std::env::var("TCP_FORWARDER_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    note(&format!("TCP_FORWARDER_SEED={seed}"));
    seed
}

/// Whether the long run is asked for.
pub fn is_long() -> bool {
    std::env::var("TCP_FORWARDER_LONG").is_ok_and(|value| value == "1")
}
