//! The rows of `remotes`: candidates, probing, scoring, selection.

use super::super::check::{CheckKind, Method};
use super::super::remotes::LatencySource;
use super::super::slot::{Choice, Slot};
use super::key::{Key, hours, ms, of_service, secs};
use Slot::{ByteRate, Count, Duration as Time, Flag, Number, Port, Size};

pub(super) const REMOTES: &[Key] = &[of_service(
    "remotes.default_remote_port",
    Port((1, u16::MAX), |d| &mut d.remotes.default_remote_port),
    "port of candidates whose line names none",
)];

pub(super) const PROBING: &[Key] = &[
    of_service(
        "remotes.dns.resolver",
        Slot::Servers(|d| &mut d.remotes.dns.resolver),
        "DNS servers that are asked for names, in this order; an empty list = those of /etc/resolv.conf, as it is then",
    ),
    of_service(
        "remotes.dns.timeout",
        Time((ms(10), secs(60)), |d| &mut d.remotes.dns.timeout),
        "a server that takes longer is not waited for; each is asked twice",
    ),
    of_service(
        "remotes.dns.min_ttl",
        Time((secs(1), hours(24)), |d| &mut d.remotes.dns.min_ttl),
        "an answer is kept for no less than this, whatever it says of itself",
    ),
    of_service(
        "remotes.dns.max_ttl",
        Time((secs(1), hours(24 * 7)), |d| &mut d.remotes.dns.max_ttl),
        "an answer is kept for no more than this",
    ),
    of_service(
        "remotes.tls.enabled",
        Flag(|d| &mut d.remotes.tls.enabled),
        "whether connections to backends are encrypted",
    ),
    of_service(
        "remotes.tls.sni",
        Slot::Text(|d| &mut d.remotes.tls.client.sni),
        "name that backends are asked for (SNI), and that their certificates must have; empty: they must have the address",
    ),
    of_service(
        "remotes.tls.verify",
        Flag(|d| &mut d.remotes.tls.client.verify),
        "whether a backend must show a good certificate; if not, anybody in between can read and change everything",
    ),
    of_service(
        "remotes.tls.ca",
        Slot::FileOrNone(|d| &mut d.remotes.tls.client.ca),
        "PEM file of the authorities that vouch for backends; empty = those of the system",
    ),
    of_service(
        "remotes.tls.alpn",
        Slot::Protocols(|d| &mut d.remotes.tls.client.alpn),
        "protocols behind TLS that backends are offered, the best first; an empty list = none is offered",
    ),
    of_service(
        "remotes.bind.address",
        Slot::OwnAddresses(|d| &mut d.remotes.bind.addresses),
        "own address that dials, probes and checks leave from; candidates of a family without one are not reached; an empty list = the system chooses",
    ),
    of_service(
        "remotes.bind.interface",
        Slot::InterfaceOrNone(|d| &mut d.remotes.bind.interface),
        "interface that they leave by (Linux and Android); empty = by the routes",
    ),
    of_service(
        "remotes.probing.interval",
        Time((ms(10), hours(24)), |d| &mut d.remotes.probing.interval),
        "length of one probing round",
    ),
    of_service(
        "remotes.probing.timeout",
        Time((ms(1), secs(60)), |d| &mut d.remotes.probing.timeout),
        "a probe that takes longer has failed",
    ),
    of_service(
        "remotes.probing.probe_candidate_count",
        Size((1, 10_000), |d| &mut d.remotes.probing.probe_candidate_count),
        "candidates probed per round, the active set first",
    ),
    of_service(
        "remotes.probing.initial.enabled",
        Flag(|d| &mut d.remotes.probing.initial.enabled),
        "whether candidates are probed before serving starts",
    ),
    of_service(
        "remotes.probing.initial.max_concurrency",
        Size((1, 10_000), |d| &mut d.remotes.probing.initial.max_concurrency),
        "probes in flight at once",
    ),
    of_service(
        "remotes.probing.initial.timeout",
        Time((ms(1), secs(60)), |d| &mut d.remotes.probing.initial.timeout),
        "a probe that takes longer has failed",
    ),
    of_service(
        "remotes.probing.search.enabled",
        Flag(|d| &mut d.remotes.probing.search.enabled),
        "whether probes of a long list go where they pay; if not, evenly over it",
    ),
    of_service(
        "remotes.probing.search.start_budget",
        Size((10, 65_536), |d| &mut d.remotes.probing.search.start_budget),
        "probes of the first search; a list that is no longer is looked at whole",
    ),
    of_service(
        "remotes.probing.search.model_nodes",
        Size((64, 65_536), |d| &mut d.remotes.probing.search.model_nodes),
        "prefixes that the model of a list remembers, of 80 bytes each",
    ),
    of_service(
        "remotes.probing.search.half_life",
        Time((secs(1), hours(24 * 365)), |d| {
            &mut d.remotes.probing.search.half_life
        }),
        "after so long, what was learned counts for half",
    ),
    of_service(
        "remotes.probing.check.type",
        Slot::Choice(Choice {
            names: &["connect", "tls", "http", "https", "send_expect"],
            name: |d| d.remotes.probing.check.kind.name(),
            choose: |d, name| {
                for kind in CheckKind::ALL {
                    if kind.name() == name {
                        d.remotes.probing.check.kind = kind;
                    }
                }
            },
        }),
        "what a probe asks beyond a connect: nothing, for a TLS handshake, by HTTP, by HTTP over TLS, or bytes of your own",
    ),
    of_service(
        "remotes.probing.check.port",
        Port((0, u16::MAX), |d| &mut d.remotes.probing.check.port),
        "the port that probes connect to; 0: the candidate's own",
    ),
    of_service(
        "remotes.probing.check.every",
        Count((1, 1_000), |d| &mut d.remotes.probing.check.every),
        "one round of probes in so many asks, the others connect; who was never asked, or answered wrongly last, is asked in each",
    ),
    of_service(
        "remotes.probing.check.tls.sni",
        Slot::Text(|d| &mut d.remotes.probing.check.tls.sni),
        "name that a check over TLS asks for; empty: that of remotes.tls, or of http.host, or none",
    ),
    of_service(
        "remotes.probing.check.tls.verify",
        Flag(|d| &mut d.remotes.probing.check.tls.verify),
        "whether a check over TLS wants a good certificate; not where remotes.tls wants none",
    ),
    of_service(
        "remotes.probing.check.tls.ca",
        Slot::FileOrNone(|d| &mut d.remotes.probing.check.tls.ca),
        "PEM file of the authorities for checks over TLS; empty = those of remotes.tls, or of the system",
    ),
    of_service(
        "remotes.probing.check.http.host",
        Slot::Text(|d| &mut d.remotes.probing.check.http.host),
        "the name that is asked for in the header Host; empty: the candidate's address",
    ),
    of_service(
        "remotes.probing.check.http.path",
        Slot::Text(|d| &mut d.remotes.probing.check.http.path),
        "the path that is asked for, with its query",
    ),
    of_service(
        "remotes.probing.check.http.method",
        Slot::Choice(Choice {
            names: &["HEAD", "GET"],
            name: |d| d.remotes.probing.check.http.method.name(),
            choose: |d, name| {
                d.remotes.probing.check.http.method = if name == "GET" { Method::Get } else { Method::Head };
            },
        }),
        "how it is asked for: its head alone, or with its body",
    ),
    of_service(
        "remotes.probing.check.http.expect_status",
        Slot::Statuses(|d| &mut d.remotes.probing.check.http.expect_status),
        "statuses of a right answer",
    ),
    of_service(
        "remotes.probing.check.http.expect_header",
        Slot::Text(|d| &mut d.remotes.probing.check.http.expect_header),
        "a header of a right answer: Name, or Name: what its value contains; empty: none",
    ),
    of_service(
        "remotes.probing.check.http.expect_body",
        Slot::Text(|d| &mut d.remotes.probing.check.http.expect_body),
        "what the body of a right answer contains, in its first 64 KiB; empty: anything; not with HEAD",
    ),
    of_service(
        "remotes.probing.check.send",
        Slot::Bytes(|d| &mut d.remotes.probing.check.send),
        "what send_expect sends; empty: nothing, the candidate speaks first",
    ),
    of_service(
        "remotes.probing.check.expect",
        Slot::Bytes(|d| &mut d.remotes.probing.check.expect),
        "what a right answer to send_expect contains, in its first 64 KiB; empty: anything",
    ),
    of_service(
        "remotes.probing.check.select.header",
        Slot::Text(|d| &mut d.remotes.probing.check.select.header),
        "keeps only candidates whose answer by HTTP has this header, with a value that matches; empty: all",
    ),
    of_service(
        "remotes.probing.check.select.match",
        Slot::Text(|d| &mut d.remotes.probing.check.select.pattern),
        "a regular expression that the value of select.header matches somewhere",
    ),
    of_service(
        "remotes.passive.enabled",
        Flag(|d| &mut d.remotes.passive.enabled),
        "whether a backend is judged by how it serves clients, besides by probes and dials",
    ),
    of_service(
        "remotes.passive.silence",
        Time((ms(0), hours(1)), |d| &mut d.remotes.passive.silence),
        "a backend that says nothing for so long after a client spoke does not serve it; less once answers are known to come sooner; 0 = never",
    ),
    of_service(
        "remotes.passive.early_close",
        Time((ms(0), secs(60)), |d| &mut d.remotes.passive.early_close),
        "a backend that closes a connection so soon, before anybody has said anything, has failed; 0 = never",
    ),
];

