//! What became of reloads, for whoever asks.

use std::fmt;
use std::time::SystemTime;

/// What became of reloads since the process started.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    /// Those that were applied.
    pub applied: u64,
    /// Those that changed nothing because something was wrong.
    pub refused: u64,
    /// Whether something that was applied takes effect in a new process only.
    pub needs_restart: bool,
    /// The last one, and when it ended.
    pub last: Option<(SystemTime, Outcome)>,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force: what changed, in words, one change each.
    Applied(Vec<String>),
    /// It changed nothing.
    Refused(Vec<Fault>),
}

/// One thing that is wrong, located.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as the user named it, if it is about one.
    pub file: Option<String>,
    /// The line, counted from 1; none where no line is to blame.
    pub line: Option<usize>,
    /// Path of the key; empty where no key is to blame.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Fault {
    /// About something that has no place in a file.
    #[must_use]
    pub fn of(message: impl fmt::Display) -> Self {
        Self {
            file: None,
            line: None,
            key: String::new(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    /// `file:line: key: what is wrong`, as far as it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}
