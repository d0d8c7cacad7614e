//! Why a line of a list holds no entry, and what to write instead.

use std::fmt;

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
    /// Longer than a line may be.
    TooLong,
    /// A port that is no number from 1 to 65535.
    Port,
    /// A second port.
    SecondPort,
    /// A prefix length that is no number, or more than this many bits.
    Prefix(u8),
    /// An IPv6 zone id, as in `fe80::1%eth0`.
    ZoneId,
    /// IPv6 with a prefix or a port without brackets.
    MissingBrackets,
    /// Brackets without an end, around IPv4, or followed by something that is no port.
    Brackets,
    /// A port with something behind it that belongs before it: a prefix, or the end of a range.
    PortBeforePrefix,
    /// A range whose end is no address, or one of the other family.
    RangeEnd,
    /// A range that ends before it begins.
    Backwards,
    /// `192.0.2.*`.
    Wildcard,
    /// A URL without an address in it.
    Url,
    /// An object of JSON.
    Json,
    /// An entry of a document of JSON that names nobody.
    JsonEntry,
    /// A name, where only addresses can be candidates.
    HostName,
    /// A weight that is no number from 1 to 65535.
    Weight,
    /// A tier that is no number from 0 to 65535.
    Tier,
    /// A limit that is no number from 1 to 4294967295.
    MaxConnections,
    /// `key=value` with a key that is no option.
    Option,
    /// An option or a port before the first entry.
    NoEntryBefore,
    /// A word behind an entry that is no entry, port or option.
    Word,
    /// A quote without an end.
    Quote,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => write!(f, "not an address; allowed: {FORMS}"),
            Self::NotUtf8 => f.write_str("not UTF-8 text; save the list as UTF-8"),
            Self::TooLong => f.write_str("too long for a line; one entry a line is best"),
            Self::Port => f.write_str("the port must be a number from 1 to 65535"),
            Self::SecondPort => f.write_str("there is a port already; entries are separated by blanks or commas"),
            Self::Prefix(bits) => write!(f, "the prefix length must be a number from 0 to {bits}"),
            Self::ZoneId => f.write_str("IPv6 zone ids are not supported; write the address without `%`"),
            Self::MissingBrackets => f.write_str("IPv6 with a port is written [IPv6]:port or [IPv6/prefix]:port"),
            Self::Brackets => {
                f.write_str("brackets belong around IPv6 only, as in [IPv6]:port or [IPv6/prefix]:port")
            }
            Self::PortBeforePrefix => {
                f.write_str("the port comes last, as in IPv4/prefix:port or IPv4-IPv4:port")
            }
            Self::RangeEnd => f.write_str(
                "a range ends with an address, or in IPv4 with its last number, as in 192.0.2.1-192.0.2.9 or 192.0.2.1-9",
            ),
            Self::Backwards => f.write_str("the range ends before it begins; write the lower address first"),
            Self::Wildcard => f.write_str("for all addresses of a network write its prefix, as in 192.0.2.0/24"),
            Self::Url => f.write_str("no address in this URL; write address:port"),
            Self::Json => f.write_str("JSON objects are not read; write address:port, one a line"),
            Self::JsonEntry => f.write_str(
                "neither a text nor an object with an address; allowed: a text, or an object with address, ip, host, hostname, server or the like",
            ),
            Self::HostName => f.write_str("a name, and only addresses are candidates; write its addresses"),
            Self::Weight => f.write_str("weight must be a number from 1 to 65535"),
            Self::Tier => f.write_str("tier must be a number from 0 to 65535"),
            Self::MaxConnections => f.write_str("max_connections must be a number from 1 to 4294967295"),
            Self::Option => f.write_str("no such option; there are weight=, backup, tier=, max_connections= and name="),
            Self::NoEntryBefore => f.write_str("options and ports stand behind the entry that they are for"),
            Self::Word => f.write_str("neither an address, nor a port, nor an option; a remark stands behind #"),
            Self::Quote => f.write_str("a quote without an end; a # begins a remark in quotes, too"),
        }
    }
}
