"""The cases under load: proxies measured in turns, A B C D A B C D, so that drift hits all of them alike.

A case yields, for each target, a list of rounds; a round is a dictionary of figures. Medians and ratios are
made of those in `figures.py`. The cases without load are in `footprint.py`.
"""
from __future__ import annotations

import json
import os
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

from . import peers, proxies
from .figures import FORWARDER
from .plan import Layout, Plan
from .process import BenchError, Child, Workspace, machine_times
from .proxies import Candidates, Target

Rounds = dict[str, list[dict[str, float]]]
Turn = Callable[[Target], dict[str, float]]
# Processors that others may keep busy during a turn before it is taken again.
FOREIGN_SHARE = 0.10
# From 20 connections to what 64 clients need, 10 a second (the defaults of the dynamic pool).
POOL_GROWTH_S = 8
# Two for two reactors, two for the load.
CORES_TO_SCALE = 4
# The forwarder that writes an access log.
LOGGING = f"{FORWARDER}-log"
WRK_SCRIPT = str(Path(__file__).with_name("wrk.lua"))


@dataclass
class Run:
    """What a case works with."""

    plan: Plan
    workspace: Workspace
    say: Callable[[str], None]

    def targets(self, to: Candidates, names: list[str]) -> list[Target]:
        plan = self.plan
        return [proxies.start(name, self.workspace, to, plan.binary, plan.layout.proxy) for name in names]

    def stop(self, targets: list[Target]) -> None:
        for target in targets:
            if target.child:
                self.workspace.stop(target.child)


def in_turns(run: Run, targets: list[Target], backend: Child, turn: Turn) -> Rounds:
    """One discarded turn for each target (none in a short run), then the rounds, each turn with its processor time."""
    if not run.plan.quick:
        for target in targets:
            turn(target)
    figures: Rounds = {target.name: [] for target in targets}
    for number in range(run.plan.rounds):
        for target in targets:
            figures[target.name].append(_quiet(run, target, backend, turn))
        run.say(f"round {number + 1}/{run.plan.rounds}")
    return figures


def _quiet(run: Run, target: Target, backend: Child, turn: Turn) -> dict[str, float]:
    """One turn; taken again, a few times at most, while something else on the machine kept processors busy."""
    for retry in range(run.plan.patience + 1):
        before = _Clocks(target, backend)
        figure = turn(target)
        figure.update(before.since())
        if figure["foreign_share"] + figure["stolen_share"] <= FOREIGN_SHARE:
            break
        if retry < run.plan.patience:
            run.say(f"{target.name}: others used {figure['foreign_share']:.2f} processors, once more")
    return figure


class _Clocks:
    """Processor time around one turn."""

    def __init__(self, target: Target, backend: Child):
        self.target = target
        self.backend = backend
        self.machine = machine_times()
        self.own_s = _own_seconds()
        self.backend_s = backend.cpu_seconds()
        self.proxy_s = target.child.cpu_seconds() if target.child else 0.0
        self.start = time.monotonic()

    def since(self) -> dict[str, float]:
        # Relays that close at the end of a turn belong to it.
        time.sleep(0.05)
        wall = time.monotonic() - self.start
        machine = machine_times()
        found = {
            "backend_cpu_s": self.backend.cpu_seconds() - self.backend_s,
            "stolen_share": (machine["stolen"] - self.machine["stolen"]) / wall,
        }
        if self.target.child:
            self.target.child.check_alive()
            found["cpu_s"] = self.target.child.cpu_seconds() - self.proxy_s
            found["cpu_share"] = found["cpu_s"] / wall
            found["rss_mb"] = self.target.child.memory()["rss"] / 1e6
        ours = _own_seconds() - self.own_s + found["backend_cpu_s"] + found.get("cpu_s", 0.0)
        found["foreign_share"] = max(0.0, machine["busy"] - self.machine["busy"] - ours) / wall
        return found


