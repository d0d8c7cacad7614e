//! The section `cluster`, checked: the Redis through which forwarders share what they know.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::client_tls::ClientTls;
use crate::base::host_name::is_host_name;
use crate::base::percent::decode;

/// The port of a Redis whose URL names none.
const DEFAULT_PORT: u16 = 6379;

/// Bytes of a name.
const MOST_NAME_BYTES: usize = 64;

/// What a cluster may be called, and what a node or a vantage: in words.
pub(super) const NAMES: &str = "at most 64 letters, digits, ., - and _";
pub(super) const LABELS: &str = "empty, or at most 64 visible ASCII characters without blanks";

/// `cluster`.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Where the Redis is, with user and password; none: nothing is shared. A secret.
    pub url: Option<String>,
    /// Who has the same shares with each other.
    pub name: String,
    /// What others call this process; empty: its number.
    pub node: String,
    /// Time between two exchanges; what is shared is at most that old.
    pub interval: Duration,
    /// From where candidates are looked at; empty: the public prefix that connections leave by.
    pub vantage: String,
    /// How TLS is spoken with a `rediss://`.
    pub tls: ClientTls,
}

impl fmt::Debug for Cluster {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            name,
            node,
            interval,
            vantage,
            tls,
        } = self;
        f.debug_struct("Cluster")
            .field("url", &url.as_ref().map(|_| "***"))
            .field("name", name)
            .field("node", node)
            .field("interval", interval)
            .field("vantage", vantage)
            .field("tls", tls)
            .finish()
    }
}

impl Cluster {
    /// Where the Redis is; none where nothing is shared.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::parse(self.url.as_deref()?)
    }
}

/// Where a Redis is, and who asks there.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The ACL user; none: the default one.
    pub user: Option<String>,
    /// Its password; none: no authentication.
    pub password: Option<String>,
    /// The number of the database.
    pub database: u16,
}

impl fmt::Debug for Endpoint {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Endpoint {
    /// What a URL says: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS; none if it is no such one.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (tls, rest) = match url.split_once("://")? {
            ("redis", rest) => (false, rest),
            ("rediss", rest) => (true, rest),
            _ => return None,
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = match credentials {
            None => (None, None),
            Some(words) => {
                let (user, password) = words.split_once(':')?;
                (
                    Some(decode(user)?).filter(|user| !user.is_empty()),
                    Some(decode(password)?),
                )
            }
        };
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() {
            0
        } else {
            database.parse().ok()?
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(inside) => {
                let (host, port) = inside.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
            }
            None => place.split_once(':').unwrap_or((place, "")),
        };
        let port = if port.is_empty() {
            DEFAULT_PORT
        } else {
            port.parse().ok()?
        };
        let is_host = host.parse::<IpAddr>().is_ok() || is_host_name(host);
        (is_host && port != 0).then(|| Self {
            tls,
            host: host.to_owned(),
            port,
            user,
            password,
            database,
        })
    }
}

/// Whether a text can name a cluster.
pub(super) fn is_name(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MOST_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_inside)
}

/// Whether a text can name a node or a vantage; empty is none.
pub(super) fn is_label(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_graphic();
    text.len() <= MOST_NAME_BYTES && text.bytes().all(is_inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_and_who() {
        let one = Endpoint::parse("rediss://router:p%40ss@cache.example:7000/3").expect("a URL");
        assert!(one.tls);
        assert_eq!(
            (one.host.as_str(), one.port, one.database),
            ("cache.example", 7000, 3)
        );
        assert_eq!(
            (one.user.as_deref(), one.password.as_deref()),
            (Some("router"), Some("p@ss"))
        );
        assert_eq!(format!("{one:?}"), "cache.example:7000", "no secret");
        let two = Endpoint::parse("redis://:hush@[::1]").expect("a URL");
        assert_eq!((two.host.as_str(), two.port, two.tls), ("::1", 6379, false));
        assert_eq!((two.user, two.password.as_deref()), (None, Some("hush")));
        for wrong in [
            "",
            "localhost:6379",
            "http://a",
            "redis://",
            "redis://a:0",
            "redis://a:70000",
            "redis://a b",
            "redis://user@a",
            "redis://:%zz@a",
            "redis://[::1",
            "redis://[a]:1",
            "redis://a/x",
        ] {
            assert_eq!(Endpoint::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(is_name("home.1-a_b") && !is_name("") && !is_name("a b") && !is_name(&"a".repeat(65)));
        assert!(is_label("") && is_label("203.0.113.0/24") && !is_label("a b"));
    }
}
