//! A configuration that is in force, key by key, as it would be written; secrets are masked.

use std::collections::BTreeMap;

use super::configuration::{Config, Spec};
use super::draft::Draft;
use super::keys::{self, Field};

/// The section of one provider.
const PROVIDER: &str = "remotes.provider";

/// The keys of the process with their values.
#[must_use]
pub fn process_keys(config: &Config) -> BTreeMap<&'static str, String> {
    let mut process = config.process.clone();
    let shown = |key: &'static keys::Key| match &key.field {
        Field::Process(slot) => Some((key.path, slot.shown(&mut process))),
        Field::Service(_) | Field::Provider(_) => None,
    };
    keys::all().filter_map(shown).collect()
}

/// The keys of a service with their values, by their paths at the top level; of each provider, where they are a list.
#[must_use]
pub fn service_keys(spec: &Spec) -> BTreeMap<String, String> {
    let mut draft = Draft::of(spec);
    let mut all = BTreeMap::new();
    for key in keys::all() {
        match (&key.field, &mut draft.provider_list) {
            (Field::Process(_), _) => {}
            (Field::Service(slot), _) => {
                all.insert(key.path.to_owned(), slot.shown(&mut draft));
            }
            (Field::Provider(slot), None) => {
                all.insert(key.path.to_owned(), slot.shown(&mut draft.provider));
            }
            (Field::Provider(slot), Some(providers)) => {
                for (index, provider) in providers.iter_mut().enumerate() {
                    let name = key.path.strip_prefix(PROVIDER).unwrap_or(key.path);
                    all.insert(format!("{PROVIDER}[{index}]{name}"), slot.shown(provider));
                }
            }
        }
    }
    all
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

    #[test]
    fn each_provider_of_a_list_is_shown() {
        let text = "remotes: { provider: [{ file: { path: a.txt } }, { type: inline, inline: { entries: [127.0.0.1] } }] }";
        let config = super::super::parse(text, Path::new("config.yaml")).expect("valid");
        let service = service_keys(config.only().expect("one"));
        let shown = |key: &str| service.get(key).map(String::as_str);
        assert_eq!(shown("remotes.provider[0].file.path"), Some("a.txt"));
        assert_eq!(shown("remotes.provider[1].inline.entries"), Some("[127.0.0.1]"));
        assert_eq!(shown("remotes.provider.file.path"), None);
    }
}
