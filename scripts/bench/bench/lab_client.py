"""Clients at a steady rate: `lab_client.py ADDRESS PORT RATE:SECONDS…` opens RATE connections a second for each phase.

It opens them when they are due, whether or not earlier ones have been answered. Prints one JSON list: for every
connection when it was opened (seconds from the start) and how long the first reply byte took (milliseconds, or null).
"""
from __future__ import annotations

import json
import selectors
import socket
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
LAST_REPLY_S = 3.0


def schedule(phases: list[str]) -> list[float]:
    """When connections are due, in seconds from the start."""
    due, at = [], 0.0
    for phase in phases:
        rate, _, seconds = phase.partition(":")
        due += [at + number / float(rate) for number in range(round(float(rate) * float(seconds)))]
        at += float(seconds)
    return due


def measure(address: tuple[str, int], due: list[float]) -> list[tuple[float, float | None]]:
    poll = selectors.DefaultSelector()
    waiting: dict[socket.socket, tuple[float, bool]] = {}
    found: list[tuple[float, float | None]] = []
    start = time.perf_counter()
    following = 0
    while following < len(due) or (waiting and time.perf_counter() - start < due[-1] + LAST_REPLY_S):
        now = time.perf_counter() - start
        while following < len(due) and due[following] <= now:
            client = socket.socket()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened = time.perf_counter()
            client.connect_ex(address)
            poll.register(client, selectors.EVENT_WRITE)
            waiting[client] = (opened, False)
            following += 1
        pause = due[following] - (time.perf_counter() - start) if following < len(due) else 0.1
        for key, _ in poll.select(max(0.0, pause)):
            client = key.fileobj
            opened, asked = waiting[client]
            try:
                if not asked:
                    client.sendall(REQUEST)
                    poll.modify(client, selectors.EVENT_READ)
                    waiting[client] = (opened, True)
                    continue
                answered = client.recv(4096).startswith(b"HTTP/1.1 200")
            except OSError:
                answered = False
            found.append((opened - start, (time.perf_counter() - opened) * 1e3 if answered else None))
            del waiting[client]
            poll.unregister(client)
            client.close()
    found += [(opened - start, None) for opened, _ in waiting.values()]
    return sorted(found, key=lambda one: one[0])


if __name__ == "__main__":
    print(json.dumps(measure((sys.argv[1], int(sys.argv[2])), schedule(sys.argv[3:]))))
