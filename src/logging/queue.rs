//! Lines on their way to the output, and the one thread that writes them.
//!
//! Owns the lines that were logged and not written yet, and the output. It knows nothing of what a line says.
//! Invariants: whoever logs never waits for the output, however slow that is; what waits has a bound, beyond
//! which lines are dropped and counted; lines reach the output whole and in order, in writes that no other
//! writer of the same pipe can get between; a line goes to the output that was turned to last before it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::output::Output;

/// How lines are gathered and counted.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// What the lines are of, in words.
    pub(super) what: String,
    /// Bytes that wait while the output takes nothing; what is pushed beyond them is lost.
    pub(super) most_bytes: usize,
    /// Bytes of one write, unless one line alone is longer.
    pub(super) write_bytes: usize,
    /// Lines gather for this long before they are written, so that a line costs no wake-up of its own.
    pub(super) gather: Duration,
    /// Counts lines that could not be written.
    pub(super) lost: &'static AtomicU64,
}

impl Manner {
    /// That of the log.
    pub(super) fn of_log() -> Self {
        Self {
            what: "the log".to_owned(),
            most_bytes: 1 << 20,
            write_bytes: WRITE_BYTES,
            gather: Duration::ZERO,
            lost: &LOST_LINES,
        }
    }
}

/// Bytes of one write, unless one line alone is longer: so much goes into a pipe undivided (`PIPE_BUF` of Linux).
pub(super) const WRITE_BYTES: usize = 4096;

/// Outputs that wait while the present one takes nothing; one more takes the place of the last, with its lines.
const MAX_TURNS: usize = 4;

/// Bytes of room that are kept from one batch to the next, however small or large that was.
const KEPT_BYTES: (usize, usize) = (16 << 10, 1 << 20);

/// Room that is kept, in times what was needed last: what is given back comes again as pages that the system has to
/// clear first.
const KEPT_TIMES: usize = 4;

/// Lines that could not be written since the start of the process.
pub(super) static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Lines between those who log and the thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    manner: Manner,
    waiting: Mutex<Waiting>,
    /// Something was pushed.
    pushed: Condvar,
    /// All that was pushed has been written, or given up.
    emptied: Condvar,
}

#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any of them may hold with any other"
)]
struct Waiting {
    batch: Batch,
    /// Lines that found no room since the last batch was taken.
    dropped: u64,
    /// Whether a batch is being written.
    is_writing: bool,
    /// Whether the thread sleeps, so that it has to be woken.
    is_asleep: bool,
    /// Whether somebody waits for what was pushed, so that nothing more is gathered.
    is_awaited: bool,
    /// Whether nothing more will be pushed.
    is_closed: bool,
}

/// What is written in one go.
#[derive(Debug, Default)]
struct Batch {
    /// Whole lines, each with its line feed.
    lines: Vec<u8>,
    /// Where lines go on in another output, in order.
    turns: Vec<Turn>,
}

/// From some line on, lines go to another output.
struct Turn {
    /// Bytes of lines before.
    at: usize,
    to: Output,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.turns.is_empty()
    }

    fn clear(&mut self) {
        let (least, most) = KEPT_BYTES;
        let kept = (KEPT_TIMES * self.lines.len()).clamp(least, most);
        self.lines.clear();
        self.lines.shrink_to(kept);
        debug_assert!(self.turns.is_empty(), "a batch is cleared once it is written");
    }

    fn turn_to(&mut self, to: Output) {
        let at = self.lines.len();
        let is_full = self.turns.len() == MAX_TURNS;
        match self.turns.last_mut() {
            // Nothing would be written to the one before, or too many wait.
            Some(last) if is_full || last.at == at => last.to = to,
            Some(_) | None => self.turns.push(Turn { at, to }),
        }
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, which ends with a line feed, for the thread to write.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.batch.lines.len() + line.len() > self.manner.most_bytes {
            waiting.dropped += 1;
            self.manner.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.batch.lines.extend_from_slice(line);
        self.wake(&mut waiting);
    }

    /// Has every line that is pushed from now on go to `output`. Does not wait for the present one, which is closed
    /// once it has what was pushed before.
    pub(super) fn turn_to(&self, output: Output) {
        let mut waiting = self.waiting();
        waiting.batch.turn_to(output);
        self.wake(&mut waiting);
    }

    /// Whether nothing more will be written.
    pub(super) fn is_over(&self) -> bool {
        let waiting = self.waiting();
        waiting.is_closed && !waiting.is_writing && waiting.batch.is_empty()
    }

    /// Nothing more will be pushed: what was is written, and the thread ends.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.pushed.notify_one();
    }

    fn wake(&self, waiting: &mut Waiting) {
        if waiting.is_asleep {
            waiting.is_asleep = false;
            self.pushed.notify_one();
        }
    }

    /// Waits until all that was pushed before has been written, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.batch.is_empty();
        let mut waiting = self.waiting();
        waiting.is_awaited = true;
        self.pushed.notify_one();
        drop(self.emptied.wait_timeout_while(waiting, patience, is_busy));
    }

    /// Exchanges `batch`, which was written, for what waits; sleeps until there is something. How many lines found no room;
    /// none once nothing more will come.
    fn next(&self, batch: &mut Batch) -> Option<u64> {
        batch.clear();
        let mut waiting = self.waiting();
        waiting.is_writing = false;
        while waiting.batch.is_empty() {
            waiting.is_awaited = false;
            self.emptied.notify_all();
            if waiting.is_closed {
                return None;
            }
            waiting.is_asleep = true;
            waiting = self.pushed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_asleep = false;
        if self.manner.gather > Duration::ZERO {
            let enough = self.manner.most_bytes / 4;
            let gathers = |waiting: &mut Waiting| {
                !waiting.is_awaited && !waiting.is_closed && waiting.batch.lines.len() < enough
            };
            let gathered = self
                .pushed
                .wait_timeout_while(waiting, self.manner.gather, gathers);
            waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.is_writing = true;
        std::mem::swap(&mut waiting.batch, batch);
        Some(std::mem::take(&mut waiting.dropped))
    }
}

/// Makes the thread that writes to `out` what is pushed to the queue, until that is closed.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn begin(out: Output, manner: Manner) -> io::Result<Arc<Queue>> {
    let (lost, what, write_bytes) = (manner.lost, manner.what.clone(), manner.write_bytes);
    let queue = Arc::new(Queue {
        manner,
        waiting: Mutex::default(),
        pushed: Condvar::new(),
        emptied: Condvar::new(),
    });
    let taken = Arc::clone(&queue);
    let mut page = Page {
        out,
        is_torn: false,
        write_bytes,
        lost,
    };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            let mut batch = Batch::default();
            while let Some(dropped) = taken.next(&mut batch) {
                page.write_batch(&mut batch);
                if dropped > 0 {
                    log::warn!("{dropped} lines of {what} were lost: its output took nothing for too long");
                }
            }
        })?;
    Ok(queue)
}

