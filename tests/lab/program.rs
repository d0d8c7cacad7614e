//! Programs that run inside a namespace: started, watched by process id, and ended when dropped.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::NamedTempFile;

/// A running program. Its standard output and error go to one file that goes with it.
pub(crate) struct Program {
    child: Child,
    output: NamedTempFile,
}

impl Program {
    /// Starts `command`, as made by [`super::Namespace::command`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let output = NamedTempFile::new()?;
        // A group of its own, so that what the program starts (workers) ends with it.
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.reopen()?)
            .stderr(output.as_file().try_clone()?)
            .spawn()?;
        Ok(Self { child, output })
    }

    /// The program's process id (`ip netns exec` becomes the program, it does not start it).
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.output.path()).unwrap_or_else(|error| error.to_string())
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop and waits for its end; a program that is too slow is killed and gives `None`.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub(crate) fn stop(mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        if let (Some(pid), true) = (self.group(), self.is_running()) {
            kill_process(pid, Signal::TERM)?;
        }
        let mut status = self.child.try_wait()?;
        super::comes_true(patience, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        Ok(status)
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails only when the whole group has ended: then this is done.
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
