//! Every key is read into its field, and nothing out of range gets through.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mobile::Baseline;
use super::platform::Platform;
use super::*;

mod any_text;
mod plans;
mod services;
mod variables;

const SHIPPED: &str = include_str!("../../config.yaml");
const FILE: &str = "config.yaml";

fn read(text: &str) -> Result<Config, ConfigErrors> {
    parse(text, Path::new(FILE))
}

fn errors(text: &str) -> Vec<String> {
    let errors = read(text).expect_err("wrong");
    errors.to_string().lines().map(str::to_owned).collect()
}

/// What a text says of its only service.
fn spec(text: &str) -> Spec {
    let config = read(text).unwrap_or_else(|errors| panic!("{errors}"));
    config.only().expect("one service").clone()
}

fn defaults() -> Config {
    let mut config = Config::default();
    config.edit(|spec| {
        if let Some(Provider::File(list)) = spec.remotes.providers.first_mut().map(|one| &mut one.provider) {
            list.path = PathBuf::from("ip_list.txt");
        }
    });
    config
}

/// `a.b.c` and a value as a YAML text.
fn yaml(path: &str, value: &str) -> String {
    let mut text = String::new();
    let names: Vec<&str> = path.split('.').collect();
    for (depth, name) in names.iter().enumerate() {
        text.push_str(&"  ".repeat(depth));
        text.push_str(name);
        text.push_str(if depth + 1 == names.len() { ": " } else { ":\n" });
        if *name == "provider" && depth + 2 < names.len() {
            // Else the section says the type, which needs more than one key.
            text.push_str(&"  ".repeat(depth + 1));
            text.push_str("type: file\n");
        }
    }
    text.push_str(value);
    text.push('\n');
    text
}

/// The range in words, taken apart again: the least and the most allowed.
fn ends(allowed: &str) -> Option<(String, String)> {
    let range = allowed.split(", such as").next()?;
    let (before, most) = range.split_once(" to ")?;
    let least = before.rsplit(' ').next()?;
    Some((least.to_owned(), most.to_owned()))
}

#[test]
fn an_empty_file_means_defaults() {
    for text in [
        "",
        "{}",
        "# nothing\n",
        "\u{feff}{}",
        "server:\nremotes: {}\r\n",
        "---\n...\n",
    ] {
        assert_eq!(read(text).expect("defaults"), defaults(), "{text:?}");
    }
}

#[test]
fn the_shipped_file_names_every_key_and_its_default() {
    let Baseline { process, draft } = Baseline::desktop();
    let desktop = Config::of_one(process, draft.finish(Path::new(FILE)));
    assert_eq!(
        read(SHIPPED).expect("valid"),
        desktop,
        "also when built for phones"
    );
    assert_eq!(desktop == defaults(), !cfg!(feature = "mobile"));
    let given = reader::keys_given(SHIPPED);
    let known: Vec<&str> = reference().iter().map(|key| key.path).collect();
    assert_eq!(given, known);
}

#[test]
fn the_shipped_file_has_a_comment_on_every_key() {
    let mut previous = "";
    for line in SHIPPED.lines().map(str::trim) {
        let is_leaf = line.contains(": ") && !line.starts_with('#');
        assert!(!is_leaf || previous.starts_with('#'), "no comment above {line}");
        previous = line;
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", SHIPPED.replace('\n', "\r\n"));
    assert_eq!(read(&text), read(SHIPPED));
    assert_eq!(
        errors("\u{feff}logging:\r\n  level: loud\r\n"),
        ["config.yaml:2: logging.level: \"loud\" is not one of the names; \
          allowed: trace, debug, info, warn, error"]
    );
}

#[test]
fn every_default_is_what_its_key_would_be_given() {
    for key in reference() {
        let text = given(&key, key.in_force());
        assert_eq!(read(&text).as_ref(), Ok(&defaults()), "{text}");
    }
}

/// A key with a value, as a file.
fn given(key: &KeyDoc, value: &str) -> String {
    match key.kind {
        "flag"
        | "integer"
        | "number"
        | "network or list"
        | "own address or list"
        | "route or list"
        | "list of certificates"
        | "list of fields"
        | "list of entries"
        | "section of texts"
        | "server or list"
        | "list of names" => yaml(key.path, value),
        _ => yaml(key.path, &format!("{value:?}")),
    }
}

fn platform(splice: bool, unix_sockets: bool) -> reader::Surroundings<'static> {
    reader::Surroundings {
        platform: Platform {
            splice,
            unix_sockets,
            interfaces: true,
            tls: true,
            cluster: true,
        },
        variables: &|_| None,
    }
}

