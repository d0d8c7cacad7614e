//! Whether a file has changed: its length and time of change, looked at twice.
//!
//! A file that is being written is not taken half: a change counts once two looks agree. Whoever owns it looks, every
//! [`LOOK_INTERVAL`], on a thread that may block.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Time between two looks at a file.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The same while nobody uses any service: a look wakes a core.
pub const LAZY_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What is looked at; none while the file cannot be looked at.
type Stamp = Option<(u64, Option<SystemTime>)>;

/// Whether a file can be read again without waiting for whoever writes it, or for ever.
///
/// # Errors
/// When it cannot be looked at, or is a pipe, a device or a folder.
pub fn must_be_regular(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_file() {
        return Ok(());
    }
    let why = "not a regular file; only those can be read again";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Follows one file.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// As at the last look.
    seen: Stamp,
    /// As when a change was last told, if one was.
    told: Option<Stamp>,
}

impl FileWatch {
    /// Tells of the file the first time in any case: it may have changed since it was read.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            told: None,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks; whether the file has changed since a change was last told, and has stayed as it is for one interval.
    pub fn look(&mut self) -> bool {
        let stamp = self.stamp();
        let is_stable = stamp == self.seen;
        self.seen = stamp;
        if !is_stable || self.told == Some(stamp) {
            return false;
        }
        self.told = Some(stamp);
        true
    }

    fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some((metadata.len(), metadata.modified().ok()))
    }
}
