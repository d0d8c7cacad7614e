//! A list as a value: how it is read, what it says, what is wrong with it.

use std::fmt;

use super::account::{Account, BadLine};
use super::names;
use super::options::Stated;
use super::problem::FORMS;
use super::set::CandidateSet;
use crate::config::OnBadLine;

/// How a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rules {
    /// The port of entries that name none.
    pub default_port: u16,
    /// What becomes of a list with bad lines.
    pub on_bad_line: OnBadLine,
    /// What host names are.
    pub host_names: HostNames,
}

impl Rules {
    /// Every line must hold addresses.
    #[must_use]
    pub fn strict(default_port: u16) -> Self {
        Self {
            default_port,
            on_bad_line: OnBadLine::Error,
            host_names: HostNames::Refused,
        }
    }

    /// Every line must hold addresses or a host name.
    #[must_use]
    pub fn with_names(default_port: u16) -> Self {
        Self {
            host_names: HostNames::Collected,
            ..Self::strict(default_port)
        }
    }
}

/// What host names in a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostNames {
    /// Bad entries.
    Refused,
    /// Entries whose addresses somebody else finds.
    Collected,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Its addresses; nobody only if there are host names.
    pub set: CandidateSet,
    /// Its host names, if they are collected, in their order.
    pub hosts: Vec<Host>,
    /// What was understood, and what was assumed.
    pub account: Account,
}

/// A host name of a list, whose addresses are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name, as it was written.
    pub name: String,
    /// The port of its addresses.
    pub port: u16,
    /// What its entry says of them.
    pub stated: Stated,
    /// How people call it.
    pub remark: Option<String>,
}

impl Host {
    /// A name of which nothing else is said.
    #[must_use]
    pub fn of(name: String, port: u16) -> Self {
        Self {
            name,
            port,
            stated: Stated::default(),
            remark: None,
        }
    }

    /// How its addresses are called: by the remark, or else by the name, as far as names are kept.
    #[must_use]
    pub fn called(&self) -> &str {
        names::kept(self.remark.as_ref().unwrap_or(&self.name))
    }
}

/// What is wrong with the text of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListErrors {
    /// No line holds an entry.
    Empty,
    /// These lines are bad.
    Lines {
        /// The first 10,000 of them, in order.
        bad: Vec<BadLine>,
        /// How many more there are.
        unreported: u64,
    },
}

impl fmt::Display for ListErrors {
    /// One line of text per bad line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the list holds no candidate; each line may be {FORMS}"),
            Self::Lines { bad, unreported } => {
                for (at, bad) in bad.iter().enumerate() {
                    if at > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "{bad}")?;
                }
                if *unreported > 0 {
                    write!(f, "\nand {unreported} more bad lines")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ListErrors {}
