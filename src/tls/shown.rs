//! A certificate as people see it: what it is for, how long it lasts, and what clients will not like about it. Pure.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// A certificate, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its file.
    pub path: PathBuf,
    /// The names that it is for.
    pub names: Vec<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: i64,
    /// When it ends.
    pub not_after: i64,
    /// How the certificates of its file hang together.
    pub chain: Chain,
}

/// How the certificates of a file hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// Each is issued by the next one, if there is a next one.
    Whole,
    /// The one that it is issued by is missing.
    Missing,
    /// One is not issued by the next: its number, counted from 1.
    Broken(usize),
}

impl Shown {
    /// When it ends, between 1970 and the end of 9999, beyond which a date cannot be written.
    #[must_use]
    pub fn end(&self) -> SystemTime {
        let seconds = u64::try_from(self.not_after.clamp(0, LAST_SECOND)).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// What its owner should know of it at this time, in seconds since 1970.
    #[must_use]
    pub fn remarks(&self, now: i64) -> Vec<String> {
        let path = self.path.display();
        let time = if now > self.not_after {
            Some(format!(
                "{path}: the certificate has expired; clients will refuse it"
            ))
        } else if now < self.not_before {
            Some(format!(
                "{path}: the certificate is not valid yet; clients will refuse it"
            ))
        } else {
            None
        };
        let chain = match self.chain {
            Chain::Whole => None,
            Chain::Missing => Some(format!(
                "{path}: no chain, the certificate is alone; clients that do not know its issuer will refuse it"
            )),
            Chain::Broken(number) => Some(format!(
                "{path}: the chain is broken, certificate {number} is not issued by the next one"
            )),
        };
        time.into_iter().chain(chain).collect()
    }
}
