"""The plot: bars of ratios to the better of HAProxy and nginx, as a hand-written SVG. Pure text.

One panel for each kind of figure, one row for each case, one bar for each target; the line at 1 is the better
of the two, the diamond is the goal.
"""
from __future__ import annotations

from html import escape

from .figures import FORWARDER, GOALS, HIGHER_IS_BETTER, RIVALS, Figures, Rounds, medians, ratio_to_better

WIDTH = 880
LEFT = 190
RIGHT = 150
BAR = 13
GAP = 3
ROW_GAP = 14
PANEL_GAP = 34
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
INK, FADED = "#1a2230", "#5b6576"
SMALL = f'font-size="12.5" fill="{INK}"'
COLOURS = {"forwarder": "#0b6bcb", "haproxy": "#8a94a6", "nginx": "#c3c9d3", "direct": "#e3c078"}
NAMES = {"forwarder": "tcp-forwarder", "haproxy": "HAProxy", "nginx": "nginx", "direct": "direct"}

LOADED = {
    "keepalive": "64 keep-alive clients", "connect": "new connection each", "alone": "one client alone",
    "bulk-up": "bulk up", "bulk-down": "bulk down", "bulk-8": "bulk, 8 streams", "bulk-both": "bulk, both ways",
}
FOOTPRINT = {"idle": "idle relay", "rest": "at rest"}

# title, figure, rows, how to write the plain value for each case
PANELS: list[tuple[str, str, dict[str, str]]] = [
    ("Processor time per unit of work (less is better)", "cpu_per_unit", LOADED),
    ("Throughput (more is better)", "per_second|gb_per_s", LOADED),
    ("Latency, p50 (less is better)", "p50_us", LOADED),
    ("Latency, p99 (less is better)", "p99_us", LOADED),
    ("Backend 50 ms away: connect to first reply byte (less is better)", "p50_ms", {"far": "100 connections/s"}),
    ("Memory (less is better)", "bytes_per_relay|rss_mb", FOOTPRINT),
    ("Start to first reply (less is better)", "served_ms", {"startup": "exec to reply"}),
]
UNITS = {
    ("cpu_per_unit", "keepalive"): "{:.2f} s/100k", ("cpu_per_unit", "alone"): "{:.2f} s/100k",
    ("cpu_per_unit", "connect"): "{:.2f} s/10k", "cpu_per_unit": "{:.2f} s/GB", "per_second": "{:,.0f}/s",
    "gb_per_s": "{:.2f} GB/s", "p50_us": "{:,.0f} µs", "p99_us": "{:,.0f} µs", "bytes_per_relay": "{:,.0f} B",
    "rss_mb": "{:.1f} MB", "served_ms": "{:.1f} ms",
    "p50_ms": "{:.0f} ms",
}


def svg(cases: dict[str, Rounds]) -> str:
    """The whole plot; panels and rows without a measurement are left out."""
    parts: list[str] = []
    y = 92
    for title, figure, rows in PANELS:
        panel, height = _panel(title, figure.split("|"), rows, cases, y)
        if panel:
            parts += panel
            y += height + PANEL_GAP
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        f'font-family="{FONT}" role="img" '
        'aria-label="Ratios of tcp-forwarder, HAProxy and nginx to the better of HAProxy and nginx">',
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>',
        f'<text x="24" y="34" font-size="19" font-weight="600" fill="{INK}">tcp-forwarder against HAProxy and nginx, one thread each</text>',
        *_legend(24, 60),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _legend(x: int, y: int) -> list[str]:
    parts = []
    for target, name in NAMES.items():
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" rx="2" fill="{COLOURS[target]}"/>')
        parts.append(f'<text x="{x + 18}" y="{y}" {SMALL}>{name}</text>')
        x += 34 + round(7.2 * len(name))
    parts.append(_diamond(x + 6, y - 4))
    parts.append(f'<text x="{x + 18}" y="{y}" {SMALL}>goal</text>')
    about = "bars: ratio to the better of HAProxy and nginx (line at 1)"
    parts.append(f'<text x="{x + 66}" y="{y}" font-size="12.5" fill="{FADED}">{about}</text>')
    return parts


