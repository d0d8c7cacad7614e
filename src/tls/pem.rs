//! Files of certificates and keys.
//!
//! Reads only regular files, so that nobody waits for a pipe.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::fault::{Fault, Problem};
use crate::base::file_watch::must_be_regular;

/// Size of a file; one of all public authorities has a quarter of it.
const MOST_BYTES: u64 = 1 << 20;

/// What stands before a key that needs a passphrase: as PKCS 8, and as OpenSSL wrote keys before that.
const ENCRYPTED: [&[u8]; 2] = [
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
    b"Proc-Type: 4,ENCRYPTED",
];

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |error| Fault::new(path, Problem::Unreadable(error));
    must_be_regular(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err(Fault::new(path, Problem::TooLong));
    }
    Ok(bytes)
}

/// All certificates of a file, in its order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| Fault::new(path, Problem::Garbage(error.to_string())))?;
    if all.is_empty() {
        return Err(Fault::new(path, Problem::NoCertificate));
    }
    Ok(all)
}

/// The first private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let bytes = read(path)?;
    let contains = |mark: &&[u8]| bytes.windows(mark.len()).any(|window| window == *mark);
    if ENCRYPTED.iter().any(contains) {
        return Err(Fault::new(path, Problem::Encrypted));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let problem = if matches!(error, pem::Error::NoItemsFound) {
            Problem::NoKey
        } else {
            Problem::Garbage(error.to_string())
        };
        Fault::new(path, problem)
    })
}