#[test]
fn splice_as_a_must_is_an_error_where_there_is_none() {
    let text = "logging:\n  level: warn\nserver:\n  splice: on\n";
    let parse_on = |splice| reader::parse(text, Path::new(FILE), platform(splice, true));
    let config = parse_on(true).expect("possible");
    assert_eq!(config.only().expect("one").server.splice, Splice::On);
    let errors = parse_on(false).expect_err("impossible");
    assert_eq!(
        errors.to_string(),
        "config.yaml:4: server.splice: on is not possible, this system has no splice; allowed here: auto, off"
    );
    for possible in ["auto", "off"] {
        let text = yaml("server.splice", possible);
        reader::parse(&text, Path::new(FILE), platform(false, true)).expect("possible everywhere");
    }
    assert_eq!(read(text).is_ok(), crate::relay::pipe::AVAILABLE);
}

/// Two paths that share a field by mistake would pass every other test.
#[test]
fn every_key_has_a_field_of_its_own() {
    let shown = |all: &mut Baseline| -> Vec<String> {
        let Baseline { process, draft } = all;
        keys::all().map(|key| key.shown(process, draft)).collect()
    };
    let untouched = shown(&mut Baseline::here());
    for (index, key) in keys::all().enumerate() {
        let allowed = key.allowed();
        let candidates: Vec<String> = match key.kind() {
            "flag" => vec!["true".to_owned(), "false".to_owned()],
            "choice" => allowed.split(", ").map(|name| format!("{name:?}")).collect(),
            "address" | "address or list" => vec!["127.0.0.9:4321".to_owned()],
            "interface" => vec!["eth1".to_owned()],
            "server or list" => vec!["['192.0.2.1:54', '2001:db8::1']".to_owned()],
            "own address or list" => vec!["[192.0.2.1, '2001:db8::1']".to_owned()],
            "network or list" => vec!["[192.0.2.0/24, '::1']".to_owned()],
            "status or list" => vec!["[204, '300-305']".to_owned()],
            "route or list" => vec!["[{ sni: a.example, to: web }]".to_owned()],
            "service" => vec!["web".to_owned()],
            "list of certificates" => vec!["[{ cert: a.pem, key: b.pem }]".to_owned()],
            "list of fields" => vec!["[sni, end]".to_owned()],
            "list of names" => vec!["[h2, http/1.1]".to_owned()],
            "list of entries" => vec!["[127.0.0.9]".to_owned()],
            "section of texts" => vec!["{ a: b }".to_owned()],
            "URL" => vec!["http://127.0.0.9/".to_owned()],
            "text" => vec!["/elsewhere".to_owned()],
            _ => {
                let (least, most) = ends(&allowed).expect("a range");
                vec![least, most]
            }
        };
        let mut moved = false;
        for value in candidates {
            let node = tree::parse(&value).expect("a value");
            let mut all = Baseline::here();
            fill(key, &mut all, &node).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", key.path));
            let now = shown(&mut all);
            for (other, (before, after)) in untouched.iter().zip(&now).enumerate() {
                assert!(
                    other == index || before == after,
                    "{} changes key {other}",
                    key.path
                );
            }
            moved |= now[index] != untouched[index];
        }
        assert!(moved, "{} changes nothing", key.path);
    }
}

