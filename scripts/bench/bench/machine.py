"""Facts about the machine and the programs compared, and what is missing. No host names, no paths."""
from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path

from .process import environment

# program -> (Debian package, arguments that print its version)
PROGRAMS = {
    "haproxy": ("haproxy", ["-v"]),
    "nginx": ("nginx-light libnginx-mod-stream", ["-v"]),
    "wrk": ("wrk", ["-v"]),
    "iperf3": ("iperf3", ["--version"]),
}
SBIN = ["/usr/sbin", "/usr/local/sbin", "/sbin"]


def extend_path() -> None:
    """Debian keeps haproxy and nginx where the search path of a plain user does not look."""
    have = os.environ.get("PATH", "").split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(have + [folder for folder in SBIN if folder not in have])


def missing(programs: set[str]) -> list[str]:
    """One line for each program that is needed and not there, with the package that has it."""
    return [
        f"{name} is missing: apt-get install {PROGRAMS[name][0]}"
        for name in sorted(programs)
        if shutil.which(name) is None
    ]


def versions(binary: Path | None) -> dict[str, str]:
    found = {}
    for name, (_, arguments) in PROGRAMS.items():
        if shutil.which(name):
            found[name] = _version([name, *arguments])
    if binary:
        found["forwarder"] = _version([str(binary), "--version"])
    return found


def facts() -> dict[str, object]:
    text = Path("/proc/cpuinfo").read_text(errors="replace")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int(memory.group(1)) // 1024 if memory else 0,
        "hypervisor": " hypervisor" in text,
        "python": platform.python_version(),
    }


def elf(path: Path) -> dict[str, bool]:
    """Whether a program is `static` (asks for no interpreter) and `stripped` (has no symbol table)."""
    data = path.read_bytes()
    if data[:4] != b"\x7fELF" or data[4] != 2:
        return {"static": False, "stripped": False}
    order = "<" if data[5] == 1 else ">"
    program_at, section_at = struct.unpack_from(order + "QQ", data, 32)
    program_size, program_count, section_size, section_count = struct.unpack_from(order + "HHHH", data, 54)
    kinds = [struct.unpack_from(order + "I", data, program_at + i * program_size)[0] for i in range(program_count)]
    tables = [struct.unpack_from(order + "I", data, section_at + i * section_size + 4)[0] for i in range(section_count)]
    interpreter, symbol_table = 3, 2
    return {"static": interpreter not in kinds, "stripped": symbol_table not in tables}


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment(), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return found.group(0) if found else "unknown"
