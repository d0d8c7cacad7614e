//! Following a changed candidate list, for `provider.watch`.
//!
//! Owns the thread that looks at the file's length and time of change, and is the only writer of the
//! published set. A file that is being written, has gone, or turned bad never replaces a good set.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::{CandidateSet, list_file};
use crate::metrics::counters::ControlCounters;
use crate::shutdown::Shutdown;
use crate::snapshot::Published;

/// Time between two looks at the file. A change is taken over once two looks agree.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What is looked at; none while the file cannot be looked at.
type Stamp = Option<(u64, Option<SystemTime>)>;

/// Follows one list file.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    default_port: u16,
    published: Arc<Published<CandidateSet>>,
    counters: Arc<ControlCounters>,
    /// As at the last look.
    seen: Stamp,
    /// As when the file was last read, and whether it ever was by this watch.
    read: Option<Stamp>,
}

impl Watch {
    /// A watch that will replace what is published there, as soon as the file differs from it.
    pub fn new(
        path: PathBuf,
        default_port: u16,
        published: Arc<Published<CandidateSet>>,
        counters: Arc<ControlCounters>,
    ) -> Self {
        Self {
            path,
            default_port,
            published,
            counters,
            seen: None,
            read: None,
        }
    }

    /// The body of the thread; returns when the stop begins.
    pub fn run(mut self, shutdown: &Shutdown) {
        while !shutdown.sleep(LOOK_INTERVAL) {
            self.look();
        }
    }

    /// Looks at the file, and reads it if it has changed and then stayed as it is for one interval.
    ///
    /// The first time it is read in any case: it may have changed between the load at the start and now.
    fn look(&mut self) {
        let stamp = self.stamp();
        let is_stable = stamp == self.seen;
        self.seen = stamp;
        if is_stable && self.read != Some(stamp) {
            self.read = Some(stamp);
            self.read();
        }
    }

    fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some((metadata.len(), metadata.modified().ok()))
    }

    fn read(&self) {
        match list_file::load(&self.path, self.default_port) {
            Ok(set) if set == *self.published.load() => {}
            Ok(set) => {
                log::info!(
                    "the candidate list has changed: {} candidates in {} ranges",
                    set.len(),
                    set.range_count()
                );
                self.published.publish(Arc::new(set));
            }
            // Once a change: nothing is read again before the file changes again.
            Err(error) => {
                self.counters
                    .candidate_list_errors
                    .fetch_add(1, Ordering::Relaxed);
                log::error!("the changed candidate list is not used, the last good one stays: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(text: &str) -> (tempfile::TempDir, Watch) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list.txt");
        std::fs::write(&path, text).expect("written");
        let set = list_file::load(&path, 80).expect("good");
        let published = Arc::new(Published::new(set));
        (folder, Watch::new(path, 80, published, Arc::default()))
    }

    fn errors(watch: &Watch) -> u64 {
        watch.counters.candidate_list_errors.load(Ordering::Relaxed)
    }

    #[test]
    fn a_changed_file_replaces_the_set_once_it_is_stable() {
        let (_folder, mut watch) = watch("10.0.0.1");
        for _ in 0..3 {
            watch.look();
        }
        assert_eq!(watch.published.version(), 0, "nothing has changed");
        std::fs::write(&watch.path, "10.0.0.1\n10.0.0.2").expect("written");
        watch.look();
        assert_eq!(watch.published.version(), 0, "it may still be written");
        watch.look();
        assert_eq!((watch.published.version(), watch.published.load().len()), (1, 2));
        watch.look();
        std::fs::write(&watch.path, "10.0.0.1 \n10.0.0.2").expect("written");
        watch.look();
        watch.look();
        assert_eq!(watch.published.version(), 1, "the same candidates");
        assert_eq!(errors(&watch), 0);
    }

    #[test]
    fn a_file_that_changed_before_the_first_look_is_seen() {
        let (_folder, mut watch) = watch("10.0.0.1");
        std::fs::write(&watch.path, "10.0.0.0/24").expect("written");
        watch.look();
        watch.look();
        assert_eq!(watch.published.load().len(), 254);
    }

    #[test]
    fn a_bad_or_missing_file_keeps_the_set_and_counts_once() {
        let (_folder, mut watch) = watch("10.0.0.1");
        watch.look();
        watch.look();
        std::fs::write(&watch.path, "10.0.0.1\nnonsense").expect("written");
        for _ in 0..4 {
            watch.look();
        }
        assert_eq!((watch.published.version(), errors(&watch)), (0, 1));
        std::fs::remove_file(&watch.path).expect("removed");
        for _ in 0..4 {
            watch.look();
        }
        assert_eq!((watch.published.version(), errors(&watch)), (0, 2));
        std::fs::write(&watch.path, "10.0.0.7").expect("written");
        watch.look();
        watch.look();
        assert!(
            watch
                .published
                .load()
                .contains(&"10.0.0.7:80".parse().expect("address"))
        );
        assert_eq!((watch.published.version(), errors(&watch)), (1, 2));
    }

    #[test]
    fn the_thread_ends_with_the_stop() {
        let (_folder, watch) = watch("10.0.0.1");
        let shutdown = Arc::new(Shutdown::default());
        shutdown.begin();
        watch.run(&shutdown);
    }
}