/// The file of the only provider.
fn list_of(spec: &Spec) -> PathBuf {
    let file = spec.remotes.providers.first().and_then(Supply::file);
    file.expect("a file").path.clone()
}

/// Puts a value where its key has its field.
fn fill(key: &keys::Key, all: &mut Baseline, node: &tree::Node) -> Result<(), Vec<value::Refusal>> {
    match &key.field {
        keys::Field::Process(slot) => slot.fill(&mut all.process, node),
        keys::Field::Service(slot) => slot.fill(&mut all.draft, node),
        keys::Field::Provider(slot) => slot.fill(&mut all.draft.provider, node),
    }
}

/// Values of the right shape that a key refuses.
fn outside(key: &KeyDoc) -> Vec<String> {
    let ends = ends(&key.allowed);
    let (least, most) = ends.as_ref().map_or(("", ""), |(least, most)| (least, most));
    let listed: Vec<String> = match key.kind {
        "integer" => {
            let number = |text: &str| text.parse::<i64>().expect("an integer");
            vec![(number(least) - 1).to_string(), (number(most) + 1).to_string()]
        }
        "number" => {
            let number = |text: &str| text.parse::<f64>().expect("a number");
            vec![
                (number(least) - 0.0001).to_string(),
                (number(most) + 0.0001).to_string(),
            ]
        }
        "duration" | "duration or auto" => {
            let duration = |text: &str| humantime::parse_duration(text).expect("a duration");
            let just = Duration::from_nanos(1);
            let below = duration(least).checked_sub(just);
            let above = duration(most) + just;
            let text = |duration| humantime::format_duration(duration).to_string();
            below.into_iter().chain([above]).map(text).collect()
        }
        _ => Vec::new(),
    };
    let fixed: &[&str] = match key.kind {
        "integer" => &["1.5", "99999999999999999999999999999999999999999", "'1'"],
        "number" => &[".nan", ".inf", "-.inf", "-1", "1e300", "9999999999999999", "'1'"],
        "duration" | "duration or auto" => &["-1s", "15", "''", "99999999999999999999 years", "15 parsecs"],
        "flag" => &["yes", "1", "'true'"],
        "choice" => &["neither", "1", "''"],
        "server or list" => &["localhost", "12", "127.0.0.1:0", "0.0.0.0", "''"],
        "address" | "address or list" => &["localhost:80", "127.0.0.1", "[]", "1234"],
        "own address or list" => &["localhost", "192.0.2.0/24", "0.0.0.0", "''", "12"],
        "network or list" => &[
            "localhost",
            "192.0.2.0/33",
            "'2001:db8::/129'",
            "'192.0.2.1:80'",
            "''",
            "12",
        ],
        "list of certificates" => &["''", "12", "a.pem"],
        "list of fields" => &["''", "12", "sni"],
        "list of names" => &["''", "12", "h2"],
        "list of entries" => &["''", "12", "127.0.0.1"],
        "section of texts" => &["''", "12", "[a]"],
        "URL" => &["12", "a.example", "ftp://a.example/"],
        // An empty text is none, for these.
        _ if key.allowed.starts_with("empty, or") => &["12", "true"],
        _ => &["''", "12"],
    };
    let everywhere = ["~", "{a: 1}", "[[1]]", "!tag x"];
    let fixed = fixed.iter().chain(&everywhere).map(|value| (*value).to_owned());
    listed.into_iter().chain(fixed).collect()
}

