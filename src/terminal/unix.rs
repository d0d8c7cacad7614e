//! Asks the kernel.

use std::io::{IsTerminal, stdout};

use rustix::termios::tcgetwinsize;

use super::size::Size;

/// How large the terminal is that standard output is; none: it is none.
#[must_use]
pub fn size() -> Option<Size> {
    let out = stdout();
    if !out.is_terminal() {
        return None;
    }
    // Some do not know, and say nothing or zero.
    let told = tcgetwinsize(&out).ok()?;
    let or_usual = |told: u16, usual| if told == 0 { usual } else { usize::from(told) };
    Some(Size {
        columns: or_usual(told.ws_col, Size::USUAL.columns),
        rows: or_usual(told.ws_row, Size::USUAL.rows),
    })
}
