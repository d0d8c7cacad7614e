"""The two ends of idle relays, each a process of its own so that neither shares its descriptors.

`idle_peer.py backend ADDRESS PORT` echoes what it receives and keeps every connection.
`idle_peer.py client ADDRESS PORT COUNT` opens COUNT connections, sends a few bytes over each and waits for
the echo, so that every relay exists from end to end and was used once; prints `open` and holds them until
its standard input closes.
"""
from __future__ import annotations

import selectors
import socket
import sys
import time

MESSAGE = b"tcp-forwarder idle relay"
IN_FLIGHT = 100
DEADLINE_S = 60.0


def backend(address: str, port: int) -> None:
    listener = socket.create_server((address, port), backlog=4096)
    listener.setblocking(False)
    poll = selectors.DefaultSelector()
    poll.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in poll.select():
            if key.fileobj is listener:
                accept_all(listener, poll)
                continue
            try:
                data = key.fileobj.recv(4096)
                if data:
                    key.fileobj.sendall(data)
                    continue
            except OSError:
                pass
            poll.unregister(key.fileobj)
            key.fileobj.close()


def accept_all(listener: socket.socket, poll: selectors.BaseSelector) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        client.setblocking(True)
        poll.register(client, selectors.EVENT_READ)


def client(address: str, port: int, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    poll = selectors.DefaultSelector()
    held: list[socket.socket] = []
    started = 0
    while len(held) < count:
        while started < count and started - len(held) < IN_FLIGHT:
            connection = socket.create_connection((address, port), timeout=5)
            connection.sendall(MESSAGE)
            poll.register(connection, selectors.EVENT_READ)
            started += 1
        for key, _ in poll.select(timeout=1):
            if key.fileobj.recv(4096) != MESSAGE:
                sys.exit(f"a relay did not echo, after {len(held)}")
            poll.unregister(key.fileobj)
            held.append(key.fileobj)
        if time.monotonic() > deadline:
            sys.exit(f"only {len(held)} of {count} relays came up")
    print("open", flush=True)
    sys.stdin.read()
    poll.close()
    for connection in held:
        connection.close()


if __name__ == "__main__":
    role, at, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if role == "backend":
        backend(at, number)
    else:
        client(at, number, int(sys.argv[4]))
