//! Where there is no Unix, and in a build without `tui`: a terminal is as large as terminals are, and nobody gets it for oneself.

use std::convert::Infallible;
use std::io;
#[cfg(not(unix))]
use std::io::{IsTerminal, stdout};
use std::time::Duration;

#[cfg(not(unix))]
use super::size::Size;
use super::typed::Typed;

/// How large the terminal is that standard output is; none: it is none.
#[cfg(not(unix))]
#[must_use]
pub fn size() -> Option<Size> {
    stdout().is_terminal().then_some(Size::USUAL)
}

/// Nobody has one.
#[derive(Debug)]
pub struct Screen(Infallible);

impl Screen {
    /// Takes nothing.
    ///
    /// # Errors
    /// Always.
    pub fn take() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never asked.
    ///
    /// # Errors
    /// Never.
    pub fn draw(&self, _: &[String]) -> io::Result<()> {
        match self.0 {}
    }

    /// Never asked.
    ///
    /// # Errors
    /// Never.
    pub fn typed(&self, _: Duration) -> io::Result<Typed> {
        match self.0 {}
    }
}

/// Nothing was taken.
pub fn give_back() {}
