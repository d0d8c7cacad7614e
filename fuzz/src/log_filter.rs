//! `RUST_LOG`: any text, and texts of known meaning.

use std::ffi::OsStr;

use log::{Level, LevelFilter, Metadata};
use tcp_forwarder::logging;

use super::choices::Choices;

/// Parts of the program, as directives name them.
const TARGETS: [&str; 6] = [
    "tcp_forwarder",
    "tcp_forwarder::relay",
    "tcp_forwarder::relay::pump",
    "tcp_forwarder::reactor",
    "tcp",
    "mio",
];

const LEVELS: [LevelFilter; 6] = [
    LevelFilter::Off,
    LevelFilter::Error,
    LevelFilter::Warn,
    LevelFilter::Info,
    LevelFilter::Debug,
    LevelFilter::Trace,
];

/// Reads a text as it is, or one put together from directives.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(form) = choices.byte() else {
        return;
    };
    if form % 2 == 0 {
        if let Some(text) = choices.text() {
            any_text(text, level(form >> 1));
        }
    } else {
        directives(&mut choices);
    }
}

fn level(number: u8) -> LevelFilter {
    let number = usize::from(number) % LEVELS.len();
    LEVELS.get(number).copied().unwrap_or(LevelFilter::Off)
}

/// A text that is not understood, and no text, leave the configured level in force.
fn any_text(text: &str, configured: LevelFilter) {
    let (filter, complaint) = logging::filter(configured, Some(OsStr::new(text)));
    if complaint.is_some() || text.is_empty() {
        assert_eq!(filter.filter(), configured, "{complaint:?}");
    }
    for target in TARGETS {
        for level in Level::iter() {
            let metadata = Metadata::builder().target(target).level(level).build();
            let enabled = filter.enabled(&metadata);
            assert!(
                !enabled || level <= filter.filter(),
                "the most verbose level bounds all"
            );
            if complaint.is_some() || text.is_empty() {
                assert_eq!(enabled, level <= configured);
            }
        }
    }
}

/// Of several directives, the one with the longest name that a target begins with counts; of two with one
/// name, the later.
fn directives(choices: &mut Choices<'_>) {
    let mut words: Vec<String> = Vec::new();
    let mut rules: Vec<(&str, LevelFilter)> = Vec::new();
    while let Some(choice) = choices.byte() {
        let directive = level(choice & 7);
        let name = TARGETS.get(usize::from(choice >> 3 & 7)).copied();
        let rule = match name {
            Some(name) if choice & 128 == 0 => {
                words.push(format!("{name}={directive}"));
                (name, directive)
            }
            Some(name) => {
                words.push(format!(" {name} "));
                (name, LevelFilter::Trace)
            }
            None => {
                words.push(directive.to_string().to_lowercase());
                ("", directive)
            }
        };
        rules.retain(|(name, _)| *name != rule.0);
        rules.push(rule);
    }
    if rules.is_empty() {
        return;
    }
    let text = words.join(",");
    let (filter, complaint) = logging::filter(LevelFilter::Info, Some(OsStr::new(&text)));
    assert_eq!(complaint, None, "{text}");
    for target in TARGETS {
        let rule = rules
            .iter()
            .filter(|(name, _)| target.starts_with(name))
            .max_by_key(|(name, _)| name.len());
        for level in Level::iter() {
            let metadata = Metadata::builder().target(target).level(level).build();
            let expected = rule.is_some_and(|(_, most)| level <= *most);
            assert_eq!(filter.enabled(&metadata), expected, "{text} {target} {level}");
        }
    }
}
