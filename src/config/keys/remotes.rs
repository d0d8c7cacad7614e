//! The rows of `remotes`: candidates, probing, scoring, selection.

use super::super::remotes::LatencySource;
use super::super::slot::{Choice, Slot};
use super::key::{Key, hours, ms, of_service, secs};
use Slot::{ByteRate, Count, Duration as Time, File, Flag, Number, Port, Size};

pub(super) const REMOTES: &[Key] = &[
    of_service(
        "remotes.default_remote_port",
        Port(|d| &mut d.remotes.default_remote_port),
        "port of candidates whose line names none",
    ),
    of_service(
        "remotes.provider.type",
        Slot::Choice(Choice {
            names: &["file"],
            name: |_| "file",
            choose: |_, _| (),
        }),
        "where candidates come from",
    ),
    of_service(
        "remotes.provider.file.path",
        File(|d| &mut d.remotes.provider.path),
        "the candidate list",
    ),
    of_service(
        "remotes.provider.file.watch",
        Flag(|d| &mut d.remotes.provider.watch),
        "whether a changed list is read again",
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
        "which latency is scored: how long connects take, or the first bytes of answers to checks and clients",
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
