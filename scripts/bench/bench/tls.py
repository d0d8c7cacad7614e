"""The cases with TLS: the same certificate, cipher and group everywhere, and everybody has tickets.

HAProxy and nginx end TLS before plain backends, as the forwarder does; a direct connection has no part in it.
"""
from __future__ import annotations

import json
import sys
from statistics import median

from . import cases, footprint, peers
from .cases import Rounds, Run
from .figures import FORWARDER
from .process import BenchError, Child
from .proxies import Candidates, Target

IDLE_RELAYS = 3_000
HALF_OPEN = 9_500
# Who opens them: a process each, for a process has 20,000 descriptors.
HALF_OPENERS = 2
# Long enough for a turn while they are held.
HALF_OPEN_S = 20
CUT_LATE_S = 5.0


def keepalive(run: Run) -> Rounds:
    return cases.http(run, 64, False, run.plan.seconds(5, 1), run.plan.without_direct(), tls="ended")


def bulk_up(run: Run) -> Rounds:
    return _bulk(run, "up")


def bulk_down(run: Run) -> Rounds:
    return _bulk(run, "down")


def _bulk(run: Run, direction: str) -> Rounds:
    """One stream of a client of OpenSSL, from or to a plain server."""
    count = run.plan.count(2_000_000_000, 400_000_000)
    backend, port = peers.bulk_server(run.workspace, run.plan.layout.load)
    targets = run.targets(Candidates(peers.TLS_ADDRESS, port, tls=True), run.plan.without_direct())

    def turn(target: Target) -> dict[str, float]:
        found = _peer(run, "bulk", target, [direction, str(count)])
        return {"bytes": found["bytes"], "gb_per_s": found["bytes"] / found["seconds"] / 1e9}

    try:
        rounds = cases.in_turns(run, targets, backend, turn)
    finally:
        run.stop(targets)
        run.workspace.stop(backend)
    return cases.per_unit(rounds, "bytes", 1e9)


def full(run: Run) -> Rounds:
    return _handshakes(run, "full")


def resumed(run: Run) -> Rounds:
    return _handshakes(run, "resumed")


def _handshakes(run: Run, kind: str) -> Rounds:
    """One client that connects, has a byte echoed and ends, over and over."""
    seconds = run.plan.seconds(5, 1)
    backend, port = peers.echo_server(run.workspace, run.plan.layout.load)
    targets = run.targets(Candidates(peers.IDLE_ADDRESS, port, tls=True), run.plan.without_direct())

    def turn(target: Target) -> dict[str, float]:
        found = _peer(run, "handshakes", target, [str(seconds), kind])
        expected = found["handshakes"] if kind == "resumed" else 0
        if found["resumed"] != expected:
            raise BenchError(f"{target.name}: {found['resumed']} of {found['handshakes']} took up their keys")
        found["per_second"] = found["handshakes"] / seconds
        return found

    try:
        rounds = cases.in_turns(run, targets, backend, turn)
    finally:
        run.stop(targets)
        run.workspace.stop(backend)
    return cases.per_unit(rounds, "handshakes", 1_000)


def _peer(run: Run, role: str, target: Target, arguments: list[str]) -> dict[str, float]:
    command = [sys.executable, peers.TLS_PEER, role, target.address, str(target.port), *arguments]
    return json.loads(run.workspace.run(role, command, run.plan.layout.load, 90))


def idle(run: Run) -> Rounds:
    """Memory of a relay whose client speaks TLS, used once, then silent."""
    return footprint.idle_relays(run, run.plan.count(IDLE_RELAYS, 1_000), tls=True)


def routes(run: Run) -> Rounds:
    """TLS that passes through: by a route for its name, against plain forwarding of the same."""
    names = [FORWARDER, f"{FORWARDER}-routes"]
    rounds = cases.http(run, 64, True, run.plan.seconds(5, 1), names, tls="passed")
    for figures in rounds.values():
        for figure in figures:
            figure["passed_cpu_per_unit"] = figure["cpu_per_unit"]
    return rounds


def half_open(run: Run) -> Rounds:
    """What clients notice of thousands that say half a ClientHello, how much memory those take, and when they are cut."""
    backend, port = peers.web_server(run.workspace, run.plan.layout.load)
    to = Candidates(peers.WEB_ADDRESS, port, tls=True, handshake_timeout=f"{HALF_OPEN_S}s")
    target = run.targets(to, [FORWARDER])[0]
    child = footprint.child_of(target.child)
    figures = []
    try:
        _p99(run, target)
        for number in range(1 if run.plan.quick else min(3, run.plan.rounds)):
            alone = _p99(run, target)
            rest = child.memory()["pss"]
            figure = _with_half_open(run, target, child)
            again = _p99(run, target)
            figure["p99_alone_us"] = median([alone, again])
            figure["p99_ratio"] = figure["p99_us"] / figure["p99_alone_us"]
            figure["bytes_each"] = (figure["pss"] - rest) / figure["half_open"]
            figures.append(figure)
            run.say(f"round {number + 1}")
    finally:
        run.stop([target])
        run.workspace.stop(backend)
    return {FORWARDER: figures}


def _p99(run: Run, target: Target) -> float:
    seconds = run.plan.seconds(5, 2)
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "5s", "-s", cases.WRK_SCRIPT, target.url]
    found = json.loads(run.workspace.run("wrk", command, run.plan.layout.load, seconds + 20).strip().splitlines()[-1])
    if found["failed"]:
        raise BenchError(f"{found['failed']} of {found['requests']} requests failed")
    return found["p99_us"]


def _with_half_open(run: Run, target: Target, child: Child) -> dict[str, float]:
    each = HALF_OPEN // HALF_OPENERS
    arguments = [peers.TLS_PEER, "halves", target.address, str(target.port), str(each)]
    openers: list[Child] = []
    try:
        for _ in range(HALF_OPENERS):
            openers.append(peers.hold(run.workspace, target, arguments, run.plan.layout.load))
        pss = child.memory()["pss"]
        p99 = _p99(run, target)
        cut = [json.loads(_line(one)) for one in openers]
    finally:
        for one in openers:
            run.workspace.stop(one)
    late = max(one["cut_s"] for one in cut) - HALF_OPEN_S
    if late > CUT_LATE_S:
        raise BenchError(f"the last half-open handshake was cut {late:.1f} s after its deadline")
    return {"half_open": each * HALF_OPENERS, "pss": pss, "p99_us": p99, "late_s": max(0.0, late)}


def _line(child: Child) -> str:
    """What a peer tells next; it tells nothing if it fails."""
    line = child.popen.stdout.readline() if child.popen.stdout else ""
    if not line:
        raise BenchError(f"{child.name} told nothing: {child.tail()}")
    return line
