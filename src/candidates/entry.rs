//! One entry of the candidate list: text to addresses.
//!
//! Pure. Knows the forms of an entry and what each one stands for, not lines, options, remarks or files.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::problem::Problem;
use super::set::Stretch;
use crate::base::host_name::is_host_name;

/// The longest prefix of IPv4 that has a network and a broadcast address (RFC 3021 frees /31 of them).
const LONGEST_WITH_BROADCAST: u8 = 30;

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) who: Who<'a>,
    /// The port, if the entry says one.
    pub(super) port: Option<u16>,
    pub(super) form: Form,
}

/// Whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who<'a> {
    Addresses(Stretch),
    Host(&'a str),
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Address,
    Network,
    Range,
    Url,
    Host,
}

/// Reads an entry; `text` is neither empty nor padded.
pub(super) fn read(text: &str) -> Result<Entry<'_>, Problem> {
    read_plain(text).or_else(|problem| read_special(text, problem))
}

/// Reads an address or a network.
///
/// An address with a prefix stands for the network around it: host bits may be set, as in `192.0.2.5/24`.
/// Networks of IPv4 up to /30 are without their network and broadcast address.
pub(super) fn read_plain(text: &str) -> Result<Entry<'_>, Problem> {
    let (host, port) = split_port(text)?;
    let port = port.map(parse_port).transpose()?;
    let (ip, prefix) = match host.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (host, None),
    };
    let ip = parse_ip(ip)?;
    if text.starts_with('[') && ip.is_ipv4() {
        return Err(Problem::Brackets);
    }
    let (stretch, form) = match prefix {
        None => (stretch(ip, ip)?, Form::Address),
        Some(prefix) => (network(ip, prefix)?, Form::Network),
    };
    let who = Who::Addresses(stretch);
    Ok(Entry { who, port, form })
}

/// Reads the other forms; of a text that is of none of them, the problem stands that it had.
fn read_special(text: &str, problem: Problem) -> Result<Entry<'_>, Problem> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return read_url(scheme, rest);
    }
    if text.starts_with('{') {
        return Err(Problem::Json);
    }
    let (host, port) = split_port(text)?;
    if let Some((first, last)) = host.split_once('-')
        && (first.parse::<IpAddr>().is_ok() || first.parse::<SocketAddr>().is_ok())
    {
        let entry = range(first, last, port)?;
        let is_v4 = matches!(entry.who, Who::Addresses(Stretch::V4(..)));
        return if is_v4 && text.starts_with('[') {
            Err(Problem::Brackets)
        } else {
            Ok(entry)
        };
    }
    let is_pattern = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'*' | b'x' | b'X');
    if host.contains(['*', 'x', 'X']) && host.matches('.').count() == 3 && host.bytes().all(is_pattern) {
        return Err(Problem::Wildcard);
    }
    let has_no_brackets = text.rsplit_once(':').is_some_and(|(ip, port)| {
        ip.contains(':') && ip.parse::<IpAddr>().is_ok() && parse_port(port).is_ok()
    });
    if has_no_brackets {
        return Err(Problem::MissingBrackets);
    }
    if problem == Problem::NoAddress && is_plainly_host_name(host) && !text.starts_with('[') {
        let port = port.map(parse_port).transpose()?;
        return Ok(Entry {
            who: Who::Host(host),
            port,
            form: Form::Host,
        });
    }
    Err(problem)
}

/// Reads a range, the end of which may be the last number of an IPv4 address.
fn range<'a>(first: &str, last: &str, port: Option<&str>) -> Result<Entry<'a>, Problem> {
    let first = match (first.parse(), first.parse::<SocketAddr>()) {
        (Ok(first), _) => first,
        (Err(_), Ok(_)) => return Err(Problem::PortBeforePrefix),
        (Err(_), Err(_)) => return Err(Problem::NoAddress),
    };
    let last = match (first, last.parse()) {
        (_, Ok(last)) => last,
        (IpAddr::V4(ip), Err(_)) => {
            let number = parse_digits(last).and_then(|number| u8::try_from(number).ok());
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, number.ok_or(Problem::RangeEnd)?])
        }
        (IpAddr::V6(_), Err(_)) => return Err(Problem::RangeEnd),
    };
    let port = port.map(parse_port).transpose()?;
    let who = Who::Addresses(stretch(first, last)?);
    Ok(Entry {
        who,
        port,
        form: Form::Range,
    })
}

