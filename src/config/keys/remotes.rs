//! The rows of `remotes`: candidates, probing, scoring, selection.

use super::super::slot::{Choice, Slot};
use super::{Key, hours, key, ms, secs};
use Slot::{Count, Duration as Time, File, Flag, Number, Port, Size};

pub(super) const REMOTES: &[Key] = &[
    key(
        "remotes.default_remote_port",
        Port(|d| &mut d.config.remotes.default_remote_port),
        "port of candidates whose line names none",
    ),
    key(
        "remotes.provider.type",
        Slot::Choice(Choice {
            names: &["file"],
            name: |_| "file",
            choose: |_, _| (),
        }),
        "where candidates come from",
    ),
    key(
        "remotes.provider.file.path",
        File(|d| &mut d.config.remotes.provider.path),
        "the candidate list",
    ),
    key(
        "remotes.provider.file.watch",
        Flag(|d| &mut d.config.remotes.provider.watch),
        "whether a changed list is read again",
    ),
    key(
        "remotes.probing.interval",
        Time((ms(10), hours(24)), |d| &mut d.config.remotes.probing.interval),
        "length of one probing round",
    ),
    key(
        "remotes.probing.timeout",
        Time((ms(1), secs(60)), |d| &mut d.config.remotes.probing.timeout),
        "a probe that takes longer has failed",
    ),
    key(
        "remotes.probing.probe_candidate_count",
        Size((1, 10_000), |d| {
            &mut d.config.remotes.probing.probe_candidate_count
        }),
        "candidates probed per round, the active set first",
    ),
    key(
        "remotes.probing.initial.enabled",
        Flag(|d| &mut d.config.remotes.probing.initial.enabled),
        "whether candidates are probed before serving starts",
    ),
    key(
        "remotes.probing.initial.max_concurrency",
        Size((1, 10_000), |d| {
            &mut d.config.remotes.probing.initial.max_concurrency
        }),
        "probes in flight at once",
    ),
    key(
        "remotes.probing.initial.timeout",
        Time((ms(1), secs(60)), |d| {
            &mut d.config.remotes.probing.initial.timeout
        }),
        "a probe that takes longer has failed",
    ),
];

const SCORE: (f64, f64) = (0.0, 1000.0);
const WEIGHT: (f64, f64) = (0.0, 1.0);
const ALPHA: (f64, f64) = (0.001, 1.0);

pub(super) const SCORING: &[Key] = &[
    key(
        "remotes.scoring.weights.latency",
        Number(WEIGHT, |d| &mut d.weights.latency),
        "share of latency; a max_score left out is weight x 100",
    ),
    key(
        "remotes.scoring.weights.jitter",
        Number(WEIGHT, |d| &mut d.weights.jitter),
        "share of jitter; a max_score left out is weight x 100",
    ),
    key(
        "remotes.scoring.weights.success_rate",
        Number(WEIGHT, |d| &mut d.weights.success_rate),
        "share of the success rate; a max_score left out is weight x 100",
    ),
    key(
        "remotes.scoring.latency.max_score",
        Number(SCORE, |d| &mut d.config.remotes.scoring.latency.max_score),
        "points at base_latency or below",
    ),
    key(
        "remotes.scoring.latency.ewma_alpha",
        Number(ALPHA, |d| &mut d.config.remotes.scoring.latency.ewma_alpha),
        "weight of a new sample in the moving average",
    ),
    key(
        "remotes.scoring.latency.base_latency",
        Time((ms(0), secs(60)), |d| &mut d.config.remotes.scoring.latency.base),
        "full points up to here",
    ),
    key(
        "remotes.scoring.latency.max_acceptable_latency",
        Time((ms(1), secs(60)), |d| {
            &mut d.config.remotes.scoring.latency.max_acceptable
        }),
        "no points from here on; above base_latency",
    ),
    key(
        "remotes.scoring.jitter.max_score",
        Number(SCORE, |d| &mut d.config.remotes.scoring.jitter.max_score),
        "points at base_jitter or below",
    ),
    key(
        "remotes.scoring.jitter.ewma_alpha",
        Number(ALPHA, |d| &mut d.config.remotes.scoring.jitter.ewma_alpha),
        "weight of a new sample in the moving average",
    ),
    key(
        "remotes.scoring.jitter.base_jitter",
        Time((ms(0), secs(60)), |d| &mut d.config.remotes.scoring.jitter.base),
        "full points up to here",
    ),
    key(
        "remotes.scoring.jitter.max_acceptable_jitter",
        Time((ms(1), secs(60)), |d| {
            &mut d.config.remotes.scoring.jitter.max_acceptable
        }),
        "no points from here on; above base_jitter",
    ),
    key(
        "remotes.scoring.success_rate.max_score",
        Number(SCORE, |d| &mut d.config.remotes.scoring.success_rate.max_score),
        "points when every probe succeeds",
    ),
    key(
        "remotes.scoring.success_rate.ewma_alpha",
        Number(ALPHA, |d| &mut d.config.remotes.scoring.success_rate.ewma_alpha),
        "weight of a new sample in the moving average",
    ),
    key(
        "remotes.scoring.failure_penalty.base_penalty",
        Number(SCORE, |d| {
            &mut d.config.remotes.scoring.failure_penalty.base_penalty
        }),
        "points that the first failure costs",
    ),
    key(
        "remotes.scoring.failure_penalty.exponent_factor",
        Number((1.0, 100.0), |d| {
            &mut d.config.remotes.scoring.failure_penalty.exponent_factor
        }),
        "growth of the penalty per further failure in a row",
    ),
    key(
        "remotes.scoring.failure_penalty.max_penalty",
        Number(SCORE, |d| {
            &mut d.config.remotes.scoring.failure_penalty.max_penalty
        }),
        "the most that failures ever cost; at least base_penalty",
    ),
    key(
        "remotes.scoring.failure_penalty.recovery_per_check",
        Number(SCORE, |d| {
            &mut d.config.remotes.scoring.failure_penalty.recovery_per_check
        }),
        "points that each success gives back",
    ),
    key(
        "remotes.scoring.historical_bonus.max_bonus",
        Number(SCORE, |d| {
            &mut d.config.remotes.scoring.historical_bonus.max_bonus
        }),
        "the most points that a run of successes earns",
    ),
    key(
        "remotes.scoring.historical_bonus.checks_per_point",
        Count((1, 1_000_000), |d| {
            &mut d.config.remotes.scoring.historical_bonus.checks_per_point
        }),
        "successes in a row for one point",
    ),
];

pub(super) const SELECTOR: &[Key] = &[
    key(
        "remotes.selector.evaluation_interval",
        Time((ms(10), hours(24)), |d| {
            &mut d.config.remotes.selector.evaluation_interval
        }),
        "time between two looks at the scores",
    ),
    key(
        "remotes.selector.active_set_size",
        Size((1, 1000), |d| &mut d.config.remotes.selector.active_set_size),
        "backends in use at once",
    ),
    key(
        "remotes.selector.min_score_threshold",
        Number((0.0, 4000.0), |d| {
            &mut d.config.remotes.selector.min_score_threshold
        }),
        "below this score a candidate is not chosen; at most the sum of the three max_scores",
    ),
    key(
        "remotes.selector.switching.debounce_interval",
        Time((ms(0), hours(24)), |d| {
            &mut d.config.remotes.selector.debounce_interval
        }),
        "least time between two switches for a better score",
    ),
    key(
        "remotes.selector.switching.score_improvement_threshold",
        Number(SCORE, |d| {
            &mut d.config.remotes.selector.score_improvement_threshold
        }),
        "how much better the mean score of a new set must be",
    ),
];
