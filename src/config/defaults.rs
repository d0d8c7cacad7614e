//! Every default of desktops and servers, in one place.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::access_log::AccessLog;
use super::check::{Check, CheckKind, HttpCheck, Method, Pattern, Select, Statuses};
use super::client_tls::ClientTls;
use super::cluster::Cluster;
use super::http_provider::{HttpProvider, ListFormat};
use super::on_bad_line::OnBadLine;
use super::pools::{Algorithm, Dynamic, Pools, Race, Rescue, Strategy};
use super::process::{LogFormat, LogOutput, Logging, Metrics, Process, Reload, StateFile};
use super::providers::{
    Dns, DnsProvider, Family, FileProvider, Provider, ProviderDraft, ProviderKind, SrvProvider,
};
use super::remote_tls::RemoteTls;
use super::remotes::{
    Bind, FailurePenalty, HistoricalBonus, InitialProbing, JitterScoring, LatencyScoring, LatencySource,
    Passive, Probing, Remotes, Scoring, Search, Selector, SuccessScoring, ThroughputScoring,
};
use super::server::{BandwidthLimits, Keepalive, NoMatch, ProxyProtocol, Server, Splice};
use super::server_tls::{ClientAuth, ServerTls, TlsVersion};
use super::sleep::Sleep;

/// Warm connections per backend of a static pool that names no size.
pub(super) const STATIC_SIZE_PER_REMOTE: usize = 50;

impl Default for Process {
    fn default() -> Self {
        Self {
            reactors: 0,
            max_connections: 0,
            control_socket: None,
            logging: Logging::default(),
            metrics: Metrics::default(),
            reload: Reload { watch: false },
            state: StateFile {
                path: None,
                interval: Duration::from_secs(300),
            },
            cluster: Cluster::default(),
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            url: None,
            name: "default".to_owned(),
            node: String::new(),
            interval: Duration::from_secs(5),
            vantage: String::new(),
            tls: ClientTls::default(),
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            output: None,
            format: LogFormat::Text,
            fields: Vec::new(),
            sample: 1.0,
            min_duration: Duration::ZERO,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen_addrs: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1234))],
            idle_timeout: Duration::from_secs(3600),
            half_close_timeout: Duration::from_secs(60),
            keepalive: Keepalive::default(),
            splice: Splice::Auto,
            max_connections_per_ip: 0,
            connection_rate_per_ip: 0.0,
            connection_burst_per_ip: 0,
            allow: Vec::new(),
            deny: Vec::new(),
            bandwidth: BandwidthLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            proxy_protocol: ProxyProtocol::default(),
            routes: Vec::new(),
            no_match: NoMatch::default(),
            plain: None,
            tls: ServerTls::default(),
        }
    }
}

impl Default for ServerTls {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            certificates: Vec::new(),
            alpn: Vec::new(),
            min_version: TlsVersion::V1_2,
            client_ca: None,
            client_auth: ClientAuth::Off,
            session_tickets: true,
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            probes: 3,
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: log::LevelFilter::Info,
            format: LogFormat::Text,
            output: LogOutput::Stdout,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            listen_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9099)),
            path: "/metrics".to_owned(),
            admin_token: None,
        }
    }
}

impl Default for Remotes {
    fn default() -> Self {
        Self {
            default_remote_port: 80,
            providers: vec![Provider::File(FileProvider::default()).into()],
            dns: Dns::default(),
            tls: RemoteTls::default(),
            bind: Bind::default(),
            probing: Probing::default(),
            passive: Passive::default(),
            scoring: Scoring::default(),
            selector: Selector::default(),
        }
    }
}

impl Default for ProviderDraft {
    fn default() -> Self {
        Self {
            kind: ProviderKind::File,
            on_bad_line: OnBadLine::Error,
            file: FileProvider::default(),
            entries: Vec::new(),
            dns: DnsProvider::default(),
            srv: SrvProvider::default(),
            http: HttpProvider::default(),
            max_connections: 0,
        }
    }
}

impl Default for HttpProvider {
    fn default() -> Self {
        Self {
            url: None,
            interval: Duration::from_secs(300),
            timeout: Duration::from_secs(10),
            headers: Vec::new(),
            format: ListFormat::List,
            pointer: String::new(),
            tls: ClientTls::default(),
            on_bad_line: OnBadLine::Error,
        }
    }
}

