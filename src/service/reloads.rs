//! What became of reloads, for whoever asks.

use std::time::SystemTime;

use crate::config::ConfigError;

/// What became of reloads since the process started.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    /// Those that were applied.
    pub applied: u64,
    /// Those that changed nothing because something was wrong.
    pub refused: u64,
    /// Whether something that was applied needs a new process to take effect.
    pub is_restart_needed: bool,
    /// The last one.
    pub last: Option<Reload>,
}

/// One reload.
#[derive(Debug, Clone)]
pub struct Reload {
    /// When it ended.
    pub at: SystemTime,
    /// What it came to.
    pub outcome: Outcome,
}

/// What a reload came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was applied: what changed, in words, one change each.
    Applied(Vec<String>),
    /// It changed nothing.
    Refused(Vec<Complaint>),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file, if it is about one.
    pub file: Option<String>,
    /// Where and what, if it is about a key.
    pub error: ConfigError,
}

impl Complaint {
    /// About something that has no place in a file.
    #[must_use]
    pub fn of(message: impl ToString) -> Self {
        Self {
            file: None,
            error: ConfigError {
                line: 0,
                key: String::new(),
                message: message.to_string(),
            },
        }
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ConfigError { line, key, message } = &self.error;
        if let Some(file) = &self.file {
            write!(f, "{file}:{line}: ")?;
        }
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        f.write_str(message)
    }
}
