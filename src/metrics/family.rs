//! Every metric family: name, help text, kind, labels. The table of the documentation, in code.
//!
//! Owns the names, which are fixed: dashboards depend on them. It must not know where a value comes from.

/// What kind of series a family holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never falls while the series exists.
    Counter,
    /// Any value.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
}

/// One metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The full name.
    pub name: &'static str,
    /// The text of `# HELP`.
    pub help: &'static str,
    /// The kind of its series.
    pub kind: Kind,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
}

impl Family {
    const fn new(
        kind: Kind,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            help,
            kind,
            labels,
        }
    }
}

use Kind::{Counter, Gauge, Histogram};

/// Kind of `errors_total`: requests that the admin port did not answer with what they asked for.
pub const METRICS_REQUEST: &str = "metrics_request";

/// Kind of `errors_total`: samples that were dropped because the scorer did not keep up.
pub const SAMPLE_DROPPED: &str = "sample_dropped";

/// Kind of `errors_total`: changed candidate lists that could not be read.
pub const CANDIDATE_LIST: &str = "candidate_list";

/// Kind of `errors_total`: changed certificates or keys that could not be used.
pub const CERTIFICATE: &str = "certificate";

/// Kinds of `errors_total` that are no connection's, in the order of the documentation.
pub const OTHER_ERRORS: [&str; 4] = [METRICS_REQUEST, SAMPLE_DROPPED, CANDIDATE_LIST, CERTIFICATE];

const NONE: &[&str] = &[];
const SERVICE: &[&str] = &["service"];
const SERVER: &[&str] = &["service", "server"];

macro_rules! families {
    ($($ident:ident = $kind:ident $name:literal $labels:expr, $help:literal;)+) => {
        $(
            #[doc = concat!("`", $name, "`; see its help text.")]
            pub static $ident: Family = Family::new($kind, $name, $labels, $help);
        )+

        /// Every family, in the order of the documentation.
        pub static ALL: &[&Family] = &[$(&$ident),+];
    };
}

