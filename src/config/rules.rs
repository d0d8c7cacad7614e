//! Which values, in range each, do not go together: with each other, or with the system.
//!
//! A rule is data: the keys that it is about, and what is wrong with them. Whether it is asked at all, and where its
//! error stands, is decided by the reader.

use regex_lite::Regex;

use super::byte_rate;
use super::check::{Check, CheckKind, Method};
use super::client_tls::ClientTls;
use super::cluster::{LABELS, NAMES, is_label, is_name};
use super::draft::Draft;
use super::http_provider::{HttpProvider, ListFormat};
use super::json_pointer::pointer_tokens;
use super::networks;
use super::platform::Platform;
use super::process::Process;
use super::providers::ProviderKind;
use super::remotes::Remotes;
use super::server::{ProxyAccept, ProxySend, Splice};
use super::server_tls::ClientAuth;
use super::value::show_duration;
use crate::base::host_name::is_host_name;
use crate::base::http_parts::is_token;
use crate::candidates::{ListErrors, list_file};

/// A rule about the values of a `D`.
pub(super) struct Rule<D> {
    /// The keys concerned; the error stands at the first of them that is given.
    pub(super) keys: &'static [&'static str],
    /// What is wrong, once for each that is.
    pub(super) broken: fn(&D, Platform) -> Vec<String>,
}

/// What is wrong where TLS is wanted of a build that has none.
const NO_TLS: &str = "this build has no TLS (it was made without the feature tls)";

/// Rules about the process.
pub(super) const OF_PROCESS: &[Rule<Process>] = &[
    Rule {
        keys: &["server.control_socket"],
        broken: |process, platform| {
            let is_possible = process.control_socket.is_none() || platform.unix_sockets;
            unless(is_possible, || {
                "this system has no Unix sockets; allowed here: empty".to_owned()
            })
        },
    },
    Rule {
        keys: &["cluster.url"],
        broken: |process, platform| {
            unless(platform.cluster || process.cluster.url.is_none(), || {
                "this build shares nothing (it was made without the feature cluster); allowed here: empty"
                    .to_owned()
            })
        },
    },
    Rule {
        keys: &["cluster.url"],
        broken: |process, platform| {
            let endpoint = process.cluster.endpoint();
            unless(
                platform.tls || !endpoint.is_some_and(|endpoint| endpoint.tls),
                || format!("{NO_TLS}; allowed here: redis://"),
            )
        },
    },
    Rule {
        keys: &["cluster.url"],
        broken: |process, _| {
            unless(
                process.cluster.url.is_none() || process.cluster.endpoint().is_some(),
                || {
                    "is no such URL; allowed: redis://[[user]:password@]host[:port][/database], or rediss:// for TLS"
                    .to_owned()
                },
            )
        },
    },
    Rule {
        keys: &["cluster.name"],
        broken: |process, _| {
            unless(is_name(&process.cluster.name), || {
                format!("is no name; allowed: {NAMES}")
            })
        },
    },
    Rule {
        keys: &["cluster.node", "cluster.vantage"],
        broken: |process, _| {
            let labels = [&process.cluster.node, &process.cluster.vantage];
            unless(labels.into_iter().all(|text| is_label(text)), || {
                format!("is no label; allowed: {LABELS}")
            })
        },
    },
    Rule {
        keys: &["cluster.tls.sni"],
        broken: |process, _| {
            let sni = &process.cluster.tls.sni;
            unless(sni.is_empty() || is_host_name(sni), || {
                "is no name of a host; allowed: empty, or a name".to_owned()
            })
        },
    },
];

