//! Configuration text: either a configuration, or errors that say where and what.

use std::path::Path;

use tcp_forwarder::config::{self, Config, ConfigErrors};

/// What errors name, and what relative paths start from.
const FILE: &str = "/etc/tcp-forwarder/config.yaml";

/// Reads a text, and reads what was accepted once more in other words.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match config::parse(text, Path::new(FILE)) {
        Ok(config) => rewritten(text, &config),
        Err(errors) => explained(text, &errors),
    }
}

/// The same settings, written by another hand, are the same configuration, to which nothing changes.
fn rewritten(text: &str, config: &Config) {
    assert!(!config.services.is_empty());
    assert_eq!(config::plan(config, config), config::Plan::default());
    let changes = config::plan(&Config::default(), config).changes;
    assert!(changes.len() <= 51, "{changes:?}");
    assert!(changes.iter().all(|change| change.len() < 500), "{changes:?}");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = serde_yaml::from_str::<serde_yaml::Value>(text);
    assert!(tree.is_ok(), "accepted, and yet no YAML: {tree:?}");
    let Ok(tree) = tree else {
        return;
    };
    let yaml = serde_yaml::to_string(&tree).unwrap_or_default();
    assert_eq!(
        config::parse(&yaml, Path::new(FILE)).as_ref(),
        Ok(config),
        "{yaml}"
    );
    let json = serde_json::to_string(&tree).unwrap_or_default();
    assert_eq!(
        config::parse(&json, Path::new(FILE)).as_ref(),
        Ok(config),
        "{json}"
    );
}

/// Every error has a line of the text, what is wrong, and in whole one line of its own.
fn explained(text: &str, errors: &ConfigErrors) {
    assert!(!errors.errors.is_empty());
    assert!(errors.errors.is_sorted_by_key(|error| error.line));
    // YAML ends lines at a carriage return, too, and tells of what is missing behind the last line.
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
    for error in &errors.errors {
        assert!((1..=lines).contains(&error.line), "{error:?}");
        assert!(!error.message.is_empty());
        assert!(error.key.len() < 500, "{error:?}");
        assert!(error.message.len() < 2000, "{error:?}");
    }
    let shown = errors.to_string();
    assert_eq!(
        shown.lines().count(),
        errors.errors.len() + usize::from(errors.omitted > 0),
        "{shown:?}"
    );
    assert!(shown.lines().all(|line| line.starts_with(FILE)));
    assert!(!shown.chars().any(|c| c != '\n' && c.is_control()), "{shown:?}");
}