/// Reads a range that is written with blanks around its dash.
pub(super) fn read_range<'a>(first: &str, end: &str) -> Result<Entry<'a>, Problem> {
    let (last, port) = match end.matches(':').count() {
        1 => split_port(end)?,
        _ => (end, None),
    };
    range(first, last, port)
}

/// The address or name of a URL, and its port: the one that it says, or that of its scheme.
fn read_url<'a>(scheme: &str, rest: &'a str) -> Result<Entry<'a>, Problem> {
    let is_of_schemes = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if scheme.is_empty() || !scheme.bytes().all(is_of_schemes) {
        return Err(Problem::NoAddress);
    }
    let authority = rest.split(['/', '?', '\\']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let entry = match read_plain(host) {
        Err(Problem::NoAddress) => read_special(host, Problem::NoAddress),
        other => other,
    };
    let has_none = matches!(entry, Err(Problem::NoAddress | Problem::Json));
    let entry = if has_none { Err(Problem::Url) } else { entry }?;
    let port = entry.port.or_else(|| scheme_port(scheme));
    let form = match entry.who {
        Who::Addresses(_) => Form::Url,
        Who::Host(_) => Form::Host,
    };
    Ok(Entry { port, form, ..entry })
}

/// The port of a scheme that has one of its own.
fn scheme_port(scheme: &str) -> Option<u16> {
    let is = |name| scheme.eq_ignore_ascii_case(name);
    if is("http") || is("ws") {
        Some(80)
    } else if is("https") || is("wss") {
        Some(443)
    } else {
        None
    }
}

/// Whether a text is the name of a host of which it is plain that it is none of the words that lists have: it has a dot, or is
/// `localhost`. It may end with a dot.
fn is_plainly_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    is_host_name(name) && (name.contains('.') || name == "localhost")
}

/// The port that an IPv6 address without brackets may have been meant to have, as in `::1:8585`.
///
/// Its last group is a number of three or four decimal digits, and what is before is an address as well.
pub(super) fn meant_port(text: &str) -> Option<u16> {
    let (ip, port) = text.rsplit_once(':')?;
    let is_port = (3..=4).contains(&port.len()) && !port.starts_with('0');
    let port = parse_digits(port).filter(|_| is_port)?;
    ip.parse::<IpAddr>().is_ok().then_some(port)
}

/// Splits off a port. A colon is one only after brackets, or when it is the only colon (IPv4).
fn split_port(text: &str) -> Result<(&str, Option<&str>), Problem> {
    if let Some(inside) = text.strip_prefix('[') {
        let (inside, behind) = inside.split_once(']').ok_or(Problem::Brackets)?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((inside, Some(port))),
            None if behind.is_empty() => Ok((inside, None)),
            None => Err(Problem::Brackets),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => {
            if port.contains('/') && host.parse::<Ipv4Addr>().is_ok() {
                return Err(Problem::PortBeforePrefix);
            }
            Ok((host, Some(port)))
        }
        _ => Ok((text, None)),
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| match text.split_once('%') {
        Some((ip, _)) if ip.parse::<IpAddr>().is_ok() => Problem::ZoneId,
        _ => Problem::NoAddress,
    })
}

/// A port: a number from 1 to 65535.
pub(super) fn parse_port(text: &str) -> Result<u16, Problem> {
    match parse_digits(text) {
        Some(0) | None => Err(Problem::Port),
        Some(port) => Ok(port),
    }
}

fn stretch(first: IpAddr, last: IpAddr) -> Result<Stretch, Problem> {
    if last < first && first.is_ipv4() == last.is_ipv4() {
        return Err(Problem::Backwards);
    }
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ok(Stretch::V4(first, last)),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ok(Stretch::V6(first, last)),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Err(Problem::RangeEnd),
    }
}

fn network(ip: IpAddr, prefix: &str) -> Result<Stretch, Problem> {
    if ip.is_ipv6() && prefix.contains(':') {
        return Err(Problem::MissingBrackets);
    }
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let network = parse_digits(prefix)
        .and_then(|prefix| u8::try_from(prefix).ok())
        .and_then(|prefix| IpNet::new(ip, prefix).ok())
        .ok_or(Problem::Prefix(bits))?;
    Ok(match network {
        IpNet::V4(network) => {
            let (first, last) = hosts(network);
            Stretch::V4(first, last)
        }
        IpNet::V6(network) => Stretch::V6(network.network(), network.broadcast()),
    })
}