def _own_seconds() -> float:
    """Processor time of this process and of the load generators that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def per_unit(rounds: Rounds, work: str, unit: float) -> Rounds:
    """Adds `cpu_per_unit`: processor seconds of the proxy per `unit` of `work`."""
    for figures in rounds.values():
        for figure in figures:
            if "cpu_s" in figure:
                figure["cpu_per_unit"] = figure["cpu_s"] / figure[work] * unit
    return rounds


def http(
    run: Run, connections: int, close: bool, seconds: int, names: list[str] | None = None, tls: str = ""
) -> Rounds:
    """`wrk` with small replies, over connections that stay or with a new connection for every request.

    TLS ends at the proxies (`ended`), or passes through them (`passed`).
    """
    kind = "ssl" if tls == "passed" else ""
    backend, port = peers.web_server(run.workspace, run.plan.layout.load, kind=kind)
    # Both of those through which it passes find a warm connection every time, so that they differ in nothing else.
    pool = "static" if tls == "passed" else "dynamic"
    to = Candidates(peers.WEB_ADDRESS, port, pool=pool, tls=tls == "ended")
    targets = run.targets(to, names or run.plan.for_ratios())
    for target in targets if tls == "passed" else []:
        # By its name: no address is asked for by SNI.
        target.scheme, target.host = "https", "localhost"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", WRK_SCRIPT]
    if close:
        command += ["-H", "Connection: close"]

    def turn(target: Target) -> dict[str, float]:
        pool = _pool(target)
        out = run.workspace.run("wrk", [*command, target.url], run.plan.layout.load, seconds + 20)
        found = json.loads(out.strip().splitlines()[-1])
        if found["requests"] == 0 or found["failed"] > found["requests"] * 0.001:
            raise BenchError(f"{target.name}: {found['failed']} of {found['requests']} requests failed")
        found["per_second"] = found["requests"] / (found["duration_us"] / 1e6)
        after = _pool(target)
        if pool and after:
            hits, misses = after[0] - pool[0], after[1] - pool[1]
            found["pool_hits"], found["pool_misses"] = hits, misses
            found["pool_hit_ratio"] = hits / (hits + misses) if hits + misses else 0.0
        if target.name == LOGGING:
            found["lines_lost"] = target.metric_sum("tcp_forwarder_access_log_lost_lines_total")
        return found

    try:
        if close:
            _fill_pools(run, targets, command)
        rounds = in_turns(run, targets, backend, turn)
    finally:
        run.stop(targets)
        run.workspace.stop(backend)
    return per_unit(rounds, "requests", 10_000 if close else 100_000)


def access_log(run: Run) -> Rounds:
    """What a line for each connection costs: the same forwarder with an access log, in a file, and without, in turns."""
    rounds = http(run, 64, True, run.plan.seconds(5, 2), [FORWARDER, LOGGING])
    for without, figure in zip(rounds[FORWARDER], rounds[LOGGING]):
        if figure["lines_lost"]:
            raise BenchError(f"{figure['lines_lost']:.0f} lines were lost: what is measured is not the whole cost")
        figure["line_us"] = (figure["cpu_per_unit"] - without["cpu_per_unit"]) / 10_000 * 1e6
    return rounds


def _fill_pools(run: Run, targets: list[Target], command: list[str]) -> None:
    """Load until the dynamic pool, which grows by steps, has found the size for these clients."""
    for target in targets:
        if target.metrics_port is not None:
            longer = [f"-d{POOL_GROWTH_S}s" if word.startswith("-d") else word for word in command]
            run.workspace.run("wrk", [*longer, target.url], run.plan.layout.load, 60)


def _pool(target: Target) -> tuple[float, float] | None:
    if target.metrics_port is None:
        return None
    return target.metric_sum("tcp_forwarder_pool_hits_total"), target.metric_sum("tcp_forwarder_pool_misses_total")


def bulk(run: Run, direction: str, streams: int, seconds: int) -> Rounds:
    """`iperf3`: `up` from the client, `down` to it, or `both` at once.

    An iperf3 server takes whatever connects first for a client, so here, and only here, the forwarder keeps
    no warm connections and probes once an hour.
    """
    backend, port = peers.iperf_server(run.workspace, run.plan.layout.load)
    to = Candidates(peers.IPERF_ADDRESS, port, pool="off", probing_interval="1h")
    targets = run.targets(to, run.plan.for_ratios())
    flags = {"up": [], "down": ["-R"], "both": ["--bidir"]}[direction]

    def turn(target: Target) -> dict[str, float]:
        command = ["iperf3", "-c", target.address, "-p", str(target.port), "-J", "-t", str(seconds), "-P", str(streams), *flags]
        for attempt in range(3):
            try:
                out = run.workspace.run("iperf3", command, run.plan.layout.load, seconds + 20)
                break
            except BenchError:
                # The server takes a moment to be ready for its next test.
                if attempt == 2:
                    raise
                time.sleep(0.5)
        end = json.loads(out)["end"]
        moved = end["sum_received"]["bytes"] + end.get("sum_received_bidir_reverse", {}).get("bytes", 0)
        if not moved:
            raise BenchError(f"{target.name}: iperf3 moved no bytes")
        return {"bytes": moved, "gb_per_s": moved / end["sum_received"]["seconds"] / 1e9}

    try:
        rounds = in_turns(run, targets, backend, turn)
    finally:
        run.stop(targets)
        run.workspace.stop(backend)
    return per_unit(rounds, "bytes", 1e9)


def keepalive(run: Run) -> Rounds:
    return http(run, 64, False, run.plan.seconds(5, 1))


def connect(run: Run) -> Rounds:
    return http(run, 64, True, run.plan.seconds(5, 1))


def alone(run: Run) -> Rounds:
    return http(run, 1, False, run.plan.seconds(4, 1))


def bulk_up(run: Run) -> Rounds:
    return bulk(run, "up", 1, run.plan.seconds(4, 1))


def bulk_down(run: Run) -> Rounds:
    return bulk(run, "down", 1, run.plan.seconds(4, 1))


def bulk_8(run: Run) -> Rounds:
    return bulk(run, "up", 8, run.plan.seconds(4, 1))


def bulk_both(run: Run) -> Rounds:
    return bulk(run, "both", 1, run.plan.seconds(4, 1))


def reactors(run: Run) -> Rounds:
    """One reactor against two: what two serve where two cores are free for them, else what the second one costs."""
    cores = sorted(os.sched_getaffinity(0))
    roomy = len(cores) >= CORES_TO_SCALE
    plan = replace(run.plan)
    if roomy:
        plan.layout = Layout(set(cores[:2]), set(cores[2:]))
    rounds = http(replace(run, plan=plan), 64, False, plan.seconds(5, 1), ["forwarder", "forwarder-2"])
    for figures in rounds.values():
        for figure in figures:
            name, source = ("scaled_per_second", "per_second") if roomy else ("shared_cpu_per_unit", "cpu_per_unit")
            figure[name] = figure[source]
    return rounds
