//! Following a changed candidate list, for `provider.watch`.
//!
//! A file that is being written, has gone, or turned bad never replaces a good set.

use std::path::PathBuf;

use super::list::{List, Rules};
use super::list_file::{self, LoadError};
use crate::base::file_watch::{FileWatch, must_be_regular};

/// Follows one list file.
#[derive(Debug)]
pub struct Watch {
    file: FileWatch,
    rules: Rules,
}

impl Watch {
    /// A watch over this file, which has not looked yet.
    #[must_use]
    pub fn new(path: PathBuf, rules: Rules) -> Self {
        Self {
            file: FileWatch::new(path),
            rules,
        }
    }

    /// Looks at the file, and reads it if it has changed; what it says then.
    ///
    /// # Errors
    /// When the changed file cannot be used; once a change, for nothing is read again before it changes again.
    pub fn look(&mut self) -> Result<Option<List>, LoadError> {
        if !self.file.look() {
            return Ok(None);
        }
        must_be_regular(self.file.path()).map_err(|source| LoadError::Unreadable {
            path: self.file.path().to_owned(),
            source,
        })?;
        let list = list_file::load(self.file.path(), self.rules);
        // Half of what somebody has written meanwhile is neither good nor bad.
        if self.file.has_moved() {
            return Ok(None);
        }
        list.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(text: &str) -> (tempfile::TempDir, Watch) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list.txt");
        std::fs::write(&path, text).expect("written");
        (folder, Watch::new(path, Rules::strict(80)))
    }

    /// How many candidates a look yields, if it yields a set.
    fn look(watch: &mut Watch) -> Option<u128> {
        watch.look().expect("a good file").map(|list| list.set.len())
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

    /// Writes a file with a time stamp of long ago.
    fn write_as_old(path: &std::path::Path, text: &str) {
        std::fs::write(path, text).expect("written");
        let file = std::fs::File::options().write(true).open(path).expect("opened");
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_modified(long_ago).expect("the time is set");
    }

    /// Whether two looks see what the list says now, and no third one does.
    fn sees(watch: &mut Watch, text: &str) {
        let looks = [look(watch), look(watch), look(watch)];
        assert_eq!(looks, [None, Some(text.lines().count() as u128), None]);
    }

    #[cfg(unix)]
    #[test]
    fn another_file_in_its_place_is_seen_with_the_same_length_and_time_stamp() {
        let (folder, mut watch) = watch("");
        let (list, next) = (folder.path().join("list.txt"), folder.path().join("next.txt"));
        write_as_old(&list, "10.0.0.1\n10.0.0.2");
        sees(&mut watch, "10.0.0.1\n10.0.0.2");
        write_as_old(&next, "10.0.0.1#10.0.0.2");
        std::fs::rename(&next, &list).expect("renamed");
        sees(&mut watch, "10.0.0.1#10.0.0.2");
        // The same file, written anew: the system's clock has to go on for it to know.
        let changed =
            || std::os::unix::fs::MetadataExt::ctime_nsec(&std::fs::metadata(&list).expect("there"));
        let before = changed();
        while changed() == before {
            write_as_old(&list, "10.0.0.3\n10.0.0.4");
        }
        sees(&mut watch, "10.0.0.3\n10.0.0.4");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_elsewhere_is_seen() {
        use std::os::unix::fs::symlink;
        // As Kubernetes swaps a ConfigMap: list.txt -> ..data/list.txt, ..data -> the folder of now.
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("one", "10.0.0.1\n10.0.0.2"), ("two", "10.0.0.1#10.0.0.2")] {
            std::fs::create_dir(at(name)).expect("made");
            write_as_old(&at(name).join("list.txt"), text);
        }
        symlink("one", at("..data")).expect("linked");
        symlink("..data/list.txt", at("list.txt")).expect("linked");
        let mut watch = Watch::new(at("list.txt"), Rules::strict(80));
        sees(&mut watch, "10.0.0.1\n10.0.0.2");
        symlink("two", at("..next")).expect("linked");
        std::fs::rename(at("..next"), at("..data")).expect("swapped");
        sees(&mut watch, "10.0.0.1#10.0.0.2");
    }

    #[test]
    fn a_folder_that_comes_back_is_seen() {
        let parent = tempfile::tempdir().expect("a folder");
        let (folder, list) = (parent.path().join("lists"), parent.path().join("lists/list.txt"));
        std::fs::create_dir(&folder).expect("made");
        write_as_old(&list, "10.0.0.1");
        let mut watch = Watch::new(list.clone(), Rules::strict(80));
        sees(&mut watch, "10.0.0.1");
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!((0..4).filter(|_| watch.look().is_err()).count(), 1);
        std::fs::create_dir(&folder).expect("made");
        write_as_old(&list, "10.0.0.1");
        sees(&mut watch, "10.0.0.1");
    }
}
