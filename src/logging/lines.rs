//! Other lines than the log's: each output once, however many write to it.
//!
//! Invariants: those of the [`queue`]; an output that nobody writes to any more is closed once it has what was
//! written before; one that is opened again under its name loses no line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::error::LogError;
use super::output;
use super::queue::{self, Manner, Queue, WRITE_BYTES};
use crate::base::clock;
use crate::config::LogOutput;

/// Bytes that wait while an output takes nothing: a second of 10,000 lines.
const MOST_BYTES: usize = 4 << 20;

/// Bytes of one write to a file: the fewer writes, the less of the processor a line costs (a fifth less than at 64 KiB).
const FILE_WRITE_BYTES: usize = 1 << 20;

/// Lines are written so much later at most.
const GATHER: Duration = Duration::from_millis(20);
/// For how long the end of the process waits for what is to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Lines that could not be written since the start of the process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Every output that is not closed yet.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

struct Open {
    lines: Weak<Lines>,
    queue: Arc<Queue>,
}

/// An output for lines. Whoever holds one keeps it open.
#[derive(Debug)]
pub struct Lines {
    output: LogOutput,
    queue: Arc<Queue>,
}

impl Lines {
    /// The output of this name: the one that is open, or a new one, with a thread that writes.
    ///
    /// # Errors
    /// When the file cannot be opened, or the system gives no thread.
    pub fn open(output: &LogOutput) -> Result<Arc<Self>, LogError> {
        let mut all = open();
        let mut known = all.iter().filter_map(|one| one.lines.upgrade());
        if let Some(known) = known.find(|lines| lines.output == *output) {
            return Ok(known);
        }
        let what = match output {
            LogOutput::Stdout | LogOutput::Stderr => "the access log".to_owned(),
            LogOutput::File(file) => format!("the access log {}", file.display()),
        };
        let opened = output::open(output)?;
        // Appending to a file is one thing, however much it is; what goes into a pipe may be divided.
        let is_file = match output {
            LogOutput::Stdout | LogOutput::Stderr => false,
            LogOutput::File(file) => file.metadata().is_ok_and(|metadata| metadata.is_file()),
        };
        let manner = Manner {
            what,
            most_bytes: MOST_BYTES,
            write_bytes: if is_file { FILE_WRITE_BYTES } else { WRITE_BYTES },
            gather: GATHER,
            lost: &LOST,
        };
        let queue = queue::begin(opened, manner).map_err(LogError::NoThread)?;
        let lines = Arc::new(Self {
            output: output.clone(),
            queue: Arc::clone(&queue),
        });
        all.retain(|one| !one.queue.is_over());
        all.push(Open {
            lines: Arc::downgrade(&lines),
            queue,
        });
        Ok(lines)
    }

    /// Takes a line, which ends with a line feed; never waits for the output.
    pub fn push(&self, line: &[u8]) {
        debug_assert!(line.ends_with(b"\n"), "a whole line");
        self.queue.push(line);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Opens every file by its name again, because whoever rotates it has renamed it. One that cannot be opened is logged, and
/// goes on in the file that it had.
pub fn reopen_lines() {
    let all: Vec<Arc<Lines>> = open().iter().filter_map(|one| one.lines.upgrade()).collect();
    for lines in all {
        if let LogOutput::File(_) = &lines.output {
            match output::open(&lines.output) {
                Ok(output) => lines.queue.turn_to(output),
                Err(error) => log::error!("an access log goes on in the file that it had: {error}"),
            }
        }
    }
}

/// Waits until what was pushed before is written, a second for all outputs together at most: for the end of the process.
pub fn flush_lines() {
    let queues: Vec<Arc<Queue>> = open().iter().map(|one| Arc::clone(&one.queue)).collect();
    let until = clock::now() + FLUSH_PATIENCE;
    for queue in queues {
        queue.flush(until.saturating_duration_since(clock::now()));
    }
}

/// Lines that could not be written since the start of the process.
#[must_use]
pub fn lost_access_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

fn open() -> MutexGuard<'static, Vec<Open>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_open_once_and_closed_with_its_last_holder() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lines");
        let output = LogOutput::File(file.clone());
        let read = || std::fs::read_to_string(&file).expect("a file");
        let one = Lines::open(&output).expect("opened");
        let same = Lines::open(&output).expect("opened");
        assert!(Arc::ptr_eq(&one, &same));
        let queue = Arc::clone(&one.queue);
        drop(one);
        same.push(b"first\n");
        assert!(!queue.is_over());
        drop(same);
        flush_lines();
        assert_eq!(read(), "first\n");
        let next = Lines::open(&output).expect("opened anew");
        assert!(!Arc::ptr_eq(&next.queue, &queue));
        next.push(b"second\n");
        flush_lines();
        assert_eq!(read(), "first\nsecond\n");
        assert!(queue.is_over());
    }

    #[test]
    fn a_file_is_opened_again_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, old) = (folder.path().join("lines"), folder.path().join("old"));
        let lines = Lines::open(&LogOutput::File(file.clone())).expect("opened");
        lines.push(b"before\n");
        std::fs::rename(&file, &old).expect("renamed");
        reopen_lines();
        lines.push(b"after\n");
        flush_lines();
        let read = |file| std::fs::read_to_string(file).expect("a file");
        assert_eq!(
            (read(&old), read(&file)),
            ("before\n".to_owned(), "after\n".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = LogOutput::File(folder.path().join("none/lines"));
        assert!(matches!(Lines::open(&output), Err(LogError::Unwritable { .. })));
    }
}
