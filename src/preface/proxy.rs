//! The PROXY protocol, versions 1 and 2: whom a connection is for, as whoever passes it on says.
//!
//! By `proxy-protocol.txt` of `HAProxy`. What it leaves open: a header has at most [`MOST_BYTES`]; whose first bytes
//! are none is refused by the first byte that tells.

mod header; // what a header says
mod send; // a header that is said
mod v1; // lines of text
mod v2; // binary

pub use header::{Endpoints, Facts, Header, MOST_BYTES, MOST_FACT_BYTES, Tls};
pub use send::header as compose;

use super::failure::Failure;
use crate::config::ProxyAccept;

/// Reads a header at the beginning of what has come so far; none yet if that may be the beginning of one.
///
/// # Errors
/// Why these bytes are no header, or none that is accepted. More of them would not mend it.
pub fn read(bytes: &[u8], accept: ProxyAccept) -> Result<Option<Header>, Failure> {
    let (takes_v1, takes_v2) = match accept {
        ProxyAccept::V1 => (true, false),
        ProxyAccept::V2 => (false, true),
        ProxyAccept::Any => (true, true),
        ProxyAccept::Off => (false, false),
    };
    let read = if v1::may_begin(bytes) {
        takes_v1.then(|| v1::read(bytes))
    } else if v2::may_begin(bytes) {
        takes_v2.then(|| v2::read(bytes))
    } else {
        return Err(Failure::NoProxyHeader);
    };
    match read {
        Some(read) => read,
        // Not before it is one.
        None if bytes.len() < v2::SIGNATURE.len().min(v1::BEGINNING.len()) => Ok(None),
        None => Err(Failure::ProxyVersion),
    }
}

#[cfg(test)]
mod tests;
