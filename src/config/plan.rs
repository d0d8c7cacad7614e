//! What a new configuration changes about an old one: in words, and for whoever applies it.
//!
//! Values are compared and shown through the table of keys, so that a key that is added there is compared, too, and a
//! secret is masked. Where the keys of a service stand (at the top level, or under `services`) is no difference.

use std::collections::BTreeSet;

use super::configuration::{Config, Spec};
use super::draft::Draft;
use super::keys::{self, Field};
use super::providers::{ProviderDraft, ProviderKind};
use super::service_name::ServiceName;

/// Changes that are said in words; the rest is counted.
const MAX_CHANGES: usize = 50;

/// Characters of a value in words; a list of networks may have thousands.
const MAX_SHOWN_CHARS: usize = 100;

/// The only key that a running process cannot follow.
const REACTORS: &str = "server.reactors";

/// What a new configuration changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about another part of the process, and all combinations are possible"
)]
pub struct Plan {
    /// In words, one change each; the last one counts those that are not listed. Empty if nothing changes.
    pub changes: Vec<String>,
    /// Whether something changes that only a new process can follow.
    pub restart_needed: bool,
    /// Whether the log changes.
    pub logging: bool,
    /// Whether the metrics port changes.
    pub metrics: bool,
    /// Whether the control socket changes.
    pub control_socket: bool,
}

/// Compares two configurations.
#[must_use]
pub fn plan(old: &Config, new: &Config) -> Plan {
    let mut changes = Changes::default();
    let (was, is) = (&old.process, &new.process);
    if was != is {
        let (mut was, mut is) = (was.clone(), is.clone());
        for key in keys::all() {
            if let Field::Process(slot) = &key.field
                && slot.differs(&mut was, &mut is)
            {
                let note = if key.path == REACTORS {
                    ", with the next process"
                } else {
                    ""
                };
                let values = (slot.shown(&mut was), slot.shown(&mut is));
                changes.say(|| format!("{}{note}", changed(key.path, values)));
            }
        }
    }
    let names: BTreeSet<&ServiceName> = old.services.keys().chain(new.services.keys()).collect();
    for name in names {
        match (old.services.get(name), new.services.get(name)) {
            (Some(was), Some(is)) => service(&mut changes, (was, is), |path| new.key_of(name, path)),
            (None, Some(_)) => changes.say(|| format!("service {name} added")),
            (Some(_), None) => changes.say(|| format!("service {name} removed")),
            (None, None) => debug_assert!(false, "{name} is of neither"),
        }
    }
    Plan {
        changes: changes.finish(),
        restart_needed: was.reactors != is.reactors,
        logging: was.logging != is.logging,
        metrics: was.metrics != is.metrics,
        control_socket: was.control_socket != is.control_socket,
    }
}

/// What changes about a service that stays.
fn service(changes: &mut Changes, (was, is): (&Spec, &Spec), written: impl Fn(&str) -> String) {
    if was == is {
        return;
    }
    let (mut was, mut is) = (Draft::of(was), Draft::of(is));
    let is_list = was.provider_list.is_some() || is.provider_list.is_some();
    let providers = (was.providers(), is.providers());
    if was.strategy != is.strategy {
        // The sizes of the other strategy are not known.
        was.static_size = is.static_size;
        was.dynamic = is.dynamic.clone();
    }
    // Nothing is said of the file of a provider that is none.
    match (was.provider.kind, is.provider.kind) {
        (ProviderKind::File, other) if other != ProviderKind::File => {
            is.provider.file = was.provider.file.clone();
        }
        (other, ProviderKind::File) if other != ProviderKind::File => {
            was.provider.file = is.provider.file.clone();
        }
        _ => {}
    }
    for key in keys::all() {
        let values = match &key.field {
            Field::Service(slot) if slot.differs(&mut was, &mut is) => {
                (slot.shown(&mut was), slot.shown(&mut is))
            }
            Field::Provider(slot) if !is_list && slot.differs(&mut was.provider, &mut is.provider) => {
                (slot.shown(&mut was.provider), slot.shown(&mut is.provider))
            }
            Field::Process(_) | Field::Service(_) | Field::Provider(_) => continue,
        };
        changes.say(|| changed(&written(key.path), values));
    }
    if is_list && providers.0 != providers.1 {
        let values = (in_short(&providers.0), in_short(&providers.1));
        changes.say(|| changed(&written("remotes.provider"), values));
    }
}

/// Providers in words: of what types they are, and what each has as a limit.
fn in_short(all: &[ProviderDraft]) -> String {
    let word = |one: &ProviderDraft| match one.max_connections {
        0 => one.kind.name().to_owned(),
        max => format!("{} max_connections={max}", one.kind.name()),
    };
    let words: Vec<String> = all.iter().map(word).collect();
    format!("[{}]", words.join(", "))
}

fn changed(key: &str, (was, is): (String, String)) -> String {
    format!("{key}: from {} to {}", in_words(was), in_words(is))
}

/// A value in words, cut short.
fn in_words(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(MAX_SHOWN_CHARS) {
        value.truncate(end);
        value.push_str("...");
    }
    if value.is_empty() {
        value.push_str("\"\"");
    }
    value
}

/// Changes in words, so many.
#[derive(Debug, Default)]
struct Changes {
    said: Vec<String>,
    omitted: usize,
}

impl Changes {
    fn say(&mut self, words: impl FnOnce() -> String) {
        if self.said.len() < MAX_CHANGES {
            self.said.push(words());
        } else {
            self.omitted += 1;
        }
    }

    fn finish(self) -> Vec<String> {
        let Self { mut said, omitted } = self;
        debug_assert!(omitted == 0 || said.len() == MAX_CHANGES);
        if omitted > 0 {
            said.push(format!("and {omitted} more"));
        }
        said
    }
}
