//! The tables of the readmes, and the shipped configuration, say what the code says.

use tcp_forwarder::access_log::{By, Phase};
use tcp_forwarder::config::{self, AccessField, KeyDoc};

use tcp_forwarder::admission::RejectReason;
use tcp_forwarder::metrics::family::{self, Kind};
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::selector::decide::SwitchReason;
use tcp_forwarder::service::traffic::ErrorKind;

use super::markdown;
use crate::{read, root};

/// What is allowed, as the table has it: ranges without words, which is the same in every language.
fn allowed(key: &KeyDoc) -> (String, bool) {
    let text = key.allowed.as_str();
    let text = text.strip_suffix(", such as 500ms, 15s, 1m30s").unwrap_or(text);
    let range = ["a whole number from ", "a number from ", "a port number from "]
        .iter()
        .find_map(|words| text.strip_prefix(words))
        .or_else(|| (key.kind == "duration").then_some(text))
        .and_then(|range| range.split_once(" to "));
    match range {
        Some((least, most)) => (format!("{least} – {most}"), true),
        None => (
            text.replace("this file", "the configuration file"),
            key.kind == "choice",
        ),
    }
}

/// The default, as the table has it.
fn default(key: &KeyDoc) -> String {
    if key.default.is_empty() {
        "`\"\"`".to_owned()
    } else {
        format!("`{}`", key.default)
    }
}

#[test]
fn the_configuration_reference_is_complete_and_true() {
    let rows = markdown::rows(&read("README.md"), "Key");
    let expected: Vec<Vec<String>> = config::reference()
        .iter()
        .map(|key| {
            vec![
                format!("`{}`", key.path),
                key.kind.to_owned(),
                default(key),
                allowed(key).0,
                key.meaning.to_owned(),
            ]
        })
        .collect();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(
            row,
            expected,
            "README.md must have the row | {} |",
            expected.join(" | ")
        );
    }
    assert_eq!(rows.len(), expected.len(), "keys in README.md");
}

#[test]
fn the_chinese_reference_has_the_same_keys_defaults_and_ranges() {
    let rows = markdown::rows(&read("README.zh-CN.md"), "键");
    let keys = config::reference();
    assert_eq!(rows.len(), keys.len(), "keys in README.zh-CN.md");
    for (row, key) in rows.iter().zip(&keys) {
        assert_eq!(row[0], format!("`{}`", key.path));
        assert_eq!(row[2], default(key), "{}", key.path);
        let (allowed, is_neutral) = allowed(key);
        assert!(
            !is_neutral || row[3] == allowed,
            "{}: {} is not {allowed}",
            key.path,
            row[3]
        );
    }
}

#[test]
fn the_shipped_configuration_has_every_key_with_its_default() {
    let text = read("config.yaml");
    let tree: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    for key in config::reference() {
        let mut value = &tree;
        for part in key.path.split('.') {
            value = value
                .get(part)
                .unwrap_or_else(|| panic!("config.yaml has no {}", key.path));
        }
        let written = || serde_yaml::to_string(value).expect("YAML").trim().to_owned();
        let shown = value.as_str().map_or_else(written, str::to_owned);
        let same = match key.kind {
            "number" => shown.parse::<f64>().ok() == key.default.parse().ok(),
            "duration" => {
                humantime::parse_duration(&shown).ok() == humantime::parse_duration(&key.default).ok()
            }
            _ => shown == key.default,
        };
        assert!(
            same,
            "config.yaml: {} is {shown}, the default is {}",
            key.path, key.default
        );
    }
    let file = root().join("config.yaml");
    let config = config::parse(&text, &file).expect("valid");
    let empty = config::parse("", &file).expect("valid");
    assert_eq!(config, empty, "config.yaml is not what an empty file means");
}

#[test]
fn the_metrics_tables_are_complete_and_true() {
    for (name, column) in [("README.md", "Metric"), ("README.zh-CN.md", "指标")] {
        let rows = markdown::rows(&read(name), column);
        assert_eq!(rows.len(), family::ALL.len(), "metrics in {name}");
        for (row, family) in rows.iter().zip(family::ALL) {
            let short = family.name.strip_prefix("tcp_forwarder_").unwrap_or(family.name);
            assert_eq!(row[0], format!("`{short}`"), "{name}");
            let labels = if family.labels.is_empty() {
                "–".to_owned()
            } else {
                family.labels.join(", ")
            };
            assert_eq!(row[2], labels, "{name}: labels of {short}");
            if name == "README.md" {
                let kind = match family.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                assert_eq!((row[1].as_str(), row[3].as_str()), (kind, family.help), "{short}");
            }
        }
    }
}

#[test]
fn the_label_tables_are_complete() {
    let tables = [
        (
            (
                "Label `reason` of `connections_closed_total`",
                "`connections_closed_total` 的标签 `reason`",
            ),
            CloseReason::ALL.map(CloseReason::label).to_vec(),
        ),
        (
            (
                "Label `reason` of `connections_rejected_total`",
                "`connections_rejected_total` 的标签 `reason`",
            ),
            RejectReason::ALL.map(RejectReason::label).to_vec(),
        ),
        (
            ("Label `kind` of `errors_total`", "`errors_total` 的标签 `kind`"),
            [&ErrorKind::ALL.map(ErrorKind::label)[..], &family::OTHER_ERRORS].concat(),
        ),
        (
            (
                "Label `reason` of `selector_switches_total`",
                "`selector_switches_total` 的标签 `reason`",
            ),
            SwitchReason::ALL.map(SwitchReason::label).to_vec(),
        ),
    ];
    for ((english, chinese), labels) in tables {
        for (name, column) in [("README.md", english), ("README.zh-CN.md", chinese)] {
            let rows = markdown::rows(&read(name), column);
            let shown: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
            assert_eq!(shown, labels, "{name}: {column}");
        }
    }
}

#[test]
fn the_page_of_the_access_log_is_complete() {
    let page = read("docs/ACCESS-LOG.md");
    let first = |column| -> Vec<String> {
        let rows = markdown::rows(&page, column);
        rows.iter().map(|row| row[0].replace('`', "")).collect()
    };
    assert_eq!(first("Field"), AccessField::ALL.map(AccessField::name));
    let letter = |letter: u8| char::from(letter).to_string();
    assert_eq!(first("First"), By::ALL.map(|by| letter(by.letter())));
    let phases = Phase::ALL.map(|phase| letter(phase.letter()));
    assert_eq!(first("Second"), [&["-".to_owned()], &phases[..]].concat());
    let words = |column| -> Vec<String> {
        let rows = markdown::rows(&page, column);
        rows.iter().map(|row| row[1].replace('`', "")).collect()
    };
    assert_eq!(words("First"), By::ALL.map(By::word));
    assert_eq!(words("Second")[1..], Phase::ALL.map(Phase::word));
    // What is explained is provoked.
    let tests = read("tests/e2e/ends.rs");
    for code in first("Letters").iter().flat_map(|codes| codes.split(", ")) {
        assert!(tests.contains(&format!("\"{code}\"")), "no test ends as {code}");
    }
}
