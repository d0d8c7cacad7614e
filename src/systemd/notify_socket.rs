//! Tells the service manager behind `NOTIFY_SOCKET`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{debug, warn};

use super::notice::{Notice, message};
use crate::base::clock;

/// Longest wait for a service manager whose queue is full.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the service manager how this process is; without one it does nothing. Any thread may use it.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    has_failed: AtomicBool,
    /// Another process speaks for the service.
    has_left: AtomicBool,
}

impl Notifier {
    /// The service manager that started this process, if it wants to be told.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::to(&name).unwrap_or_else(|error| {
                warn!(
                    "the service manager is told nothing: NOTIFY_SOCKET={}: {error}",
                    name.display()
                );
                Self::default()
            }),
            Some(_) | None => Self::default(),
        }
    }

    /// Whoever listens at a socket: a path, or an abstract name that begins with `@`.
    ///
    /// # Errors
    /// When it is neither, or the system gives no socket.
    pub fn to(name: &OsStr) -> io::Result<Self> {
        let addr = match name.as_bytes() {
            [b'@', name @ ..] => abstract_addr(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "it is no Unix socket")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket: Some((socket, addr)),
            has_failed: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
        })
    }

    /// Whether anybody listens, so that it is worth to find out what could be said.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// Says that another process is the service from now on, and nothing more: that this one stops is no stop of the
    /// service, which a manager that listens to all of its processes would take it for.
    pub fn leave_to(&self, pid: u32) {
        self.tell(&[Notice::MainPid(pid)]);
        self.has_left.store(true, Ordering::Relaxed);
    }

    /// Says all of it in one message. A failure is logged, the first one for everybody to see.
    pub fn tell(&self, notices: &[Notice<'_>]) {
        let Some((socket, addr)) = &self.socket else {
            return;
        };
        if self.has_left.load(Ordering::Relaxed) {
            return;
        }
        let message = message(notices, clock::since_boot());
        match socket.send_to_addr(message.as_bytes(), addr) {
            Ok(sent) => debug_assert_eq!(sent, message.len(), "a datagram goes whole"),
            Err(error) if self.has_failed.swap(true, Ordering::Relaxed) => {
                debug!("the service manager was not told: {error}");
            }
            Err(error) => warn!("the service manager was not told: {error}"),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_addr(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_addr(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no abstract names",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came as one message.
    fn heard(socket: &UnixDatagram) -> String {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a deadline");
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_service_manager_hears_one_message_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        let notifier = Notifier::to(path.as_os_str()).expect("a notifier");
        assert!(notifier.is_heard());
        notifier.tell(&[Notice::Ready, Notice::Status("2 services")]);
        assert_eq!(heard(&manager), "READY=1\nSTATUS=2 services\n");
        let before = clock::since_boot();
        notifier.tell(&[Notice::Reloading]);
        let said = heard(&manager);
        let usec = said
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .expect("a reload");
        let usec: u64 = usec.trim().parse().expect("a number");
        let range = before.as_micros()..=clock::since_boot().as_micros();
        assert!(range.contains(&u128::from(usec)), "{usec} in {range:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_one_too() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("tcp-forwarder-test-{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&addr).expect("bound");
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).expect("a notifier");
        notifier.tell(&[Notice::Watchdog]);
        assert_eq!(heard(&manager), "WATCHDOG=1\n");
    }

    #[test]
    fn whoever_does_not_listen_holds_nobody_up() {
        Notifier::default().tell(&[Notice::Ready]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let notifier = Notifier::to(path.as_os_str()).expect("a notifier");
        notifier.tell(&[Notice::Ready]);
        // A manager that never reads: its queue is full before long.
        let manager = UnixDatagram::bind(&path).expect("bound");
        manager.set_nonblocking(true).expect("an option");
        let (socket, _) = notifier.socket.as_ref().expect("a socket");
        socket.set_nonblocking(true).expect("an option");
        for _ in 0..2000 {
            notifier.tell(&[Notice::Watchdog]);
        }
        for bad in ["vsock:2:1234", "relative", ""] {
            assert!(Notifier::to(OsStr::new(bad)).is_err(), "{bad:?}");
        }
    }
}
