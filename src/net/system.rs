//! What this system can do for a socket, under the same names everywhere.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use super::elsewhere::{
    bind_to_interface, choose_ports_late, connect, skip_pacing, uncork, write_corked,
};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use super::linux::{
    bind_to_interface, choose_ports_late, connect, skip_pacing, uncork, write_corked,
};
