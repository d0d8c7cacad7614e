//! What became of one connection. Plain values.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::end::End;

/// Which connection to a backend a client had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// One that was warm.
    Warm,
    /// One that was dialled for it.
    Dialled,
}

impl Via {
    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Dialled => "dialled",
        }
    }
}

/// What became of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    /// When it ended, by the wall clock.
    pub ended_at: SystemTime,
    /// Whose it was.
    pub service: &'r str,
    /// Who it was: whom a PROXY header names, if there was one.
    pub client: SocketAddr,
    /// Where it came in.
    pub listener: Option<SocketAddr>,
    /// Whose PROXY header named the client.
    pub proxy: Option<SocketAddr>,
    /// Whom it got; if nobody, who failed it last.
    pub backend: Option<SocketAddr>,
    /// How it got its backend.
    pub via: Option<Via>,
    /// Backends that failed for it.
    pub tries: usize,
    /// Whether its first bytes went to another backend once more.
    pub is_rescued: bool,
    /// Whether it was dialled for twice at once.
    pub is_raced: bool,
    /// From its beginning until it was dialled for with success, or got a warm connection.
    pub wait: Option<Duration>,
    /// How long that dial took; zero of a warm connection.
    pub connect: Option<Duration>,
    /// From then to the backend's first byte.
    pub first_byte: Option<Duration>,
    /// From its beginning to its end.
    pub total: Duration,
    /// Bytes to the backend.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
    /// How it ended.
    pub end: End,
    /// The version of TLS.
    pub tls: Option<&'r [u8]>,
    /// The name that the client asked for: any bytes.
    pub sni: Option<&'r [u8]>,
    /// The protocol behind TLS: any bytes.
    pub alpn: Option<&'r [u8]>,
    /// How the backend is called, if anybody wants to know.
    pub backend_name: Option<&'r str>,
}