/// Rules about one provider; where there is a list, each of it is asked about in the place of the only one.
pub(super) const OF_PROVIDER: &[Rule<Draft>] = &[
    Rule {
        keys: &["remotes.provider.inline.entries", "remotes.provider.type"],
        broken: |draft, _| {
            if draft.provider.kind != ProviderKind::Inline {
                return Vec::new();
            }
            match list_file::read_entries(&draft.provider.entries, draft.remotes.default_remote_port) {
                Ok(_) => Vec::new(),
                Err(ListErrors::Empty) => {
                    vec![
                        "there is no entry; allowed with type inline: inline.entries, at least one"
                            .to_owned(),
                    ]
                }
                Err(ListErrors::Lines { bad, .. }) => {
                    let said = bad
                        .iter()
                        .map(|line| format!("`{}`: {}", line.text, line.problem));
                    said.collect()
                }
            }
        },
    },
    Rule {
        keys: &["remotes.provider.dns.name", "remotes.provider.type"],
        broken: |draft, _| {
            let provider = &draft.provider;
            unless(
                provider.kind != ProviderKind::Dns || can_be_looked_up(&provider.dns.name),
                || {
                    format!(
                        "\"{}\" is no name; allowed with type dns: a name, such as backends.example.org",
                        provider.dns.name
                    )
                },
            )
        },
    },
    Rule {
        keys: &["remotes.provider.srv.name", "remotes.provider.type"],
        broken: |draft, _| {
            let provider = &draft.provider;
            unless(
                provider.kind != ProviderKind::Srv || can_be_looked_up(&provider.srv.name),
                || {
                    format!(
                        "\"{}\" is no name; allowed with type srv: the name of a service, such as _http._tcp.example.org",
                        provider.srv.name
                    )
                },
            )
        },
    },
    Rule {
        keys: &["remotes.provider.http.url", "remotes.provider.type"],
        broken: |draft, platform| {
            let Some(HttpProvider { url, .. }) = asked_by_http(draft) else {
                return Vec::new();
            };
            let Some(url) = url else {
                let what = "there is no URL; allowed with type http: http.url, such as https://lists.example.org/ips.txt";
                return vec![what.to_owned()];
            };
            unless(platform.tls || !url.tls, || {
                format!("{NO_TLS}; allowed here: http://")
            })
        },
    },
    Rule {
        keys: &["remotes.provider.http.pointer", "remotes.provider.http.format"],
        broken: |draft, _| {
            let http = asked_by_http(draft);
            let pointer = http.map_or("", |http| http.pointer.as_str());
            if pointer_tokens(pointer).is_none() {
                return vec![format!(
                    "{pointer:?} is no pointer; allowed: empty, or names that begin with / each, such as /data/ips"
                )];
            }
            let is_json = http.is_none_or(|http| http.format == ListFormat::Json);
            unless(is_json || pointer.is_empty(), || {
                "only JSON has pointers into it; allowed with pointer: format json".to_owned()
            })
        },
    },
    Rule {
        keys: &["remotes.provider.http.tls.sni"],
        broken: |draft, _| asked_by_http(draft).map_or_else(Vec::new, |http| sni(&http.tls)),
    },
    Rule {
        keys: &["remotes.provider.http.tls.ca", "remotes.provider.http.tls.verify"],
        broken: |draft, _| asked_by_http(draft).map_or_else(Vec::new, |http| authorities(&http.tls)),
    },
];

/// What is asked by HTTP, if anything is.
fn asked_by_http(draft: &Draft) -> Option<&HttpProvider> {
    (draft.provider.kind == ProviderKind::Http).then_some(&draft.provider.http)
}

/// Whether a name can be looked up; it may end with a dot.
fn can_be_looked_up(text: &str) -> bool {
    is_host_name(text.strip_suffix('.').unwrap_or(text))
}