def _panel(title: str, figures: list[str], rows: dict[str, str], cases: dict[str, Rounds], top: int) -> tuple[list[str], int]:
    shown = []
    for case, label in rows.items():
        row = _row(cases.get(case), figures)
        if row:
            shown.append((case, label, *row))
    if not shown:
        return [], 0
    largest = max(value for *_, bars in shown for _, value, _ in bars)
    scale_end = min(max(1.5, largest), 2.5)
    width = WIDTH - LEFT - RIGHT
    parts = [f'<text x="24" y="{top}" font-size="14.5" font-weight="600" fill="{INK}">{escape(title)}</text>']
    y = top + 16
    body: list[str] = []
    for case, label, figure, bars in shown:
        middle = y + len(bars) * (BAR + GAP) / 2 + 3
        body.append(f'<text x="{LEFT - 12}" y="{middle:.1f}" {SMALL} text-anchor="end">{escape(label)}</text>')
        first = y
        for target, value, plain in bars:
            body += _bar(y, target, value, _plain(figure, case, plain), width / scale_end, scale_end)
            y += BAR + GAP
        goal = _goal(case, figure)
        if goal:
            body.append(_diamond(LEFT + goal * width / scale_end, first + BAR / 2))
        y += ROW_GAP
    bottom = y - ROW_GAP + 2
    step = 0.5 if scale_end <= 3 else 1.0
    tick = 0.0
    while tick <= scale_end + 1e-9:
        x = LEFT + tick * width / scale_end
        parts.append(f'<line x1="{x:.1f}" y1="{top + 12}" x2="{x:.1f}" y2="{bottom}" stroke="#e8ebf0" stroke-width="1"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 13}" font-size="10.5" text-anchor="middle" fill="{FADED}">{tick:g}</text>')
        tick += step
    one = LEFT + width / scale_end
    body.append(f'<line x1="{one:.1f}" y1="{top + 12}" x2="{one:.1f}" y2="{bottom}" stroke="{INK}" stroke-dasharray="3 3"/>')
    return parts + body, bottom + 13 - top


def _row(rounds: Rounds | None, figures: list[str]) -> tuple[str, list[tuple[str, float, float]]] | None:
    """The figure of a row and its bars: target, ratio, plain value."""
    if not rounds:
        return None
    middle = medians(rounds)
    for figure in figures:
        rivals = [middle[name][figure] for name in RIVALS if figure in middle.get(name, {})]
        if not rivals or not all(rivals):
            continue
        better = max(rivals) if figure in HIGHER_IS_BETTER else min(rivals)
        bars = [(name, _ratio(rounds, figure, name, middle[name], better), middle[name][figure])
                for name in NAMES if figure in middle.get(name, {})]
        return figure, bars
    return None


def _ratio(rounds: Rounds, figure: str, name: str, middle: Figures, better: float) -> float:
    paired = ratio_to_better(rounds, figure) if name == FORWARDER else None
    return middle[figure] / better if paired is None else paired


def _bar(y: float, target: str, value: float, plain: str, per_one: float, end: float) -> list[str]:
    width = max(1.0, min(value, end) * per_one)
    parts = [f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{COLOURS[target]}"/>']
    if value > end:
        parts.append(f'<path d="M{LEFT + width - 9:.1f} {y + 2}l5 4.5l-5 4.5" fill="none" stroke="#ffffff" stroke-width="2"/>')
    weight = ' font-weight="600"' if target == FORWARDER else ""
    base = y + BAR - 2.5
    column = WIDTH - RIGHT + 46
    parts.append(f'<text x="{column}" y="{base}" font-size="11" text-anchor="end" fill="{INK}"{weight}>{value:.2f}</text>')
    parts.append(f'<text x="{column + 10}" y="{base}" font-size="11" fill="{FADED}">{escape(plain)}</text>')
    return parts


def _plain(figure: str, case: str, value: float) -> str:
    form = UNITS.get((figure, case)) or UNITS[figure]
    return form.format(value)


def _goal(case: str, figure: str) -> float | None:
    for goal in GOALS:
        if goal.case == case and goal.figure == figure and goal.against == "rivals":
            return goal.limit
    return None


def _diamond(x: float, y: float) -> str:
    return f'<path d="M{x:.1f} {y - 5.5:.1f}l4.5 5.5l-4.5 5.5l-4.5 -5.5z" fill="#d6336c" stroke="#ffffff" stroke-width="1"/>'
