//! The section `remotes.probing.check`, checked: what a candidate must answer.

use super::client_tls::ClientTls;

/// `remotes.probing.check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What a probe does beyond a connect.
    pub kind: CheckKind,
    /// The port that probes connect to; 0: the candidate's own.
    pub port: u16,
    /// One probe of a candidate in so many is a check, the others connect; at least 1.
    pub every: u32,
    /// How TLS is spoken, where it is; without protocols.
    pub tls: ClientTls,
    /// What is asked by HTTP, and what must be answered.
    pub http: HttpCheck,
    /// What is sent by `send_expect`; empty: nothing, the candidate speaks first.
    pub send: Pattern,
    /// What its answer must contain; empty: anything.
    pub expect: Pattern,
    /// Which candidates stay, of those that answer as they should.
    pub select: Select,
}

/// `remotes.probing.check.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// Nothing: that it accepts is enough.
    Connect,
    /// For a TLS handshake.
    Tls,
    /// Asks by HTTP.
    Http,
    /// The same over TLS.
    Https,
    /// Sends bytes, and looks for others in the answer.
    SendExpect,
}

impl CheckKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Connect,
        Self::Tls,
        Self::Http,
        Self::Https,
        Self::SendExpect,
    ];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Https => "https",
            Self::SendExpect => "send_expect",
        }
    }
}

/// `remotes.probing.check.http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// The name in the header `Host`; empty: the candidate's address.
    pub host: String,
    /// The path that is asked for, with its query.
    pub path: String,
    /// The method.
    pub method: Method,
    /// Statuses that are right; at least one.
    pub expect_status: Vec<Statuses>,
    /// `Name` or `Name: text`: a header that the answer must have, and what its value must contain; empty: none.
    pub expect_header: String,
    /// What the body must contain; empty: anything.
    pub expect_body: String,
}

/// `remotes.probing.check.http.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The head alone.
    Head,
    /// The body, too.
    Get,
}

impl Method {
    /// The name in the configuration and in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "HEAD",
            Self::Get => "GET",
        }
    }
}

/// A range of statuses, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// The lowest; 100 to 999.
    pub from: u16,
    /// The highest; not below the lowest.
    pub to: u16,
}

/// `remotes.probing.check.select`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// The header that tells candidates apart; empty: none does.
    pub header: String,
    /// A regular expression that its value must match somewhere.
    pub pattern: String,
}

/// Bytes, as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pattern {
    /// As text, or as `hex:` and pairs of digits.
    pub text: String,
}

/// How bytes that no text can hold are written.
const HEX: &str = "hex:";

impl Pattern {
    /// The bytes of a text; none if it begins as hexadecimal and is not.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let pattern = Self {
            text: text.to_owned(),
        };
        pattern.decode().map(|_| pattern)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.decode().unwrap_or_default()
    }

    fn decode(&self) -> Option<Vec<u8>> {
        let Some(digits) = self.text.strip_prefix(HEX) else {
            return Some(self.text.as_bytes().to_vec());
        };
        let nibbles: Option<Vec<u8>> = digits
            .chars()
            .filter(|c| *c != ' ')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let nibbles = nibbles.filter(|all| all.len() % 2 == 0)?;
        Some(nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_or_pairs_of_digits() {
        let bytes = |text| Pattern::of(text).map(|pattern| pattern.bytes());
        assert_eq!(bytes("PING\r\n"), Some(b"PING\r\n".to_vec()));
        assert_eq!(bytes("hex:00 ff4A"), Some(vec![0, 255, 0x4a]));
        assert_eq!(bytes("hex:"), Some(Vec::new()));
        assert_eq!((bytes("hex:0"), bytes("hex:zz")), (None, None));
    }
}