/// Rules about a service.
pub(super) const OF_SERVICE: &[Rule<Draft>] = &[
    Rule {
        keys: &["remotes.dns.min_ttl", "remotes.dns.max_ttl"],
        broken: |draft, _| {
            let dns = &draft.remotes.dns;
            unless(dns.min_ttl <= dns.max_ttl, || {
                format!(
                    "{} is more than max_ttl ({}); allowed: no more than that",
                    show_duration(dns.min_ttl),
                    show_duration(dns.max_ttl)
                )
            })
        },
    },
    Rule {
        keys: &["server.splice"],
        broken: |draft, platform| {
            unless(draft.server.splice != Splice::On || platform.splice, || {
                "on is not possible, this system has no splice; allowed here: auto, off".to_owned()
            })
        },
    },
    Rule {
        keys: &["server.tls.cert", "server.tls.certificates"],
        broken: |draft, platform| {
            unless(platform.tls || !draft.server.tls.is_on(), || {
                format!("{NO_TLS}; allowed here: no certificate")
            })
        },
    },
    Rule {
        keys: &["server.tls.cert", "server.tls.key"],
        broken: |draft, _| {
            let tls = &draft.server.tls;
            unless(tls.cert.is_some() == tls.key.is_some(), || {
                "cert and key go together; allowed: both, or neither".to_owned()
            })
        },
    },
    Rule {
        keys: &["server.tls.client_auth", "server.tls.client_ca"],
        broken: |draft, _| {
            let tls = &draft.server.tls;
            unless(
                tls.client_auth == ClientAuth::Off || tls.client_ca.is_some(),
                || {
                    "nobody vouches for clients; allowed with client_auth optional or required: with client_ca".to_owned()
                },
            )
        },
    },
    Rule {
        keys: &["server.tls.client_ca", "server.tls.client_auth"],
        broken: |draft, _| {
            let tls = &draft.server.tls;
            unless(
                tls.client_auth != ClientAuth::Off || tls.client_ca.is_none(),
                || {
                    "clients are not asked for a certificate; allowed with client_ca: client_auth optional or required"
                    .to_owned()
                },
            )
        },
    },
    Rule {
        keys: &["remotes.tls.enabled"],
        broken: |draft, platform| {
            unless(platform.tls || !draft.remotes.tls.enabled, || {
                format!("{NO_TLS}; allowed here: false")
            })
        },
    },
    Rule {
        keys: &["remotes.probing.check.type"],
        broken: |draft, platform| {
            let kind = draft.remotes.probing.check.kind;
            let needs_tls = matches!(kind, CheckKind::Tls | CheckKind::Https);
            unless(platform.tls || !needs_tls, || {
                format!("{NO_TLS}; allowed here: connect, http, send_expect")
            })
        },
    },
    Rule {
        // A service may turn off what all others have.
        keys: &[
            "remotes.tls.sni",
            "remotes.tls.ca",
            "remotes.tls.verify",
            "remotes.tls.alpn",
        ],
        broken: |draft, _| {
            let tls = &draft.remotes.tls;
            let is_said = tls.client != ClientTls::default();
            unless(!is_said || tls.enabled, || {
                "nothing is encrypted; allowed with the keys of remotes.tls: enabled: true".to_owned()
            })
        },
    },
    Rule {
        keys: &["remotes.tls.sni"],
        broken: |draft, _| draft.remotes.tls.to_backends().map_or_else(Vec::new, sni),
    },
    Rule {
        keys: &["remotes.probing.check.tls.sni"],
        broken: |draft, _| spoken_by_check(draft).map_or_else(Vec::new, sni),
    },
    Rule {
        keys: &["remotes.tls.verify", "remotes.tls.ca"],
        broken: |draft, _| draft.remotes.tls.to_backends().map_or_else(Vec::new, authorities),
    },
    Rule {
        keys: &["remotes.probing.check.tls.verify", "remotes.probing.check.tls.ca"],
        broken: |draft, _| spoken_by_check(draft).map_or_else(Vec::new, authorities),
    },
    Rule {
        keys: &[
            "remotes.probing.check.tls.sni",
            "remotes.probing.check.tls.ca",
            "remotes.probing.check.tls.verify",
            "remotes.probing.check.type",
            "remotes.probing.check.port",
        ],
        broken: |draft, _| {
            let (tls, check) = (&draft.remotes.tls, &draft.remotes.probing.check);
            let is_said = check.tls != ClientTls::default();
            unless(!is_said || tls.to_candidates(check).is_some(), || {
                "the check does not speak TLS; allowed with check.tls: type tls or https".to_owned()
            })
        },
    },
    Rule {
        keys: &["server.proxy_protocol.send", "remotes.tls.enabled"],
        broken: |draft, _| {
            let sends = draft.server.proxy_protocol.send != ProxySend::Off;
            unless(!sends || !draft.remotes.tls.enabled, || {
                "a PROXY header goes before the handshake, which a warm connection has had before there is a client to \
                 name; allowed with remotes.tls: send off"
                    .to_owned()
            })
        },
    },
    Rule {
        keys: &["remotes.bind.interface"],
        broken: |draft, platform| {
            let is_possible = draft.remotes.bind.interface.is_none() || platform.interfaces;
            unless(is_possible, || {
                "this system binds no connection to an interface; allowed here: empty".to_owned()
            })
        },
    },
    Rule {
        keys: &["remotes.probing.check.http.path"],
        broken: |draft, _| {
            let path = &draft.remotes.probing.check.http.path;
            let is_path = path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic() && c != '#');
            unless(is_path, || {
                format!("{path:?} is no path; allowed: what begins with / and has no blank and no #")
            })
        },
    },
    Rule {
        keys: &["remotes.probing.check.http.host"],
        broken: |draft, _| {
            let host = &draft.remotes.probing.check.http.host;
            unless(host.chars().all(|c| c.is_ascii_graphic()), || {
                format!(
                    "{host:?} is no host; allowed: a name or an address without blanks, of ASCII characters"
                )
            })
        },
    },
    Rule {
        keys: &["remotes.probing.check.http.expect_header"],
        broken: |draft, _| {
            let header = &draft.remotes.probing.check.http.expect_header;
            let name = header.split_once(':').map_or(header.as_str(), |(name, _)| name);
            if header.is_empty() {
                return Vec::new();
            }
            header_name(name.trim())
        },
    },
    Rule {
        keys: &[
            "remotes.probing.check.http.expect_body",
            "remotes.probing.check.http.method",
        ],
        broken: |draft, _| {
            let http = &draft.remotes.probing.check.http;
            let is_possible = http.expect_body.is_empty() || http.method == Method::Get;
            unless(is_possible, || {
                "an answer to HEAD has no body; allowed with expect_body: method GET".to_owned()
            })
        },
    },
    Rule {
        keys: &[
            "remotes.probing.check.type",
            "remotes.probing.check.send",
            "remotes.probing.check.expect",
        ],
        broken: |draft, _| {
            let check = &draft.remotes.probing.check;
            let says = !check.send.text.is_empty() || !check.expect.text.is_empty();
            unless(check.kind != CheckKind::SendExpect || says, || {
                "send_expect neither sends nor expects anything; allowed: with send, expect or both"
                    .to_owned()
            })
        },
    },
    Rule {
        keys: &[
            "remotes.probing.check.select.match",
            "remotes.probing.check.select.header",
        ],
        broken: |draft, _| selection(&draft.remotes.probing.check),
    },
    Rule {
        keys: &[
            "remotes.scoring.latency.base_latency",
            "remotes.scoring.latency.max_acceptable_latency",
        ],
        broken: |draft, _| {
            let scoring = &draft.remotes.scoring.latency;
            unless(scoring.base < scoring.max_acceptable, || {
                format!(
                    "base_latency {} is not below max_acceptable_latency {}; \
                     allowed: base_latency < max_acceptable_latency",
                    show_duration(scoring.base),
                    show_duration(scoring.max_acceptable)
                )
            })
        },
    },
    Rule {
        keys: &[
            "remotes.scoring.throughput.floor",
            "remotes.scoring.throughput.good",
        ],
        broken: |draft, _| {
            let scoring = &draft.remotes.scoring.throughput;
            unless(scoring.floor < scoring.good, || {
                format!(
                    "floor {} is not below good {}; allowed: floor < good",
                    byte_rate::shown(scoring.floor),
                    byte_rate::shown(scoring.good)
                )
            })
        },
    },
    Rule {
        keys: &[
            "remotes.scoring.jitter.base_jitter",
            "remotes.scoring.jitter.max_acceptable_jitter",
        ],
        broken: |draft, _| {
            let scoring = &draft.remotes.scoring.jitter;
            unless(scoring.base < scoring.max_acceptable, || {
                format!(
                    "base_jitter {} is not below max_acceptable_jitter {}; \
                     allowed: base_jitter < max_acceptable_jitter",
                    show_duration(scoring.base),
                    show_duration(scoring.max_acceptable)
                )
            })
        },
    },
    Rule {
        keys: &[
            "remotes.scoring.failure_penalty.base_penalty",
            "remotes.scoring.failure_penalty.max_penalty",
        ],
        broken: |draft, _| {
            let penalty = &draft.remotes.scoring.failure_penalty;
            let (base, most) = (penalty.base_penalty, penalty.max_penalty);
            unless(base <= most, || {
                format!(
                    "base_penalty {base} is above max_penalty {most}; allowed: base_penalty <= max_penalty"
                )
            })
        },
    },
    Rule {
        keys: &[
            "remotes.selector.min_score_threshold",
            "remotes.scoring.latency.max_score",
            "remotes.scoring.jitter.max_score",
            "remotes.scoring.success_rate.max_score",
            "remotes.scoring.weights.latency",
            "remotes.scoring.weights.jitter",
            "remotes.scoring.weights.success_rate",
            "remotes.scoring.historical_bonus.max_bonus",
        ],
        broken: |draft, _| threshold(draft),
    },
    Rule {
        keys: &["server.allow", "server.deny"],
        broken: |draft, _| overruled_networks(draft),
    },
    Rule {
        keys: &["server.proxy_protocol.accept", "server.proxy_protocol.from"],
        broken: |draft, _| {
            let proxy = &draft.server.proxy_protocol;
            unless(proxy.accept == ProxyAccept::Off || !proxy.from.is_empty(), || {
                "nobody is believed, for from has no network; allowed with accept: at least one in from"
                    .to_owned()
            })
        },
    },
    Rule {
        keys: &["server.plain", "server.routes"],
        broken: |draft, _| {
            let server = &draft.server;
            unless(server.plain.is_none() || !server.routes.is_empty(), || {
                "without routes nobody looks whether a client speaks TLS; allowed with plain: routes"
                    .to_owned()
            })
        },
    },
    Rule {
        keys: &[
            "pools.strategy.dynamic.min_size",
            "pools.strategy.dynamic.max_size",
        ],
        broken: |draft, _| {
            let (least, most) = (draft.dynamic.min_size, draft.dynamic.max_size);
            unless(least <= most, || {
                format!("min_size {least} is above max_size {most}; allowed: min_size <= max_size")
            })
        },
    },
];

