//! Reading HTTP replies and Prometheus text, as much as the tests need.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// The body at `path` of an HTTP server; call it inside the namespace (`Namespace::run`).
///
/// # Errors
/// When the server cannot be reached in time or says anything but 200.
pub(crate) fn http_body(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: lab\r\nConnection: close\r\n\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(io::Error::other(format!("{path}: {status}")))
    }
}

/// The values of one metric family, by the value of its label `label` (empty where it has none).
pub(crate) fn series(text: &str, family: &str, label: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(family)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            if !(labels.is_empty() || labels.starts_with('{')) {
                return None; // a longer name
            }
            let wanted = format!("{label}=\"");
            let named = labels.find(&wanted).map(|at| &labels[at + wanted.len()..]);
            let named = named.and_then(|rest| rest.split('"').next()).unwrap_or_default();
            Some((named.to_owned(), value.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_read_without_its_neighbours() {
        let text = "# HELP score x\nscore{server=\"198.18.0.1:80\"} 61.5\nscore{server=\"198.18.0.2:80\"} 3\n\
                    score_total{server=\"a\"} 1\nplain 7\n";
        let scores = series(text, "score", "server");
        let expected = [("198.18.0.1:80", 61.5), ("198.18.0.2:80", 3.0)];
        assert_eq!(
            scores,
            expected.map(|(name, value)| (name.to_owned(), value)).into()
        );
        assert_eq!(series(text, "plain", "server"), [(String::new(), 7.0)].into());
    }
}