#[test]
fn just_outside_of_a_range_is_an_error_with_the_key() {
    for key in reference() {
        for value in outside(&key) {
            let text = yaml(key.path, &value);
            let found = errors(&text);
            assert_eq!(found.len(), 1, "{text}{found:?}");
            let line = text.lines().count();
            let is_list = key.kind.ends_with("or list") || key.kind.starts_with("list of");
            let is_section = key.kind == "section of texts" && value == "{a: 1}";
            let is_item = is_section || (is_list && value == "[[1]]");
            let item = if is_item { "[0]" } else { "" };
            let start = format!("{FILE}:{line}: {}{item}: ", key.path);
            assert!(found[0].starts_with(&start), "{text}{found:?}");
            assert!(
                found[0].ends_with(&format!("; allowed: {}", key.allowed)),
                "{text}{found:?}"
            );
        }
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "the scores are exact")]
fn a_max_score_left_out_is_its_weight_times_100() {
    let scoring = spec("remotes: { scoring: { weights: { latency: 0.55, jitter: 0 } } }")
        .remotes
        .scoring;
    assert_eq!((scoring.latency.max_score, scoring.jitter.max_score), (55.0, 0.0));
    assert_eq!(scoring.success_rate.max_score, 40.0);
    let both = "remotes: { scoring: { weights: { latency: 0.5 }, latency: { max_score: 30 } } }";
    assert_eq!(spec(both).remotes.scoring.latency.max_score, 30.0);
}

#[test]
fn strategies() {
    let strategy = |text: &str| spec(text).pools.strategy;
    assert_eq!(strategy("pools: { strategy: { type: 'off' } }"), Strategy::Off);
    assert_eq!(strategy("pools: { strategy: { type: off } }"), Strategy::Off);
    assert_eq!(
        strategy("pools: { strategy: { type: static, static: { size_per_remote: 7 } } }"),
        Strategy::Static { size_per_remote: 7 }
    );
    let default = if cfg!(feature = "mobile") { 4 } else { 50 };
    assert_eq!(
        strategy("pools: { strategy: { type: static } }"),
        Strategy::Static {
            size_per_remote: default
        }
    );
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let text = "remotes: { provider: { file: { path: 'lists/a.txt' } } }\nlogging: { output: ./x.log }\n\
                server: { control_socket: run/socket }";
    let config = parse(text, Path::new("/etc/forwarder/config.yaml")).expect("valid");
    assert_eq!(
        list_of(config.only().expect("one")),
        Path::new("/etc/forwarder/lists/a.txt")
    );
    assert_eq!(
        config.process.logging.output,
        LogOutput::File(PathBuf::from("/etc/forwarder/x.log"))
    );
    assert_eq!(
        config.process.control_socket.as_deref(),
        Some(Path::new("/etc/forwarder/run/socket"))
    );
    let absolute = "remotes: { provider: { file: { path: '/tmp/a.txt' } } }";
    assert_eq!(list_of(&spec(absolute)), Path::new("/tmp/a.txt"));
}

#[test]
fn a_control_socket_is_an_error_where_there_are_none() {
    let text = "server: { control_socket: /run/socket }";
    let read_on = |unix_sockets| reader::parse(text, Path::new(FILE), platform(true, unix_sockets));
    read_on(true).expect("possible");
    assert_eq!(
        read_on(false).expect_err("impossible").to_string(),
        "config.yaml:1: server.control_socket: this system has no Unix sockets; allowed here: empty"
    );
    let empty = "server: { control_socket: '' }";
    let none = reader::parse(empty, Path::new(FILE), platform(true, false)).expect("possible");
    assert_eq!(none.process.control_socket, None);
}

#[test]
fn an_interface_is_an_error_where_none_can_be_chosen() {
    let text = "remotes: { bind: { interface: eth1 } }";
    let read_on = |interfaces| {
        let mut here = platform(true, true);
        here.platform.interfaces = interfaces;
        reader::parse(text, Path::new(FILE), here)
    };
    let config = read_on(true).expect("possible");
    let bind = &config.only().expect("one").remotes.bind;
    assert_eq!(bind.interface.as_deref(), Some("eth1"));
    assert_eq!(
        read_on(false).expect_err("impossible").to_string(),
        "config.yaml:1: remotes.bind.interface: this system binds no connection to an interface; allowed here: empty"
    );
}