families! {
    NEW_CONNECTIONS = Counter "tcp_forwarder_new_connections_total" SERVICE,
        "Client connections accepted.";
    ACTIVE_CONNECTIONS = Gauge "tcp_forwarder_active_connections" SERVICE,
        "Client connections open now, from accept to close.";
    CONNECTION_DURATION = Histogram "tcp_forwarder_connection_duration_seconds" SERVICE,
        "How long client connections lived, from accept to close.";
    BYTES_TRANSFERRED = Counter "tcp_forwarder_bytes_transferred_total" &["service", "direction"],
        "Bytes relayed, counted while they flow; direction is to_backend or to_client.";
    CONNECTIONS_CLOSED = Counter "tcp_forwarder_connections_closed_total" &["service", "reason"],
        "Client connections closed, by reason.";
    CONNECTIONS_REJECTED = Counter "tcp_forwarder_connections_rejected_total" &["service", "reason"],
        "Client connections refused right after accept, by reason; they count as nothing else.";
    HANDSHAKE_FAILURES = Counter "tcp_forwarder_handshake_failures_total" &["service", "reason"],
        "Client connections that ended before they had a backend, for what they said first, by reason.";
    PROXY_CONNECTIONS = Counter "tcp_forwarder_proxy_connections_total" &["service", "client"],
        "Client connections to a service that believes PROXY headers: for a client that is named, for whoever connected, \
         or direct, without a header.";
    ACCEPT_PAUSED = Counter "tcp_forwarder_accept_paused_total" SERVICE,
        "Times that accepting paused: descriptors ran out or max_connections was reached.";
    RESCUED_CONNECTIONS = Counter "tcp_forwarder_rescued_connections_total" SERVICE,
        "Client connections that went on with another backend connection, because the warm one they were given \
         turned out dead before its first reply.";
    UNSERVED_CONNECTIONS = Counter "tcp_forwarder_unserved_connections_total" SERVICE,
        "Client connections that a backend accepted and did not serve, where that was its fault.";
    TLS_HANDSHAKES = Counter "tcp_forwarder_tls_handshakes_total" &["service", "result"],
        "TLS handshakes with clients that ended; result is full, resumed or failed.";
    BACKEND_TLS_HANDSHAKES = Counter "tcp_forwarder_backend_tls_handshakes_total" &["service", "result"],
        "TLS handshakes with backends that ended; result is full, resumed or failed.";
    TLS_CERTIFICATE_EXPIRY = Gauge "tcp_forwarder_tls_certificate_expiry_timestamp_seconds" &["service", "certificate"],
        "When a certificate that clients are shown expires, in seconds since 1970; certificate is its file.";
    ERRORS = Counter "tcp_forwarder_errors_total" &["service", "kind"],
        "Errors, by kind; those of the process itself name no service.";
    CONFIG_RELOADS = Counter "tcp_forwarder_config_reloads_total" &["result"],
        "Times that the configuration was read again; result is success or failure.";
    CONFIG_RESTART_NEEDED = Gauge "tcp_forwarder_config_restart_needed" NONE,
        "1 while something in the configuration takes effect only in a new process, else 0.";
    STATE_WRITTEN = Gauge "tcp_forwarder_state_written_timestamp_seconds" NONE,
        "When the state file was last written, in seconds since 1970; 0 if it was not.";
    STATE_WRITE_FAILURES = Counter "tcp_forwarder_state_write_failures_total" NONE,
        "Times that the state file could not be written.";
    PROVIDER_CANDIDATES = Gauge "tcp_forwarder_provider_candidates" &["service", "provider"],
        "Candidates that a provider which is asked over the network has named; provider is its place in the list and its type.";
    PROVIDER_FAILING = Gauge "tcp_forwarder_provider_failing" &["service", "provider"],
        "1 while the last look at a part of what a provider says failed, so that what it said before stays, else 0.";
    PROVIDER_ANSWER_AGE = Gauge "tcp_forwarder_provider_answer_age_seconds" &["service", "provider"],
        "Time since the oldest part of what a provider has said was said or confirmed; no series before it has answered.";
    PROVIDER_ERRORS = Counter "tcp_forwarder_provider_errors_total" &["service", "provider"],
        "Looks at a provider that failed.";
    CLUSTER_UP = Gauge "tcp_forwarder_cluster_up" NONE,
        "1 while the last exchange with the fleet's Redis succeeded, else 0.";
    CLUSTER_NODES = Gauge "tcp_forwarder_cluster_nodes" NONE,
        "Other forwarders of the fleet that live, as far as is known.";
    CLUSTER_FAILURES = Counter "tcp_forwarder_cluster_failures_total" NONE,
        "Exchanges with the fleet's Redis that failed.";
    CLUSTER_SAMPLES = Counter "tcp_forwarder_cluster_samples_total" &["result"],
        "Samples shared with the fleet; result is told, heard, or refused for what is broken, out of range, late or too much.";
    CLUSTER_BYTES = Counter "tcp_forwarder_cluster_bytes_total" &["direction"],
        "Bytes exchanged with the fleet's Redis; direction is sent or received.";
    ACCESS_LOG_LOST = Counter "tcp_forwarder_access_log_lost_lines_total" NONE,
        "Lines of access logs that could not be written: the output was full, failed, or took nothing for too long.";
    UPTIME = Gauge "tcp_forwarder_uptime_seconds" NONE,
        "Seconds since the process started.";
    BUILD_INFO = Gauge "tcp_forwarder_build_info" &["version"],
        "Always 1; the label tells the version.";

    CANDIDATES = Gauge "tcp_forwarder_candidates" SERVICE,
        "Addresses that the candidate list covers.";
    CANDIDATES_TRACKED = Gauge "tcp_forwarder_candidates_tracked" SERVICE,
        "Candidates of which a score is kept.";
    HEALTH_CHECKS = Counter "tcp_forwarder_health_checks_total" &["service", "result"],
        "Probes finished; result is success or failure.";
    CHECKS = Counter "tcp_forwarder_checks_total" &["service", "result"],
        "Probes that asked for more than a connect; result is right or wrong.";
    PROBE_SUCCESS = Counter "tcp_forwarder_server_probe_success_total" SERVER,
        "Successful probes of a backend, or of a candidate probed just now.";
    PROBE_DURATION = Histogram "tcp_forwarder_server_probe_duration_seconds" SERVER,
        "Connect time of successful probes.";
    SCORE = Gauge "tcp_forwarder_server_score" SERVER,
        "Score of a backend, or of a candidate probed just now; higher is better.";
    CONSECUTIVE_FAILURES = Gauge "tcp_forwarder_server_consecutive_failures" SERVER,
        "Failed connects since the last one that succeeded.";
    TRUSTED = Gauge "tcp_forwarder_server_trusted" SERVER,
        "0 while a backend, or a candidate probed just now, accepts but does not serve, else 1.";
    SELECTOR_SWITCHES = Counter "tcp_forwarder_selector_switches_total" &["service", "reason"],
        "Changes of the active set, by reason.";
    SELECTOR_FALLBACK = Gauge "tcp_forwarder_selector_fallback" SERVICE,
        "1 while no candidate passes min_score_threshold and the last good set is kept, else 0.";
    SERVICE_ASLEEP = Gauge "tcp_forwarder_service_asleep" SERVICE,
        "1 while no client uses a service, so that it keeps nothing warm and hardly probes, else 0.";
    LINK_DOWN = Gauge "tcp_forwarder_link_down" NONE,
        "1 while every candidate that used to answer fails, which is put down to our own link, else 0.";
    LINK_OUTAGES = Counter "tcp_forwarder_link_outages_total" NONE,
        "Times that our own link seemed to go down.";

    LB_REQUESTS = Counter "tcp_forwarder_lb_requests_total" &["service", "algorithm", "server"],
        "Client connections sent to a backend.";
    LB_BACKEND_CONNECTIONS = Gauge "tcp_forwarder_lb_backend_connections" SERVER,
        "Client connections that a backend has not finished, and those that wait for it.";
    LB_BACKEND_MAX_CONNECTIONS = Gauge "tcp_forwarder_lb_backend_max_connections" SERVER,
        "Connections that a backend gets at once; of one that gets as many as come there is no such series.";
    LB_BACKEND_OPEN_CONNECTIONS = Gauge "tcp_forwarder_lb_backend_open_connections" SERVER,
        "Connections of those that it has not finished: in use, warm and dialled.";
    DIAL_DURATION = Histogram "tcp_forwarder_dial_duration_seconds" SERVER,
        "Connect time of successful dials for clients and pools.";
    FIRST_BYTE_DURATION = Histogram "tcp_forwarder_first_byte_duration_seconds" SERVER,
        "Time from the last a client said to the first byte of its backend's first answer; not where the backend speaks first.";
    QUEUED_CONNECTIONS = Gauge "tcp_forwarder_queued_connections" SERVICE,
        "Client connections that wait for a place, for all backends have their max_connections.";
    QUEUE_DURATION = Histogram "tcp_forwarder_queue_duration_seconds" SERVICE,
        "Time that client connections waited for a place and got one.";
    RACE_DIALS = Counter "tcp_forwarder_race_dials_total" &["service", "result"],
        "Second dials beside ones that took too long; result is won or lost.";
    POOL_CONNECTIONS = Gauge "tcp_forwarder_pool_connections" &["service", "server", "state"],
        "Connections to a backend; state is warm, in_use or dialling.";
    POOL_HITS = Counter "tcp_forwarder_pool_hits_total" SERVER,
        "Client connections that found a warm connection.";
    POOL_MISSES = Counter "tcp_forwarder_pool_misses_total" SERVER,
        "Client connections that had to dial.";
    POOL_SCALE_UP = Counter "tcp_forwarder_pool_scale_up_total" SERVER,
        "Times that the wanted pool size grew.";
    POOL_SCALE_DOWN = Counter "tcp_forwarder_pool_scale_down_total" SERVER,
        "Times that the wanted pool size shrank.";
    POOL_TOTAL = Gauge "tcp_forwarder_pool_total_connections" SERVER,
        "Size of the pool: warm and in-use connections.";
    POOL_AVAILABLE = Gauge "tcp_forwarder_pool_available_connections" SERVER,
        "Warm connections, ready for a client.";
    POOL_ACTIVE = Gauge "tcp_forwarder_pool_active_connections" SERVER,
        "Connections in use by clients.";
    POOL_UTILIZATION = Gauge "tcp_forwarder_pool_utilization_percent" SERVER,
        "In-use connections per hundred of the pool; 0 for an empty pool.";
    POOL_PEAK = Gauge "tcp_forwarder_pool_peak_concurrency" SERVER,
        "Highest concurrency (in use and waiting) of the last minute.";
    POOL_LIFETIME = Gauge "tcp_forwarder_pool_lifetime_seconds" SERVER,
        "Age at which warm connections are replaced, as it was learned or configured.";
    POOL_RESTRAINED = Gauge "tcp_forwarder_pool_restrained" SERVER,
        "1 while a backend gets fewer warm connections than wanted, for they end unused or are in its way, else 0.";

    PROCESS_CPU = Counter "process_cpu_seconds_total" NONE,
        "Total user and system CPU time spent in seconds.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" NONE,
        "Number of open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" NONE,
        "Maximum number of open file descriptors.";
    PROCESS_VIRTUAL_MEMORY = Gauge "process_virtual_memory_bytes" NONE,
        "Virtual memory size in bytes.";
    PROCESS_RESIDENT_MEMORY = Gauge "process_resident_memory_bytes" NONE,
        "Resident memory size in bytes.";
    PROCESS_START_TIME = Gauge "process_start_time_seconds" NONE,
        "Start time of the process since unix epoch in seconds.";
    PROCESS_THREADS = Gauge "process_threads" NONE,
        "Number of OS threads in the process.";
}