const SCORE: (f64, f64) = (0.0, 1000.0);
const WEIGHT: (f64, f64) = (0.0, 1.0);
const ALPHA: (f64, f64) = (0.001, 1.0);

pub(super) const SCORING: &[Key] = &[
    of_service(
        "remotes.scoring.weights.latency",
        Number(WEIGHT, |d| &mut d.weights.latency),
        "share of latency; a max_score left out is weight x 100",
    ),
    of_service(
        "remotes.scoring.weights.jitter",
        Number(WEIGHT, |d| &mut d.weights.jitter),
        "share of jitter; a max_score left out is weight x 100",
    ),
    of_service(
        "remotes.scoring.weights.success_rate",
        Number(WEIGHT, |d| &mut d.weights.success_rate),
        "share of the success rate; a max_score left out is weight x 100",
    ),
    of_service(
        "remotes.scoring.latency.max_score",
        Number(SCORE, |d| &mut d.remotes.scoring.latency.max_score),
        "points at base_latency or below",
    ),
    of_service(
        "remotes.scoring.latency.source",
        Slot::Choice(Choice {
            names: &["connect", "first_byte"],
            name: |d| d.remotes.scoring.latency.source.name(),
            choose: |d, name| {
                let named = LatencySource::ALL
                    .into_iter()
                    .find(|source| source.name() == name);
                if let Some(source) = named {
                    d.remotes.scoring.latency.source = source;
                }
            },
        }),
        "which latency is scored: how long connects take, or the first bytes of answers to checks, and to clients where there are none",
    ),
    of_service(
        "remotes.scoring.latency.ewma_alpha",
        Number(ALPHA, |d| &mut d.remotes.scoring.latency.ewma_alpha),
        "weight of a new sample in the moving average",
    ),
    of_service(
        "remotes.scoring.latency.base_latency",
        Time((ms(0), secs(60)), |d| &mut d.remotes.scoring.latency.base),
        "full points up to here",
    ),
    of_service(
        "remotes.scoring.latency.max_acceptable_latency",
        Time((ms(1), secs(60)), |d| {
            &mut d.remotes.scoring.latency.max_acceptable
        }),
        "no points from here on; above base_latency",
    ),
    of_service(
        "remotes.scoring.jitter.max_score",
        Number(SCORE, |d| &mut d.remotes.scoring.jitter.max_score),
        "points at base_jitter or below",
    ),
    of_service(
        "remotes.scoring.jitter.ewma_alpha",
        Number(ALPHA, |d| &mut d.remotes.scoring.jitter.ewma_alpha),
        "weight of a new sample in the moving average",
    ),
    of_service(
        "remotes.scoring.jitter.base_jitter",
        Time((ms(0), secs(60)), |d| &mut d.remotes.scoring.jitter.base),
        "full points up to here",
    ),
    of_service(
        "remotes.scoring.jitter.max_acceptable_jitter",
        Time((ms(1), secs(60)), |d| {
            &mut d.remotes.scoring.jitter.max_acceptable
        }),
        "no points from here on; above base_jitter",
    ),
    of_service(
        "remotes.scoring.success_rate.max_score",
        Number(SCORE, |d| &mut d.remotes.scoring.success_rate.max_score),
        "points when every probe succeeds",
    ),
    of_service(
        "remotes.scoring.success_rate.ewma_alpha",
        Number(ALPHA, |d| &mut d.remotes.scoring.success_rate.ewma_alpha),
        "weight of a new sample in the moving average",
    ),
    of_service(
        "remotes.scoring.throughput.max_score",
        Number(SCORE, |d| &mut d.remotes.scoring.throughput.max_score),
        "points at a throughput of good or above; 0 = not scored",
    ),
    of_service(
        "remotes.scoring.throughput.ewma_alpha",
        Number(ALPHA, |d| &mut d.remotes.scoring.throughput.ewma_alpha),
        "weight of a new sample in the moving average",
    ),
    of_service(
        "remotes.scoring.throughput.good",
        ByteRate("none", |d| &mut d.remotes.scoring.throughput.good),
        "full points from here on; above floor",
    ),
    of_service(
        "remotes.scoring.throughput.floor",
        ByteRate("none", |d| &mut d.remotes.scoring.throughput.floor),
        "no points up to here",
    ),
    of_service(
        "remotes.scoring.failure_penalty.base_penalty",
        Number(SCORE, |d| &mut d.remotes.scoring.failure_penalty.base_penalty),
        "points that the first failure costs",
    ),
    of_service(
        "remotes.scoring.failure_penalty.exponent_factor",
        Number((1.0, 100.0), |d| {
            &mut d.remotes.scoring.failure_penalty.exponent_factor
        }),
        "growth of the penalty per further failure in a row",
    ),
    of_service(
        "remotes.scoring.failure_penalty.max_penalty",
        Number(SCORE, |d| &mut d.remotes.scoring.failure_penalty.max_penalty),
        "the most that failures ever cost; at least base_penalty",
    ),
    of_service(
        "remotes.scoring.failure_penalty.recovery_per_check",
        Number(SCORE, |d| {
            &mut d.remotes.scoring.failure_penalty.recovery_per_check
        }),
        "points that each success gives back",
    ),
    of_service(
        "remotes.scoring.historical_bonus.max_bonus",
        Number(SCORE, |d| &mut d.remotes.scoring.historical_bonus.max_bonus),
        "the most points that a run of successes earns",
    ),
    of_service(
        "remotes.scoring.historical_bonus.checks_per_point",
        Count((1, 1_000_000), |d| {
            &mut d.remotes.scoring.historical_bonus.checks_per_point
        }),
        "successes in a row for one point",
    ),
];

