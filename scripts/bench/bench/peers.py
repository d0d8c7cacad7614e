"""What stands behind the proxies: a web server, an iperf3 server, and the two ends of idle relays.

Each backend has a loopback address of its own.
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence

from .process import BenchError, Child, Workspace, free_port, wait_listening
from .proxies import Target, nginx_prelude, nginx_tls

WEB_ADDRESS = "127.0.0.2"
IPERF_ADDRESS = "127.0.0.3"
IDLE_ADDRESS = "127.0.0.4"
IDLE_PEER = str(Path(__file__).with_name("idle_peer.py"))
TLS_ADDRESS = "127.0.0.5"
TLS_PEER = str(Path(__file__).with_name("tls_peer.py"))


def web_server(
    workspace: Workspace, cpus: set[int] | None, address: str = WEB_ADDRESS, prefix: Sequence[str] = (), kind: str = ""
) -> tuple[Child, int]:
    """nginx as a web server, with a two-byte reply and connections that stay; a process of its own.

    `kind` is what it expects: `ssl`, or `proxy_protocol`.
    """
    port = free_port(address if address.startswith("127.") else WEB_ADDRESS)
    config = workspace.path("nginx-web.conf")
    config.write_text(web_config(address, port, workspace, kind))
    command = [*prefix, "nginx", "-p", str(workspace.dir), "-c", str(config), "-e", "stderr"]
    child = workspace.start("web server", command, cpus)
    wait_listening(address, port, child)
    return child, port


def web_config(address: str, port: int, workspace: Workspace, kind: str) -> str:
    kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    folders = "\n    ".join(f"{kind}_temp_path {workspace.dir}/{kind};" for kind in kinds)
    return f"""{nginx_prelude(workspace)}http {{
    access_log off;
    {folders}
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_header_timeout 1h;
    tcp_nodelay on;
    server {{
        listen {address}:{port} backlog=4096 {kind};
        {nginx_tls() if kind == "ssl" else ""}
        location / {{ default_type text/plain; return 200 "ok"; }}
    }}
}}
"""


def iperf_server(workspace: Workspace, cpus: set[int] | None) -> tuple[Child, int]:
    port = free_port(IPERF_ADDRESS)
    child = workspace.start("iperf3 server", ["iperf3", "-s", "-B", IPERF_ADDRESS, "-p", str(port)], cpus)
    wait_listening(IPERF_ADDRESS, port, child)
    return child, port


def echo_server(workspace: Workspace, cpus: set[int] | None) -> tuple[Child, int]:
    port = free_port(IDLE_ADDRESS)
    child = workspace.start("echo server", [sys.executable, IDLE_PEER, "backend", IDLE_ADDRESS, str(port)], cpus)
    wait_listening(IDLE_ADDRESS, port, child)
    return child, port


def bulk_server(workspace: Workspace, cpus: set[int] | None) -> tuple[Child, int]:
    port = free_port(TLS_ADDRESS)
    child = workspace.start("bulk server", [sys.executable, TLS_PEER, "server", TLS_ADDRESS, str(port)], cpus)
    wait_listening(TLS_ADDRESS, port, child)
    return child, port


def hold_idle(workspace: Workspace, target: Target, count: int, cpus: set[int] | None) -> Child:
    """Opens `count` relays through `target`, each used once, and returns when all are up."""
    peer = [TLS_PEER, "hold"] if target.scheme == "https" else [IDLE_PEER, "client"]
    return hold(workspace, target, [*peer, target.address, str(target.port), str(count)], cpus)


def hold(workspace: Workspace, target: Target, arguments: list[str], cpus: set[int] | None) -> Child:
    """Clients that hold their connections until their input ends; returns when all are up."""
    child = workspace.start("idle clients", [sys.executable, *arguments], cpus, piped=True)
    if child.popen.stdout is None or child.popen.stdout.readline().strip() != "open":
        child.popen.wait(5)
        raise BenchError(f"{target.name}: {child.tail()}")
    return child
