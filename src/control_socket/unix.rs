//! The control socket of Unix.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::base::clock;

/// Who may connect: the owner.
const MODE: u32 = 0o600;

/// Connections that the kernel may queue.
const BACKLOG: i32 = 128;

/// Longest wait for another process that binds a socket in the same folder, and between two looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_STEP: Duration = Duration::from_millis(5);

/// A control socket that is listened on. Its file goes when it is dropped, unless it was [left](Self::leave) to somebody.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file, as long as it is ours to remove.
    file: Option<FileId>,
}

/// What tells a file from another one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl ControlSocket {
    /// Binds the control socket, non-blocking, and listens. What a dead process left behind is replaced.
    ///
    /// # Errors
    /// When another process listens there, something else is in its place, or the system refuses; the text does not
    /// name the path.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let addr = SockAddr::unix(path)?;
        // Two that find the same dead socket must not remove each other's new one.
        let _lock = lock(path)?;
        make_way(path, &addr)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // On Linux the file has this mode from its first moment.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE))?;
        socket.bind(&addr)?;
        // Elsewhere it has it before anybody can connect, which nobody can before the next call.
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            listener: listener(socket),
            path: path.to_owned(),
            file: file_id(path),
        })
    }

    /// Listens on a control socket of another process too, which is bound to `path`. The file stays that process's until
    /// this one [keeps](Self::keep) it.
    ///
    /// # Errors
    /// When it is no socket of this kind.
    pub fn adopt(socket: Socket, path: &Path) -> io::Result<Self> {
        if socket.local_addr()?.domain() != Domain::UNIX || socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is no control socket",
            ));
        }
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        Ok(Self {
            listener: listener(socket),
            path: path.to_owned(),
            file: None,
        })
    }

    /// Makes the file this one's to remove: whoever had it has left it, or is gone.
    pub fn keep(&mut self) {
        self.file = file_id(&self.path);
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What accepts; non-blocking.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Another descriptor of the listener: for a poll, or to be handed over.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn duplicate(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    /// Leaves the file to the process that the socket was handed over to.
    pub fn leave(mut self) {
        self.file = None;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if self.file.is_some() && self.file == file_id(&self.path) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn listener(socket: Socket) -> UnixListener {
    let descriptor: std::os::fd::OwnedFd = socket.into();
    descriptor.into()
}

fn file_id(path: &Path) -> Option<FileId> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some(FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

/// Holds the folder of the socket as long as it lives.
fn lock(path: &Path) -> io::Result<File> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let folder = File::open(folder)?;
    let until = clock::now() + LOCK_PATIENCE;
    while flock(&folder, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        if clock::now() >= until {
            // Somebody holds it for a reason of his own; that two begin at the same moment is unlikely enough.
            break;
        }
        std::thread::park_timeout(LOCK_STEP);
    }
    Ok(folder)
}

/// Removes what a dead process left behind; an error if there is anything else.
fn make_way(path: &Path, addr: &SockAddr) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    let knock = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    knock.set_nonblocking(true)?;
    match knock.connect(addr) {
        Ok(()) => Err(in_use(&knock)),
        // Its queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use(&knock)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "there is a socket of another kind",
        )),
        Err(error) => Err(error),
    }
}

/// Who listens at the other end.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn in_use(knock: &Socket) -> io::Error {
    let text = match rustix::net::sockopt::socket_peercred(knock) {
        Ok(peer) => format!("it is in use by process {}", peer.pid.as_raw_nonzero()),
        Err(_) => "another process listens there".to_owned(),
    };
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

