//! The section `access_log`, checked: a line for each connection of a service.

use std::time::Duration;

use super::process::{LogFormat, LogOutput};

/// `access_log`.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Where lines go; none: there are none.
    pub output: Option<LogOutput>,
    /// Line format.
    pub format: LogFormat,
    /// What a line says, in this order; empty: everything.
    pub fields: Vec<AccessField>,
    /// The share of connections that have a line; 0 to 1.
    pub sample: f64,
    /// Connections shorter than this have none.
    pub min_duration: Duration,
}

/// What a line can say of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessField {
    /// When it ended.
    Time,
    /// Whose it was.
    Service,
    /// Who it was.
    Client,
    /// Where it came in.
    Listener,
    /// Whose PROXY header named the client.
    Proxy,
    /// Whom it got.
    Backend,
    /// Whether the connection to that was warm or dialled.
    Via,
    /// Backends that failed for it before.
    Tries,
    /// Whether its first bytes went to another backend once more.
    Rescued,
    /// Whether it was dialled for twice at once.
    Raced,
    /// From its beginning until it was dialled for, or got a warm connection.
    Wait,
    /// How long that dial took.
    Connect,
    /// From then to the backend's first byte.
    FirstByte,
    /// From its beginning to its end.
    Total,
    /// Bytes to the backend.
    BytesUp,
    /// Bytes to the client.
    BytesDown,
    /// By whom and in which phase it ended: two letters.
    End,
    /// The first of them in words.
    By,
    /// The second of them in words.
    Phase,
    /// The reason that is counted.
    Reason,
    /// The version of TLS.
    Tls,
    /// The name that the client asked for.
    Sni,
    /// The protocol behind TLS.
    Alpn,
    /// How its backend is called.
    BackendName,
}

impl AccessField {
    /// Every field, in the order of a line that has all.
    pub const ALL: [Self; 24] = [
        Self::Time,
        Self::Service,
        Self::Client,
        Self::Listener,
        Self::Proxy,
        Self::Backend,
        Self::Via,
        Self::Tries,
        Self::Rescued,
        Self::Raced,
        Self::Wait,
        Self::Connect,
        Self::FirstByte,
        Self::Total,
        Self::BytesUp,
        Self::BytesDown,
        Self::End,
        Self::By,
        Self::Phase,
        Self::Reason,
        Self::Tls,
        Self::Sni,
        Self::Alpn,
        Self::BackendName,
    ];

    /// The name in the configuration and in lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Service => "service",
            Self::Client => "client",
            Self::Listener => "listener",
            Self::Proxy => "proxy",
            Self::Backend => "backend",
            Self::Via => "via",
            Self::Tries => "tries",
            Self::Rescued => "rescued",
            Self::Raced => "raced",
            Self::Wait => "wait_ms",
            Self::Connect => "connect_ms",
            Self::FirstByte => "first_byte_ms",
            Self::Total => "total_ms",
            Self::BytesUp => "bytes_up",
            Self::BytesDown => "bytes_down",
            Self::End => "end",
            Self::By => "by",
            Self::Phase => "phase",
            Self::Reason => "reason",
            Self::Tls => "tls",
            Self::Sni => "sni",
            Self::Alpn => "alpn",
            Self::BackendName => "backend_name",
        }
    }
}
