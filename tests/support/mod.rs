//! The built program as a child process: files of its own, its log, its ports, signals, its end; and what
//! tests need around it.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part of it")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

pub mod tools;
mod waiting;

pub use waiting::{PATIENCE, comes_to_rest, comes_true, pause, wait_for};

/// Settings for tests, with `changes` on top: every port chosen by the system, short intervals, small pools.
pub fn settings(changes: &Value) -> Value {
    let mut settings = json!({
        "server": { "listen_addr": "127.0.0.1:0", "reactors": 2 },
        "metrics": { "listen_addr": "127.0.0.1:0" },
        "remotes": {
            "provider": { "file": { "path": "ip_list.txt" } },
            "probing": { "interval": "1s" },
            "selector": { "evaluation_interval": "1s" },
        },
        "pools": { "strategy": { "type": "static", "static": { "size_per_remote": 4 } } },
    });
    merge(&mut settings, changes);
    settings
}

/// Lays `changes` over settings.
pub fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(into.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

/// The program under test: the one just built, or what the environment variable `TCP_FORWARDER_BIN` names, which
/// is a command line in words: another build of the program, behind the emulator that runs it.
pub fn program() -> Command {
    let words = std::env::var("TCP_FORWARDER_BIN").unwrap_or_default();
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(env!("CARGO_BIN_EXE_tcp-forwarder")));
    // `RUST_LOG` of whoever runs the tests does not count.
    command.args(words).env_remove("RUST_LOG");
    command
}

/// A folder with a configuration and a candidate list.
pub struct Files {
    folder: TempDir,
}

impl Files {
    /// The settings, which are YAML because they are JSON, and the list.
    pub fn new(settings: &Value, list: &str) -> Self {
        Self::of_text(&serde_json::to_string_pretty(settings).unwrap(), list)
    }

