//! A configuration that is in force, key by key, as it would be written; secrets are masked.

use std::collections::BTreeMap;

use super::configuration::{Config, Spec};
use super::draft::Draft;
use super::keys::{self, Field};

/// The keys of the process with their values.
#[must_use]
pub fn process_keys(config: &Config) -> BTreeMap<&'static str, String> {
    let mut process = config.process.clone();
    let shown = |key: &'static keys::Key| match &key.field {
        Field::Process(slot) => Some((key.path, slot.shown(&mut process))),
        Field::Service(_) => None,
    };
    keys::all().filter_map(shown).collect()
}

/// The keys of a service with their values, by their paths at the top level.
#[must_use]
pub fn service_keys(spec: &Spec) -> BTreeMap<&'static str, String> {
    let mut draft = Draft::of(spec);
    let shown = |key: &'static keys::Key| match &key.field {
        Field::Service(slot) => Some((key.path, slot.shown(&mut draft))),
        Field::Process(_) => None,
    };
    keys::all().filter_map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_key_is_shown_once_and_no_secret() {
        let text = "metrics: { admin_token: hush }\nserver: { listen_addr: '127.0.0.1:7' }\n";
        let config = super::super::parse(text, Path::new("config.yaml")).expect("valid");
        let process = process_keys(&config);
        assert_eq!(
            process.get("metrics.admin_token").map(String::as_str),
            Some("***")
        );
        let service = service_keys(config.only().expect("one"));
        assert_eq!(
            service.get("server.listen_addr").map(String::as_str),
            Some("127.0.0.1:7")
        );
        assert_eq!(process.len() + service.len(), keys::all().count());
    }
}
