//! The configuration that is in force, key by key; secrets are masked.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::shapes::no_service;
use crate::admin::page::Page;
use crate::config::{self, Config, Spec};
use crate::service::Hub;

/// All keys of the process, and of each service those that have not their defaults; or all keys of one service.
pub(super) fn page(hub: &Hub, service: Option<&str>) -> Page {
    let config = hub.config.load();
    let Some(config) = config.as_ref() else {
        return Page::error(503, "there is no configuration in force yet").with_header("Retry-After", "1");
    };
    match service {
        None => Page::json(200, &whole(config)),
        Some(name) => match config.services.iter().find(|(known, _)| known.as_str() == name) {
            Some((_, spec)) => Page::json(200, &json!({ "services": { name: config::service_keys(spec) } })),
            None => no_service(name),
        },
    }
}

fn whole(config: &Config) -> Value {
    let defaults = config::service_keys(&Spec::default());
    let others = |spec: &Spec| -> BTreeMap<String, String> {
        let keys = config::service_keys(spec).into_iter();
        keys.filter(|(key, value)| defaults.get(key) != Some(value))
            .collect()
    };
    let services = config.services.iter();
    let services: BTreeMap<&str, _> = services
        .map(|(name, spec)| (name.as_str(), others(spec)))
        .collect();
    json!({ "process": config::process_keys(config), "services": services })
}
