//! Lists from files, from memory, and from anywhere else.
//!
//! Reads as a stream: neither the text nor a bad line is held as a whole.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::lines;
use super::list::{List, ListErrors, Rules};
use super::reading::Reading;
use super::set::CandidateSet;

/// Why there is no candidate set.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read, but its text is wrong.
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        errors: ListErrors,
    },
}

impl fmt::Display for LoadError {
    /// One line of text per error, each beginning with the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "{}: cannot read the candidate list: {source}", path.display())
            }
            Self::Bad { path, errors } => {
                let text = errors.to_string();
                for (at, line) in text.lines().enumerate() {
                    if at > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "{}: {line}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Bad { errors, .. } => Some(errors),
        }
    }
}

impl CandidateSet {
    /// Reads a list; entries without a port take `default_port`.
    ///
    /// # Errors
    /// When a line is bad (all bad lines are in the error) or no line holds an entry.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, ListErrors> {
        parse(text, default_port)
    }
}

/// Reads a list; entries without a port take `default_port`.
///
/// # Errors
/// When a line is bad (all bad lines are in the error) or no line holds an entry.
pub fn parse(text: &str, default_port: u16) -> Result<CandidateSet, ListErrors> {
    // Reading from memory cannot fail; an error would count as the end of the text.
    let read = read(text.as_bytes(), Rules::strict(default_port)).unwrap_or(Err(ListErrors::Empty));
    read.map(|list| list.set)
}

/// Reads entries that stand in memory, host names among them.
///
/// # Errors
/// The same.
pub fn read_entries(entries: &[String], default_port: u16) -> Result<List, ListErrors> {
    let rules = Rules::with_names(default_port);
    read(entries.join("\n").as_bytes(), rules).unwrap_or(Err(ListErrors::Empty))
}

/// Reads a list file.
///
/// # Errors
/// When the file cannot be read, or its text is refused as by [`read`].
pub fn load(path: &Path, rules: Rules) -> Result<List, LoadError> {
    let read = File::open(path).and_then(|file| read(BufReader::with_capacity(64 * 1024, file), rules));
    match read {
        Ok(Ok(list)) => Ok(list),
        Ok(Err(errors)) => Err(LoadError::Bad {
            path: path.to_owned(),
            errors,
        }),
        Err(source) => Err(LoadError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads a list from anywhere.
///
/// # Errors
/// The outer one when the source cannot be read. The inner one when no line holds an entry, or a line is bad that is not
/// to be skipped (all bad lines are in the error).
pub fn read(source: impl BufRead, rules: Rules) -> io::Result<Result<List, ListErrors>> {
    let mut reading = Reading::new(rules);
    lines::for_each(source, |line| reading.line(line))?;
    Ok(reading.finish())
}

/// A list whose entries come one by one, from anywhere; they count as its lines.
#[derive(Debug)]
pub struct Entries(Reading);

impl Entries {
    /// None so far.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(Reading::new(rules))
    }

    /// Takes in the next one, as a line of a list.
    pub fn entry(&mut self, text: &str) {
        self.0.line(text.as_bytes());
    }

    /// Takes in one that names nobody, as it is to be shown.
    pub fn nobody(&mut self, text: &str) {
        self.0.nobody(text);
    }

    /// What all of them say.
    ///
    /// # Errors
    /// When none holds anybody, or one is bad that is not to be skipped.
    pub fn finish(self) -> Result<List, ListErrors> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests;
