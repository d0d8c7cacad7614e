"""Arguments, order of the cases, files written, exit status; nothing that measures."""
from __future__ import annotations

import argparse
import json
import platform
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Callable

from . import cases, footprint, lab, machine, plot, report, tls
from .figures import FORWARDER, Rounds, verdicts
from .plan import Plan
from .process import BenchError, Workspace

REPOSITORY = Path(__file__).resolve().parents[3]
BINARY = "target/release/tcp-forwarder"
STATIC_BINARY = f"target/{platform.machine()}-unknown-linux-musl/release/tcp-forwarder"

# name -> (what runs it, programs needed beside the proxies)
CASES: dict[str, tuple[Callable[[cases.Run], Rounds], set[str]]] = {
    "keepalive": (cases.keepalive, {"wrk", "nginx"}),
    "connect": (cases.connect, {"wrk", "nginx"}),
    "alone": (cases.alone, {"wrk", "nginx"}),
    "bulk-up": (cases.bulk_up, {"iperf3"}),
    "bulk-down": (cases.bulk_down, {"iperf3"}),
    "bulk-8": (cases.bulk_8, {"iperf3"}),
    "bulk-both": (cases.bulk_both, {"iperf3"}),
    "access-log": (cases.access_log, {"wrk", "nginx"}),
    "reactors": (cases.reactors, {"wrk", "nginx"}),
    "far": (lab.far_backend, {"nginx"}),
    "far-told": (lab.told_backend, {"nginx"}),
    "idle": (footprint.idle, set()),
    "rest": (footprint.rest, {"nginx"}),
    "size": (footprint.size, set()),
    "startup": (footprint.startup, {"nginx"}),
    "many": (footprint.many, {"nginx"}),
    "tls-keepalive": (tls.keepalive, {"wrk", "nginx"}),
    "tls-up": (tls.bulk_up, set()),
    "tls-down": (tls.bulk_down, set()),
    "tls-full": (tls.full, set()),
    "tls-resumed": (tls.resumed, set()),
    "tls-idle": (tls.idle, set()),
    "tls-routes": (tls.routes, {"wrk", "nginx"}),
    "tls-half-open": (tls.half_open, {"wrk", "nginx"}),
}
# Without a goal of its own.
NOT_QUICK = {"bulk-both", "access-log"}
FORWARDER_ONLY = {"access-log", "reactors", "many", "tls-routes", "tls-half-open"}
FAR = {"far", "far-told"}
PROXIES = ["haproxy", "nginx", FORWARDER, "direct"]
ALSO = ["haproxy-again", "haproxy-splice"]

OK, MISSED, USAGE, FAILED = 0, 1, 2, 3


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench/run",
        description="Compare tcp-forwarder with HAProxy, nginx and a direct connection.",
        epilog="Exit status: 0 every goal measured was reached, 1 one was missed, 2 bad usage or a program is missing, "
        "3 a measurement failed.",
    )
    option = parser.add_argument
    option("--quick", action="store_true", help="some four minutes; goals are judged with a margin for noise")
    option("--only", action="append", metavar="CASE", choices=CASES, help=f"one case, repeatable: {', '.join(CASES)}")
    option("--rounds", type=int, metavar="N", help="rounds of the cases under load (default 7, quick 3)")
    option("--out", type=Path, metavar="DIR", default=REPOSITORY / "target/bench", help="for the results (default target/bench)")
    option("--binary", type=Path, metavar="FILE", default=REPOSITORY / BINARY, help=f"the forwarder (default {BINARY})")
    option(
        "--static-binary", type=Path, metavar="FILE", default=REPOSITORY / STATIC_BINARY,
        help=f"the static forwarder, for its size (default {STATIC_BINARY} if it is there)",
    )
    option(
        "--skip", action="append", metavar="TARGET", choices=PROXIES, default=[],
        help=f"leave one out, repeatable: {', '.join(PROXIES)}",
    )
    option(
        "--also", action="append", metavar="TARGET", choices=ALSO, default=[],
        help="haproxy-again (a second, identical HAProxy: what the noise is), haproxy-splice",
    )
    option(
        "--pin", choices=["auto", "split", "one", "free"], default="auto",
        help="split: the proxy has the first core, everything else the others; one: all on the first core; "
        "free: the kernel decides; auto (default): split from four cores on, else one",
    )
    option(
        "--patience", type=int, metavar="N",
        help="how often a turn is taken again when others kept processors busy (default 2, quick 0)",
    )
    option("--report", type=Path, metavar="JSON", help="measure nothing, write the table and the plot of an earlier run")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    machine.extend_path()
    if options.report:
        try:
            earlier = json.loads(options.report.read_text())
        except (OSError, ValueError) as error:
            return complain([f"--report {options.report}: {error}"])
        return write(earlier, options.out)
    proxies = [name for name in PROXIES + options.also if name not in options.skip]
    wanted = [name for name in CASES if not options.only or name in options.only]
    if options.quick and not options.only:
        wanted = [name for name in wanted if name not in NOT_QUICK]
    if FORWARDER in options.skip:
        wanted = [name for name in wanted if name not in FORWARDER_ONLY]
    if not wanted:
        return complain(["nothing to measure: every case that was chosen needs the forwarder"])
    if not proxies:
        return complain(["nothing to measure: every target is skipped"])
    rounds = options.rounds if options.rounds is not None else (3 if options.quick else 7)
    problems = missing(options, proxies, wanted)
    patience = options.patience if options.patience is not None else (0 if options.quick else 2)
    if rounds < 1:
        problems.append("--rounds must be at least 1")
    if patience < 0:
        problems.append("--patience must be at least 0")
    if problems:
        return complain(problems)
    binary = None if FORWARDER in options.skip else options.binary.resolve()
    static_binary = options.static_binary.resolve() if options.static_binary.is_file() else None
    plan = Plan(options.quick, rounds, patience, binary, static_binary, proxies, options.pin)
    try:
        results = measure(plan, wanted)
    except BenchError as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return write(results, options.out)


