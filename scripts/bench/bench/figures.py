"""Medians and ratios of the rounds, and the goals they are held against. Pure: no process, no clock, no file.

A ratio is taken within each round, between turns that follow each other, and its median over the rounds is
what counts: what drifts from round to round falls out. "The better of the two" is the one of HAProxy and
nginx that leaves the forwarder the worse ratio.
"""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import median

Figures = dict[str, float]
Rounds = dict[str, list[Figures]]

FORWARDER = "forwarder"
RIVALS = ("haproxy", "nginx")
HIGHER_IS_BETTER = {"per_second", "scaled_per_second", "gb_per_s", "pool_hit_ratio"}


@dataclass(frozen=True)
class Goal:
    """One line of the table of goals.

    `against` is "rivals" for a ratio to the better of HAProxy and nginx, the name of another target for a
    ratio to that, or "" for a plain figure. `noise` is what a short run may miss the limit by, as a share of it:
    about twice what two identical HAProxies differ by in the quick mode.
    """

    case: str
    figure: str
    limit: float
    against: str
    text: str
    noise: float = 0.0
    target: str = FORWARDER
    at_least: bool = False


@dataclass(frozen=True)
class Verdict:
    goal: Goal
    value: float | None
    reached: bool | None

    def as_json(self) -> dict[str, object]:
        return {**asdict(self.goal), "value": self.value, "reached": self.reached}


CPU_NOISE = 0.06
RATE_NOISE = 0.10
P50_NOISE = 0.08
P99_NOISE = 0.30
MEMORY_NOISE = 0.02

BULK = {"bulk-up": "bulk up", "bulk-down": "bulk down", "bulk-8": "bulk, 8 streams"}
HTTP = {"keepalive": "keep-alive", "connect": "new connection per request", "alone": "one client alone"}

GOALS: list[Goal] = [
    *(Goal(case, "cpu_per_unit", 0.40, "rivals", f"{text}: CPU s/GB", CPU_NOISE) for case, text in BULK.items()),
    *(
        Goal(case, "gb_per_s", 1.3, "rivals", f"{text}: throughput", RATE_NOISE, at_least=True)
        for case, text in BULK.items()
    ),
    Goal("keepalive", "cpu_per_unit", 0.97, "rivals", "keep-alive: CPU s per request", CPU_NOISE),
    Goal("connect", "cpu_per_unit", 1.0, "rivals", "new connection per request: CPU s", CPU_NOISE),
    Goal("connect", "pool_hit_ratio", 0.95, "", "new connection per request: warm-pool hits", 0.01, at_least=True),
    *(Goal(case, "p50_us", 1.0, "rivals", f"{text}: p50", P50_NOISE) for case, text in HTTP.items()),
    *(Goal(case, "p99_us", 1.0, "rivals", f"{text}: p99", P99_NOISE) for case, text in HTTP.items()),
    Goal("far", "steady_share", 0.95, "", "backend 50 ms away: share served in one round trip", at_least=True),
    Goal("far", "recovered_share", 0.95, "", "the same, three scaling intervals into a burst of three times the rate", at_least=True),
    Goal("far-told", "steady_share", 0.95, "", "the same, where the backend is told of clients by PROXY v2", at_least=True),
    Goal("idle", "bytes_per_relay", 600, "", "idle relay: user-space bytes", MEMORY_NOISE),
    Goal("rest", "rss_mb", 4.0, "", "at rest, everything on: resident MB", MEMORY_NOISE),
    Goal("many", "rss_mb", 20.0, "", "65,536 candidates: resident MB", MEMORY_NOISE, target="65,536"),
    Goal("many", "metrics_kb", 200.0, "", "65,536 candidates: /metrics in kB", 0.0, target="65,536"),
    Goal("many", "added_mb", 8.0, "", "16.7 million candidates: MB added", MEMORY_NOISE, target="16.7 million"),
    Goal("size", "mb", 3.2, "", "release binary: MB"),
    Goal("size", "static", 1.0, "", "release binary: static", at_least=True),
    Goal("size", "stripped", 1.0, "", "release binary: stripped", at_least=True),
    Goal("startup", "listening_ms", 10.0, "", "start to listening: ms", 0.2),
    Goal("reactors", "shared_cpu_per_unit", 1.05, FORWARDER, "second reactor: CPU s per request", CPU_NOISE, "forwarder-2"),
    Goal(
        "reactors", "scaled_per_second", 1.7, FORWARDER, "second reactor: requests served", RATE_NOISE, "forwarder-2", at_least=True
    ),
    Goal("tls-keepalive", "cpu_per_unit", 1.0, "rivals", "TLS, keep-alive: CPU s per request", CPU_NOISE),
    Goal("tls-keepalive", "p50_us", 1.0, "rivals", "TLS, keep-alive: p50", P50_NOISE),
    Goal("tls-keepalive", "p99_us", 1.0, "rivals", "TLS, keep-alive: p99", P99_NOISE),
    Goal("tls-up", "cpu_per_unit", 0.9, "rivals", "TLS, bulk up: CPU s/GB", CPU_NOISE),
    Goal("tls-down", "cpu_per_unit", 0.9, "rivals", "TLS, bulk down: CPU s/GB", CPU_NOISE),
    Goal("tls-full", "cpu_per_unit", 1.0, "rivals", "TLS, full handshake: CPU s", CPU_NOISE),
    Goal("tls-resumed", "cpu_per_unit", 1.0, "rivals", "TLS, resumed handshake: CPU s", CPU_NOISE),
    Goal("tls-idle", "bytes_per_relay", 12 * 1024, "", "TLS, idle relay: user-space bytes", MEMORY_NOISE),
    Goal(
        "tls-routes", "passed_cpu_per_unit", 1.03, FORWARDER, "route by name, new connection per request: CPU s", CPU_NOISE,
        "forwarder-routes",
    ),
    Goal("tls-half-open", "p99_ratio", 1.1, "", "9,500 half-open handshakes: p99 of others, against without", P99_NOISE),
]


