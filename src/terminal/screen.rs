//! Has the terminal for oneself: keys come one by one and unseen, and what stood there before comes back at the end.

use std::io::{self, IsTerminal, Write, stdin, stdout};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::typed::Typed;

/// Another page than that of the shell, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// How the terminal was before it was taken; none: nobody has it. Held while something is drawn, so that nothing is after it
/// was given back.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal, until this is dropped.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes the terminal. Only one may have it.
    ///
    /// # Errors
    /// When standard input or output is none, or it refuses.
    pub fn take() -> io::Result<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Err(io::Error::other("not a terminal"));
        }
        let before = tcgetattr(stdin())?;
        let mut taken = before.clone();
        // Ctrl+C is a key like any other, which ends what runs in order.
        taken
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        taken.special_codes[SpecialCodeIndex::VMIN] = 1;
        taken.special_codes[SpecialCodeIndex::VTIME] = 0;
        let mut held = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(held.is_none(), "only one has the terminal");
        tcsetattr(stdin(), OptionalActions::Now, &taken)?;
        *held = Some(before);
        drop(held);
        let taken = Self(());
        taken.write(ENTER)?;
        Ok(taken)
    }

    /// Shows these lines and nothing else. None may be longer than the terminal is wide, nor may there be more than it has.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut frame = String::from("\x1b[H");
        for (place, line) in lines.iter().enumerate() {
            if place > 0 {
                frame.push_str("\r\n");
            }
            // Before the text: behind a full line it would take the last character with it.
            frame.push_str("\x1b[2K");
            frame.push_str(line);
        }
        // What is below was there before; a line that is full has nothing below it if it is the last.
        frame.push_str("\x1b[0m\x1b7\r\n\x1b[J\x1b8");
        self.write(&frame)
    }

    #[expect(clippy::unused_self, reason = "whoever writes has the terminal")]
    fn write(&self, text: &str) -> io::Result<()> {
        let held = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            return Ok(());
        }
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Waits for keys, for at most so long.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn typed(&self, patience: Duration) -> io::Result<Typed> {
        let input = stdin();
        let mut awaited = [PollFd::new(&input, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut awaited, Some(&patience)) {
            Ok(0) | Err(Errno::INTR) => return Ok(Typed::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 64];
        match rustix::io::read(&input, &mut bytes) {
            Ok(0) => Ok(Typed::Gone),
            Ok(count) => Ok(Typed::Bytes(bytes.iter().take(count).copied().collect())),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Typed::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was, if somebody has it; from any thread.
pub fn give_back() {
    // A thread that panics within `write` has it; then the escapes have to do.
    let held = BEFORE.try_lock().map_or_else(
        |error| match error {
            std::sync::TryLockError::Poisoned(held) => Some(held.into_inner()),
            std::sync::TryLockError::WouldBlock => None,
        },
        Some,
    );
    let Some(before) = held.and_then(|mut held| held.take()) else {
        return;
    };
    let mut out = stdout().lock();
    // It may be gone, and with it what could be given back.
    drop(out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush()));
    let _gone = tcsetattr(stdin(), OptionalActions::Now, &before);
}
