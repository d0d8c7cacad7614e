"""Processes of one run: started, measured and ended here, and nowhere else.

Owns: every child process and the temporary directory of the run. Each child has that directory as its
working directory, which is how `Workspace.leftovers` finds one that escaped. Children are ended by
process id, never by name.
"""
from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_DEADLINE_S = 5.0
READY_DEADLINE_S = 10.0


class BenchError(Exception):
    """A measurement that could not be made; the message says why."""


class Child:
    """One process (and the workers it forks) with its processor time and memory."""

    def __init__(self, name: str, popen: subprocess.Popen, log: Path):
        self.name = name
        self.popen = popen
        self.log = log

    @property
    def pid(self) -> int:
        return self.popen.pid

    def pids(self) -> list[int]:
        """The process and its descendants (nginx: master and worker)."""
        found = [self.pid]
        for pid in found:
            for task in _entries(f"/proc/{pid}/task"):
                text = _read(f"/proc/{pid}/task/{task}/children") or ""
                found.extend(int(child) for child in text.split())
        return found

    def cpu_seconds(self) -> float:
        """Processor time of all threads of all its processes so far, user and system."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def memory(self) -> dict[str, int]:
        """Bytes, summed over its processes: `rss`, `pss` and `private`."""
        total = {"rss": 0, "pss": 0, "private": 0}
        for pid in self.pids():
            text = _read(f"/proc/{pid}/smaps_rollup") or ""
            for line in text.splitlines():
                key, _, rest = line.partition(":")
                field = {"Rss": "rss", "Pss": "pss", "Private_Clean": "private", "Private_Dirty": "private"}.get(key)
                if field:
                    total[field] += int(rest.split()[0]) * 1024
        return total

    def settled_memory(self, shortest_s: float, longest_s: float, field: str) -> dict[str, int]:
        """Memory once `field` has stood still (within 0.2 %) for a second, waiting between the two bounds."""
        start = time.monotonic()
        history: list[int] = []
        while True:
            now = self.memory()
            history.append(now[field])
            recent = history[-5:]
            waited = time.monotonic() - start
            still = len(recent) == 5 and max(recent) - min(recent) <= max(4096, 0.002 * max(recent))
            if waited >= longest_s or (still and waited >= shortest_s):
                return now
            self.check_alive()
            time.sleep(0.25)

    def check_alive(self) -> None:
        status = self.popen.poll()
        if status is not None:
            raise BenchError(f"{self.name} ended with status {status}: {self.tail()}")

    def tail(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return "(no output)"
        return " | ".join(lines[-4:]) or "(no output)"

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a deadline."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                for pid in reversed(self.pids()):
                    _kill(pid)
                self.popen.wait(STOP_DEADLINE_S)
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                stream.close()


class Workspace:
    """The temporary directory and the children of one run; use it as a context manager."""

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="tcp-forwarder-bench-"))
        self.children: list[Child] = []
        self._serial = 0

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, stem: str) -> Path:
        """A new path in the temporary directory."""
        self._serial += 1
        return self.dir / f"{self._serial:04}-{stem}"

    def start(self, name: str, command: list[str], cpus: set[int] | None = None, piped: bool = False) -> Child:
        """Starts `command`, pinned to `cpus`; its output goes to a log, or to pipes when `piped`."""
        log = self.path(f"{name}.log")
        with open(log, "wb") as sink:
            popen = subprocess.Popen(
                command,
                cwd=self.dir,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else sink,
                stderr=sink,
                text=True if piped else None,
                env=environment(),
                preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
            )
        child = Child(name, popen, log)
        self.children.append(child)
        return child

    def spawn(self, name: str, command: list[str], cpus: set[int] | None) -> tuple[Child, float]:
        """Starts `command` with as little as possible before its exec, and says when (`time.perf_counter`).

        The processors are set for this process and inherited, as a hook between fork and exec would cost time.
        """
        mine = os.sched_getaffinity(0)
        env = environment()
        log = self.path(f"{name}.log")
        with open(log, "wb") as sink:
            try:
                if cpus:
                    os.sched_setaffinity(0, cpus)
                start = time.perf_counter()
                popen = subprocess.Popen(
                    command, cwd=self.dir, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, close_fds=False
                )
            finally:
                os.sched_setaffinity(0, mine)
        child = Child(name, popen, log)
        self.children.append(child)
        return child, start

    def run(self, name: str, command: list[str], cpus: set[int] | None, deadline_s: float) -> str:
        """Runs `command` to its end and gives its standard output."""
        child = self.start(name, command, cpus, piped=True)
        try:
            out, _ = child.popen.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{name} took longer than {deadline_s:.0f} s") from None
        finally:
            self.stop(child)
        if child.popen.returncode != 0:
            raise BenchError(f"{name} ended with status {child.popen.returncode}: {out.strip()[-300:]} {child.tail()}")
        return out

    def stop(self, child: Child) -> None:
        child.stop()
        if child in self.children:
            self.children.remove(child)

    def stop_all(self) -> None:
        for child in reversed(self.children):
            child.stop()
        self.children.clear()

    def leftovers(self) -> list[int]:
        """Process ids that still work in the temporary directory (checked before it is removed)."""
        known = {pid for child in self.children for pid in child.pids()}
        mine = str(self.dir)
        found = []
        for entry in _entries("/proc"):
            if entry.isdigit() and int(entry) not in known:
                try:
                    if os.readlink(f"/proc/{entry}/cwd").startswith(mine):
                        found.append(int(entry))
                except OSError:
                    continue
        return found


def environment() -> dict[str, str]:
    """What children see: plain locale, and no RUST_LOG that would override the configuration."""
    env = {key: value for key, value in os.environ.items() if key != "RUST_LOG"}
    env["LC_ALL"] = "C"
    return env


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of one process: nanoseconds of `schedstat`, else clock ticks of `stat`."""
    total = 0.0
    for task in _entries(f"/proc/{pid}/task"):
        text = _read(f"/proc/{pid}/task/{task}/schedstat")
        if text and text.split()[0] != "0":
            total += int(text.split()[0]) / 1e9
            continue
        text = _read(f"/proc/{pid}/task/{task}/stat")
        if text:
            fields = text.rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    return total


def machine_times() -> dict[str, float]:
    """Seconds that all processors were `busy` or `stolen` by the hypervisor, since boot."""
    fields = [int(field) / TICKS_PER_SECOND for field in (_read("/proc/stat") or "cpu 0 0 0 0 0 0 0 0").splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return {"busy": user + nice + system + irq + softirq, "stolen": steal}


def free_port(address: str) -> int:
    """A port nobody listens on, below the range from which outgoing connections take theirs."""
    low = int((_read("/proc/sys/net/ipv4/ip_local_port_range") or "32768 60999").split()[0])
    for _ in range(200):
        port = random.randrange(max(1025, low - 20_000), low) if low > 2048 else 0
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return probe.getsockname()[1]
    raise BenchError(f"no free port on {address}")


def wait_listening(address: str, port: int, child: Child) -> None:
    """Waits until something listens, without connecting (a connection would count as a client)."""
    packed = int.from_bytes(socket.inet_aton(address), "little")
    wanted = f"{packed:08X}:{port:04X}"
    deadline = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < deadline:
        for line in (_read(f"/proc/{child.pid}/net/tcp") or "").splitlines()[1:]:
            fields = line.split()
            if fields[1] == wanted and fields[3] == "0A":
                return
        child.check_alive()
        time.sleep(0.02)
    raise BenchError(f"{child.name} did not listen on {address}:{port} in time: {child.tail()}")


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