fn unless(holds: bool, message: impl FnOnce() -> String) -> Vec<String> {
    if holds { Vec::new() } else { vec![message()] }
}

fn selection(check: &Check) -> Vec<String> {
    let select = &check.select;
    if select.header.is_empty() != select.pattern.is_empty() {
        return vec!["header and match go together; allowed: both, or neither".to_owned()];
    }
    if select.header.is_empty() {
        return Vec::new();
    }
    if !matches!(check.kind, CheckKind::Http | CheckKind::Https) {
        return vec!["only answers by HTTP have headers; allowed with select: type http or https".to_owned()];
    }
    let wrong_name = header_name(&select.header);
    if !wrong_name.is_empty() {
        return wrong_name;
    }
    match Regex::new(&select.pattern) {
        Ok(_) => Vec::new(),
        Err(error) => vec![format!("{:?} is no regular expression: {error}", select.pattern)],
    }
}

/// What a check says of TLS, if it speaks it.
fn spoken_by_check(draft: &Draft) -> Option<&ClientTls> {
    let Remotes { tls, probing, .. } = &draft.remotes;
    tls.to_candidates(&probing.check).map(|_| &probing.check.tls)
}

fn sni(tls: &ClientTls) -> Vec<String> {
    unless(tls.sni.is_empty() || is_host_name(&tls.sni), || {
        format!(
            "{:?} is no name that can be asked for; allowed: empty, or a name of a host in ASCII letters, no address",
            tls.sni
        )
    })
}

