"""Clients that speak TLS, and a plain server of bytes, each a process of its own.

`tls_peer.py server ADDRESS PORT` takes or gives as many bytes as a client orders, without TLS.
`tls_peer.py bulk ADDRESS PORT up|down BYTES` orders them through a proxy, and prints the seconds that it took.
`tls_peer.py handshakes ADDRESS PORT SECONDS full|resumed` connects, has one byte echoed and ends, over and over;
prints how many, and how many of them took up the keys of the first.
`tls_peer.py hold ADDRESS PORT COUNT` opens COUNT connections, each used once; prints `open`, and holds them until its
standard input closes.
`tls_peer.py halves ADDRESS PORT COUNT` says half a ClientHello on each of COUNT connections; prints `open`, then the
seconds after which the last of them was closed by the other side.
"""
from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time

CHUNK = 256 * 1024
MESSAGE = b"tcp-forwarder idle relay"
ORDER_BYTES = 16
PATIENCE_S = 60.0

Address = tuple[str, int]


def trusting() -> ssl.SSLContext:
    """Takes any certificate: what a client thinks of it is not measured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(context: ssl.SSLContext, address: Address, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(address, timeout=PATIENCE_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname="localhost", session=session)


def exactly(stream: socket.socket, count: int, room: bytearray) -> None:
    view = memoryview(room)
    while count:
        got = stream.recv_into(view[: min(count, len(room))])
        if not got:
            sys.exit("the stream ends too soon")
        count -= got


def server(address: Address) -> None:
    listener = socket.create_server(address, backlog=1024)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream,), daemon=True).start()


def serve(stream: socket.socket) -> None:
    with stream:
        order = stream.recv(ORDER_BYTES, socket.MSG_WAITALL).decode()
        # A connection that is warm, and was never used.
        if not order:
            return
        count = int(order[1:])
        if order[0] == "u":
            exactly(stream, count, bytearray(CHUNK))
            stream.sendall(b".")
            return
        chunk = bytes(CHUNK)
        while count:
            stream.sendall(chunk[: min(count, CHUNK)])
            count -= min(count, CHUNK)


def bulk(address: Address, direction: str, count: int) -> None:
    with connect(trusting(), address) as stream:
        start = time.perf_counter()
        stream.sendall(f"{direction[0]}{count:0{ORDER_BYTES - 1}}".encode())
        if direction == "up":
            chunk = bytes(CHUNK)
            for _ in range(count // CHUNK):
                stream.sendall(chunk)
            stream.sendall(chunk[: count % CHUNK])
            exactly(stream, 1, bytearray(1))
        else:
            exactly(stream, count, bytearray(CHUNK))
        print(json.dumps({"bytes": count, "seconds": time.perf_counter() - start}))


def handshakes(address: Address, seconds: float, kind: str) -> None:
    context = trusting()
    first = used(context, address, None)
    end = time.monotonic() + seconds
    done = resumed = 0
    while time.monotonic() < end:
        stream = used(context, address, first.session if kind == "resumed" else None)
        resumed += stream.session_reused
        done += 1
        stream.setblocking(False)
        try:
            stream.unwrap()
        except (ssl.SSLError, OSError):
            # It has been said; nobody waits for the answer.
            pass
        stream.close()
    print(json.dumps({"handshakes": done, "resumed": resumed}))


def used(context: ssl.SSLContext, address: Address, session: ssl.SSLSession | None) -> ssl.SSLSocket:
    """A connection that has carried a byte there and back; tickets have come before it."""
    stream = connect(context, address, session)
    stream.sendall(b".")
    exactly(stream, 1, bytearray(1))
    return stream


def hold(address: Address, count: int) -> None:
    context = trusting()
    held = []
    for _ in range(count):
        stream = connect(context, address)
        stream.sendall(MESSAGE)
        exactly(stream, len(MESSAGE), bytearray(len(MESSAGE)))
        held.append(stream)
    print("open", flush=True)
    sys.stdin.read()


def halves(address: Address, count: int) -> None:
    outgoing = ssl.MemoryBIO()
    try:
        trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = outgoing.read()
    held = []
    for _ in range(count):
        stream = socket.create_connection(address, timeout=PATIENCE_S)
        stream.sendall(hello[: len(hello) // 2])
        held.append(stream)
    last = time.monotonic()
    print("open", flush=True)
    for stream in held:
        try:
            if stream.recv(4096):
                sys.exit("half a ClientHello was answered")
        except ConnectionResetError:
            pass
    print(json.dumps({"cut_s": time.monotonic() - last}), flush=True)


def main(role: str, at: str, number: str, *rest: str) -> None:
    address = (at, int(number))
    if role == "server":
        server(address)
    elif role == "bulk":
        bulk(address, rest[0], int(rest[1]))
    elif role == "handshakes":
        handshakes(address, float(rest[0]), rest[1])
    elif role == "hold":
        hold(address, int(rest[0]))
    elif role == "halves":
        halves(address, int(rest[0]))
    else:
        sys.exit(f"unknown role {role}")


if __name__ == "__main__":
    main(*sys.argv[1:])
