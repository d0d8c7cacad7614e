"""A wire with a delay: two network namespaces joined by two TUN devices, packets held back in between.

`lab_wire.py ONE_WAY_MS` makes a namespace for the clients and the proxy (198.18.0.1) and one for the backend
(198.18.0.2), prints the descriptors under which both stand in /proc/PID/fd, and carries packets until it is
ended; everything goes with the process. The addresses are those set aside for benchmarks, and exist in there only.
Needs root.
"""
from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
NEAR, FAR = "198.18.0.1", "198.18.0.2"
# More packets than this on the way are dropped, as a wire would.
MAX_QUEUED = 20_000


def namespace() -> int:
    """Moves this process to a new network namespace and gives a descriptor of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        sys.exit(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def device(name: str, address: str, peer: str) -> int:
    """A TUN device in the namespace this process is in."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "addr", "add", address, "peer", peer, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "mtu", "1500", "up"], check=True)
    return tun


def carry(one: int, other: int, delay_s: float) -> None:
    """Packets of each device come out of the other one `delay_s` later, in order."""
    poll = select.epoll()
    poll.register(one, select.EPOLLIN)
    poll.register(other, select.EPOLLIN)
    across = {one: other, other: one}
    queue: list[tuple[float, int, int, bytes]] = []
    serial = 0
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else -1
        for fd, _ in poll.poll(wait):
            due = time.monotonic() + delay_s
            while True:
                try:
                    packet = os.read(fd, 65536)
                except BlockingIOError:
                    break
                if len(queue) < MAX_QUEUED:
                    serial += 1
                    heapq.heappush(queue, (due, serial, across[fd], packet))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, _, fd, packet = heapq.heappop(queue)
            try:
                os.write(fd, packet)
            except OSError:
                pass


def main() -> None:
    delay_s = float(sys.argv[1]) / 1e3
    near = namespace()
    one = device("near", NEAR, FAR)
    far = namespace()
    other = device("far", FAR, NEAR)
    print(near, far, flush=True)
    carry(one, other, delay_s)


if __name__ == "__main__":
    main()
