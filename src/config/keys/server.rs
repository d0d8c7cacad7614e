//! The rows of `server`: some are the process's, the others stand directly in a service.

use super::super::server::{NoMatch, ProxyAccept, ProxySend, Splice};
use super::super::server_tls::{ClientAuth, TlsVersion};
use super::super::slot::{Choice, Slot};
use super::key::{Key, hours, ms, of_process, of_service, secs};
use Slot::{Addresses, Count, Duration as Time, Number, Size};

pub(super) const SERVER: &[Key] = &[
    of_service(
        "server.listen_addr",
        Addresses(|d| &mut d.server.listen_addrs),
        "where clients connect; one address or a list",
    ),
    of_process(
        "server.reactors",
        Size((0, 256), |d| &mut d.reactors),
        "threads that accept and relay; 0 = one per core",
    ),
    of_process(
        "server.max_connections",
        Size((0, 10_000_000), |d| &mut d.max_connections),
        "clients at once, beyond that accepting pauses; 0 = from the file-descriptor limit",
    ),
    of_process(
        "server.control_socket",
        Slot::FileOrNone(|d| &mut d.control_socket),
        "Unix socket over which the process is steered and hands over; empty = none",
    ),
    of_service(
        "server.idle_timeout",
        Time((ms(10), hours(720)), |d| &mut d.server.idle_timeout),
        "a relay that moves no byte for this long is closed",
    ),
    of_service(
        "server.half_close_timeout",
        Time((ms(10), hours(720)), |d| &mut d.server.half_close_timeout),
        "the same once one side has finished sending",
    ),
    // Linux takes at most 32767 seconds and 127 probes, and only whole seconds.
    of_service(
        "server.keepalive.idle",
        Time((secs(1), hours(9)), |d| &mut d.server.keepalive.idle),
        "silence before the first TCP keep-alive packet",
    ),
    of_service(
        "server.keepalive.interval",
        Time((secs(1), hours(9)), |d| &mut d.server.keepalive.interval),
        "pause between unanswered keep-alive packets",
    ),
    of_service(
        "server.keepalive.probes",
        Count((1, 127), |d| &mut d.server.keepalive.probes),
        "unanswered keep-alive packets before the connection counts as dead",
    ),
    of_service(
        "server.splice",
        Slot::Choice(Choice {
            names: &["auto", "on", "off"],
            name: |d| match d.server.splice {
                Splice::Auto => "auto",
                Splice::On => "on",
                Splice::Off => "off",
            },
            choose: |d, name| {
                d.server.splice = match name {
                    "on" => Splice::On,
                    "off" => Splice::Off,
                    _ => Splice::Auto,
                }
            },
        }),
        "bulk data moves inside the kernel: where the system can (auto), as a must (on), or never (off)",
    ),
    of_service(
        "server.max_connections_per_ip",
        Size((0, 10_000_000), |d| &mut d.server.max_connections_per_ip),
        "connections at once of one client address (IPv6: of one /64), more are refused; 0 = no limit",
    ),
    of_service(
        "server.connection_rate_per_ip",
        Number((0.0, 1e6), |d| &mut d.server.connection_rate_per_ip),
        "new connections a second of one client address (IPv6: of one /64), faster ones are refused; 0 = no limit",
    ),
    of_service(
        "server.connection_burst_per_ip",
        Count((0, 1_000_000), |d| &mut d.server.connection_burst_per_ip),
        "how many of them may come at once; 0 = one second's worth, at least 1",
    ),
    of_service(
        "server.allow",
        Slot::Networks(|d| &mut d.server.allow),
        "networks that may connect, nobody else; an empty list = everybody",
    ),
    of_service(
        "server.deny",
        Slot::Networks(|d| &mut d.server.deny),
        "networks that may not connect; goes before server.allow",
    ),
    of_service(
        "server.bandwidth.per_connection",
        Slot::ByteRate("no limit", |d| &mut d.server.bandwidth.per_connection),
        "bytes a second that one connection may move in each direction; 0 = no limit",
    ),
    of_service(
        "server.bandwidth.total",
        Slot::ByteRate("no limit", |d| &mut d.server.bandwidth.total),
        "bytes a second that all connections together may move in each direction; 0 = no limit",
    ),
    of_service(
        "server.handshake_timeout",
        Time((ms(10), hours(1)), |d| &mut d.server.handshake_timeout),
        "what a client has to say before it gets a backend is to be here by then, each part of it",
    ),
    of_service(
        "server.proxy_protocol.accept",
        Slot::Choice(Choice {
            names: &["off", "v1", "v2", "any"],
            name: |d| match d.server.proxy_protocol.accept {
                ProxyAccept::Off => "off",
                ProxyAccept::V1 => "v1",
                ProxyAccept::V2 => "v2",
                ProxyAccept::Any => "any",
            },
            choose: |d, name| {
                d.server.proxy_protocol.accept = match name {
                    "v1" => ProxyAccept::V1,
                    "v2" => ProxyAccept::V2,
                    "any" => ProxyAccept::Any,
                    _ => ProxyAccept::Off,
                }
            },
        }),
        "connections of those in from begin with a PROXY header, which says who the client is",
    ),
    of_service(
        "server.proxy_protocol.from",
        Slot::Networks(|d| &mut d.server.proxy_protocol.from),
        "networks whose PROXY headers are believed; all others are clients themselves",
    ),
    of_service(
        "server.proxy_protocol.send",
        Slot::Choice(Choice {
            names: &["off", "v1", "v2"],
            name: |d| match d.server.proxy_protocol.send {
                ProxySend::Off => "off",
                ProxySend::V1 => "v1",
                ProxySend::V2 => "v2",
            },
            choose: |d, name| {
                d.server.proxy_protocol.send = match name {
                    "v1" => ProxySend::V1,
                    "v2" => ProxySend::V2,
                    _ => ProxySend::Off,
                }
            },
        }),
        "backends are told who the client is, by a PROXY header before its first bytes",
    ),
    of_service(
        "server.routes",
        Slot::Routes(|d| &mut d.server.routes),
        "clients that speak TLS get another service's backends, by the name and the protocols that they ask for; first match",
    ),
    of_service(
        "server.no_match",
        Slot::Choice(Choice {
            names: &["own", "close"],
            name: |d| match d.server.no_match {
                NoMatch::Own => "own",
                NoMatch::Close => "close",
            },
            choose: |d, name| {
                d.server.no_match = match name {
                    "close" => NoMatch::Close,
                    _ => NoMatch::Own,
                }
            },
        }),
        "where no route matches: the service's own backends, or none",
    ),
    of_service(
        "server.plain",
        Slot::ServiceOrNone(|d| &mut d.server.plain),
        "with routes: whose backends clients get that speak no TLS; empty = they are closed",
    ),
    of_service(
        "server.tls.cert",
        Slot::FileOrNone(|d| &mut d.server.tls.cert),
        "PEM file of the certificate for clients, its chain behind it; with one, clients speak TLS; empty = none",
    ),
    of_service(
        "server.tls.key",
        Slot::FileOrNone(|d| &mut d.server.tls.key),
        "PEM file of its private key",
    ),
    of_service(
        "server.tls.certificates",
        Slot::Certificates(|d| &mut d.server.tls.certificates),
        "more certificates; a client gets one for the name that it asks for (SNI), else the first of all",
    ),
    of_service(
        "server.tls.alpn",
        Slot::Protocols(|d| &mut d.server.tls.alpn),
        "protocols behind TLS, the best first; who speaks none of them is refused; an empty list = not asked",
    ),
    of_service(
        "server.tls.min_version",
        Slot::Choice(Choice {
            names: &["1.2", "1.3"],
            name: |d| match d.server.tls.min_version {
                TlsVersion::V1_2 => "1.2",
                TlsVersion::V1_3 => "1.3",
            },
            choose: |d, name| {
                d.server.tls.min_version = match name {
                    "1.3" => TlsVersion::V1_3,
                    _ => TlsVersion::V1_2,
                }
            },
        }),
        "oldest version of TLS that a client may speak",
    ),
    of_service(
        "server.tls.client_ca",
        Slot::FileOrNone(|d| &mut d.server.tls.client_ca),
        "PEM file of the authorities that vouch for clients; empty = none",
    ),
    of_service(
        "server.tls.client_auth",
        Slot::Choice(Choice {
            names: &["off", "optional", "required"],
            name: |d| match d.server.tls.client_auth {
                ClientAuth::Off => "off",
                ClientAuth::Optional => "optional",
                ClientAuth::Required => "required",
            },
            choose: |d, name| {
                d.server.tls.client_auth = match name {
                    "optional" => ClientAuth::Optional,
                    "required" => ClientAuth::Required,
                    _ => ClientAuth::Off,
                }
            },
        }),
        "whether clients show a certificate: never, if they have one (it must be good then), always",
    ),
    of_service(
        "server.tls.session_tickets",
        Slot::Flag(|d| &mut d.server.tls.session_tickets),
        "clients that come back take up their old keys, which is cheaper",
    ),
];
