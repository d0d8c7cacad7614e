//! The rows of the sections that are the process's as a whole: the log, the metrics port, reloads, the state
//! file.

use super::super::cluster::{LABELS, NAMES};
use super::super::process::LogFormat;
use super::super::slot::{Choice, Slot};
use super::key::{Key, hours, ms, of_process, secs};
use Slot::{Address, Duration as Time, Flag, Output, UrlPath};

pub(super) const LOGGING: &[Key] = &[
    of_process(
        "logging.level",
        Slot::Choice(Choice {
            names: &["trace", "debug", "info", "warn", "error"],
            name: |d| match d.logging.level {
                log::LevelFilter::Trace => "trace",
                log::LevelFilter::Debug => "debug",
                log::LevelFilter::Info => "info",
                log::LevelFilter::Warn => "warn",
                log::LevelFilter::Error | log::LevelFilter::Off => "error",
            },
            choose: |d, name| {
                if let Ok(level) = name.parse() {
                    d.logging.level = level;
                }
            },
        }),
        "least severe level that is logged; the variable RUST_LOG, when set, overrides it",
    ),
    of_process(
        "logging.format",
        Slot::Choice(Choice {
            names: &["text", "json"],
            name: |d| match d.logging.format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            },
            choose: |d, name| {
                d.logging.format = if name == "json" {
                    LogFormat::Json
                } else {
                    LogFormat::Text
                };
            },
        }),
        "lines for people, or one JSON object a line",
    ),
    of_process(
        "logging.output",
        Output(|d| &mut d.logging.output),
        "where lines go; a file is appended to; a named pipe is refused while nobody reads it",
    ),
];

pub(super) const METRICS: &[Key] = &[
    of_process(
        "metrics.enabled",
        Flag(|d| &mut d.metrics.enabled),
        "whether the Prometheus port is opened",
    ),
    of_process(
        "metrics.listen_addr",
        Address(|d| &mut d.metrics.listen_addr),
        "address of the Prometheus port",
    ),
    of_process(
        "metrics.path",
        UrlPath(|d| &mut d.metrics.path),
        "path of the metrics page",
    ),
    of_process(
        "metrics.admin_token",
        Slot::Secret(|d| &mut d.metrics.admin_token),
        "what whoever changes something over this port has to present; empty = nothing can be changed there",
    ),
];

pub(super) const RELOAD: &[Key] = &[of_process(
    "reload.watch",
    Flag(|d| &mut d.reload.watch),
    "whether a changed configuration file is read again",
)];

pub(super) const STATE: &[Key] = &[
    of_process(
        "state.path",
        Slot::FileOrNone(|d| &mut d.state.path),
        "file in which scores, active sets and lifetimes outlive the process; empty = none",
    ),
    of_process(
        "state.interval",
        Time((ms(100), hours(24)), |d| &mut d.state.interval),
        "time between two writes of that file, if something has changed",
    ),
];

pub(super) const CLUSTER: &[Key] = &[
    of_process(
        "cluster.url",
        Slot::Secret(|d| &mut d.cluster.url),
        "the Redis through which forwarders share what they know, as redis://[user:password@]host[:port][/database], or \
         rediss:// for TLS; empty = nothing is shared",
    ),
    of_process(
        "cluster.name",
        Slot::Plain(NAMES, |d| &mut d.cluster.name),
        "who has the same name there shares with each other",
    ),
    of_process(
        "cluster.node",
        Slot::Plain(LABELS, |d| &mut d.cluster.node),
        "what others call this process; empty = a number of its own",
    ),
    of_process(
        "cluster.interval",
        Time((ms(500), secs(60)), |d| &mut d.cluster.interval),
        "time between two exchanges",
    ),
    of_process(
        "cluster.vantage",
        Slot::Plain(LABELS, |d| &mut d.cluster.vantage),
        "from where candidates are looked at: those of one vantage share probes; empty = the public network that connections \
         leave by, and where that is a private one, nobody else's",
    ),
    of_process(
        "cluster.tls.sni",
        Slot::Text(|d| &mut d.cluster.tls.sni),
        "name that the Redis's certificate must have; empty = the host of the URL",
    ),
    of_process(
        "cluster.tls.verify",
        Flag(|d| &mut d.cluster.tls.verify),
        "whether its certificate must be good",
    ),
    of_process(
        "cluster.tls.ca",
        Slot::FileOrNone(|d| &mut d.cluster.tls.ca),
        "authorities that vouch for it, in PEM; empty = those of the system",
    ),
];