    /// The same, with any text as configuration.
    pub fn of_text(config: &str, list: &str) -> Self {
        let files = Self {
            folder: TempDir::new().unwrap(),
        };
        std::fs::write(files.path("config.yaml"), config).unwrap();
        std::fs::write(files.path("ip_list.txt"), list).unwrap();
        files
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with `--config`.
    pub fn command(&self) -> Command {
        let mut command = program();
        command.arg("--config").arg(self.path("config.yaml"));
        command
    }

    /// The program under a limit of file descriptors, set before it starts.
    pub fn command_with_descriptors(&self, limit: u32) -> Command {
        let program = self.command();
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""))
            .arg(program.get_program())
            .args(program.get_args())
            .env_remove("RUST_LOG");
        command
    }

    /// The program under this `strace`, told by `words` what to look at; its trace is the file `trace`.
    pub fn command_traced(&self, strace: &Path, words: &[&str]) -> Command {
        let program = self.command();
        let mut command = Command::new(strace);
        // As a grandchild, so that the process is the program.
        command
            .args(["-D", "-f"])
            .args(words)
            .arg("-o")
            .arg(self.path("trace"))
            .arg(program.get_program())
            .args(program.get_args())
            .env_remove("RUST_LOG");
        command
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running forwarder; killed when dropped.
pub struct Forwarder {
    child: Child,
    files: Files,
}

impl Forwarder {
    /// Starts it with [`settings`] and waits until it accepts connections.
    pub fn start(changes: &Value, list: &str) -> Self {
        let files = Files::new(&settings(changes), list);
        let command = files.command();
        Self::spawn(files, command).listening()
    }

    /// Starts `command`, which runs the program on `files`.
    pub fn spawn(files: Files, mut command: Command) -> Self {
        let out = |name| std::fs::File::create(files.path(name)).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out("stdout"))
            .stderr(out("stderr"))
            .spawn()
            .unwrap();
        Self { child, files }
    }

    /// A child that was started with streams of its own: its log and what it says are not among the files.
    pub fn around(files: Files, child: Child) -> Self {
        for name in ["stdout", "stderr"] {
            std::fs::write(files.path(name), "").unwrap();
        }
        Self { child, files }
    }

    /// The same forwarder, once it accepts connections.
    pub fn listening(mut self) -> Self {
        let listens = comes_true(PATIENCE, || {
            self.log().contains("listening on ") || self.has_ended()
        });
        assert!(
            listens && !self.has_ended(),
            "it does not start: {}{}",
            self.log(),
            self.stderr()
        );
        self
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path("stdout")).unwrap()
    }

    /// Waits until its log has these words; what it has instead is shown if they do not come.
    pub fn logs(&self, words: &str) {
        let logs = comes_true(PATIENCE, || self.log().contains(words));
        assert!(logs, "{words}: not within {PATIENCE:?}\n{}", self.log());
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.files.path("stderr")).unwrap()
    }

    /// Where it accepts connections.
    pub fn addr(&self) -> SocketAddr {
        self.addr_after("listening on ")
    }

    /// Where it shows its metrics.
    pub fn metrics_addr(&self) -> SocketAddr {
        self.addr_after("metrics on http://")
    }

    fn addr_after(&self, words: &str) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once(words).expect("it says where");
        let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || "[].:".contains(c)));
        rest[..end.unwrap_or(rest.len())].parse().expect("an address")
    }

    /// A new connection through it.
    pub fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.addr()).unwrap())
    }

    /// Its metrics, as [`plain`] shows them.
    pub fn scrape(&self) -> String {
        plain(&http_body(self.metrics_addr(), "/metrics").unwrap())
    }

    /// The sum of one metric over all its series.
    pub fn metric(&self, name: &str) -> f64 {
        sum(&self.scrape(), name)
    }

    /// What its API answers at this path, below `/api/v1/`.
    pub fn api(&self, path: &str) -> Value {
        let body = http_body(self.metrics_addr(), &format!("/api/v1/{path}")).unwrap();
        serde_json::from_str(&body).unwrap()
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(folder).unwrap().count()
    }

    /// Its resident memory in kB.
    pub fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let rows = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        rows.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    pub fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, and says how it ended.
    pub fn ended(mut self) -> Ended {
        wait_for("the end of the process", || self.has_ended());
        Ended {
            status: self.child.try_wait().unwrap().unwrap().code(),
            stdout: self.log(),
            stderr: self.stderr(),
        }
    }

    /// Asks it to stop, and says how it ended.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same stream, with deadlines for every read and write.
pub fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `bytes` and reads as many back, which must be the same.
pub fn ping(stream: &mut TcpStream, bytes: &[u8]) {
    let mut reply = vec![0; bytes.len()];
    stream.write_all(bytes).unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert!(reply == bytes, "the reply is another one");
}

/// The body at `path` of an HTTP server that says 200.
pub fn http_body(addr: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    match reply.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{path}: {reply}"))),
    }
}

/// Metrics without the label of the service `default`, which is the only one unless a test names others.
pub fn plain(text: &str) -> String {
    text.replace("{service=\"default\"}", "")
        .replace("{service=\"default\",", "{")
}

/// The sum of one metric (its name without `tcp_forwarder_`, with labels if it has any) over its series.
pub fn sum(text: &str, name: &str) -> f64 {
    let full = format!("tcp_forwarder_{name}");
    let text = plain(text);
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(&full)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then(|| value.parse::<f64>().unwrap())
    });
    values.sum()
}

/// A port of `ip` that takes connects without a word and never accepts: its queue is full.
pub struct Silent {
    pub addr: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Silent {
    pub fn on(ip: Ipv4Addr) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::from(SocketAddr::from((ip, 0)))).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let target = if ip.is_unspecified() {
            SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()))
        } else {
            addr
        };
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&target, Duration::from_millis(150)) {
            queued.push(stream);
        }
        Self {
            addr,
            _listener: listener,
            _queued: queued,
        }
    }
}

/// Answers every connection by echo, from a thread of its own each; the thread of the listener lives as long
/// as the tests.
pub fn echo_on(ip: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    echo(listener);
    addr
}

/// The same on a listener that there is.
pub fn echo(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(count) = stream.read(&mut buffer) {
                    if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}
