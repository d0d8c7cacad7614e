//! What of the section `server` is a service's own, checked: accepting, relaying, protection.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::server_tls::ServerTls;
use super::service_name::ServiceName;

/// `server`, or what stands directly in a service: accepting and relaying.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Addresses to listen on; at least one.
    pub listen_addrs: Vec<SocketAddr>,
    /// A relay that moves no byte for this long is closed.
    pub idle_timeout: Duration,
    /// The same once one direction has finished.
    pub half_close_timeout: Duration,
    /// TCP keep-alive of both sides.
    pub keepalive: Keepalive,
    /// Whether bulk directions may move through `splice` on systems that have it.
    pub splice: Splice,
    /// Connections at once of one client (an IPv4 address or an IPv6 network of 64 bits); 0 = no limit.
    pub max_connections_per_ip: usize,
    /// New connections a second of one client; 0 = no limit.
    pub connection_rate_per_ip: f64,
    /// New connections of one client that may come at once; 0 = one second's worth, at least 1.
    pub connection_burst_per_ip: u32,
    /// Networks that may connect; empty = all.
    pub allow: Vec<IpNet>,
    /// Networks that may not connect, whatever `allow` says.
    pub deny: Vec<IpNet>,
    /// How fast bytes may move.
    pub bandwidth: BandwidthLimits,
    /// What clients are shown, if they speak TLS.
    pub tls: ServerTls,
    /// A step that stands before a backend is to be through by then.
    pub handshake_timeout: Duration,
    /// Whose word is taken for who a client is, and whether backends are told.
    pub proxy_protocol: ProxyProtocol,
    /// Clients that speak TLS and go to another service's backends, by what they ask for; the first that matches counts.
    pub routes: Vec<Route>,
    /// What becomes of clients that no route takes.
    pub no_match: NoMatch,
    /// Whose backends clients get that speak no TLS, where there are routes; none: nobody's.
    pub plain: Option<ServiceName>,
}

/// One of `server.routes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Names in lower case, `*.` before one for all below it, `*` for any; empty: whatever is asked for.
    pub sni: Vec<String>,
    /// Protocols of which one must be offered; empty: whatever is offered.
    pub alpn: Vec<String>,
    /// To whose backends.
    pub to: ServiceName,
}

/// `server.no_match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoMatch {
    /// They get the service's own backends.
    #[default]
    Own,
    /// They are closed.
    Close,
}

/// `server.proxy_protocol`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyProtocol {
    /// Which headers are awaited of those in `from`.
    pub accept: ProxyAccept,
    /// Who begins its connections with a header, and is believed.
    pub from: Vec<IpNet>,
    /// Which header backends get.
    pub send: ProxySend,
}

/// `server.proxy_protocol.accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyAccept {
    /// None.
    #[default]
    Off,
    /// Version 1, lines of text.
    V1,
    /// Version 2, binary.
    V2,
    /// Either.
    Any,
}

/// `server.proxy_protocol.send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxySend {
    /// None.
    #[default]
    Off,
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
}

/// `server.bandwidth`: bytes a second, of each direction for itself; 0 = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BandwidthLimits {
    /// Of each connection.
    pub per_connection: u64,
    /// Of all connections together.
    pub total: u64,
}

/// `server.splice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// Use it for bulk where the system has it, copy elsewhere.
    Auto,
    /// Use it for bulk; the configuration is wrong where the system has none.
    On,
    /// Always copy.
    Off,
}

/// `server.keepalive`: TCP keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first keep-alive packet.
    pub idle: Duration,
    /// Pause between unanswered packets.
    pub interval: Duration,
    /// Unanswered packets before the connection counts as dead.
    pub probes: u32,
}
