"""The case of a backend that is far away: what warm connections are for.

Clients and proxy stand on one end of a wire with 25 ms each way, the backend on the other. A connection that is
served over a warm one has its first reply byte after one round trip; a proxy that dials first needs two.
"""
from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from statistics import median, quantiles

from . import lab_wire, peers, proxies
from .cases import Rounds, Run
from .process import BenchError, Child
from .proxies import Candidates

HERE = Path(__file__).parent
ONE_WAY_MS = 25.0
ROUND_TRIP_MS = 2 * ONE_WAY_MS
# One round trip and what scheduling adds, clearly below two.
ONE_ROUND_TRIP_MS = 1.5 * ROUND_TRIP_MS
STEADY_PER_SECOND = 100
BURST_PER_SECOND = 3 * STEADY_PER_SECOND
# Connections of the first second find a proxy that has just started.
SETTLE_S = 2.0
# Three scaling intervals of `pools.strategy.dynamic.scaling.interval`, which is 1 s by default.
RECOVERY_S = 3.0


def unavailable() -> str | None:
    """Why this case cannot run here, or None."""
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        return "needs root and /dev/net/tun"
    lacking = [tool for tool in ("ip", "nsenter") if shutil.which(tool) is None]
    return f"needs {' and '.join(lacking)}: apt-get install iproute2 util-linux" if lacking else None


def far_backend(run: Run) -> Rounds:
    return _far(run, "")


def told_backend(run: Run) -> Rounds:
    """The same, with a backend that is told who each client is (PROXY)."""
    return _far(run, "proxy_protocol")


def _far(run: Run, kind: str) -> Rounds:
    steady_s, burst_s = run.plan.seconds(20, 6), run.plan.seconds(12, 5)
    wire = run.workspace.start("wire", [sys.executable, str(HERE / "lab_wire.py"), str(ONE_WAY_MS)], piped=True)
    backend = None
    found: Rounds = {}
    try:
        near, far = _namespaces(wire)
        backend, port = peers.web_server(run.workspace, None, lab_wire.FAR, far, kind)
        for name in run.plan.for_plain_goals():
            to = Candidates(lab_wire.FAR, port, initial_probing=True, announce=kind == "proxy_protocol")
            target = proxies.start(name, run.workspace, to, run.plan.binary, None, near)
            phases = [f"{STEADY_PER_SECOND}:{steady_s}", f"{BURST_PER_SECOND}:{burst_s}"]
            command = [sys.executable, str(HERE / "lab_client.py"), target.address, str(target.port), *phases]
            out = run.workspace.run("clients", near + command, None, steady_s + burst_s + 30)
            found[name] = [summary(json.loads(out), steady_s)]
            run.stop([target])
            run.say(name)
    finally:
        for child in (backend, wire):
            if child:
                run.workspace.stop(child)
    return found


def summary(connections: list[tuple[float, float | None]], steady_s: float) -> dict[str, float]:
    """Shares of connections answered within one round trip: steady, in the burst, and after three intervals of it."""
    steady = [took for at, took in connections if SETTLE_S <= at < steady_s]
    early = [took for at, took in connections if steady_s <= at < steady_s + RECOVERY_S]
    late = [took for at, took in connections if at >= steady_s + RECOVERY_S]
    answered = [took for took in steady if took is not None]
    if len(answered) < 2:
        raise BenchError("no connection was answered over the wire with a delay")
    return {
        "steady_share": one_round_trip(steady),
        "burst_share": one_round_trip(early),
        "recovered_share": one_round_trip(late),
        "failed": sum(took is None for _, took in connections),
        "p50_ms": median(answered),
        "p99_ms": quantiles(answered, n=100)[98],
    }


def one_round_trip(times: list[float | None]) -> float:
    return sum(took is not None and took <= ONE_ROUND_TRIP_MS for took in times) / len(times)


def _namespaces(wire: Child) -> tuple[list[str], list[str]]:
    """What to put before a command so that it runs at the near or the far end."""
    line = wire.popen.stdout.readline().split() if wire.popen.stdout else []
    if len(line) != 2:
        raise BenchError(f"no wire with a delay: {wire.tail()}")
    near, far = (["nsenter", f"--net=/proc/{wire.pid}/fd/{fd}", "--"] for fd in line)
    return near, far
