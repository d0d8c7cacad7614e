//! Following a changed candidate list, for `provider.watch`.
//!
//! Owns what is remembered of the file: its length and time of change at the last look, and when it was last read.
//! A file that is being written, has gone, or turned bad never replaces a good set. Whoever owns the set looks, every
//! [`LOOK_INTERVAL`], on a thread that may block.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::CandidateSet;
use super::list_file::{self, LoadError};

/// Time between two looks at the file. A change is taken over once two looks agree.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What is looked at; none while the file cannot be looked at.
type Stamp = Option<(u64, Option<SystemTime>)>;

/// Follows one list file.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    default_port: u16,
    /// As at the last look.
    seen: Stamp,
    /// As when the file was last read, and whether it ever was by this watch.
    read: Option<Stamp>,
}

impl Watch {
    /// A watch over this file, which has not looked yet.
    #[must_use]
    pub fn new(path: PathBuf, default_port: u16) -> Self {
        Self {
            path,
            default_port,
            seen: None,
            read: None,
        }
    }

    /// Looks at the file, and reads it if it has changed and then stayed as it is for one interval; what it says then.
    ///
    /// The first time it is read in any case: it may have changed between the load at the start and now.
    ///
    /// # Errors
    /// When the changed file cannot be used; once a change, for nothing is read again before it changes again.
    pub fn look(&mut self) -> Result<Option<CandidateSet>, LoadError> {
        let stamp = self.stamp();
        let is_stable = stamp == self.seen;
        self.seen = stamp;
        if !is_stable || self.read == Some(stamp) {
            return Ok(None);
        }
        self.read = Some(stamp);
        list_file::load(&self.path, self.default_port).map(Some)
    }

    fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some((metadata.len(), metadata.modified().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(text: &str) -> (tempfile::TempDir, Watch) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list.txt");
        std::fs::write(&path, text).expect("written");
        (folder, Watch::new(path, 80))
    }

    /// How many candidates a look yields, if it yields a set.
    fn look(watch: &mut Watch) -> Option<u128> {
        watch.look().expect("a good file").map(|set| set.len())
    }

    #[test]
    fn a_changed_file_is_read_once_it_is_stable() {
        let (_folder, mut watch) = watch("10.0.0.1");
        assert_eq!(look(&mut watch), None, "it may still be written");
        assert_eq!(look(&mut watch), Some(1), "it may have changed since the start");
        assert_eq!(look(&mut watch), None);
        std::fs::write(&watch.path, "10.0.0.1\n10.0.0.2").expect("written");
        assert_eq!(look(&mut watch), None, "it may still be written");
        assert_eq!(look(&mut watch), Some(2));
        assert_eq!(look(&mut watch), None);
    }

    #[test]
    fn a_bad_or_missing_file_is_told_once() {
        let (_folder, mut watch) = watch("10.0.0.1");
        assert_eq!((look(&mut watch), look(&mut watch)), (None, Some(1)));
        std::fs::write(&watch.path, "10.0.0.1\nnonsense").expect("written");
        let told = (0..4).filter(|_| watch.look().is_err()).count();
        assert_eq!(told, 1);
        std::fs::remove_file(&watch.path).expect("removed");
        let told = (0..4).filter(|_| watch.look().is_err()).count();
        assert_eq!(told, 1);
        std::fs::write(&watch.path, "10.0.0.7").expect("written");
        assert_eq!((look(&mut watch), look(&mut watch)), (None, Some(1)));
    }
}
