//! Variables of the environment: values as their keys take them, errors with their place and without what is secret.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::super::platform::Platform;
use super::super::{Config, ConfigErrors, TlsVersion, reader};
use super::FILE;

fn variables(name: &str) -> Option<OsString> {
    let value = match name {
        "COUNT" => "4",
        "TOKEN" => "12345",
        "TIME" => "90s",
        "SCORE" => "55.5",
        "FLAG" => "true",
        "PORT" => "1234",
        "HOST" => "127.0.0.1",
        "SECRET" => "open sesame",
        "VERSION" => "1.3",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.into())
}

fn read(text: &str) -> Result<Config, ConfigErrors> {
    let here = reader::Surroundings {
        platform: Platform {
            splice: true,
            unix_sockets: true,
            interfaces: true,
            tls: true,
            cluster: true,
        },
        variables: &variables,
    };
    reader::parse(text, Path::new(FILE), here)
}

fn errors(text: &str) -> Vec<String> {
    let errors = read(text).expect_err("wrong");
    errors.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn a_value_is_what_its_key_takes_with_quotes_and_without() {
    for quote in ["\"", "'"] {
        let text = r"
server:
  reactors: @${COUNT}@
  idle_timeout: @${TIME}@
  listen_addr: [@${HOST}:${PORT}@, @${NONE:-[::1]}:${PORT}@]
  allow: @${HOST}@
  bandwidth: { total: @${COUNT}MiB@ }
  tls: { cert: a.pem, key: a.key, min_version: @${VERSION}@ }
metrics: { enabled: @${FLAG}@, admin_token: @${TOKEN}@ }
state: { path: @${EMPTY}@ }
remotes:
  default_remote_port: @${PORT}@
  scoring: { latency: { max_score: @${SCORE}@ } }
  probing: { check: { http: { expect_status: [@${NONE:-204}@, @30${COUNT}-${NONE:-399}@] } } }
";
        let config = read(&text.replace('@', quote)).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let spec = config.only().expect("one");
        let addr = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        assert_eq!(config.process.reactors, 4);
        assert_eq!(spec.server.idle_timeout, Duration::from_secs(90));
        assert_eq!(
            spec.server.listen_addrs,
            [addr("127.0.0.1:1234"), addr("[::1]:1234")]
        );
        assert_eq!(spec.server.allow.len(), 1);
        assert_eq!(spec.server.bandwidth.total, 4 << 20);
        assert_eq!(spec.server.tls.min_version, TlsVersion::V1_3);
        assert!(config.process.metrics.enabled);
        assert_eq!(
            config.process.metrics.admin_token.as_deref(),
            Some("12345"),
            "a text of digits"
        );
        assert_eq!(config.process.state.path, None);
        assert_eq!(spec.remotes.default_remote_port, 1234);
        assert!((spec.remotes.scoring.latency.max_score - 55.5).abs() < 1e-9);
        let statuses = &spec.remotes.probing.check.http.expect_status;
        assert_eq!(
            statuses.iter().map(|s| (s.from, s.to)).collect::<Vec<_>>(),
            [(204, 204), (304, 399)]
        );
    }
}

#[test]
fn without_quotes_outside_of_braces() {
    let config = read("server:\n  reactors: ${COUNT}\n  idle_timeout: ${NONE:-5m}\n").expect("valid");
    assert_eq!(config.process.reactors, 4);
    assert_eq!(
        config.only().expect("one").server.idle_timeout,
        Duration::from_secs(300)
    );
}

#[test]
fn each_service_has_its_own_and_routes_are_looked_through() {
    let text = "services:\n  web:\n    listen_addr: '${HOST}:1'\n    routes:\n    - { sni: ['${HOST}.${NONE:-example}', '*'], to: '${NONE:-web}' }\n";
    let config = read(text).expect("valid");
    let spec = config.services.values().next().expect("one");
    let route = &spec.server.routes[0];
    assert_eq!(route.sni, ["127.0.0.1.example", "*"]);
    assert_eq!(route.to.as_str(), "web");
}

#[test]
fn keys_sections_and_names_are_never_replaced() {
    let found = errors(
        "server:\n  ${COUNT}: 1\nlogging: ${NONE:-}\nservices:\n  ${HOST}:\n    listen_addr: '127.0.0.1:1'\n",
    );
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("config.yaml:2: server.\"${COUNT}\": unknown"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("config.yaml:3: logging: \"${NONE:-}\" is not a section"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("config.yaml:5: services.\"${HOST}\": not a name of a service"),
        "{found:?}"
    );
}

#[test]
fn what_is_not_set_is_an_error_with_its_place() {
    let text = "server:\n  listen_addr:\n    - '127.0.0.1:1'\n    - '${NONE}:2'\n  routes:\n    - to: ${NOBODY}\n      sni: [a.example,\n        '${']\n";
    assert_eq!(
        errors(text),
        [
            "config.yaml:4: server.listen_addr[1]: \"${NONE}:2\" names the variable NONE, which is not set; allowed: one that is, or ${NONE:-DEFAULT}",
            "config.yaml:6: server.routes[0].to: \"${NOBODY}\" names the variable NOBODY, which is not set; allowed: one that is, or ${NOBODY:-DEFAULT}",
            "config.yaml:8: server.routes[0].sni[1]: \"${\" has a ${ that begins no variable; allowed: ${NAME}, ${NAME:-DEFAULT}, and $${ for a ${ that stands for itself",
        ]
    );
    let text = "pools: { strategy: { dynamic: { min_size: 900, max_size: '${NONE}' } } }";
    assert_eq!(errors(text).len(), 1, "no second error: {:?}", errors(text));
}

#[test]
fn no_error_says_what_a_variable_stands_for() {
    for (text, expected) in [
        (
            "metrics: { admin_token: '${SECRET}' }",
            "metrics.admin_token: *** is not such a text; allowed: empty, or a text",
        ),
        (
            "metrics: { admin_token: 'sesame${NONE}' }",
            "metrics.admin_token: *** names the variable NONE, which is not set; allowed: one that is",
        ),
        (
            "server: { reactors: '${SECRET}' }",
            "server.reactors: \"${SECRET}\" is something else once its variables are replaced; allowed: a whole number",
        ),
        (
            "server: { listen_addr: ['127.0.0.1:1', '${SECRET}'] }",
            "server.listen_addr[1]: \"${SECRET}\" is something else once its variables are replaced; allowed: IPv4:port",
        ),
        (
            "server: { routes: { to: '${SECRET}' } }",
            "server.routes: a section is something else once its variables are replaced; allowed: { sni",
        ),
        (
            "remotes: { probing: { check: { http: { host: '${SECRET}' } } } }",
            "remotes.probing.check.http.host: what its variables stand for does not do; allowed: a name",
        ),
        (
            "remotes: { probing: { check: { type: http, select: { header: a, match: '${SECRET}(' } } } }",
            "remotes.probing.check.select.match: what its variables stand for does not do",
        ),
    ] {
        let found = errors(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(&format!("config.yaml:1: {expected}")),
            "{found:?}"
        );
        assert!(!found[0].contains("sesame"), "{found:?}");
    }
    let text = "services:\n  web: { listen_addr: '127.0.0.1:1' }\nremotes: { probing: { check: { http: { path: '${SECRET}' } } } }";
    assert!(!errors(text)[0].contains("sesame"), "inherited");
}

#[test]
fn a_value_beside_one_with_a_variable_is_shown() {
    let found = errors("server: { listen_addr: ['${HOST}:1', 'nowhere'] }");
    assert!(
        found[0].contains("server.listen_addr[1]: \"nowhere\" is not an address"),
        "{found:?}"
    );
}

#[test]
fn dollars_without_a_brace_are_what_they_were() {
    let text = "metrics: { admin_token: '$$a$' }\nremotes: { probing: { check: { type: http, select: { header: a, match: '-(HKG|NRT)$' } } } }";
    let config = read(text).expect("valid");
    assert_eq!(config.process.metrics.admin_token.as_deref(), Some("$$a$"));
    assert_eq!(
        config.only().expect("one").remotes.probing.check.select.pattern,
        "-(HKG|NRT)$"
    );
    let config = read("metrics: { admin_token: '$${SECRET}' }").expect("valid");
    assert_eq!(config.process.metrics.admin_token.as_deref(), Some("${SECRET}"));
}
