//! Whether the system has run out of something.

use std::io;

/// Whether a system call failed because descriptors, ports or memory ran out, not because of a peer.
#[must_use]
#[cfg(unix)]
pub fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // The last one is said of a poll that may watch no more.
    const EXHAUSTED: [Errno; 5] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::NOSPC,
    ];
    Errno::from_io_error(error).is_some_and(|errno| EXHAUSTED.contains(&errno))
}

/// Whether a system call failed because descriptors, ports or memory ran out, not because of a peer.
#[must_use]
#[cfg(not(unix))]
pub fn is_exhausted(error: &io::Error) -> bool {
    const WSAEMFILE: i32 = 10_024;
    const WSAENOBUFS: i32 = 10_055;
    matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
}