/// The output. It swallows errors: a log has nobody to tell them to.
struct Page {
    out: Output,
    /// Whether the last write failed and may have left part of a line.
    is_torn: bool,
    write_bytes: usize,
    lost: &'static AtomicU64,
}

impl Page {
    fn write_batch(&mut self, batch: &mut Batch) {
        let mut begun = 0;
        for turn in batch.turns.drain(..) {
            debug_assert!(begun <= turn.at, "turns are in order");
            self.write_lines(batch.lines.get(begun..turn.at).unwrap_or_default());
            begun = turn.at;
            // What is torn may be the same file, so that is remembered: an empty line does no harm in another.
            self.out = turn.to;
        }
        self.write_lines(batch.lines.get(begun..).unwrap_or_default());
    }

    fn write_lines(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let (part, rest) = lines.split_at(whole_lines(lines, self.write_bytes));
            self.write(part);
            lines = rest;
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let begin: &[u8] = if self.is_torn { b"\n" } else { b"" };
        let mut rest = lines;
        let written = self
            .out
            .write_all(begin)
            .and_then(|()| write_on(&mut self.out, &mut rest))
            .and_then(|()| self.out.flush());
        self.is_torn = written.is_err();
        let lost = rest.split_inclusive(|byte| *byte == b'\n').count();
        self.lost.fetch_add(lost as u64, Ordering::Relaxed);
    }
}

/// Writes all of `rest`, which is what is left of it after an error.
fn write_on(out: &mut Output, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The length of as many lines as fit in one write of so many bytes; of one line at least.
fn whole_lines(batch: &[u8], most: usize) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    let head = batch.get(..most).unwrap_or(batch);
    let last = head.iter().rposition(is_end);
    let end = last.or_else(|| batch.iter().position(is_end));
    end.map_or(batch.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and then no more.
    struct Small(usize);

    impl io::Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.0.min(bytes.len());
            self.0 -= taken;
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_what_did_not_fit_is_lost() {
        static LOST: AtomicU64 = AtomicU64::new(0);
        let mut page = Page {
            out: Box::new(Small(25)),
            is_torn: false,
            write_bytes: 1000,
            lost: &LOST,
        };
        page.write(&b"123456789\n".repeat(5));
        assert!(page.is_torn);
        assert_eq!(LOST.load(Ordering::Relaxed), 3, "the third is torn, and two more");
    }

    #[test]
    fn a_flood_that_is_over_leaves_little_room() {
        let mut batch = Batch {
            lines: vec![b'x'; 4 << 20],
            turns: Vec::new(),
        };
        batch.clear();
        assert_eq!(batch.lines.capacity(), KEPT_BYTES.1);
        batch.clear();
        assert_eq!(batch.lines.capacity(), KEPT_BYTES.0, "nor after a quiet time");
    }

    #[test]
    fn writes_hold_whole_lines_and_no_more_than_a_pipe_takes_undivided() {
        let line = |length: usize| [vec![b'x'; length - 1], vec![b'\n']].concat();
        let batch = |lengths: &[usize]| {
            lengths
                .iter()
                .flat_map(|length| line(*length))
                .collect::<Vec<_>>()
        };
        assert_eq!(whole_lines(&batch(&[10, 20]), WRITE_BYTES), 30);
        assert_eq!(whole_lines(&batch(&[4000, 96, 1]), WRITE_BYTES), WRITE_BYTES);
        assert_eq!(whole_lines(&batch(&[4000, 97, 1]), WRITE_BYTES), 4000);
        assert_eq!(
            whole_lines(&batch(&[5000, 10]), WRITE_BYTES),
            5000,
            "one line alone may be longer"
        );
    }
}
