//! One entry of the candidate list: text to a range of addresses.
//!
//! Pure. Knows the forms of an entry and what each one stands for, not lines, comments or files.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::set::Builder;

/// The longest prefix of IPv4 that has a network and a broadcast address (RFC 3021 frees /31 of them).
const LONGEST_WITH_BROADCAST: u8 = 30;

/// The forms of an entry, for messages.
pub(super) const FORMS: &str =
    "IPv4, IPv4:port, IPv6, [IPv6]:port, IPv4/prefix, IPv4/prefix:port, IPv6/prefix or [IPv6/prefix]:port";

/// Why a line holds no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Nothing that the other problems describe.
    NoAddress,
    /// Bytes that are no text.
    NotUtf8,
    /// UTF-16 instead of UTF-8, as some editors write it.
    Utf16,
    /// Longer than any entry can be.
    TooLong,
    /// A port that is no number from 1 to 65535.
    Port,
    /// A prefix length that is no number, or more than this many bits.
    Prefix(u8),
    /// An IPv6 zone id, as in `fe80::1%eth0`.
    ZoneId,
    /// `IPv6/prefix:port` without brackets.
    MissingBrackets,
    /// Brackets without an end, around IPv4, or followed by something that is no port.
    Brackets,
    /// `address:port/prefix`.
    PortBeforePrefix,
    /// Several entries on one line.
    SeveralEntries,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => write!(f, "not an address; allowed: {FORMS}"),
            Self::NotUtf8 => f.write_str("not UTF-8 text"),
            Self::Utf16 => f.write_str("the list is UTF-16; it must be saved as UTF-8"),
            Self::TooLong => write!(f, "too long for an entry; allowed: {FORMS}"),
            Self::Port => f.write_str("the port must be a number from 1 to 65535"),
            Self::Prefix(bits) => write!(f, "the prefix length must be a number from 0 to {bits}"),
            Self::ZoneId => f.write_str("IPv6 zone ids are not supported; write the address without `%`"),
            Self::MissingBrackets => f.write_str("an IPv6 prefix with a port is written [IPv6/prefix]:port"),
            Self::Brackets => {
                f.write_str("brackets belong around IPv6 only, as in [IPv6]:port or [IPv6/prefix]:port")
            }
            Self::PortBeforePrefix => f.write_str("the port comes last, as in IPv4/prefix:port"),
            Self::SeveralEntries => write!(f, "one entry a line; allowed: {FORMS}"),
        }
    }
}

/// Adds what an entry stands for; `text` is neither empty nor padded.
///
/// An address with a prefix stands for the network around it: host bits may be set, as in `192.0.2.5/24`.
/// Networks of IPv4 up to /30 are without their network and broadcast address.
pub(super) fn read(text: &str, default_port: u16, builder: &mut Builder) -> Result<(), Problem> {
    if let Some((first, _)) = text.split_once(|c: char| c.is_whitespace() || c == ',' || c == ';') {
        read(first, default_port, &mut Builder::default())?;
        return Err(Problem::SeveralEntries);
    }
    let (host, port) = split_port(text)?;
    let port = port.map_or(Ok(default_port), parse_port)?;
    let (ip, prefix) = match host.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (host, None),
    };
    let ip = parse_ip(ip)?;
    if text.starts_with('[') && ip.is_ipv4() {
        return Err(Problem::Brackets);
    }
    let Some(prefix) = prefix else {
        match ip {
            IpAddr::V4(ip) => builder.add_v4(ip, ip, port),
            IpAddr::V6(ip) => builder.add_v6(ip, ip, port),
        }
        return Ok(());
    };
    match parse_network(ip, prefix)? {
        IpNet::V4(network) => {
            let (first, last) = hosts(network);
            builder.add_v4(first, last, port);
        }
        IpNet::V6(network) => builder.add_v6(network.network(), network.broadcast(), port),
    }
    Ok(())
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

fn parse_port(text: &str) -> Result<u16, Problem> {
    match parse_digits(text) {
        Some(0) | None => Err(Problem::Port),
        Some(port) => Ok(port),
    }
}

fn parse_network(ip: IpAddr, prefix: &str) -> Result<IpNet, Problem> {
    if ip.is_ipv6() && prefix.contains(':') {
        return Err(Problem::MissingBrackets);
    }
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    parse_digits(prefix)
        .and_then(|prefix| u8::try_from(prefix).ok())
        .and_then(|prefix| IpNet::new(ip, prefix).ok())
        .ok_or(Problem::Prefix(bits))
}

/// A number of digits only; `str::parse` would allow a plus sign.
fn parse_digits(text: &str) -> Option<u16> {
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
    use super::*;

    /// First and last candidate and their number.
    fn read_one(text: &str) -> Result<(String, String, u128), Problem> {
        let mut builder = Builder::default();
        read(text, 80, &mut builder)?;
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
        ] {
            let found = read_one(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(found, (first.to_owned(), last.to_owned(), count), "{text}");
        }
    }

    #[test]
    fn every_problem_is_named() {
        for (text, problem) in [
            ("example.com", Problem::NoAddress),
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
            ("192.0.2.1 192.0.2.2", Problem::SeveralEntries),
            ("192.0.2.1,192.0.2.2", Problem::SeveralEntries),
            ("192.0.2.0/24, 192.0.2.2", Problem::SeveralEntries),
            ("what is this", Problem::NoAddress),
            (",192.0.2.1", Problem::NoAddress),
        ] {
            assert_eq!(read_one(text), Err(problem), "{text}");
        }
    }
}
