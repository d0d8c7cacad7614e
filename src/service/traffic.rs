//! What a service's connections come to, for each reactor on cache lines of its own; summed when scraped.
//!
//! Each counter has one writer, its reactor.

use crate::admission::RejectReason;
use std::sync::atomic::AtomicU64;

use crate::base::counters::{
    CONNECT_BOUNDS_MICROS, CONNECTION_BOUNDS_MICROS, Cell, ConnectHistogram, ConnectionHistogram,
};
use crate::preface::Failure;
use crate::relay::close::CloseReason;

/// What went wrong with a connection; label `kind` of `errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// `accept` failed.
    Accept,
    /// A dial failed other than by time-out.
    Dial,
    /// A dial exceeded `dial_timeout`.
    DialTimeout,
    /// A relay's socket failed.
    Relay,
}

impl ErrorKind {
    /// Every kind, in label order.
    pub const ALL: [Self; 4] = [Self::Accept, Self::Dial, Self::DialTimeout, Self::Relay];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Dial => "dial",
            Self::DialTimeout => "dial_timeout",
            Self::Relay => "relay",
        }
    }
}

/// For whom a connection is that came to a service which believes PROXY headers; label `client` of
/// `proxy_connections_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// For the client that its header names.
    Named,
    /// For whoever connected, as its header says.
    Local,
    /// For whoever connected, who is not believed, and of whom no header is awaited.
    Direct,
}

impl ProxyKind {
    /// Every kind, in label order.
    pub const ALL: [Self; 3] = [Self::Named, Self::Local, Self::Direct];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Local => "local",
            Self::Direct => "direct",
        }
    }
}

/// What became of a TLS handshake; label `result` of `tls_handshakes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeResult {
    /// New keys were made.
    Full,
    /// Those of an earlier connection were taken up.
    Resumed,
    /// It failed, or took too long.
    Failed,
}

impl HandshakeResult {
    /// Every result, in label order.
    pub const ALL: [Self; 3] = [Self::Full, Self::Resumed, Self::Failed];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
        }
    }
}

/// What one reactor counts of one service. Aligned so that two reactors never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Traffic {
    /// Connections accepted.
    pub accepted: Cell,
    /// Relays that are open now (from accept to close).
    pub active: Cell,
    /// When a client last came or went, in microseconds since the process started; 0: never.
    pub last_client_micros: Cell,
    /// Bytes from clients to backends.
    pub bytes_to_backend: Cell,
    /// Bytes from backends to clients.
    pub bytes_to_client: Cell,
    /// Pauses of accepting.
    pub accept_paused: Cell,
    /// Clients that got another connection to a backend for a warm one that turned out dead.
    pub rescued: Cell,
    /// Clients that wait for a place at a backend now.
    pub queued: Cell,
    /// When the first of those came, in microseconds since the process started, plus one; 0: nobody waits.
    pub queue_head: AtomicU64,
    /// How long those waited that got one.
    pub queue_durations: ConnectHistogram,
    /// Second dials that were through before the first ones, or found a warm connection.
    pub races_won: Cell,
    /// Second dials that were not, or failed, or whose client left.
    pub races_lost: Cell,
    /// Relays closed, by [`CloseReason`].
    pub closed: [Cell; CloseReason::ALL.len()],
    /// Connections refused, by [`RejectReason`].
    pub rejected: [Cell; RejectReason::ALL.len()],
    /// Connections that ended before they had a backend, by [`Failure`].
    pub failures: [Cell; Failure::ALL.len()],
    /// Connections to a service that believes PROXY headers, by [`ProxyKind`].
    pub proxied: [Cell; ProxyKind::ALL.len()],
    /// TLS handshakes that ended, by [`HandshakeResult`].
    pub handshakes: [Cell; HandshakeResult::ALL.len()],
    /// TLS handshakes with backends that ended, by [`HandshakeResult`].
    pub securings: [Cell; HandshakeResult::ALL.len()],
    /// Errors, by [`ErrorKind`].
    pub errors: [Cell; ErrorKind::ALL.len()],
    /// How long relays lived.
    pub durations: ConnectionHistogram,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            accepted: Cell::default(),
            active: Cell::default(),
            last_client_micros: Cell::default(),
            bytes_to_backend: Cell::default(),
            bytes_to_client: Cell::default(),
            accept_paused: Cell::default(),
            rescued: Cell::default(),
            queued: Cell::default(),
            queue_head: AtomicU64::new(0),
            queue_durations: ConnectHistogram::new(&CONNECT_BOUNDS_MICROS),
            races_won: Cell::default(),
            races_lost: Cell::default(),
            closed: Default::default(),
            rejected: Default::default(),
            failures: Default::default(),
            proxied: Default::default(),
            handshakes: Default::default(),
            securings: Default::default(),
            errors: Default::default(),
            durations: ConnectionHistogram::new(&CONNECTION_BOUNDS_MICROS),
        }
    }
}

impl Traffic {
    /// Counts a closed relay.
    pub fn count_close(&self, reason: CloseReason) {
        if let Some(cell) = self.closed.get(reason as usize) {
            cell.add(1);
        }
    }

    /// Counts a refused connection.
    pub fn count_rejection(&self, reason: RejectReason) {
        if let Some(cell) = self.rejected.get(reason as usize) {
            cell.add(1);
        }
    }

    /// Counts a connection that ended before it had a backend.
    pub fn count_failure(&self, failure: Failure) {
        if let Some(cell) = self.failures.get(failure as usize) {
            cell.add(1);
        }
    }

    /// Counts a connection to a service that believes PROXY headers.
    pub fn count_proxied(&self, kind: ProxyKind) {
        if let Some(cell) = self.proxied.get(kind as usize) {
            cell.add(1);
        }
    }

    /// Counts a handshake that ended.
    pub fn count_handshake(&self, result: HandshakeResult) {
        if let Some(cell) = self.handshakes.get(result as usize) {
            cell.add(1);
        }
    }

    /// Counts a handshake with a backend that ended.
    pub fn count_securing(&self, result: HandshakeResult) {
        if let Some(cell) = self.securings.get(result as usize) {
            cell.add(1);
        }
    }

    /// Counts an error.
    pub fn count_error(&self, kind: ErrorKind) {
        if let Some(cell) = self.errors.get(kind as usize) {
            cell.add(1);
        }
    }
}

/// Sockets that one reactor holds, of all services.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauges {
    /// Clients, from accept to close.
    pub clients: Cell,
    /// Connections to backends: dialling, warm and in use.
    pub upstreams: Cell,
}
