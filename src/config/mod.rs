//! Checked configuration: what the rest of the program sees.
//!
//! Parse, don't validate: a [`Config`] exists only if every value is in range, so nothing behind this module
//! checks a setting again. It knows YAML and the names of the keys; it opens no file but the configuration
//! and knows nothing of what the settings do.
//!
//! What the settings are:
//! - `configuration.rs`: a [`Config`]: the process and its services.
//! - `process.rs`, `server.rs`, `server_tls.rs`, `remotes.rs`, `providers.rs`, `remote_tls.rs`, `pools.rs`, `sleep.rs`,
//!   `access_log.rs`: the sections, checked; `cluster.rs`: the fleet; `client_tls.rs`: TLS to others; `service_name.rs`: names.
//! - `defaults.rs`: every default; `mobile.rs`: what phones have otherwise.
//! - `reference.rs`: what the documentation says about each key.
//!
//! How they are read:
//! - `keys/`: one row per key: its path, its scope, its type and range, its field, what it means.
//! - `slot.rs`: the type, range and field of a key's value.
//! - `value.rs`: one value: from YAML, or refused, and in words; `networks.rs`, `byte_rate.rs`, `routes.rs`, `addresses.rs`,
//!   `access_fields.rs`, `certificates.rs`: some types of them.
//! - `shape.rs`: the keys as sections: of the whole file, and of a service.
//! - `tree.rs`: YAML text as a bounded tree, and the line of each of its nodes.
//! - `variables.rs`: variables of the environment in values.
//! - `reader.rs`: walks the tree along a shape and collects every error; `suggest.rs`: unknown keys.
//! - `layer.rs`: what one level of the file says: the top level, or a service.
//! - `draft.rs`: every key's value of one service; `rules.rs`: which values do not go together; `listeners.rs`: which
//!   listen addresses do not.
//!
//! And what a reload changes: `plan.rs`.

mod access_fields;
mod access_log;
mod addresses;
mod byte_rate;
mod certificates;
mod check;
mod client_tls;
mod cluster;
mod configuration;
mod defaults;
mod draft;
mod error;
mod headers;
mod http_provider;
mod http_url;
mod json_pointer;
mod keys;
mod layer;
mod listeners;
mod mobile;
mod networks;
mod on_bad_line;
mod plan;
mod platform;
mod pools;
mod process;
mod providers;
mod reader;
mod reference;
mod remote_tls;
mod remotes;
mod routes;
mod rules;
mod server;
mod server_tls;
mod service_name;
mod shape;
mod shown;
mod sleep;
mod slot;
mod statuses;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod variables;

use std::path::Path;

pub use access_log::{AccessField, AccessLog};
pub use check::{Check, CheckKind, HttpCheck, Method, Pattern, Select, Statuses};
pub use client_tls::ClientTls;
pub use cluster::{Cluster, Endpoint};
pub use configuration::{Config, Spec};
pub use error::{ConfigError, ConfigErrors, LoadError};
pub use http_provider::{Header, HttpProvider, ListFormat};
pub use http_url::{HttpUrl, UrlFault};
pub use json_pointer::pointer_tokens;
pub use on_bad_line::OnBadLine;
pub use plan::{Plan, plan};
pub use pools::{Algorithm, Dynamic, Pools, Race, Rescue, Strategy};
pub use process::{LogFormat, LogOutput, Logging, Metrics, Process, Reload, StateFile};
pub use providers::{Dns, DnsProvider, Family, FileProvider, Provider, ProviderKind, SrvProvider, Supply};
pub use reference::{KeyDoc, MobileDoc, Scope, reference};
pub use remote_tls::RemoteTls;
pub use remotes::{
    Bind, FailurePenalty, HistoricalBonus, InitialProbing, JitterScoring, LatencyScoring, LatencySource,
    NoAddress, Passive, Probing, Remotes, Scoring, Search, Selector, SuccessScoring, ThroughputScoring,
};
pub use server::{
    BandwidthLimits, Keepalive, NoMatch, ProxyAccept, ProxyProtocol, ProxySend, Route, Server, Splice,
};
pub use server_tls::{CertificateFiles, ClientAuth, ServerTls, TlsVersion};
pub use service_name::ServiceName;
pub use shown::{process_keys, service_keys};
pub use sleep::Sleep;

/// Reads and checks the configuration file. Variables in its values are those of this process's environment.
///
/// # Errors
/// [`LoadError::Unreadable`] when the file cannot be read, [`LoadError::Invalid`] with every error in it.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    reader::load(path)
}

/// Checks the text of a configuration. `file` is what errors name, and its folder is what relative paths in
/// the text are relative to; nothing is opened. Variables in values are those of this process's environment.
///
/// # Errors
/// Every error found, each with its line and key path.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
    reader::parse(text, file, reader::Surroundings::here())
}