def medians(rounds: Rounds) -> dict[str, Figures]:
    """For each target the median of each figure."""
    found = {}
    for target, figures in rounds.items():
        keys = {key for figure in figures for key in figure}
        found[target] = {key: median(figure[key] for figure in figures if key in figure) for key in sorted(keys)}
    return found


def ratio(rounds: Rounds, figure: str, target: str, against: str) -> float | None:
    """The median over the rounds of `target` to `against`; of the medians when the rounds are not in pairs."""
    ours = [entry[figure] for entry in rounds.get(target, []) if figure in entry]
    theirs = [entry[figure] for entry in rounds.get(against, []) if figure in entry]
    if not ours or not theirs or not all(theirs):
        return None
    if len(ours) == len(theirs):
        return median(one / other for one, other in zip(ours, theirs))
    return median(ours) / median(theirs)


def ratio_to_better(rounds: Rounds, figure: str, target: str = FORWARDER) -> float | None:
    """The ratio to the better of HAProxy and nginx; None unless both were measured."""
    found = [ratio(rounds, figure, target, rival) for rival in RIVALS]
    known = [one for one in found if one is not None]
    if len(known) < len(RIVALS):
        return None
    return min(known) if figure in HIGHER_IS_BETTER else max(known)


def spread(rounds: Rounds, figure: str, target: str) -> float | None:
    """Half the distance between the quartiles as a share of the median: how steady a figure was."""
    values = sorted(entry[figure] for entry in rounds.get(target, []) if figure in entry)
    if len(values) < 3 or not median(values):
        return None
    low, high = values[math.floor(len(values) / 4)], values[math.ceil(len(values) * 3 / 4) - 1]
    return (high - low) / 2 / median(values)


def verdicts(cases: dict[str, Rounds], quick: bool) -> list[Verdict]:
    """Every goal with its value and whether it was reached; None where the case was not run."""
    return [judge(goal, cases.get(goal.case), quick) for goal in GOALS]


def judge(goal: Goal, rounds: Rounds | None, quick: bool) -> Verdict:
    value = _value(goal, rounds) if rounds else None
    if value is None:
        return Verdict(goal, None, None)
    slack = goal.noise if quick else 0.0
    reached = value >= goal.limit * (1 - slack) if goal.at_least else value <= goal.limit * (1 + slack)
    return Verdict(goal, value, reached)


def _value(goal: Goal, rounds: Rounds) -> float | None:
    if goal.against == "rivals":
        return ratio_to_better(rounds, goal.figure, goal.target)
    if goal.against:
        return ratio(rounds, goal.figure, goal.target, goal.against)
    return medians(rounds).get(goal.target, {}).get(goal.figure)