/// Who listens at the other end, which this system does not tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn in_use(_: &Socket) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};
    #[cfg(target_os = "linux")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control");
        (folder, path)
    }

    #[test]
    fn the_owner_alone_may_connect_and_the_file_goes_at_the_end() {
        let (_folder, path) = folder();
        let control = ControlSocket::bind(&path).expect("bound");
        assert_eq!(mode(&path), 0o600);
        let client = UnixStream::connect(&path).expect("connected");
        control.listener().accept().expect("queued");
        assert_eq!(
            control.listener().accept().expect_err("nobody else").kind(),
            io::ErrorKind::WouldBlock
        );
        drop(client);
        drop(control);
        assert!(!path.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_mode_is_never_another_one() {
        let (_folder, path) = folder();
        let looks = AtomicUsize::new(0);
        let deadline = clock::now() + Duration::from_secs(20);
        std::thread::scope(|scope| {
            let binder = scope.spawn(|| {
                while looks.load(Ordering::Relaxed) < 100 && clock::now() < deadline {
                    drop(ControlSocket::bind(&path).expect("bound"));
                }
            });
            while !binder.is_finished() {
                if let Ok(metadata) = fs::metadata(&path) {
                    assert_eq!(metadata.permissions().mode() & 0o177, 0, "owner, read and write");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        assert!(looks.into_inner() >= 100, "it was looked at");
    }

    #[test]
    fn what_a_dead_process_left_is_replaced() {
        let (_folder, path) = folder();
        // A listener of std leaves its file behind.
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(UnixStream::connect(&path).is_err());
        let control = ControlSocket::bind(&path).expect("bound");
        UnixStream::connect(&path).expect("connected");
        drop(control);
    }

    #[test]
    fn what_somebody_listens_on_is_left_alone() {
        let (_folder, path) = folder();
        let other = UnixListener::bind(&path).expect("bound");
        let refused = ControlSocket::bind(&path).expect_err("in use");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        if cfg!(target_os = "linux") {
            let told = format!("in use by process {}", std::process::id());
            assert!(refused.to_string().contains(&told), "{refused}");
        }
        // Though its queue is full.
        let crowd: Vec<_> = (0..5000)
            .map_while(|_| {
                let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
                client.set_nonblocking(true).expect("non-blocking");
                let connected = client.connect(&SockAddr::unix(&path).expect("an address"));
                connected.is_ok().then_some(client)
            })
            .collect();
        let refused = ControlSocket::bind(&path).expect_err("in use");
        assert_eq!(
            refused.kind(),
            io::ErrorKind::AddrInUse,
            "{} queue: {refused}",
            crowd.len()
        );
        drop(other);
        drop(crowd);
        ControlSocket::bind(&path).expect("free now");
    }

    #[test]
    fn what_is_no_control_socket_is_left_alone() {
        let (folder, path) = folder();
        fs::write(&path, "a file").expect("written");
        assert!(ControlSocket::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).expect("a file"), "a file");
        fs::remove_file(&path).expect("gone");
        let _datagrams = UnixDatagram::bind(&path).expect("bound");
        let refused = ControlSocket::bind(&path).expect_err("another kind");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "{refused}");
        assert!(ControlSocket::bind(&folder.path().join("missing/control")).is_err());
        let long = folder.path().join("x".repeat(200));
        assert!(ControlSocket::bind(&long).is_err());
    }

    #[test]
    fn of_many_at_once_one_listens() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).expect("a dead one"));
        let bound: Vec<_> = std::thread::scope(|scope| {
            let bind = || ControlSocket::bind(&path).ok();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(bind)).collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert_eq!(bound.len(), 1);
        UnixStream::connect(&path).expect("that one");
    }

    #[test]
    fn a_file_that_was_handed_over_stays_and_goes_with_its_new_owner() {
        let (_folder, path) = folder();
        let old = ControlSocket::bind(&path).expect("bound");
        let duplicate = old.duplicate().expect("a descriptor");
        let adopt = |listener: UnixListener| {
            let socket = Socket::from(std::os::fd::OwnedFd::from(listener));
            ControlSocket::adopt(socket, &path).expect("adopted")
        };
        // One that failed before the old one had left.
        drop(adopt(old.duplicate().expect("a descriptor")));
        assert!(path.exists(), "it is the old one's still");
        let mut new = adopt(duplicate);
        old.leave();
        new.keep();
        let client = UnixStream::connect(&path).expect("connected");
        new.listener().accept().expect("by the new one");
        drop(client);
        // Somebody else's file of the same name stays.
        fs::remove_file(&path).expect("gone");
        let other = ControlSocket::bind(&path).expect("bound");
        drop(new);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }
}
