//! Many services: what they inherit, what they may say, and what is wrong with it.

use super::*;

/// What a text says of one of its services.
fn of(config: &Config, name: &str) -> Spec {
    let spec = config.services.get(name);
    Spec::clone(spec.unwrap_or_else(|| panic!("no service {name}")))
}

/// Lines of a text whose errors are known but for the file's name.
fn wrong(text: &str, expected: &[&str]) {
    let found = errors(text);
    let expected: Vec<String> = expected
        .iter()
        .map(|error| format!("config.yaml:{error}"))
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn a_service_begins_with_the_top_level_key_by_key() {
    let config = read(
        "services:
  web:
    listen_addr: 127.0.0.1:8443
    keepalive: { probes: 5 }
    remotes: { probing: { timeout: 2s } }
  redis: { listen_addr: ['127.0.0.1:6379', '127.0.0.1:0'], pools: { strategy: { static: { size_per_remote: 7 } } } }
server: { keepalive: { idle: 30s, probes: 4 }, reactors: 2 }
remotes: { probing: { interval: 20s, timeout: 1500ms } }
pools: { strategy: { type: static } }
",
    )
    .expect("valid");
    assert_eq!(config.services.len(), 2);
    assert_eq!(config.process.reactors, 2);
    assert_eq!(config.only(), None);
    let (web, redis) = (of(&config, "web"), of(&config, "redis"));
    assert_eq!(
        (web.server.keepalive.probes, redis.server.keepalive.probes),
        (5, 4)
    );
    for spec in [&web, &redis] {
        assert_eq!(spec.server.keepalive.idle, Duration::from_secs(30));
        assert_eq!(spec.remotes.probing.interval, Duration::from_secs(20));
    }
    assert_eq!(web.remotes.probing.timeout, Duration::from_secs(2));
    assert_eq!(redis.remotes.probing.timeout, Duration::from_millis(1500));
    assert_eq!(redis.pools.strategy, Strategy::Static { size_per_remote: 7 });
    assert_eq!(redis.server.listen_addrs.len(), 2);
    let name = |text| ServiceName::parse(text).expect("a name");
    assert_eq!(config.listen_key(&name("web")), "services.web.listen_addr");
    assert_eq!(
        config.key_of(&name("web"), "pools.algorithm"),
        "services.web.pools.algorithm"
    );
    let flat = Config::default();
    assert_eq!(
        flat.listen_key(&ServiceName::default_service()),
        "server.listen_addr"
    );
    assert!(flat.is_flat() && !config.is_flat());
}

#[test]
fn weights_are_inherited_as_if_they_stood_in_the_service() {
    let config = read(
        "remotes: { scoring: { weights: { latency: 0.5, jitter: 0.2 }, jitter: { max_score: 11 } } }
services:
  a: { listen_addr: 127.0.0.1:1 }
  b: { listen_addr: 127.0.0.1:2, remotes: { scoring: { weights: { latency: 0.6, jitter: 0.3 } } } }
  c: { listen_addr: 127.0.0.1:3, remotes: { scoring: { latency: { max_score: 7 } } } }
",
    )
    .expect("valid");
    let scores = |name| {
        let scoring = of(&config, name).remotes.scoring;
        (scoring.latency.max_score, scoring.jitter.max_score)
    };
    assert_eq!(scores("a"), (50.0, 11.0));
    assert_eq!(scores("b"), (60.0, 11.0));
    assert_eq!(scores("c"), (7.0, 11.0));
}

/// Whatever can be said of a service means the same at the top level of a file of its own.
#[test]
fn every_key_of_a_service_is_taken_in_it_and_every_other_is_not() {
    for key in reference() {
        let shown = match key.kind {
            "address or list" => "127.0.0.1:77",
            _ => key.in_force(),
        };
        let value = match key.kind {
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
            | "list of names" => shown.to_owned(),
            _ => format!("{shown:?}"),
        };
        let path = key.path.strip_prefix("server.").unwrap_or(key.path);
        let mut text = yaml(&format!("services.web.{path}"), &value);
        if key.path != "server.listen_addr" {
            text.push_str("    listen_addr: 127.0.0.1:77\n");
        }
        match key.scope {
            Scope::Service => {
                let mut alone = read(&given(&key, shown)).expect("valid");
                alone.edit(|spec| {
                    spec.server.listen_addrs = vec!["127.0.0.1:77".parse().expect("an address")];
                });
                let config = read(&text).unwrap_or_else(|errors| panic!("{text}{errors}"));
                assert_eq!(Some(&of(&config, "web")), alone.only(), "{text}");
            }
            Scope::Process => {
                let found = errors(&text);
                assert_eq!(found.len(), 1, "{text}{found:?}");
                assert!(
                    found[0].contains("the process's, not a service's; allowed: ")
                        && found[0].ends_with(" at the top level"),
                    "{text}{found:?}"
                );
            }
        }
    }
}

#[test]
fn routes_lead_to_services_that_there_are() {
    let text = "services:\n  web: { listen_addr: 127.0.0.1:1, plain: nobody,\n    routes: [{ sni: a.example, to: other },\n      \
                { to: nobody }] }\n  other: { listen_addr: 127.0.0.1:2, plain: unasked }\n";
    wrong(
        text,
        &[
            "2: services.web.plain: there is no service nobody; allowed: other, web",
            "4: services.web.routes[1]: there is no service nobody; allowed: other, web",
            "5: services.other.plain: without routes nobody looks whether a client speaks TLS; allowed with plain: routes",
        ],
    );
    wrong(
        "server: { routes: { to: web } }",
        &["1: server.routes[0]: there is no service web; allowed: default"],
    );
    let inherited = "server: { routes: { to: web } }\nservices:\n  web: { listen_addr: 127.0.0.1:1 }\n";
    let config = read(inherited).expect("valid");
    assert_eq!(of(&config, "web").server.routes.len(), 1);
}

#[test]
fn what_belongs_elsewhere_is_said_with_where() {
    wrong(
        "services:
  web:
    listen_addr: 127.0.0.1:1
    reactors: 2
    logging: { level: info }
    server: { idle_timeout: 1s }
    remotes: { metrics: {} }
server:
  listen_addr: 127.0.0.1:2
",
        &[
            "4: services.web.reactors: the process's, not a service's; allowed: server.reactors at the top level",
            "5: services.web.logging: the process's, not a service's; allowed: logging at the top level",
            "6: services.web.server: what is in server at the top level stands in the service itself; allowed: \
             listen_addr, idle_timeout, half_close_timeout, keepalive, splice, max_connections_per_ip, \
             connection_rate_per_ip, connection_burst_per_ip, allow, deny, bandwidth, handshake_timeout, proxy_protocol, routes, no_match, plain, tls, remotes, pools, sleep, access_log",
            "7: services.web.remotes.metrics: unknown key; allowed: default_remote_port, provider, dns, tls, bind, \
             probing, passive, scoring, selector",
            "9: server.listen_addr: each service has its own; allowed: services.NAME.listen_addr",
        ],
    );
}

#[test]
fn services_are_named_once_each_and_listen() {
    let allowed = "1 to 32 of a-z, 0-9, _ and -";
    for nothing in ["services:\n", "services: {}\n"] {
        wrong(
            nothing,
            &["1: services: there is no service in it; allowed: at least one, or no services at all"],
        );
    }
    wrong(
        "services: [web]",
        &[&format!(
            "1: services: a list is not a section; allowed: a section with names of services: {allowed}, digits alone \
             in quotes"
        )],
    );
    wrong(
        "services:
  Web: { listen_addr: 127.0.0.1:1, idle_timeout: never }
  web:
  8080: { listen_addr: 127.0.0.1:2 }
  web: { listen_addr: 127.0.0.1:3 }
  'b c': 7
",
        &[
            &format!("2: services.Web: not a name of a service; allowed: {allowed}"),
            "2: services.Web.idle_timeout: \"never\" is not a duration; allowed: 10ms to 720h, such as 500ms, 15s, 1m30s",
            "3: services.web: it does not say where it listens; allowed: listen_addr, an address or a list of them",
            &format!(
                "4: services: 8080 is not a key; allowed: names of services: {allowed}, digits alone in quotes"
            ),
            "5: services.web: given twice, first on line 3; allowed: once",
            "6: services.\"b c\": 7 is not a section; allowed: a section with listen_addr, idle_timeout, \
             half_close_timeout, keepalive, splice, max_connections_per_ip, connection_rate_per_ip, \
             connection_burst_per_ip, allow, deny, bandwidth, handshake_timeout, proxy_protocol, routes, no_match, plain, tls, remotes, pools, sleep, access_log",
            &format!("6: services.\"b c\": not a name of a service; allowed: {allowed}"),
        ],
    );
}

#[test]
fn services_do_not_share_a_port() {
    wrong(
        "metrics: { listen_addr: '127.0.0.1:9000' }
services:
  a: { listen_addr: ['127.0.0.1:1', '127.0.0.1:0'] }
  b: { listen_addr: ['127.0.0.1:0', '127.0.0.1:1'] }
  c: { listen_addr: '0.0.0.0:1' }
  d: { listen_addr: ['127.0.0.2:1', '[::1]:1', '0.0.0.0:9000'] }
  e: { listen_addr: nowhere }
  f: { listen_addr: '127.0.0.1:1234' }
",
        &[
            "1: metrics.listen_addr: metrics.listen_addr 127.0.0.1:9000 is taken by services.d.listen_addr \
             0.0.0.0:9000; allowed: two addresses that do not overlap",
            "4: services.b.listen_addr: 127.0.0.1:1 is taken by services.a.listen_addr 127.0.0.1:1; allowed: two \
             addresses that do not overlap",
            "5: services.c.listen_addr: 0.0.0.0:1 is taken by services.a.listen_addr 127.0.0.1:1; allowed: two \
             addresses that do not overlap",
            "7: services.e.listen_addr: \"nowhere\" is not an address with a port; allowed: IPv4:port or [IPv6]:port, \
             such as 127.0.0.1:1234, or a list of 1 to 64 of them",
        ],
    );
}

#[test]
fn rules_hold_for_each_service() {
    wrong(
        "pools: { strategy: { dynamic: { min_size: 30 } } }
remotes:
  scoring: { latency: { base_latency: 2s } }
services:
  a: { listen_addr: 127.0.0.1:1, pools: { strategy: { dynamic: { max_size: 25 } } } }
  b: { listen_addr: 127.0.0.1:2, remotes: { scoring: { latency: { max_acceptable_latency: 3s } } } }
  c: { listen_addr: 127.0.0.1:3, deny: 10.0.0.0/8, allow: 10.1.0.0/16 }
  d: { listen_addr: 127.0.0.1:4 }
  e: { listen_addr: 127.0.0.1:5, pools: { strategy: { dynamic: { max_size: none } } } }
",
        &[
            "3: remotes.scoring.latency.base_latency: base_latency 2s is not below max_acceptable_latency 800ms; \
             allowed: base_latency < max_acceptable_latency",
            "5: services.a.pools.strategy.dynamic.max_size: min_size 30 is above max_size 25; allowed: min_size <= \
             max_size",
            "7: services.c.allow: 10.1.0.0/16 can never connect, for deny has 10.0.0.0/8 and goes before allow; \
             allowed: networks that are not denied as a whole",
            "9: services.e.pools.strategy.dynamic.max_size: \"none\" is not a whole number; allowed: a whole number \
             from 1 to 100000",
        ],
    );
    // Defaults that every service has otherwise may be wrong together.
    read(
        "pools: { strategy: { dynamic: { min_size: 900 } } }
services:
  a: { listen_addr: 127.0.0.1:1, pools: { strategy: { dynamic: { max_size: 1000 } } } }
",
    )
    .expect("valid");
    // A default that is refused is refused once.
    wrong(
        "pools: { strategy: { dynamic: { min_size: few } } }
services:
  a: { listen_addr: 127.0.0.1:1, pools: { strategy: { dynamic: { max_size: 1 } } } }
",
        &[
            "1: pools.strategy.dynamic.min_size: \"few\" is not a whole number; allowed: a whole number from 0 to 100000",
        ],
    );
}

#[test]
fn unknown_keys_of_a_service_find_their_neighbours() {
    let found = errors(
        "services:
  web: { listen_adr: 127.0.0.1:1, dial_timeout: 1s, level: info }
",
    );
    assert!(
        found[0].contains("services.web: it does not say where it listens"),
        "{found:?}"
    );
    assert!(
        found[1].contains(
            "services.web.dial_timeout: unknown key, did you mean services.web.pools.common.dial_timeout?"
        ),
        "{found:?}"
    );
    assert!(
        found[2].contains("services.web.level: unknown key, did you mean logging.level?"),
        "{found:?}"
    );
    assert!(
        found[3].contains("services.web.listen_adr: unknown key, did you mean listen_addr?"),
        "{found:?}"
    );
}

#[test]
fn a_wrong_file_names_its_lists_all_the_same() {
    let lists = |text: &str| read(text).expect_err("wrong").lists;
    assert_eq!(lists("colour: red"), [PathBuf::from("ip_list.txt")]);
    assert!(lists("remotes: { provider: { file: { path: 7 } } }").is_empty());
    assert!(lists("services: 7").is_empty());
    let text = "remotes: { provider: { file: { path: 7 } } }
services:
  a: { listen_addr: 127.0.0.1:1, remotes: { provider: { file: { path: a.txt } } } }
  b: { listen_addr: 127.0.0.1:2, remotes: { provider: { file: { path: ./a.txt } } } }
  c: { listen_addr: 127.0.0.1:3, remotes: { provider: { file: { path: c.txt } } } }
  d: { listen_addr: 127.0.0.1:4 }
";
    assert_eq!(lists(text), [PathBuf::from("a.txt"), PathBuf::from("c.txt")]);
}

/// A file of many services, ten keys each.
fn many(services: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("services:\n");
    for service in 0..services {
        let (high, low) = (service / 250, service % 250 + 1);
        write!(
            text,
            "  service-{service}:\n    listen_addr: \"127.1.{high}.{low}:8443\"\n    idle_timeout: 10m\n    \
             half_close_timeout: 30s\n    keepalive: {{ idle: 30s, probes: 4 }}\n    remotes:\n      \
             default_remote_port: 443\n      provider: {{ file: {{ path: \"lists/{service}.txt\", watch: true }} }}\n    \
             pools:\n      algorithm: round_robin\n      strategy: {{ type: static, static: {{ size_per_remote: 2 }} }}\n"
        )
        .expect("a string");
    }
    text
}

#[test]
fn a_thousand_services_are_a_supported_number() {
    let config = read(&many(1000)).expect("valid");
    assert_eq!(config.services.len(), 1000);
    let spec = of(&config, "service-999");
    assert_eq!(
        spec.server.listen_addrs,
        ["127.1.3.250:8443".parse().expect("an address")]
    );
    assert_eq!(list_of(&spec), Path::new("lists/999.txt"));
}

/// Figures, for whoever wants them: `cargo test --release --lib config -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn how_long_many_services_take() {
    for services in [1000, 4000] {
        let text = many(services);
        let start = crate::base::clock::now();
        let config = read(&text).expect("valid");
        let took = start.elapsed();
        eprintln!("{services} services, {} bytes: {took:?}", text.len());
        drop(config);
    }
}

