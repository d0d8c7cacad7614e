//! The shipped configuration and the page of the access log say what the code says.

use tcp_forwarder::access_log::{By, Phase};
use tcp_forwarder::config::{self, AccessField};

use super::markdown;
use crate::{read, root};

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
