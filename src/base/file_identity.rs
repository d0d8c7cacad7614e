//! Which file stands at a path, as far as the system tells: what a change of contents under the same length and time
//! stamp cannot hide.

use std::fs::Metadata;

/// Device and number of a file, and when the system has last seen anything of it change (seconds, nanoseconds).
#[cfg(unix)]
pub type Identity = (u64, u64, i64, i64);

/// The same, where that is not told.
#[cfg(not(unix))]
pub type Identity = ();

/// Which file this is.
#[cfg(unix)]
#[must_use]
pub fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

/// The same, where that is not told.
#[cfg(not(unix))]
pub const fn identity(_: &Metadata) -> Identity {}