#[test]
fn providers_are_one_or_a_list_and_each_stands_for_itself() {
    let text = "remotes: { provider: { file: { path: top.txt, watch: false } } }
services:
  inherits: { listen_addr: 127.0.0.1:1 }
  one: { listen_addr: 127.0.0.1:2, remotes: { provider: { file: { path: one.txt } } } }
  list:
    listen_addr: 127.0.0.1:3
    remotes:
      provider:
        - { file: { path: a.txt } }
        - { type: inline, inline: { entries: ['127.0.0.1', '127.0.0.2:8080  # the second'] } }
";
    let config = read(text).expect("valid");
    let providers = |name: &str| of(&config, name).remotes.providers;
    let file = |path: &str, watch| {
        let path = PathBuf::from(path);
        let on_bad_line = OnBadLine::Error;
        Provider::File(FileProvider {
            path,
            watch,
            on_bad_line,
        })
    };
    assert_eq!(providers("inherits"), [file("top.txt", false).into()]);
    assert_eq!(providers("one"), [file("one.txt", false).into()], "key by key");
    let entries = ["127.0.0.1", "127.0.0.2:8080  # the second"].map(str::to_owned);
    assert_eq!(
        providers("list"),
        [
            file("a.txt", true).into(),
            Provider::Inline(entries.to_vec()).into()
        ],
        "a list begins with defaults"
    );
    let lists = "remotes: { provider: [{ file: { path: a.txt } }, { file: { path: 7 } }, { colour: red }] }";
    let errors = read(lists).expect_err("wrong");
    assert_eq!(
        errors.lists,
        [PathBuf::from("a.txt"), PathBuf::from("ip_list.txt")]
    );
}

