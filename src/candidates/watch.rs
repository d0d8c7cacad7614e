//! Following a changed candidate list, for `provider.watch`.
//!
//! A file that is being written, has gone, or turned bad never replaces a good set.

use std::path::PathBuf;

use super::list_file::{self, LoadError};
use super::set::CandidateSet;
use crate::base::file_watch::{FileWatch, must_be_regular};

/// Follows one list file.
#[derive(Debug)]
pub struct Watch {
    file: FileWatch,
    default_port: u16,
}

impl Watch {
    /// A watch over this file, which has not looked yet.
    #[must_use]
    pub fn new(path: PathBuf, default_port: u16) -> Self {
        Self {
            file: FileWatch::new(path),
            default_port,
        }
    }

    /// Looks at the file, and reads it if it has changed; what it says then.
    ///
    /// # Errors
    /// When the changed file cannot be used; once a change, for nothing is read again before it changes again.
    pub fn look(&mut self) -> Result<Option<CandidateSet>, LoadError> {
        if !self.file.look() {
            return Ok(None);
        }
        must_be_regular(self.file.path()).map_err(|source| LoadError::Unreadable {
            path: self.file.path().to_owned(),
            source,
        })?;
        list_file::load(self.file.path(), self.default_port).map(Some)
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
        std::fs::write(watch.file.path(), "10.0.0.1\n10.0.0.2").expect("written");
        assert_eq!(look(&mut watch), None, "it may still be written");
        assert_eq!(look(&mut watch), Some(2));
        assert_eq!(look(&mut watch), None);
    }

    #[test]
    fn a_bad_or_missing_file_is_told_once() {
        let (_folder, mut watch) = watch("10.0.0.1");
        assert_eq!((look(&mut watch), look(&mut watch)), (None, Some(1)));
        std::fs::write(watch.file.path(), "10.0.0.1\nnonsense").expect("written");
        let told = (0..4).filter(|_| watch.look().is_err()).count();
        assert_eq!(told, 1);
        std::fs::remove_file(watch.file.path()).expect("removed");
        let told = (0..4).filter(|_| watch.look().is_err()).count();
        assert_eq!(told, 1);
        std::fs::write(watch.file.path(), "10.0.0.7").expect("written");
        assert_eq!((look(&mut watch), look(&mut watch)), (None, Some(1)));
    }
}
