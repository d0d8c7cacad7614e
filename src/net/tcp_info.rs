//! `TCP_INFO` of Linux and Android, by nix's macro for socket options that it does not know: the crate has no
//! `unsafe` of its own.

use std::sync::OnceLock;

use nix::libc;
use nix::sys::socket::sockopt::GetStruct;

/// The beginning of the kernel's `struct tcp_info`, to `tcpi_bytes_acked` in its last place.
type Fields = [u64; 16];

#[derive(Clone, Copy)]
struct TcpInfo;
nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    Fields,
    GetStruct<Fields>
);

/// `tcpi_bytes_acked`: sequence numbers acknowledged by the peer since the connection began. A connection of
/// ours has 1 at its start, the SYN. (Systems that only look like Linux leave 0 there.)
pub(super) fn bytes_acked(stream: &mio::net::TcpStream) -> Option<u64> {
    static IS_KNOWN: OnceLock<bool> = OnceLock::new();
    let is_known = || {
        let system = rustix::system::uname();
        has_bytes_acked(&system.release().to_string_lossy())
            && !is_emulated(&system.machine().to_string_lossy())
    };
    if !*IS_KNOWN.get_or_init(is_known) {
        return None;
    }
    let fields = nix::sys::socket::getsockopt(stream, TcpInfo).ok()?;
    fields.last().copied()
}

/// Whether the program runs on another kind of processor than its kernel: user-mode emulators answer shortly. A
/// kernel that does not name its own (before 5.19) is believed.
fn is_emulated(machine: &str) -> bool {
    std::fs::read_to_string("/proc/sys/kernel/arch").is_ok_and(|arch| arch.trim() != machine)
}

/// Whether a kernel of this release has the field: since 4.1; but the first Subsystem for Linux, whose release
/// ends in `-Microsoft`, has no such kernel. A shorter answer would be a bug of the program in nix's eyes, so
/// nobody is asked who might give one.
pub(super) fn has_bytes_acked(release: &str) -> bool {
    if release.ends_with("-Microsoft") {
        return false;
    }
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    next().zip(next()).is_some_and(|version| version >= (4, 1))
}