#[test]
fn a_provider_that_does_not_say_its_type_has_that_of_the_one_section_that_it_gives() {
    let kinds = |text: &str| {
        let config = read(text).expect("valid");
        let spec = config.only().expect("one service");
        let all = spec.remotes.providers.iter();
        all.map(|one| one.provider.kind().name()).collect::<Vec<_>>()
    };
    for (section, kind) in [
        ("file: { path: a.txt }", "file"),
        ("inline: { entries: [127.0.0.1] }", "inline"),
        ("dns: { name: a.example }", "dns"),
        ("srv: { name: _a._tcp.example }", "srv"),
        ("http: { url: 'http://a.example/' }", "http"),
        // Nothing but comments is in it.
        ("http: , file: { path: a.txt }", "file"),
        ("max_connections: 5", "file"),
        ("type: file, http: { url: 'http://a.example/' }", "file"),
        (
            "type: inline, inline: { entries: [127.0.0.1] }, file: { path: a.txt }",
            "inline",
        ),
    ] {
        assert_eq!(
            kinds(&format!("remotes: {{ provider: {{ {section} }} }}")),
            [kind],
            "{section}"
        );
        assert_eq!(
            kinds(&format!("remotes: {{ provider: [{{ {section} }}] }}")),
            [kind],
            "{section}"
        );
    }
    // Of a service, too, whatever the level above says; who gives none of the sections has what that says.
    let text = "remotes: { provider: { type: dns, dns: { name: top.example } } }
services:
  inherits: { listen_addr: 127.0.0.1:1, remotes: { provider: { max_connections: 5 } } }
  key: { listen_addr: 127.0.0.1:2, remotes: { provider: { dns: { port: 5 } } } }
  other: { listen_addr: 127.0.0.1:3, remotes: { provider: { inline: { entries: [127.0.0.1] } } } }
";
    let config = read(text).expect("valid");
    let kind = |name: &str| of(&config, name).remotes.providers[0].provider.source();
    assert_eq!(
        ["inherits", "key", "other"].map(kind),
        ["top.example", "top.example:5", "1 entry"]
    );
}