def missing(options: argparse.Namespace, proxies: list[str], wanted: list[str]) -> list[str]:
    programs = {name.split("-")[0] for name in proxies} & set(machine.PROGRAMS)
    for name in wanted:
        programs |= CASES[name][1]
    problems = machine.missing(programs)
    if FORWARDER in proxies and not options.binary.is_file():
        problems.append(f"{options.binary} is missing: cargo build --release (or --binary FILE, or --skip {FORWARDER})")
    return problems


def complain(problems: list[str]) -> int:
    for problem in problems:
        print(f"scripts/bench/run: {problem}", file=sys.stderr)
    return USAGE


def measure(plan: Plan, wanted: list[str]) -> dict:
    """Runs the cases; whatever was started is ended, also after a failure or a signal."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    found: dict[str, Rounds] = {}
    notes: list[str] = []
    failures: list[str] = []
    start = time.monotonic()
    with Workspace() as workspace:
        for name in wanted:
            def say(text: str, name: str = name) -> None:
                print(f"[{time.monotonic() - start:5.0f} s] {name}: {text}", file=sys.stderr, flush=True)

            reason = lab.unavailable() if name in FAR else None
            if reason:
                say(f"not measured: {reason}")
                notes.append(f"{name}: not measured, {reason}.")
                continue
            say("started")
            try:
                found[name] = CASES[name][0](cases.Run(plan, workspace, say))
            except (BenchError, OSError, ValueError, KeyError) as error:
                say(f"failed: {error}")
                failures.append(f"{name}: failed: {error}")
                workspace.stop_all()
        left = workspace.leftovers()
        if left:
            raise BenchError(f"left running: process ids {left}")
    if "size" in found and plan.binary and not plan.static_binary:
        notes.append("size: no static binary, so whether it is static was not judged.")
    notes = failures + notes + doubts(found)
    return {
        "format": 1,
        "machine": machine.facts(),
        "versions": machine.versions(plan.binary),
        "options": {
            "quick": plan.quick, "rounds": plan.rounds, "targets": plan.proxies, "layout": str(plan.layout),
            "seconds": round(time.monotonic() - start),
        },
        "cases": found,
        "goals": [one.as_json() for one in verdicts(found, plan.quick)],
        "notes": notes,
        "failures": len(failures),
    }


def doubts(found: dict[str, Rounds]) -> list[str]:
    """Says where others or the hypervisor took processor time away, which makes rates and latencies doubtful."""
    notes = []
    for case, rounds in found.items():
        stolen = max((figure.get("stolen_share", 0.0) for figures in rounds.values() for figure in figures), default=0.0)
        others = [figure["foreign_share"] for figures in rounds.values() for figure in figures if "foreign_share" in figure]
        loud = sum(share > cases.FOREIGN_SHARE for share in others)
        if loud:
            notes.append(
                f"{case}: in {loud} of {len(others)} turns something else kept more than {cases.FOREIGN_SHARE:g} "
                "processors busy; measure again on a quiet machine."
            )
        if stolen > 0.05:
            notes.append(f"{case}: up to {stolen * 100:.0f} % of a processor was stolen by the hypervisor during a turn.")
    return notes


def write(results: dict, out: Path) -> int:
    """Writes the three files and prints the tables; the exit status tells whether goals were missed."""
    out.mkdir(parents=True, exist_ok=True)
    judged = verdicts(results["cases"], results["options"]["quick"])
    results["goals"] = [one.as_json() for one in judged]
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = report.markdown(results)
    (out / "results.md").write_text(text)
    (out / "ratios.svg").write_text(plot.svg(results["cases"]))
    print(text)
    print(report.goal_summary(judged), file=sys.stderr)
    if results["failures"]:
        return FAILED
    return MISSED if any(one.reached is False for one in judged) else OK
