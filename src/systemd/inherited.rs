//! Which service a passed socket is for (pure), and what can be wrong with those that were passed.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::Socket;

/// A listening socket that the service manager has passed.
#[derive(Debug)]
pub struct Inherited {
    /// Its name (`FileDescriptorName=`), if it has one.
    pub name: Option<String>,
    /// Where it listens.
    pub addr: SocketAddr,
    /// The socket. It is closed when a program is executed; whatever else a listener has, [`crate::net::adopt`] sets.
    pub socket: Socket,
}

/// A listen address that sockets may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Whose it is: the name of a service, or `metrics`.
    pub service: &'a str,
    /// The address, as it is configured; port 0 is any.
    pub addr: SocketAddr,
}

/// Why sockets that were passed are of no use.
#[derive(Debug)]
pub enum ActivationError {
    /// The environment says something else than the protocol allows.
    Malformed {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        why: String,
    },
    /// One is no listening TCP socket.
    Unusable {
        /// Which one, counted from 0.
        index: usize,
        /// Its name.
        name: Option<String>,
        /// What it is instead.
        why: String,
    },
    /// Some fit no listen address: each as `NAME (ADDRESS)`.
    Unwanted(Vec<String>),
    /// A system call failed.
    System(io::Error),
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { variable, why } => write!(f, "the service manager's {variable}: {why}"),
            Self::Unusable { index, name, why } => {
                let name = name.as_deref().unwrap_or("without a name");
                write!(f, "socket {index} of the service manager ({name}): {why}")
            }
            Self::Unwanted(sockets) => write!(
                f,
                "the service manager's sockets fit no listen address of their service: {}",
                sockets.join(", ")
            ),
            Self::System(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for ActivationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(source) => Some(source),
            Self::Malformed { .. } | Self::Unusable { .. } | Self::Unwanted(_) => None,
        }
    }
}

/// Deals sockets to the listen addresses that they are for; the answer has a row for each of `wanted`, which may be
/// empty, or have several.
///
/// A name that could be a service's has to be one, and the socket is for an address of that service. Without a name, and with
/// one that systemd makes up (`unknown`, or the unit's, with a dot), the address alone decides.
///
/// # Errors
/// [`ActivationError::Unwanted`], which names all that fit nothing.
pub fn claim(
    inherited: Vec<Inherited>,
    wanted: &[Wanted<'_>],
) -> Result<Vec<Vec<Inherited>>, ActivationError> {
    let mut rows: Vec<Vec<Inherited>> = wanted.iter().map(|_| Vec::new()).collect();
    let mut unwanted = Vec::new();
    for socket in inherited {
        let name = socket.name.as_deref().filter(|name| is_chosen(name));
        let place = find(wanted, name, socket.addr).and_then(|place| rows.get_mut(place));
        if let Some(row) = place {
            row.push(socket);
        } else {
            let name = socket.name.as_deref().unwrap_or("without a name");
            unwanted.push(format!("{name} ({})", socket.addr));
        }
    }
    if unwanted.is_empty() {
        Ok(rows)
    } else {
        Err(ActivationError::Unwanted(unwanted))
    }
}

/// Whether somebody has given this name, and systemd has not.
fn is_chosen(name: &str) -> bool {
    !name.is_empty() && name != "unknown" && !name.contains('.')
}

/// The place of the address that a socket is for: the same one before one with any port.
fn find(wanted: &[Wanted<'_>], name: Option<&str>, addr: SocketAddr) -> Option<usize> {
    let is_named = |wanted: &Wanted<'_>| name.is_none_or(|name| name == wanted.service);
    let same = |wanted: &Wanted<'_>| is_named(wanted) && wanted.addr == addr;
    let any_port = |wanted: &Wanted<'_>| {
        name.is_some() && is_named(wanted) && wanted.addr.port() == 0 && wanted.addr.ip() == addr.ip()
    };
    wanted
        .iter()
        .position(same)
        .or_else(|| wanted.iter().position(any_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn socket(name: Option<&str>, addr: &str) -> Inherited {
        Inherited {
            name: name.map(str::to_owned),
            addr: addr.parse().expect("an address"),
            socket: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound").into(),
        }
    }

    fn wanted() -> Vec<Wanted<'static>> {
        [
            ("web", "127.0.0.1:80"),
            ("web", "[::1]:80"),
            ("redis", "127.0.0.1:6379"),
            ("any", "127.0.0.9:0"),
        ]
        .map(|(service, addr)| Wanted {
            service,
            addr: addr.parse().expect("an address"),
        })
        .to_vec()
    }

    fn dealt(sockets: Vec<Inherited>) -> Vec<usize> {
        let rows = claim(sockets, &wanted()).expect("all fit");
        rows.iter().map(Vec::len).collect()
    }

    #[test]
    fn names_are_services_and_addresses_decide_without_them() {
        assert_eq!(dealt(vec![]), [0, 0, 0, 0]);
        assert_eq!(dealt(vec![socket(Some("web"), "127.0.0.1:80")]), [1, 0, 0, 0]);
        assert_eq!(dealt(vec![socket(Some("any"), "127.0.0.9:4711")]), [0, 0, 0, 1]);
        for name in [None, Some(""), Some("unknown"), Some("tcp-forwarder.socket")] {
            let both = vec![socket(name, "127.0.0.1:6379"), socket(name, "[::1]:80")];
            assert_eq!(dealt(both), [0, 1, 1, 0], "{name:?}");
        }
        let twice = vec![socket(None, "[::1]:80"), socket(Some("web"), "[::1]:80")];
        assert_eq!(dealt(twice), [0, 2, 0, 0]);
    }

    #[test]
    fn what_fits_nothing_is_named() {
        let sockets = vec![
            socket(Some("web"), "127.0.0.1:80"),
            socket(Some("wbe"), "127.0.0.1:80"),
            socket(Some("redis"), "127.0.0.1:80"),
            socket(None, "127.0.0.1:81"),
            socket(None, "127.0.0.9:4711"),
        ];
        let error = claim(sockets, &wanted())
            .expect_err("some do not fit")
            .to_string();
        for named in [
            "wbe (127.0.0.1:80)",
            "redis (127.0.0.1:80)",
            "without a name (127.0.0.1:81)",
            "(127.0.0.9:4711)",
        ] {
            assert!(error.contains(named), "{error}");
        }
        assert!(!error.contains("web ("), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