#[test]
fn providers_of_each_type_have_a_limit_of_their_own() {
    let text = "remotes:
  provider:
    - { file: { path: a.txt }, max_connections: 20 }
    - { type: inline, inline: { entries: [127.0.0.1] }, max_connections: 0 }
    - { type: dns, dns: { name: a.example }, max_connections: 7 }
    - { type: srv, srv: { name: _a._tcp.example }, max_connections: 10000000 }
";
    let limits = |text: &str| {
        let config = read(text).expect("valid");
        let spec = config.only().expect("one service");
        let all = spec.remotes.providers.iter();
        all.map(|one| one.max_connections.map_or(0, std::num::NonZeroU32::get))
            .collect::<Vec<_>>()
    };
    assert_eq!(limits(text), [20, 0, 7, 10_000_000]);
    assert_eq!(limits(""), [0]);
    let one = "remotes: { provider: { max_connections: 5 } }";
    assert_eq!(limits(one), [5]);
    let changes = plan(&defaults(), &read(one).expect("valid")).changes;
    assert_eq!(changes, ["remotes.provider.max_connections: from 0 to 5"]);
    let changes = plan(
        &read(text).expect("valid"),
        &read(&text.replace("7 }", "8 }")).expect("valid"),
    );
    assert_eq!(
        changes.changes,
        [
            "remotes.provider: from [file max_connections=20, inline, dns max_connections=7, srv max_connections=10000000] \
             to [file max_connections=20, inline, dns max_connections=8, srv max_connections=10000000]"
        ]
    );
}

#[test]
fn a_changed_list_of_providers_is_said_by_their_types() {
    let of = |provider: &str| read(&format!("remotes: {{ provider: {provider} }}")).expect("valid");
    let changes = |old: &str, new: &str| plan(&of(old), &of(new)).changes;
    let inline = "{ type: inline, inline: { entries: [127.0.0.1] } }";
    assert_eq!(
        changes("{ type: file }", &format!("[{{ type: file }}, {inline}]")),
        ["remotes.provider: from [file] to [file, inline]"]
    );
    assert_eq!(
        changes("{ type: file }", inline),
        [
            "remotes.provider.type: from file to inline",
            "remotes.provider.inline.entries: from [] to [127.0.0.1]"
        ]
    );
    assert_eq!(changes(&format!("[{inline}]"), inline), Vec::<String>::new());
}
