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
    // Before it is one, it may turn out to be none.
    let refused = |beginning: &[u8]| {
        if bytes.len() < beginning.len() {
            Ok(None)
        } else {
            Err(Failure::ProxyVersion)
        }
    };
    if v1::may_begin(bytes) {
        if takes_v1 {
            v1::read(bytes)
        } else {
            refused(v1::BEGINNING)
        }
    } else if v2::may_begin(bytes) {
        if takes_v2 {
            v2::read(bytes)
        } else {
            refused(v2::SIGNATURE)
        }
    } else {
        Err(Failure::NoProxyHeader)
    }
}

#[cfg(test)]
mod tests;