pub(super) const SELECTOR: &[Key] = &[
    of_service(
        "remotes.selector.evaluation_interval",
        Time((ms(10), hours(24)), |d| {
            &mut d.remotes.selector.evaluation_interval
        }),
        "time between two looks at the scores",
    ),
    of_service(
        "remotes.selector.active_set_size",
        Size((1, 1000), |d| &mut d.remotes.selector.active_set_size),
        "backends in use at once",
    ),
    of_service(
        "remotes.selector.confirm_probes",
        Size((1, 100), |d| &mut d.remotes.selector.confirm_probes),
        "answers that a candidate has given before it takes the place of a member that is well",
    ),
    of_service(
        "remotes.selector.min_score_threshold",
        Number((0.0, 4000.0), |d| &mut d.remotes.selector.min_score_threshold),
        "below this score a candidate is not chosen; at most the sum of the three max_scores",
    ),
    of_service(
        "remotes.selector.switching.debounce_interval",
        Time((ms(0), hours(24)), |d| &mut d.remotes.selector.debounce_interval),
        "least time between two switches for a better score",
    ),
    of_service(
        "remotes.selector.switching.score_improvement_threshold",
        Number(SCORE, |d| &mut d.remotes.selector.score_improvement_threshold),
        "how much better the mean score of a new set must be",
    ),
    of_service(
        "remotes.selector.switching.latency_improvement_ratio",
        Number((0.0, 0.99), |d| &mut d.remotes.selector.latency_improvement_ratio),
        "how much lower the mean latency of a new set must be, as a share, if its mean score is no lower; 0: no reason",
    ),
];
