"""The benchmark programs of Cargo's own, in `benches/`."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def build(name: str) -> str:
    """The path of the benchmark program of this name, built as for release."""
    command = ["cargo", "bench", "--bench", name, "--no-run", "--message-format", "json"]
    built = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in built.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("target", {}).get("name") == name:
            return message["executable"]
    raise ValueError("cargo did not say where the program is")