impl Default for DnsProvider {
    fn default() -> Self {
        Self {
            name: String::new(),
            port: 0,
            family: Family::Any,
        }
    }
}

impl Default for SrvProvider {
    fn default() -> Self {
        Self {
            name: String::new(),
            family: Family::Any,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            resolver: Vec::new(),
            timeout: Duration::from_secs(2),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(3600),
        }
    }
}

impl Default for FileProvider {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./ip_list.txt"),
            watch: true,
            on_bad_line: OnBadLine::Error,
        }
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self {
            sni: String::new(),
            verify: true,
            ca: None,
            alpn: Vec::new(),
        }
    }
}

impl Default for Check {
    fn default() -> Self {
        Self {
            kind: CheckKind::Connect,
            port: 0,
            every: 1,
            tls: ClientTls::default(),
            http: HttpCheck::default(),
            send: Pattern::default(),
            expect: Pattern::default(),
            select: Select {
                header: String::new(),
                pattern: String::new(),
            },
        }
    }
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            host: String::new(),
            path: "/".to_owned(),
            method: Method::Head,
            expect_status: vec![Statuses { from: 200, to: 399 }],
            expect_header: String::new(),
            expect_body: String::new(),
        }
    }
}

impl Default for Probing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(1),
            probe_candidate_count: 10,
            initial: InitialProbing::default(),
            search: Search::default(),
            check: Check::default(),
        }
    }
}

impl Default for Search {
    fn default() -> Self {
        Self {
            enabled: true,
            start_budget: 1000,
            model_nodes: 16_384,
            half_life: Duration::from_secs(30 * 60),
        }
    }
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            enabled: true,
            silence: Duration::from_secs(30),
            early_close: Duration::from_secs(1),
        }
    }
}

impl Default for InitialProbing {
    fn default() -> Self {
        Self {
            enabled: true,
            max_concurrency: 100,
            timeout: Duration::from_millis(500),
        }
    }
}

impl Default for LatencyScoring {
    fn default() -> Self {
        Self {
            source: LatencySource::Connect,
            max_score: 45.0,
            ewma_alpha: 0.2,
            base: Duration::from_millis(50),
            max_acceptable: Duration::from_millis(800),
        }
    }
}

impl Default for JitterScoring {
    fn default() -> Self {
        Self {
            max_score: 15.0,
            ewma_alpha: 0.3,
            base: Duration::from_millis(10),
            max_acceptable: Duration::from_millis(300),
        }
    }
}

impl Default for SuccessScoring {
    fn default() -> Self {
        Self {
            max_score: 40.0,
            ewma_alpha: 0.1,
        }
    }
}

impl Default for ThroughputScoring {
    fn default() -> Self {
        Self {
            max_score: 0.0,
            ewma_alpha: 0.3,
            good: 12_500_000,
            floor: 125_000,
        }
    }
}

impl Default for FailurePenalty {
    fn default() -> Self {
        Self {
            base_penalty: 5.0,
            exponent_factor: 1.8,
            max_penalty: 80.0,
            recovery_per_check: 2.5,
        }
    }
}

impl Default for HistoricalBonus {
    fn default() -> Self {
        Self {
            max_bonus: 10.0,
            checks_per_point: 120,
        }
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self {
            evaluation_interval: Duration::from_secs(30),
            active_set_size: 3,
            min_score_threshold: 15.0,
            debounce_interval: Duration::from_secs(60),
            score_improvement_threshold: 5.0,
            latency_improvement_ratio: 0.15,
            confirm_probes: 3,
        }
    }
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::LeastConnections,
            rescue: Rescue::Safe,
            dial_timeout: Duration::from_secs(1),
            queue_timeout: Duration::from_secs(1),
            idle_timeout: None,
            race: Race {
                width: 2,
                delay: None,
            },
            drain_timeout: Duration::from_secs(30),
            dial_attempts: 3,
            reset_on_removal: false,
            strategy: Strategy::Dynamic(Dynamic::default()),
        }
    }
}

impl Default for Dynamic {
    fn default() -> Self {
        Self {
            min_size: 20,
            max_size: 500,
            interval: Duration::from_secs(1),
            target_buffer_ratio: 0.2,
            scale_up_increment: 10,
            scale_down_increment: 5,
        }
    }
}

impl Default for Sleep {
    fn default() -> Self {
        Self {
            after: Duration::ZERO,
            interval: Duration::from_secs(600),
        }
    }
}
