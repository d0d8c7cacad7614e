//! URLs that are asked by HTTP: read, joined with what a redirect says, shown without what may be a secret. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::base::host_name::is_host_name;

/// What stands in the place of a query, which may hold a secret.
const MASK: &str = "***";
/// Bytes of a URL.
pub(super) const MAX_URL_BYTES: usize = 4096;

/// A URL of `http` or `https`, without user and fragment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name in lower case without a dot at its end, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query: begins with `/`, without blanks.
    pub target: String,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlFault {
    /// It begins with neither `http://` nor `https://`.
    Scheme,
    /// It names a user.
    User,
    /// Its host is neither a name nor an address.
    Host,
    /// Its port is no number from 1 to 65535.
    Port,
    /// It has a blank, a control character, or one that is not ASCII.
    Character,
    /// It is longer than 4096 bytes.
    TooLong,
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "begins with neither http:// nor https://",
            Self::User => "names a user, which belongs into the header Authorization",
            Self::Host => "has a host that is neither a name nor an address",
            Self::Port => "has a port that is no number from 1 to 65535",
            Self::Character => "has a character that must be percent-encoded",
            Self::TooLong => "is longer than 4096 bytes",
        })
    }
}

impl HttpUrl {
    /// Reads a URL; what stands behind `#` is passed over.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlFault::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlFault::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(UrlFault::Scheme),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (place, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (host, port) = host_and_port(place)?;
        Ok(Self {
            tls,
            host,
            port: port.unwrap_or(default_port(tls)),
            target: plain_target(target),
        })
    }

    /// Where a reference in an answer of this URL leads to (RFC 3986, section 5.2).
    ///
    /// # Errors
    /// Why it leads to no such URL.
    pub fn join(&self, reference: &str) -> Result<Self, UrlFault> {
        let reference = reference.split_once('#').map_or(reference, |(rest, _)| rest);
        if reference.len() > MAX_URL_BYTES {
            return Err(UrlFault::TooLong);
        }
        if !reference.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlFault::Character);
        }
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            let scheme = if self.tls { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let path = self
            .target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path);
        let target = if reference.is_empty() {
            self.target.clone()
        } else if reference.starts_with('?') {
            format!("{path}{reference}")
        } else if reference.starts_with('/') {
            reference.to_owned()
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{reference}")
        };
        if target.len() > MAX_URL_BYTES {
            return Err(UrlFault::TooLong);
        }
        Ok(Self {
            target: plain_target(&target),
            ..self.clone()
        })
    }

    /// Whether both have the same scheme, host and port (RFC 6454).
    #[must_use]
    pub fn is_of_same_origin(&self, other: &Self) -> bool {
        (self.tls, self.host.as_str(), self.port) == (other.tls, other.host.as_str(), other.port)
    }

    /// Host and port, as the header `Host` has them: without the port that goes without saying.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.tls) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for HttpUrl {
    /// Without its query, which may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.target.split_once('?') {
            Some((path, _)) => write!(f, "{scheme}://{}{path}?{MASK}", self.authority()),
            None => write!(f, "{scheme}://{}{}", self.authority(), self.target),
        }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Whether a reference begins with a scheme (RFC 3986, section 3.1).
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_inside)
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), UrlFault> {
    if place.contains('@') {
        return Err(UrlFault::User);
    }
    let (host, port) = if let Some(inside) = place.strip_prefix('[') {
        let (host, behind) = inside.split_once(']').ok_or(UrlFault::Host)?;
        let address: Ipv6Addr = host.parse().map_err(|_| UrlFault::Host)?;
        let port = match behind {
            "" => "",
            behind => behind.strip_prefix(':').ok_or(UrlFault::Port)?,
        };
        (address.to_string(), port)
    } else {
        let (host, port) = place.split_once(':').unwrap_or((place, ""));
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
            return Err(UrlFault::Host);
        }
        (host.to_ascii_lowercase(), port)
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port @ 1..) if is_number => Ok((host, Some(port))),
        Ok(_) | Err(_) => Err(UrlFault::Port),
    }
}

