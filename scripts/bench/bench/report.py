"""What a run leaves behind: `results.json` (everything), `results.md` (tables), `ratios.svg` (a plot). Pure text."""
from __future__ import annotations

from .figures import GOALS, RIVALS, Rounds, Verdict, medians, ratio_to_better, spread

# case -> (title, [(figure, column title, decimals, scale)])
COLUMNS: dict[str, tuple[str, list[tuple[str, str, int, float]]]] = {
    "keepalive": (
        "64 keep-alive HTTP clients, small replies",
        [("cpu_per_unit", "CPU s/100k requests", 3, 1), ("per_second", "requests/s", 0, 1),
         ("p50_us", "p50 µs", 0, 1), ("p99_us", "p99 µs", 0, 1), ("rss_mb", "RSS MB", 1, 1), ("cpu_share", "CPU busy", 2, 1)],
    ),
    "connect": (
        "64 HTTP clients, a new connection per request",
        [("cpu_per_unit", "CPU s/10k connections", 3, 1), ("per_second", "connections/s", 0, 1),
         ("p50_us", "p50 µs", 0, 1), ("p99_us", "p99 µs", 0, 1), ("rss_mb", "RSS MB", 1, 1),
         ("cpu_share", "CPU busy", 2, 1), ("pool_hit_ratio", "warm-pool hits", 3, 1)],
    ),
    "alone": (
        "One keep-alive client alone",
        [("p50_us", "p50 µs", 0, 1), ("p99_us", "p99 µs", 0, 1), ("per_second", "requests/s", 0, 1),
         ("cpu_per_unit", "CPU s/100k requests", 3, 1)],
    ),
    **{
        case: (
            title,
            [("cpu_per_unit", "CPU s/GB", 3, 1), ("gb_per_s", "GB/s", 2, 1), ("rss_mb", "RSS MB", 1, 1),
             ("cpu_share", "CPU busy", 2, 1)],
        )
        for case, title in {
            "bulk-up": "Bulk from the client, one stream",
            "bulk-down": "Bulk to the client, one stream",
            "bulk-8": "Bulk from the client, 8 streams",
            "bulk-both": "Bulk in both directions at once",
        }.items()
    },
    "access-log": (
        "With an access log and without, a new connection per request",
        [("cpu_per_unit", "CPU s/10k connections", 3, 1), ("per_second", "connections/s", 0, 1), ("line_us", "µs a line", 2, 1)],
    ),
    "reactors": (
        "One reactor against two, 64 keep-alive HTTP clients",
        [("cpu_per_unit", "CPU s/100k requests", 3, 1), ("per_second", "requests/s", 0, 1), ("cpu_share", "CPU busy", 2, 1)],
    ),
    "far": (
        "A backend 50 ms away, 100 connections a second, then 300",
        [("steady_share", "in one round trip", 3, 1), ("burst_share", "first 3 s of the burst", 3, 1),
         ("recovered_share", "after 3 s of it", 3, 1), ("p50_ms", "p50 ms", 1, 1), ("p99_ms", "p99 ms", 1, 1), ("failed", "failed", 0, 1)],
    ),
    "far-told": (
        "The same, with a backend that is told of clients",
        [("steady_share", "in one round trip", 3, 1), ("burst_share", "first 3 s of the burst", 3, 1),
         ("recovered_share", "after 3 s of it", 3, 1), ("p50_ms", "p50 ms", 1, 1), ("p99_ms", "p99 ms", 1, 1), ("failed", "failed", 0, 1)],
    ),
    "idle": (
        "Idle relays",
        [("relays", "relays", 0, 1), ("bytes_per_relay", "bytes per relay", 0, 1), ("rss_mb", "RSS MB", 1, 1)],
    ),
    "rest": ("At rest", [("rss_mb", "RSS MB", 2, 1), ("pss_mb", "PSS MB", 2, 1)]),
    "size": ("Program file", [("mb", "MB", 2, 1), ("static", "static", 0, 1), ("stripped", "stripped", 0, 1)]),
    "startup": ("Start, without probes", [("listening_ms", "ms to listening", 2, 1), ("served_ms", "ms to first reply", 2, 1)]),
    "many": (
        "Many candidates, at rest",
        [("candidates", "candidates", 0, 1), ("rss_mb", "RSS MB", 2, 1), ("added_mb", "MB added", 2, 1),
         ("metrics_kb", "/metrics kB", 1, 1), ("served_s", "s to first reply", 2, 1)],
    ),
    "tls-keepalive": (
        "TLS: 64 keep-alive HTTP clients, small replies",
        [("cpu_per_unit", "CPU s/100k requests", 3, 1), ("per_second", "requests/s", 0, 1),
         ("p50_us", "p50 µs", 0, 1), ("p99_us", "p99 µs", 0, 1), ("rss_mb", "RSS MB", 1, 1), ("cpu_share", "CPU busy", 2, 1)],
    ),
    **{
        case: (title, [("cpu_per_unit", "CPU s/GB", 3, 1), ("gb_per_s", "GB/s", 2, 1), ("rss_mb", "RSS MB", 1, 1)])
        for case, title in {
            "tls-up": "TLS: bulk from the client, one stream", "tls-down": "TLS: bulk to the client, one stream"
        }.items()
    },
    **{
        case: (title, [("cpu_per_unit", "CPU s/1,000", 3, 1), ("per_second", "handshakes/s", 0, 1), ("rss_mb", "RSS MB", 1, 1)])
        for case, title in {"tls-full": "TLS: full handshakes", "tls-resumed": "TLS: resumed handshakes"}.items()
    },
    "tls-idle": (
        "TLS: idle relays",
        [("relays", "relays", 0, 1), ("bytes_per_relay", "bytes per relay", 0, 1), ("rss_mb", "RSS MB", 1, 1)],
    ),
    "tls-routes": (
        "TLS that passes through, a new connection per request",
        [("cpu_per_unit", "CPU s/10k connections", 3, 1), ("per_second", "connections/s", 0, 1),
         ("p50_us", "p50 µs", 0, 1), ("p99_us", "p99 µs", 0, 1), ("pool_hit_ratio", "warm-pool hits", 3, 1)],
    ),
    "tls-half-open": (
        "TLS: half-open handshakes beside clients",
        [("half_open", "half-open", 0, 1), ("bytes_each", "bytes each", 0, 1), ("p99_alone_us", "p99 µs without", 0, 1),
         ("p99_us", "p99 µs with", 0, 1), ("late_s", "cut, s after the deadline", 2, 1)],
    ),
}