/// A number of digits only; `str::parse` would allow a plus sign.
pub(super) fn parse_digits(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// First and last host address of a network.
fn hosts(network: Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
    if network.prefix_len() <= LONGEST_WITH_BROADCAST {
        (Ipv4Addr::from_bits(first + 1), Ipv4Addr::from_bits(last - 1))
    } else {
        (Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Stated;
    use super::super::set::Builder;
    use super::*;

    /// First and last candidate and their number.
    fn read_one(text: &str) -> Result<(String, String, u128), Problem> {
        let entry = read(text)?;
        let Who::Addresses(stretch) = entry.who else {
            return Err(Problem::HostName);
        };
        let mut builder = Builder::default();
        builder.add(stretch, entry.port.unwrap_or(80), Stated::default(), None);
        let set = builder.build();
        let name = |index| set.at(index).expect("a member").to_string();
        Ok((name(0), name(set.len() - 1), set.len()))
    }

    #[test]
    fn every_form_of_an_entry() {
        for (text, first, last, count) in [
            ("192.0.2.5", "192.0.2.5:80", "192.0.2.5:80", 1),
            ("192.0.2.5:443", "192.0.2.5:443", "192.0.2.5:443", 1),
            ("2001:db8::5", "[2001:db8::5]:80", "[2001:db8::5]:80", 1),
            ("[2001:db8::5]:443", "[2001:db8::5]:443", "[2001:db8::5]:443", 1),
            ("[2001:db8::5]", "[2001:db8::5]:80", "[2001:db8::5]:80", 1),
            ("192.0.2.0/24", "192.0.2.1:80", "192.0.2.254:80", 254),
            ("192.0.2.77/24:8080", "192.0.2.1:8080", "192.0.2.254:8080", 254),
            ("192.0.2.4/30", "192.0.2.5:80", "192.0.2.6:80", 2),
            ("192.0.2.4/31", "192.0.2.4:80", "192.0.2.5:80", 2),
            ("192.0.2.4/32", "192.0.2.4:80", "192.0.2.4:80", 1),
            ("0.0.0.0/0", "0.0.0.1:80", "255.255.255.254:80", (1 << 32) - 2),
            ("2001:db8::/126", "[2001:db8::]:80", "[2001:db8::3]:80", 4),
            ("2001:db8::7/128", "[2001:db8::7]:80", "[2001:db8::7]:80", 1),
            (
                "[2001:db8::/32]:443",
                "[2001:db8::]:443",
                "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:443",
                1 << 96,
            ),
            ("1.2.3.4:65535", "1.2.3.4:65535", "1.2.3.4:65535", 1),
            ("192.0.2.0-255", "192.0.2.0:80", "192.0.2.255:80", 256),
            ("192.0.2.7-7:443", "192.0.2.7:443", "192.0.2.7:443", 1),
            ("192.0.2.9-192.0.3.1", "192.0.2.9:80", "192.0.3.1:80", 249),
            ("192.0.2.9-192.0.3.1:443", "192.0.2.9:443", "192.0.3.1:443", 249),
            (
                "2001:db8::1-2001:db8::ff",
                "[2001:db8::1]:80",
                "[2001:db8::ff]:80",
                255,
            ),
            (
                "[2001:db8::1-2001:db8::2]:443",
                "[2001:db8::1]:443",
                "[2001:db8::2]:443",
                2,
            ),
            ("http://192.0.2.5", "192.0.2.5:80", "192.0.2.5:80", 1),
            ("HTTPS://192.0.2.5/a/b?c=d@e", "192.0.2.5:443", "192.0.2.5:443", 1),
            ("https://192.0.2.5:8443", "192.0.2.5:8443", "192.0.2.5:8443", 1),
            (
                "wss://[2001:db8::5]/x",
                "[2001:db8::5]:443",
                "[2001:db8::5]:443",
                1,
            ),
            ("socks5://user:p@ss@192.0.2.5", "192.0.2.5:80", "192.0.2.5:80", 1),
            (
                "vless://0-1-2@192.0.2.5:2053?type=ws&path=/x",
                "192.0.2.5:2053",
                "192.0.2.5:2053",
                1,
            ),
        ] {
            let found = read_one(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(found, (first.to_owned(), last.to_owned(), count), "{text}");
        }
    }

    #[test]
    fn every_problem_is_named() {
        for (text, problem) in [
            ("example.com", Problem::HostName),
            ("a-b.example.com.:443", Problem::HostName),
            ("localhost", Problem::HostName),
            ("https://example.com/x", Problem::HostName),
            ("example", Problem::NoAddress),
            ("example..com", Problem::NoAddress),
            ("-a.example", Problem::NoAddress),
            ("[example.com]", Problem::NoAddress),
            ("example.com:x", Problem::Port),
            ("192.0.2", Problem::NoAddress),
            ("192.0.2.256", Problem::NoAddress),
            ("010.0.0.1", Problem::NoAddress),
            (":80", Problem::NoAddress),
            ("/24", Problem::NoAddress),
            ("2001:db8::1::2", Problem::NoAddress),
            ("[]:80", Problem::NoAddress),
            ("1.2.3.4:80:81", Problem::NoAddress),
            ("192.0.2.1:0", Problem::Port),
            ("192.0.2.1:", Problem::Port),
            ("192.0.2.1:+80", Problem::Port),
            ("192.0.2.1:65536", Problem::Port),
            ("192.0.2.1:http", Problem::Port),
            ("192.0.2.0/24:0", Problem::Port),
            ("[2001:db8::1]:99999", Problem::Port),
            ("192.0.2.0/33", Problem::Prefix(32)),
            ("192.0.2.0/", Problem::Prefix(32)),
            ("192.0.2.0/-1", Problem::Prefix(32)),
            ("192.0.2.0/+8", Problem::Prefix(32)),
            ("192.0.2.0/255.255.255.0", Problem::Prefix(32)),
            ("2001:db8::/129", Problem::Prefix(128)),
            ("[2001:db8::/999]:80", Problem::Prefix(128)),
            ("fe80::1%eth0", Problem::ZoneId),
            ("[fe80::1%1]:80", Problem::ZoneId),
            ("2001:db8::/32:443", Problem::MissingBrackets),
            ("[192.0.2.1]:80", Problem::Brackets),
            ("[2001:db8::1", Problem::Brackets),
            ("[2001:db8::1]80", Problem::Brackets),
            ("[2001:db8::]/32", Problem::Brackets),
            ("192.0.2.0:80/24", Problem::PortBeforePrefix),
            ("::1:65535", Problem::MissingBrackets),
            ("192.0.2.1-256", Problem::RangeEnd),
            ("192.0.2.1-", Problem::RangeEnd),
            ("192.0.2.1-::1", Problem::RangeEnd),
            ("2001:db8::1-9", Problem::RangeEnd),
            ("192.0.2.9-1", Problem::Backwards),
            ("2001:db8::2-2001:db8::1", Problem::Backwards),
            ("192.0.2.1:80-192.0.2.9:80", Problem::PortBeforePrefix),
            ("192.0.2.1-9:0", Problem::Port),
            ("[192.0.2.1-9]:80", Problem::Brackets),
            ("192.0.2.*", Problem::Wildcard),
            ("192.0.x.x:80", Problem::Wildcard),
            ("vmess://eyJhZGQiOiIxOTIuMC4yLjEifQ==", Problem::Url),
            ("http://", Problem::Url),
            ("http://192.0.2.300/", Problem::Url),
            ("http://192.0.2.3:x/", Problem::Port),
            ("a b://192.0.2.3", Problem::NoAddress),
            ("{\"ip\":\"192.0.2.1\"}", Problem::Json),
        ] {
            assert_eq!(read_one(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn a_last_group_that_may_be_a_port_is_found() {
        assert_eq!(meant_port("::1:8585"), Some(8585));
        assert_eq!(meant_port("2001:db8::1:443"), Some(443));
        for text in [
            "2001:db8::8443",
            "2001:db8::1:80",
            "2001:db8::1:0443",
            "2001:db8::1:8a43",
            "1:2:3:4:5:6:7:8443",
            "::1",
        ] {
            assert_eq!(meant_port(text), None, "{text}");
        }
    }
}