/// A path and a query that begin with `/`, without `.` and `..` among the parts of the path (RFC 3986, section 5.2.4).
fn plain_target(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut parts: Vec<&str> = Vec::new();
    let mut pieces = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        match piece {
            "." | ".." => {
                if piece == ".." {
                    parts.pop();
                }
                if is_last {
                    parts.push("");
                }
            }
            piece => parts.push(piece),
        }
    }
    let path = parts.join("/");
    match query {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> HttpUrl {
        HttpUrl::parse(text).expect(text)
    }

    #[test]
    fn urls_say_where_and_what() {
        let url = read("HTTPS://Lists.Example.org./ips.txt?token=hush#top");
        assert!(url.tls);
        assert_eq!((url.host.as_str(), url.port), ("lists.example.org", 443));
        assert_eq!(url.target, "/ips.txt?token=hush");
        assert_eq!(url.authority(), "lists.example.org");
        assert_eq!(format!("{url} {url:?}").matches("hush").count(), 0, "no secret");
        assert_eq!(url.to_string(), "https://lists.example.org/ips.txt?***");
        let url = read("http://[2001:DB8::1]:8080");
        assert_eq!(
            (url.host.as_str(), url.port, url.target.as_str()),
            ("2001:db8::1", 8080, "/")
        );
        assert_eq!(url.authority(), "[2001:db8::1]:8080");
        assert_eq!(read("http://a.example?x=1").target, "/?x=1");
        assert_eq!(read("http://127.0.0.1:80/").authority(), "127.0.0.1");
    }

    #[test]
    fn what_is_no_such_url_says_why() {
        for (text, fault) in [
            ("", UrlFault::Scheme),
            ("lists.example.org/ips", UrlFault::Scheme),
            ("ftp://a.example/", UrlFault::Scheme),
            ("http://me:hush@a.example/", UrlFault::User),
            ("http:///ips", UrlFault::Host),
            ("http://[::1/", UrlFault::Host),
            ("http://[a.example]/", UrlFault::Host),
            ("http://a..b/", UrlFault::Host),
            ("http://a.example:0/", UrlFault::Port),
            ("http://a.example:+80/", UrlFault::Port),
            ("http://[::1]80/", UrlFault::Port),
            ("http://a.example/a b", UrlFault::Character),
            ("http://b\u{fc}cher.example/", UrlFault::Character),
        ] {
            assert_eq!(HttpUrl::parse(text), Err(fault), "{text}");
        }
        let long = format!("http://a.example/{}", "x".repeat(MAX_URL_BYTES));
        assert_eq!(HttpUrl::parse(&long), Err(UrlFault::TooLong));
    }

    /// The examples of RFC 3986, section 5.4, as far as they are of HTTP.
    #[test]
    fn references_lead_where_the_rfc_says() {
        let base = read("http://a.example/b/c/d;p?q");
        for (reference, target) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            (";x", "/b/c/;x"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../../g", "/g"),
            ("/../g", "/g"),
            ("g;x=1/../y", "/b/c/y"),
        ] {
            let joined = base.join(reference).expect(reference);
            assert_eq!(joined.target, target, "{reference}");
            assert!(joined.is_of_same_origin(&base));
        }
        let elsewhere = base.join("//b.example/x").expect("a reference");
        assert_eq!(elsewhere.to_string(), "http://b.example/x");
        assert!(!elsewhere.is_of_same_origin(&base));
        let secure = base.join("https://a.example/").expect("a URL");
        assert!(!secure.is_of_same_origin(&base));
        assert_eq!(base.join("ftp://a.example/"), Err(UrlFault::Scheme));
        assert_eq!(base.join("javascript:x"), Err(UrlFault::Scheme));
        assert_eq!(base.join("/a b"), Err(UrlFault::Character));
    }

    proptest! {
        #[test]
        fn whatever_is_read_can_be_asked_for(text in "(https?://)?[a-z\\[\\]:./?#@%0-9]{0,30}", reference in "[ -~]{0,30}") {
            let Ok(url) = HttpUrl::parse(&text) else { return Ok(()) };
            for url in [Some(url.clone()), url.join(&reference).ok()].into_iter().flatten() {
                prop_assert!(url.target.starts_with('/'));
                prop_assert!(url.target.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!url.host.is_empty() && url.port != 0);
            }
        }
    }
}