def markdown(results: dict) -> str:
    """The report of `results` (the JSON document) with the goals first."""
    lines = ["# Benchmark", "", _setting(results), ""]
    lines += goals_table(results["goals"]) + [""]
    lines += ["![ratios](ratios.svg)", ""]
    for case, rounds in results["cases"].items():
        lines += case_table(case, rounds) + [""]
    for note in results["notes"]:
        lines.append(f"- {note}")
    return "\n".join(lines).rstrip() + "\n"


def _setting(results: dict) -> str:
    machine, versions, options = results["machine"], results["versions"], results["options"]
    programs = ", ".join(f"{name} {version}" for name, version in versions.items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_mb'] // 1024} GB, {machine['kernel']}"
    virtual = ", virtual machine" if machine["hypervisor"] else ""
    mode = "quick" if options["quick"] else "full"
    return (
        f"{where}{virtual}. {programs}. One thread for each proxy, {mode} run of {options['rounds']} rounds, "
        f"medians; cores: {options['layout']}."
    )


def goals_table(goals: list[dict]) -> list[str]:
    lines = ["| goal | limit | value | |", "|---|---|---|---|"]
    for goal in goals:
        if goal["reached"] is None:
            continue
        sign = "at least" if goal["at_least"] else "at most"
        others = " of one reactor's" if goal["case"] == "reactors" else " of plain forwarding"
        kind = {"": "", "rivals": " of the better of HAProxy and nginx"}.get(goal["against"], others)
        value = _number(goal["value"], 2 if goal["value"] < 100 else 0)
        mark = "reached" if goal["reached"] else "**missed**"
        lines.append(f"| {goal['text']} | {sign} {goal['limit']:g}{kind} | {value} | {mark} |")
    judged = {goal["case"] for goal in goals if goal["reached"] is not None}
    without = sorted({goal["case"] for goal in goals} - judged)
    if without:
        lines += ["", f"Goals of these cases were not measured: {', '.join(without)}."]
    return lines


def case_table(case: str, rounds: Rounds) -> list[str]:
    title, columns = COLUMNS[case]
    middle = medians(rounds)
    columns = [column for column in columns if any(column[0] in figures for figures in middle.values())]
    lines = [f"## {title}", "", "| | " + " | ".join(column[1] for column in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for target, figures in middle.items():
        cells = []
        for figure, _, decimals, scale in columns:
            if figure not in figures:
                cells.append("")
                continue
            steady = spread(rounds, figure, target)
            cells.append(_number(figures[figure] * scale, decimals) + (f" ±{steady * 100:.0f} %" if steady and steady >= 0.005 else ""))
        lines.append(f"| {target} | " + " | ".join(cells) + " |")
    ratios = [ratio_to_better(rounds, column[0]) for column in columns]
    if any(one is not None for one in ratios):
        cells = ["" if one is None else f"{one:.2f}" for one in ratios]
        lines.append("| *forwarder to the better of " + " and ".join(RIVALS) + "* | " + " | ".join(cells) + " |")
    return lines


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def goal_summary(verdicts: list[Verdict]) -> str:
    reached = sum(one.reached is True for one in verdicts)
    missed = sum(one.reached is False for one in verdicts)
    return f"{reached} goals reached, {missed} missed, {len(GOALS) - reached - missed} not measured"
