//! `config.yaml`, made from the table of keys: every key with its default, and what it does.

use std::fmt::Write as _;

use tcp_forwarder::config::{self, KeyDoc};

use super::texts::{Language, Texts};
use crate::hold;

const WIDTH: usize = 110;

const HEAD: &str = "\
# tcp-forwarder: every key with its default. Delete what you do not change; an empty file is a valid one.
#
# Durations are texts with a unit: \"500ms\", \"15s\", \"1m30s\", \"10m\", \"1h\". A relative path is relative to this file.
# `tcp-forwarder check` says whether the file is right, with the line of everything that is not.
# Made from the sources, as docs/reference/configuration.md is, which says which values are allowed.
";

const TAIL: &str = r#"
# Many services in one process, each with its own listeners, candidates, scores, pools and limits. With `services`,
# everything above but the process's own keys (reactors, max_connections and control_socket of `server`; logging,
# metrics, reload, state) is a default of every service, key by key, and server.listen_addr goes away. A service has the other
# keys of `server` directly, and the sections `remotes`, `pools`, `sleep` and `access_log`. Names are 1 to 32 of a-z, 0-9, _ and -.
#
# services:
#   web:
#     listen_addr: "127.0.0.1:8443"
#     keepalive: { idle: "30s" }
#     remotes:
#       default_remote_port: 443
#       provider: { file: { path: "./web.txt" } }
#   redis:
#     listen_addr: "127.0.0.1:6379"
#     remotes:
#       default_remote_port: 6379
#       provider: { file: { path: "./redis.txt" } }
#     pools: { strategy: { type: "static", static: { size_per_remote: 5 } } }
"#;

/// A remark in lines of at most [`WIDTH`] characters.
fn remark(made: &mut String, indent: usize, text: &str) {
    let margin = format!("{}#", "  ".repeat(indent));
    let mut line = margin.clone();
    for word in text.split(' ') {
        if line.len() > margin.len() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(made, "{}", line.replace('\u{a0}', " ")).unwrap();
            line.clone_from(&margin);
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(made, "{}", line.replace('\u{a0}', " ")).unwrap();
}

/// The default as YAML.
fn value(key: &KeyDoc) -> String {
    let default = &key.default;
    let is_list = default.starts_with('[') && key.kind.contains("list");
    match key.kind {
        "flag" | "integer" | "number" | "section of texts" => default.clone(),
        _ if is_list => default.clone(),
        _ => format!("\"{default}\""),
    }
}

fn made(texts: &Texts) -> String {
    let mut made = String::from(HEAD);
    let mut open: Vec<&str> = Vec::new();
    for key in config::reference() {
        let mut parts: Vec<&str> = key.path.split('.').collect();
        let name = parts.pop().unwrap();
        let common = open.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        for depth in common..parts.len() {
            if depth == 0 {
                made.push('\n');
            }
            remark(
                &mut made,
                depth,
                texts.section(&parts[..=depth].join("."), Language::English),
            );
            writeln!(made, "{}{}:", "  ".repeat(depth), parts[depth]).unwrap();
        }
        let mut meaning = key.meaning.to_owned();
        if key.kind == "choice" {
            // Names stay in one line.
            write!(meaning, ": {}", key.allowed.replace(", ", "\u{a0}|\u{a0}")).unwrap();
        } else {
            meaning.push('.');
        }
        let first = meaning
            .chars()
            .next()
            .map(|letter| letter.to_uppercase().to_string());
        meaning.replace_range(..1, &first.unwrap());
        remark(&mut made, parts.len(), &meaning);
        writeln!(made, "{}{name}: {}", "  ".repeat(parts.len()), value(&key)).unwrap();
        open = parts;
    }
    made + TAIL
}

#[test]
fn the_shipped_configuration_is_what_the_sources_say() {
    hold("config.yaml", &made(&Texts::load()));
}
