//! Network namespaces: made, entered, joined to the wire, and removed again.
//!
//! Names carry the process id, so runs do not meet; what a killed run left behind is swept by the next one.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tappers::{Interface, Tun};

const PREFIX: &str = "tcpfwd-lab";
const NAMES: &str = "/run/netns";
const TUN_DEVICE: &str = "/dev/net/tun";
/// The wire's end in each namespace.
const WIRE: &str = "wire0";
/// Packets the kernel queues for the router thread before it drops them.
const WIRE_QUEUE: u32 = 20_000;

/// One side's place on the wire.
pub(crate) struct Addresses {
    pub(crate) own: &'static str,
    pub(crate) local: &'static str,
    pub(crate) remote: &'static str,
    pub(crate) own_v6: &'static str,
    pub(crate) local_v6: &'static str,
    pub(crate) remote_v6: &'static str,
}

/// A named network namespace; its name goes when this is dropped.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn create(side: &str) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{side}", std::process::id());
        ip(&["netns", "add", &name], "")?;
        let namespace = Self { name };
        namespace.ip("link set lo up\n")?;
        // What the kernel learned of an address must not outlive a change of its link.
        namespace.sysctl("net/ipv4/tcp_no_metrics_save", "1")?;
        Ok(namespace)
    }

    /// The name, as `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside, once per line, until one fails.
    ///
    /// # Errors
    /// What `ip` says.
    pub(crate) fn ip(&self, lines: &str) -> io::Result<()> {
        ip(&["-n", &self.name, "-batch", "-"], lines)
    }

    /// Sets a network sysctl of this namespace; `key` is the path below `/proc/sys`.
    pub(crate) fn sysctl(&self, key: &str, value: &str) -> io::Result<()> {
        self.run(|| std::fs::write(Path::new("/proc/sys").join(key), value))?
    }

    /// Runs `work` on a thread inside the namespace. Sockets that it makes stay inside for good.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When `work` does.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let entry = self.entry()?;
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                enter(&entry)?;
                Ok(work())
            });
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `work` on a thread inside the namespace.
    ///
    /// # Errors
    /// When the namespace or the thread cannot be had.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<thread::JoinHandle<io::Result<T>>> {
        let entry = self.entry()?;
        thread::Builder::new().spawn(move || {
            enter(&entry)?;
            work()
        })
    }

    /// A command that will run inside; its process id is the program's own.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Makes the TUN device, its addresses and its routes.
    pub(crate) fn join_wire(&self, addresses: &Addresses) -> io::Result<File> {
        // Opened by a thread inside, the device is born here; the descriptor works from anywhere.
        let device = self.run(|| {
            let mut tun = Tun::new_named(Interface::new(WIRE)?)?;
            tun.set_nonblocking(true)?;
            Ok::<_, io::Error>(File::from(tun.as_fd().try_clone_to_owned()?))
        })??;
        // No router solicitations or neighbour discovery: at rest the wire is silent.
        self.ip(&format!(
            "link set {WIRE} addrgenmode none\n\
             link set {WIRE} txqueuelen {WIRE_QUEUE} up\n\
             address add {} dev {WIRE}\n\
             route add local {} dev lo\n\
             route add {} dev {WIRE}\n",
            addresses.own, addresses.local, addresses.remote
        ))?;
        if Path::new("/proc/net/if_inet6").exists() {
            self.ip(&format!(
                "address add {} dev {WIRE} nodad\n\
                 route add local {} dev lo\n\
                 route add {} dev {WIRE}\n",
                addresses.own_v6, addresses.local_v6, addresses.remote_v6
            ))?;
        }
        Ok(device)
    }

    fn entry(&self) -> io::Result<File> {
        File::open(Path::new(NAMES).join(&self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the next run sweeps.
        let _ = ip(&["netns", "delete", &self.name], "");
    }
}

fn enter(entry: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(
        entry.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}

/// What this machine lacks for a lab, in words; looked up once.
pub(crate) fn missing_here() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(look_for_what_is_missing).as_deref()
}

fn look_for_what_is_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    if let Err(error) = File::options().read(true).write(true).open(TUN_DEVICE) {
        return Some(format!("{TUN_DEVICE} cannot be opened: {error}"));
    }
    // Containers often have root and iproute2, but not the right to make a namespace.
    Namespace::create("try").err().map(|error| error.to_string())
}

/// Removes the names that runs which were killed have left behind.
pub(crate) fn sweep() {
    let Ok(names) = std::fs::read_dir(NAMES) else {
        return;
    };
    for name in names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        let alive = |pid: &str| PathBuf::from("/proc").join(pid).exists();
        if owner.is_some_and(|pid| !alive(pid)) {
            let _ = ip(&["netns", "delete", &name], "");
        }
    }
}

fn ip(arguments: &[&str], input: &str) -> io::Result<()> {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("iproute2's `ip` cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("`ip {}`: {}", arguments.join(" "), said.trim());
    Err(io::Error::other(message))
}
