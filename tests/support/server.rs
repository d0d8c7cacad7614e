//! Real programs: servers that run and end with a test, clients that run to their end.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::{PATIENCE, comes_true, tools};

/// Where these programs are; none when one is missing, as [`tools::wanted`] has it.
pub fn programs<const N: usize>(test: &str, names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(|name| tools::wanted(name, test));
    if found.contains(&None) {
        return None;
    }
    Some(found.map(|found| found.expect("none is missing")))
}

/// A real server, in a folder and a process group of its own; all of it is killed when dropped.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, and waits until it listens on `addr`.
    pub fn start(mut command: Command, addr: SocketAddr, folder: &Path) -> Self {
        let log = folder.join("server.log");
        let out = std::fs::File::create(&log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut server = Self { child, addr, log };
        let is_up = comes_true(PATIENCE, || {
            TcpStream::connect(addr).is_ok() || server.child.try_wait().unwrap().is_some()
        });
        let runs = server.child.try_wait().unwrap().is_none();
        assert!(is_up && runs, "{command:?} does not start: {}", server.log());
        server
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process_group(group, signal).unwrap();
    }

    /// A candidate list of it alone.
    pub fn list(&self) -> String {
        format!("{}\n", self.addr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when the whole group has ended already.
        if let Some(group) = Pid::from_raw(i32::try_from(self.child.id()).unwrap()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// An nginx at `addr` whose section `http` holds these words, with one process and no files but its own.
pub fn nginx(program: &Path, addr: SocketAddr, http: &str, folder: &Path) -> Server {
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {what};"))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;
        events {{ worker_connections 2048; }}
        http {{ access_log off; {temp} {http} }}"
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(folder)
        .args(["-c", "nginx.conf", "-e", "stderr"]);
    Server::start(command, addr, folder)
}

/// A port of 127.0.0.`last` that nobody uses just now, and that nobody else of this process was given: who is given one listens there a
/// moment later, and until then the kernel may name it again.
pub fn free_addr(last: u8) -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        if GIVEN.lock().unwrap().insert(addr) {
            return addr;
        }
    }
}

/// Runs a client to its end, which must be a good one; what it said.
pub fn run(command: &mut Command, input: &[u8]) -> String {
    let output = outcome(command, input);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}\n{complaints}",
        output.status
    );
    said
}

pub fn outcome(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A client that ends early need not read it all.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}
