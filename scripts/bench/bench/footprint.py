"""The cases without load: idle relays, memory at rest, size, start, many candidates."""
from __future__ import annotations

import os
import resource
import shutil
import socket
import time
from pathlib import Path

from . import machine, peers, proxies
from .cases import Rounds, Run
from .figures import FORWARDER
from .plan import Layout
from .process import BenchError, Child, free_port
from .proxies import PROXY_ADDRESS, Candidates, Target

IDLE_RELAYS = 9_000
START_DEADLINE_S = 5.0
FOUND_DEADLINE_S = 20.0
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


def idle(run: Run) -> Rounds:
    """Memory of one proxy at a time before and with idle relays, each of which carried a few bytes once."""
    return idle_relays(run, run.plan.count(IDLE_RELAYS, 4_500), tls=False)


def idle_relays(run: Run, wanted: int, tls: bool) -> Rounds:
    """The same for so many relays, whose clients speak TLS or not."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(wanted, (limit - 500) // 2)
    if count < wanted:
        run.say(f"only {count} relays: {limit} descriptors a process")
    found: Rounds = {}
    for name in run.plan.for_plain_goals():
        rounds = range(1 if run.plan.quick else min(3, run.plan.rounds))
        found[name] = [_idle_once(run, name, count, tls) for _ in rounds]
        run.say(name)
    return found


def _idle_once(run: Run, name: str, count: int, tls: bool) -> dict[str, float]:
    layout = run.plan.layout
    backend, port = peers.echo_server(run.workspace, layout.load)
    target = run.targets(Candidates(peers.IDLE_ADDRESS, port, tls=tls), [name])[0]
    child = child_of(target.child)
    clients = None
    try:
        # One relay first: what a proxy allocates once is not charged to the relays.
        run.workspace.stop(peers.hold_idle(run.workspace, target, 1, layout.load))
        before = child.settled_memory(1.5, 10, "pss")
        clients = peers.hold_idle(run.workspace, target, count, layout.load)
        held = child.settled_memory(run.plan.seconds(4, 2), 20, "pss")
        return {
            "relays": count,
            "bytes_per_relay": max(0, held["pss"] - before["pss"]) / count,
            "rss_mb": held["rss"] / 1e6,
        }
    finally:
        for one in (clients, child, backend):
            if one:
                run.workspace.stop(one)


def rest(run: Run) -> Rounds:
    """Resident memory with nothing to do and everything on, after one request and one look at the metrics."""
    backend, port = peers.web_server(run.workspace, run.plan.layout.load)
    found: Rounds = {}
    try:
        for name in run.plan.for_plain_goals():
            figures = []
            for _ in range(1 if run.plan.quick else min(3, run.plan.rounds)):
                to = Candidates(peers.WEB_ADDRESS, port, initial_probing=True)
                target = run.targets(to, [name])[0]
                child = child_of(target.child)
                _one_request(target.address, target.port, time.perf_counter() + START_DEADLINE_S)
                if target.metrics_port:
                    target.metrics()
                memory = child.settled_memory(run.plan.seconds(5, 2), 15, "rss")
                figures.append({"rss_mb": memory["rss"] / 1e6, "pss_mb": memory["pss"] / 1e6})
                run.workspace.stop(child)
            found[name] = figures
    finally:
        run.workspace.stop(backend)
    return found


def size(run: Run) -> Rounds:
    """Size of the program file; for HAProxy and nginx without the shared libraries they need.

    The forwarder's is the static one when it was built; else nothing is said about being static.
    """
    found: Rounds = {}
    for name in run.plan.for_plain_goals():
        ours = run.plan.static_binary or run.plan.binary
        where = str(ours) if name.startswith("forwarder") else shutil.which(name.split("-")[0])
        if where is None:
            raise BenchError(f"{name} is not there")
        path = Path(where).resolve()
        kind = machine.elf(path)
        figure = {"mb": path.stat().st_size / 1e6, "stripped": float(kind["stripped"])}
        if name != FORWARDER or run.plan.static_binary:
            figure["static"] = float(kind["static"])
        else:
            run.say("no static binary: its goal is not measured")
        found[name] = [figure]
    return found


def startup(run: Run) -> Rounds:
    """From exec to the first accepted connection, and to the first reply through it; initial probing off."""
    backend, port = peers.web_server(run.workspace, run.plan.layout.load)
    to = Candidates(peers.WEB_ADDRESS, port)
    found: Rounds = {name: [] for name in run.plan.for_plain_goals()}
    before = os.sched_getaffinity(0)
    # Whoever watches for the listener asks without a pause, and must not take the core of what starts.
    watcher = Layout.named("split")
    try:
        if watcher.load:
            os.sched_setaffinity(0, watcher.load)
        for number in range(run.plan.count(25, 9)):
            for name in found:
                figure = _start_once(run, name, to, watcher)
                if number:
                    found[name].append(figure)
    finally:
        os.sched_setaffinity(0, before)
        run.workspace.stop(backend)
    return found


def _start_once(run: Run, name: str, to: Candidates, watcher: Layout) -> dict[str, float]:
    ready = proxies.prepare(name, run.workspace, to, run.plan.binary)
    child, start = run.workspace.spawn(name, ready.command, watcher.proxy)
    try:
        listening, served = _one_request(PROXY_ADDRESS, ready.port, start + START_DEADLINE_S)
    finally:
        run.workspace.stop(child)
    return {"listening_ms": (listening - start) * 1e3, "served_ms": (served - start) * 1e3}


def _one_request(address: str, port: int, deadline: float) -> tuple[float, float]:
    """Connects as soon as somebody listens and asks once: when the connection stood, when the reply came."""
    while True:
        connection = socket.socket()
        connection.settimeout(START_DEADLINE_S)
        try:
            connection.connect((address, port))
            listening = time.perf_counter()
            break
        except ConnectionRefusedError:
            connection.close()
            if time.perf_counter() > deadline:
                raise BenchError(f"nothing listens on {address}:{port}") from None
    with connection:
        connection.sendall(REQUEST)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
            raise BenchError(f"no reply through {address}:{port}")
        return listening, time.perf_counter()


def many(run: Run) -> Rounds:
    """The forwarder with 1, with 65,536 and with 16.7 million candidates: resident memory at rest, probing on."""
    backend, port = peers.web_server(run.workspace, run.plan.layout.load)
    # One candidate answers, all the others refuse: they stand on a port of their own, where nobody listens.
    closed = free_port(peers.WEB_ADDRESS)
    lists = {"1 candidate": [], "65,536": [f"127.1.0.0/16:{closed}"], "16.7 million": [f"127.0.0.0/8:{closed}"]}
    found: Rounds = {}
    try:
        for label, lines in lists.items():
            to = Candidates(peers.WEB_ADDRESS, port, initial_probing=True, lines=lines)
            target = run.targets(to, ["forwarder"])[0]
            child = child_of(target.child)
            served_s = _until_served(target)
            memory = child.settled_memory(run.plan.seconds(20, 3), 40, "rss")
            page = target.metrics()
            figure = {"rss_mb": memory["rss"] / 1e6, "metrics_kb": len(page) / 1e3, "served_s": served_s}
            if found:
                figure["added_mb"] = figure["rss_mb"] - found["1 candidate"][0]["rss_mb"]
            figure["candidates"] = target.metric_sum("tcp_forwarder_candidates")
            found[label] = [figure]
            run.workspace.stop(child)
    finally:
        run.workspace.stop(backend)
    return found


def _until_served(target: Target) -> float:
    """Seconds until a request through the proxy is answered: only one of the candidates does, and it has to be found."""
    start = time.perf_counter()
    while True:
        try:
            return _one_request(target.address, target.port, start + FOUND_DEADLINE_S)[1] - start
        except (BenchError, OSError):
            if time.perf_counter() > start + FOUND_DEADLINE_S:
                raise
            time.sleep(0.05)


def child_of(child: Child | None) -> Child:
    """The process of a target, which a proxy has."""
    if child is None:
        raise BenchError("a direct connection has no process")
    return child
