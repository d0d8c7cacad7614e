//! Where a process that runs is asked: its control socket, or its metrics port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::Process;

/// A way to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// The control socket, which allows everything.
    Socket(PathBuf),
    /// The metrics port, which allows to look, and more to whoever shows the token.
    Port(Url, Option<Token>),
}

/// The token of somebody who changes something. A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    authority: String,
}

impl Url {
    /// Reads a URL without a path. The port is 80 where it names none, as everywhere.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: not of the form http://HOST:PORT");
        let authority = text.strip_prefix("http://").ok_or_else(wrong)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(is_plain) {
            return Err(wrong());
        }
        let has_port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.contains(']') => {
                port.parse::<u16>().map_err(|_| wrong())?;
                true
            }
            Some(_) | None => false,
        };
        Ok(Self {
            authority: if has_port {
                authority.to_owned()
            } else {
                format!("{authority}:80")
            },
        })
    }

    /// Host and port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

impl From<SocketAddr> for Url {
    /// Whoever listens at all addresses listens at that of this machine.
    fn from(listen: SocketAddr) -> Self {
        let host = match listen.ip() {
            IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            one @ (IpAddr::V4(_) | IpAddr::V6(_)) => one,
        };
        Self {
            authority: SocketAddr::new(host, listen.port()).to_string(),
        }
    }
}

impl Door {
    /// The doors of a process with this configuration, the one that allows more first.
    #[must_use]
    pub fn of(process: &Process) -> Vec<Self> {
        let metrics = &process.metrics;
        // Which port the system chose nobody knows but the process.
        let is_known = metrics.enabled && metrics.listen_addr.port() != 0;
        let token = metrics.admin_token.clone().map(Token);
        let port = is_known.then(|| Self::Port(metrics.listen_addr.into(), token));
        let socket = process.control_socket.clone().map(Self::Socket);
        socket.into_iter().chain(port).collect()
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Port(url, _) => write!(f, "http://{}", url.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_in_words() {
        for (text, authority) in [
            ("http://127.0.0.1:9099", "127.0.0.1:9099"),
            ("http://[::1]:9099/", "[::1]:9099"),
            ("http://[::1]", "[::1]:80"),
            ("http://localhost", "localhost:80"),
        ] {
            assert_eq!(Url::parse(text).expect(text).authority(), authority);
        }
        for bad in [
            "127.0.0.1:9099",
            "https://127.0.0.1:9099",
            "http://",
            "http://a:b",
            "http://a:65536",
            "http://a/metrics",
            "http://u@h:1",
            "http://h:1\r\nX: y",
        ] {
            let refused = Url::parse(bad).expect_err(bad);
            assert!(refused.contains("http://HOST:PORT"), "{refused}");
        }
    }

    #[test]
    fn a_configuration_names_its_doors_the_stronger_one_first() {
        let mut process = crate::config::Config::default().process;
        process.metrics.listen_addr = "0.0.0.0:9099".parse().expect("an address");
        process.metrics.admin_token = Some("hush".to_owned());
        process.control_socket = Some("/run/a".into());
        let doors = Door::of(&process);
        let shown: Vec<String> = doors.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/run/a", "http://127.0.0.1:9099"]);
        assert!(!format!("{doors:?}").contains("hush"));
        process.control_socket = None;
        process.metrics.listen_addr = "[::]:0".parse().expect("an address");
        assert_eq!(Door::of(&process), []);
        process.metrics.listen_addr = "[::]:1".parse().expect("an address");
        assert_eq!(Door::of(&process)[0].to_string(), "http://[::1]:1");
        process.metrics.enabled = false;
        assert_eq!(Door::of(&process), []);
    }
}
