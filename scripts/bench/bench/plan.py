"""What one run is asked to do: lengths, rounds, proxies, processors. Pure data, made by `cli.py`."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .figures import FORWARDER


@dataclass
class Layout:
    """Processors of the proxy and of the load (generator and backend); None leaves it to the kernel."""

    proxy: set[int] | None
    load: set[int] | None

    @staticmethod
    def named(name: str) -> "Layout":
        cores = sorted(os.sched_getaffinity(0))
        if name == "auto":
            name = "one" if len(cores) < 4 else "split"
        if name == "free":
            return Layout(None, None)
        if name == "one" or len(cores) < 2:
            return Layout({cores[0]}, {cores[0]})
        return Layout({cores[0]}, set(cores[1:]))

    def __str__(self) -> str:
        if self.proxy is None:
            return "chosen by the kernel"
        return "one core for everything" if self.proxy == self.load else "one for the proxy, the others for the load"


@dataclass
class Plan:
    quick: bool
    rounds: int
    patience: int
    binary: Path | None
    static_binary: Path | None
    proxies: list[str]
    layout_name: str
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout.named(self.layout_name)

    def for_plain_goals(self) -> list[str]:
        """Targets of a case whose goals are plain figures: a short run leaves the others out."""
        wanted = [name for name in self.proxies if name == FORWARDER]
        return wanted if self.quick and wanted else [name for name in self.proxies if name != "direct"]

    def for_ratios(self) -> list[str]:
        """Targets of a case whose goals are ratios: a short run leaves the direct connection out."""
        return [name for name in self.proxies if name != "direct" or not self.quick]

    def without_direct(self) -> list[str]:
        """Targets of a case with TLS, which a plain backend does not speak."""
        return [name for name in self.proxies if name != "direct"]

    def seconds(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full
