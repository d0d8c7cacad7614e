//! Every configuration, list, rule and log line that the pages show is loaded by what would load it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config;

use super::markdown::{self, Block};
use crate::{read, tools};

/// What a block is, by what stands behind its fence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// `yaml NAME`: a configuration of the forwarder.
    Configuration(&'a str),
    /// `text list NAME`: a candidate list.
    List(&'a str),
    /// `yaml prometheus` and `yaml rules`.
    Prometheus(&'a str),
    /// `ini sysctl`.
    Sysctl,
    /// `text haproxy`: a configuration of `HAProxy`.
    HaProxy,
    /// `text nginx`: a configuration of nginx.
    Nginx,
    /// `yaml envoy`: a configuration of Envoy.
    Envoy,
    /// `text cfnat`, `text realm`: how others are told what to do.
    Theirs(&'a str),
    /// `json`: a log line.
    LogLine,
    /// `sh`, and how it is run.
    Shell(&'a str),
    /// `text output`: what the shell block before it prints.
    Output,
    /// `text`: a diagram.
    Diagram,
}

pub(crate) fn content(block: &Block) -> Content<'_> {
    let words: Vec<&str> = block.info.split_whitespace().collect();
    match words[..] {
        ["yaml", kind @ ("prometheus" | "rules")] => Content::Prometheus(kind),
        ["yaml", "envoy"] => Content::Envoy,
        ["yaml", name] => Content::Configuration(name),
        ["text", "list", name] => Content::List(name),
        ["text", "haproxy"] => Content::HaProxy,
        ["text", "nginx"] => Content::Nginx,
        ["text", who @ ("cfnat" | "realm")] => Content::Theirs(who),
        ["ini", "sysctl"] => Content::Sysctl,
        ["json"] => Content::LogLine,
        ["sh"] => Content::Shell(""),
        ["sh", mark] => Content::Shell(mark),
        ["text", "output"] => Content::Output,
        ["text"] => Content::Diagram,
        _ => panic!("a block of an unknown kind: {}", block.info),
    }
}

/// The one configuration that is shown because it is wrong.
pub(crate) const BROKEN: &str = "broken.yaml";

#[test]
fn every_configuration_and_list_is_valid() {
    let mut loaded = 0;
    let pages = crate::PAGES.iter().map(|(english, _)| *english);
    let blocks = pages
        .chain(["MOBILE.md"])
        .map(|name| markdown::blocks(&read(name)));
    for block in blocks.flatten() {
        match content(&block) {
            Content::Configuration(BROKEN) => {
                assert!(config::parse(&block.text, Path::new(BROKEN)).is_err());
            }
            Content::Configuration(name) => {
                config::parse(&block.text, Path::new(name)).unwrap_or_else(|errors| panic!("{errors}"));
                loaded += 1;
            }
            Content::List(name) => {
                CandidateSet::parse(&block.text, 80).unwrap_or_else(|errors| panic!("{name}: {errors}"));
                loaded += 1;
            }
            Content::Envoy => {
                let parsed: serde_yaml::Value = serde_yaml::from_str(&block.text).expect("YAML");
                assert_eq!(parsed["static_resources"]["clusters"][0]["name"], "web");
            }
            Content::Prometheus(_)
            | Content::Nginx
            | Content::Sysctl
            | Content::LogLine
            | Content::HaProxy
            | Content::Theirs(_)
            | Content::Shell(_)
            | Content::Output
            | Content::Diagram => {}
        }
    }
    assert!(loaded >= 12, "only {loaded} configurations and lists");
}

#[test]
fn weights_and_maximum_scores_say_the_same() {
    let text = read("docs/guide/configuration.md");
    let blocks = markdown::blocks(&text);
    let scoring = |name: &str| {
        let wanted = |block: &&Block| content(block) == Content::Configuration(name);
        let block = blocks.iter().find(wanted).expect("shown");
        config::parse(&block.text, Path::new(name))
            .expect("valid")
            .only()
            .expect("one service")
            .remotes
            .scoring
            .clone()
    };
    assert_eq!(scoring("weights.yaml"), scoring("max_scores.yaml"));
}

#[test]
fn every_form_of_an_entry_is_one() {
    let rows = markdown::rows(&read("docs/candidate-list.md"), "Entry");
    assert_eq!(rows.len(), 11);
    for row in rows {
        let entry = row[0].trim_matches('`');
        CandidateSet::parse(entry, 80).unwrap_or_else(|errors| panic!("{errors}"));
    }
    let hosts = CandidateSet::parse("198.51.100.0/24", 80).expect("valid");
    assert_eq!(hosts.at(0), "198.51.100.1:80".parse().ok());
    assert_eq!(hosts.at(hosts.len() - 1), "198.51.100.254:80".parse().ok());
}

#[test]
fn prometheus_takes_its_files() {
    let Some(promtool) = tools::wanted("promtool", "Prometheus files of the readme") else {
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let mut checked = 0;
    for block in markdown::blocks(&read("docs/guide/observe.md")) {
        let Content::Prometheus(kind) = content(&block) else {
            continue;
        };
        let file = folder.path().join(kind);
        fs::write(&file, &block.text).expect("written");
        let what = if kind == "rules" { "rules" } else { "config" };
        let output = Command::new(&promtool)
            .args(["check", what])
            .arg(&file)
            .output()
            .expect("promtool");
        assert!(
            output.status.success(),
            "{kind}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        checked += 1;
    }
    assert_eq!(checked, 2);
}

#[test]
fn metrics_named_in_prose_exist() {
    // Words in backticks that look like a metric of ours, in both languages.
    let families: Vec<&str> = tcp_forwarder::metrics::family::ALL
        .iter()
        .map(|family| family.name)
        .collect();
    for name in crate::all() {
        for word in read(name).split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            let is_metric = word.starts_with("tcp_forwarder_") && word.len() > "tcp_forwarder_".len();
            assert!(
                !is_metric || families.contains(&word),
                "{name} names {word}, which is no metric"
            );
        }
    }
}

#[test]
fn the_log_line_has_the_fields_of_a_log_line() {
    let blocks = markdown::blocks(&read("docs/guide/observe.md"));
    assert!(blocks.iter().any(|block| content(block) == Content::LogLine));
    for block in blocks {
        if content(&block) == Content::LogLine {
            let line: serde_json::Value = serde_json::from_str(&block.text).expect("JSON");
            for field in ["time", "level", "target", "message"] {
                assert!(
                    line.get(field).is_some_and(serde_json::Value::is_string),
                    "{field}"
                );
            }
        }
    }
}

#[test]
fn the_kernel_knows_its_settings() {
    if !Path::new("/proc/sys/net/core/somaxconn").exists() {
        return tools::say("skipped: kernel settings of the readme: this system does not show them");
    }
    let blocks = markdown::blocks(&read("docs/guide/service.md"));
    assert!(blocks.iter().any(|block| content(block) == Content::Sysctl));
    for block in blocks {
        if content(&block) != Content::Sysctl {
            continue;
        }
        for line in block.lines().filter(|line| !line.starts_with('#')) {
            let (key, _) = line.split_once(" = ").expect("key = value");
            let file = Path::new("/proc/sys").join(key.replace('.', "/"));
            assert!(file.exists(), "{key}");
        }
    }
}

#[test]
fn haproxy_takes_its_configuration() {
    let Some(haproxy) = tools::wanted("haproxy", "the configuration of HAProxy in docs/COMPARED.md") else {
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let blocks = markdown::blocks(&read("docs/COMPARED.md"));
    let block = blocks.iter().find(|block| content(block) == Content::HaProxy);
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, &block.expect("one is shown").text).expect("written");
    let output = Command::new(haproxy)
        .args(["-c", "-f"])
        .arg(&file)
        .output()
        .expect("haproxy");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