fn authorities(tls: &ClientTls) -> Vec<String> {
    unless(tls.verify || tls.ca.is_none(), || {
        "no certificate is looked at, so nobody need vouch for it; allowed with ca: verify true".to_owned()
    })
}

/// A header is named by a token.
fn header_name(name: &str) -> Vec<String> {
    unless(is_token(name), || {
        format!("{name:?} is no name of a header; allowed: letters, digits and hyphens")
    })
}

fn threshold(draft: &Draft) -> Vec<String> {
    let scoring = &draft.remotes.scoring;
    // The bonus is left out: it takes days to earn, and nothing would be selected until then.
    let highest = scoring.latency.max_score + scoring.jitter.max_score + scoring.success_rate.max_score;
    let threshold = draft.remotes.selector.min_score_threshold;
    unless(threshold <= highest, || {
        format!(
            "no candidate can reach min_score_threshold {threshold}, the three max_scores add up to {highest}; \
             allowed: min_score_threshold <= their sum"
        )
    })
}

fn overruled_networks(draft: &Draft) -> Vec<String> {
    let server = &draft.server;
    networks::overruled(&server.allow, &server.deny)
        .map(|(allow, deny)| {
            format!(
                "{allow} can never connect, for deny has {deny} and goes before allow; allowed: networks that are \
                 not denied as a whole"
            )
        })
        .collect()
}
