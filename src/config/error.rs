//! What can be wrong with a configuration, said so that it can be mended without reading the manual.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// One error in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// Line of the key, counted from 1.
    pub line: usize,
    /// Path of the key, such as `remotes.probing.interval`; empty when the whole file is meant.
    pub key: String,
    /// What is wrong, with the offending value, and what is allowed.
    pub message: String,
}

/// Every error in one configuration, sorted by line; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// The errors, sorted by line.
    pub errors: Vec<ConfigError>,
    /// Errors beyond those listed; a file that is no configuration at all has thousands.
    pub omitted: usize,
    /// The candidate lists that the file names all the same, each once, so that their errors can be said too.
    pub lists: Vec<PathBuf>,
}

impl fmt::Display for ConfigErrors {
    /// One line per error: `file:line: key: what is wrong; allowed: what is allowed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{file}:{}: ", error.line)?;
            if !error.key.is_empty() {
                write!(f, "{}: ", error.key)?;
            }
            f.write_str(&error.message)?;
        }
        if self.omitted > 0 {
            write!(f, "\n{file}: and {} more errors", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file is missing, not permitted, or no file.
    Unreadable {
        /// The file, as the user named it.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was read, and is wrong.
    Invalid(ConfigErrors),
}

impl LoadError {
    /// The exit status that belongs to it: 1 for a file that cannot be read, 2 for a wrong one.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Unreadable { .. } => 1,
            Self::Invalid(_) => 2,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => {
                write!(f, "cannot read configuration {}: {source}", file.display())
            }
            Self::Invalid(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Invalid(errors) => Some(errors),
        }
    }
}