#[test]
fn a_secret_is_shown_nowhere() {
    let text = "metrics: { admin_token: open-sesame }";
    let config = read(text).expect("valid");
    assert_eq!(config.process.metrics.admin_token.as_deref(), Some("open-sesame"));
    let debug = format!("{config:?}");
    assert!(debug.contains("***") && !debug.contains("sesame"), "{debug}");
    let mut process = config.process;
    let key = keys::all().find(|key| key.path == "metrics.admin_token");
    let shown = key
        .expect("the key")
        .shown(&mut process, &mut Baseline::here().draft);
    assert_eq!(shown, "***");
    for text in ["'open sesame'", "[sesame]", "12345", "'sesame\u{e9}'"] {
        let found = errors(&yaml("metrics.admin_token", text));
        assert!(
            !found[0].contains("sesame") && !found[0].contains("123"),
            "{found:?}"
        );
    }
    assert_eq!(read("metrics: { admin_token: '' }").expect("none"), defaults());
}

#[test]
fn a_refused_value_raises_no_second_error() {
    let text = "pools: { strategy: { dynamic: { min_size: 900, max_size: many } } }";
    assert_eq!(errors(text).len(), 1, "{:?}", errors(text));
}

#[test]
fn a_file_full_of_errors_is_cut_short() {
    use std::fmt::Write as _;
    let text = (0..3000).fold(String::new(), |mut text, n| {
        writeln!(text, "key{n}: 1").expect("a string");
        text
    });
    let errors = read(&text).expect_err("wrong");
    assert_eq!((errors.errors.len(), errors.omitted), (100, 2900));
    assert!(errors.to_string().ends_with("config.yaml: and 2900 more errors"));
}

#[test]
fn an_unreadable_file_is_not_a_wrong_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = load(&folder.path().join("none.yaml")).expect_err("missing");
    assert_eq!(missing.exit_status(), 1);
    assert_eq!(missing.to_string().lines().count(), 1);
    assert_eq!(load(folder.path()).expect_err("a folder").exit_status(), 1);

    let file = folder.path().join("config.yaml");
    std::fs::write(&file, b"server:\n  splice: \"\xff\"\n").expect("written");
    let wrong = load(&file).expect_err("not UTF-8");
    assert_eq!(wrong.exit_status(), 2);
    assert!(wrong.to_string().contains("config.yaml:2: not UTF-8"), "{wrong}");
    std::fs::write(&file, vec![b'#'; (4 << 20) + 1]).expect("written");
    assert_eq!(load(&file).expect_err("too large").exit_status(), 2);
    std::fs::write(&file, SHIPPED).expect("written");
    let config = load(&file).expect("valid");
    let spec = config.only().expect("one service");
    assert_eq!(list_of(spec), folder.path().join("ip_list.txt"));
}

#[test]
fn a_list_behind_tls_needs_a_build_that_has_it_and_no_secret_of_it_is_shown() {
    let text = "remotes:\n  provider:\n    type: http\n    http: { url: 'https://a.example/x?key=hush', headers: { A: hush } }\n";
    let mut here = platform(true, true);
    let config = reader::parse(text, Path::new(FILE), here).expect("valid");
    let shown = service_keys(config.only().expect("one"));
    let shown = |key: &str| shown.get(key).map(String::as_str);
    assert_eq!(
        shown("remotes.provider.http.url"),
        Some("https://a.example/x?***")
    );
    assert_eq!(shown("remotes.provider.http.headers"), Some("{ A: \"***\" }"));
    assert!(!format!("{config:?}").contains("hush"));
    here.platform.tls = false;
    let errors = reader::parse(text, Path::new(FILE), here).expect_err("no TLS");
    assert_eq!(
        errors.to_string(),
        "config.yaml:4: remotes.provider.http.url: this build has no TLS (it was made without the feature tls); \
         allowed here: http://"
    );
    let plain = text.replace("https", "http");
    reader::parse(&plain, Path::new(FILE), here).expect("possible everywhere");
}
