//! What is wrong with certificates and keys, in words.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// One thing that is wrong, and with which file.
#[derive(Debug)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is longer than any such file.
    TooLong,
    /// It is not there, nor any other place where systems keep the authorities that they trust.
    NoSystemAuthorities,
    /// A part of it is no PEM.
    Garbage(String),
    /// There is no certificate in it.
    NoCertificate,
    /// There is no private key in it.
    NoKey,
    /// Its key needs a passphrase, which nobody could type.
    Encrypted,
    /// A certificate in it is none, or none of a server: its number, counted from 1, and why.
    BadCertificate(usize, String),
    /// Its key is of no kind that is known, or broken.
    BadKey(String),
    /// The key belongs to another certificate than that in this file.
    KeyOfAnother(PathBuf),
    /// What the rest of TLS refuses.
    Refused(String),
}

impl Fault {
    pub(super) fn new(path: impl Into<PathBuf>, problem: Problem) -> Self {
        Self {
            path: path.into(),
            problem,
        }
    }

    /// Whether the file could not be read at all, as opposed to being wrong.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.problem, Problem::Unreadable(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.problem {
            Problem::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Problem::TooLong => write!(f, "too long; allowed: 1 MiB"),
            Problem::NoSystemAuthorities => write!(
                f,
                "not there, nor any other list of authorities that this system trusts; allowed: ca, a PEM file of them, or \
                 verify: false"
            ),
            Problem::Garbage(why) => write!(f, "not PEM: {why}"),
            Problem::NoCertificate => write!(
                f,
                "no certificate in it; allowed: PEM, which begins with -----BEGIN CERTIFICATE-----"
            ),
            Problem::NoKey => write!(
                f,
                "no private key in it; allowed: PEM, which begins with -----BEGIN PRIVATE KEY-----"
            ),
            Problem::Encrypted => write!(f, "its key is encrypted; allowed: a key without a passphrase"),
            Problem::BadCertificate(number, why) => write!(f, "certificate {number} in it is not one: {why}"),
            Problem::BadKey(why) => write!(f, "its key cannot be used: {why}"),
            Problem::KeyOfAnother(certificate) => write!(
                f,
                "the key does not match the certificate in {}",
                certificate.display()
            ),
            Problem::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

impl std::error::Error for Fault {}
