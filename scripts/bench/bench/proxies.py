"""The things compared: a direct connection, HAProxy, nginx, and the forwarder, each with one thread.

Owns their configuration files. A proxy is started for one case, with one backend, and every proxy of a
case stays up while the turns go round, so that all of them meet the same state of the machine.
"""
from __future__ import annotations

import re
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from .process import BenchError, Child, Workspace, environment, free_port, wait_listening

PROXY_ADDRESS = "127.0.0.1"
# ECDSA on P-256, and the cipher and the group that every client here would choose by itself; tickets are on everywhere.
CERTIFICATES = Path(__file__).resolve().parents[3] / "tests/certificates"
CERTIFICATE, KEY = CERTIFICATES / "server.pem", CERTIFICATES / "server.key"
SUITE, GROUP = "TLS_AES_256_GCM_SHA384", "X25519"
# More than are ever missing at once.
STATIC_POOL = 256
# Every proxy is configured for as many relays as 20,000 descriptors allow.
MAX_RELAYS = 9_500


@dataclass
class Candidates:
    """What a proxy forwards to, and how the forwarder treats it."""

    address: str
    port: int
    pool: str = "dynamic"
    probing_interval: str = "15s"
    initial_probing: bool = False
    lines: list[str] = field(default_factory=list)
    # Clients speak TLS with the proxy.
    tls: bool = False
    # The backend is told who the client is: by PROXY v2, nginx by v1, which is all that it can.
    announce: bool = False
    handshake_timeout: str = "10s"


@dataclass
class Target:
    """A proxy that is up (or the backend itself, without a process) and where its clients connect."""

    name: str
    address: str
    port: int
    child: Child | None = None
    metrics_port: int | None = None
    scheme: str = "http"
    # What its clients call it; else its address.
    host: str = ""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host or self.address}:{self.port}/"

    def metrics(self) -> str:
        if self.metrics_port is None:
            raise BenchError(f"{self.name} has no metrics")
        url = f"http://{PROXY_ADDRESS}:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.read().decode()

    def metric_sum(self, name: str) -> float:
        """The sum over all series of one metric; absent counts as zero."""
        pattern = re.compile(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? ([0-9.eE+-]+)$", re.MULTILINE)
        return sum(float(value) for value in pattern.findall(self.metrics()))


@dataclass
class Prepared:
    """A command with its configuration written, ready to be started any number of times."""

    name: str
    command: list[str]
    port: int
    metrics_port: int | None = None


def prepare(name: str, workspace: Workspace, to: Candidates, binary: Path | None) -> Prepared:
    """Writes the configuration of one proxy; `name` is one of the names in `PROXIES`."""
    port = free_port(PROXY_ADDRESS)
    if name.startswith("haproxy"):
        config = workspace.path("haproxy.cfg")
        config.write_text(haproxy_config(port, to, workspace, splice=name == "haproxy-splice"))
        return Prepared(name, ["haproxy", "-db", "-f", str(config)], port)
    if name == "nginx":
        config = workspace.path("nginx-stream.conf")
        config.write_text(nginx_stream_config(port, to, workspace))
        return Prepared(name, ["nginx", "-p", str(workspace.dir), "-c", str(config), "-e", "stderr"], port)
    if name.startswith("forwarder"):
        if binary is None:
            raise BenchError("the forwarder's binary is not known")
        metrics_port = free_port(PROXY_ADDRESS)
        config = workspace.path("forwarder.yaml")
        candidates = workspace.path("ip_list.txt")
        candidates.write_text("\n".join([f"{to.address}:{to.port}", *to.lines]) + "\n")
        text = forwarder_config(port, metrics_port, candidates, to, 2 if name == "forwarder-2" else 1)
        if name == "forwarder-routes":
            text = routed(text, port)
        elif name == "forwarder-log":
            text += f'access_log: {{ output: "{workspace.path("access.log")}" }}\n'
        config.write_text(text)
        return Prepared(name, [str(binary), "--config", str(config)], port, metrics_port)
    raise BenchError(f"unknown proxy {name}")


def start(
    name: str,
    workspace: Workspace,
    to: Candidates,
    binary: Path | None,
    cpus: set[int] | None,
    prefix: Sequence[str] = (),
) -> Target:
    """Starts a proxy and waits until it listens; `direct` is the backend itself. `prefix` goes before the command."""
    if name == "direct":
        return Target(name, to.address, to.port)
    ready = prepare(name, workspace, to, binary)
    child = workspace.start(name, [*prefix, *ready.command], cpus)
    wait_listening(PROXY_ADDRESS, ready.port, child)
    scheme = "https" if to.tls else "http"
    return Target(name, PROXY_ADDRESS, ready.port, child, ready.metrics_port, scheme)


def haproxy_config(port: int, to: Candidates, workspace: Workspace, splice: bool) -> str:
    tls = ""
    if to.tls:
        pair = workspace.path("haproxy.pem")
        pair.write_text(CERTIFICATE.read_text() + KEY.read_text())
        tls = f" ssl crt {pair} ciphersuites {SUITE} curves {GROUP} ssl-min-ver TLSv1.2"
    return f"""global
    nbthread 1
    maxconn {MAX_RELAYS}
    maxpipes 256
    tune.ssl.cachesize 0
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    {"option splice-auto" if splice else ""}
frontend clients
    bind {PROXY_ADDRESS}:{port}{tls}
    default_backend candidates
backend candidates
    server one {to.address}:{to.port}{" send-proxy-v2" if to.announce else ""}
"""


def nginx_prelude(workspace: Workspace) -> str:
    """What both uses of nginx need: one worker, in the foreground, nothing outside the temporary directory."""
    return f"""daemon off;
worker_processes 1;
worker_rlimit_nofile {2 * MAX_RELAYS + 1000};
pid {workspace.path("nginx.pid")};
error_log stderr error;
events {{ worker_connections {2 * MAX_RELAYS + 500}; }}
"""


def nginx_stream_config(port: int, to: Candidates, workspace: Workspace) -> str:
    module = nginx_stream_module()
    load = f"load_module {module};\n" if module else ""
    tls = nginx_tls() if to.tls else ""
    return f"""{load}{nginx_prelude(workspace)}stream {{
    access_log off;
    server {{
        listen {PROXY_ADDRESS}:{port}{" ssl" if to.tls else ""};
        {tls}
        {"proxy_protocol on;" if to.announce else ""}
        proxy_connect_timeout 1s;
        proxy_timeout 1h;
        proxy_pass {to.address}:{to.port};
    }}
}}
"""


def nginx_tls() -> str:
    """What a server of nginx says of TLS."""
    return (
        f"ssl_certificate {CERTIFICATE}; ssl_certificate_key {KEY}; ssl_protocols TLSv1.2 TLSv1.3; "
        f"ssl_conf_command Ciphersuites {SUITE}; ssl_ecdh_curve {GROUP};"
    )


def nginx_stream_module() -> str | None:
    """The path of nginx's stream module when it is a loadable one, None when it is built in."""
    try:
        shown = subprocess.run(["nginx", "-V"], capture_output=True, text=True, env=environment(), check=False).stderr
    except OSError:
        raise BenchError("nginx cannot be started") from None
    if "--with-stream=dynamic" not in shown:
        return None
    folder = re.search(r"--modules-path=(\S+)", shown)
    return f"{folder.group(1) if folder else '/usr/lib/nginx/modules'}/ngx_stream_module.so"


def forwarder_config(port: int, metrics_port: int, candidates: Path, to: Candidates, reactors: int) -> str:
    tls = f'{{ cert: "{CERTIFICATE}", key: "{KEY}" }}' if to.tls else "{}"
    return f"""server:
  listen_addr: "{PROXY_ADDRESS}:{port}"
  reactors: {reactors}
  handshake_timeout: "{to.handshake_timeout}"
  proxy_protocol: {{ send: {"v2" if to.announce else "off"} }}
  tls: {tls}
logging:
  level: "warn"
  output: "stderr"
metrics:
  enabled: true
  listen_addr: "{PROXY_ADDRESS}:{metrics_port}"
remotes:
  default_remote_port: {to.port}
  provider:
    type: "file"
    file: {{ path: "{candidates}" }}
  probing:
    interval: "{to.probing_interval}"
    initial: {{ enabled: {"true" if to.initial_probing else "false"} }}
pools:
  strategy:
    type: "{to.pool}"
    static: {{ size_per_remote: {STATIC_POOL} }}
"""


def routed(config: str, port: int) -> str:
    """The same service behind another one, that sends it whoever asks for `localhost`."""
    door = f"""services:
  door:
    listen_addr: "{PROXY_ADDRESS}:{port}"
    routes: [{{ sni: "localhost", to: behind }}]
    no_match: close
  behind: {{ listen_addr: "{PROXY_ADDRESS}:{free_port(PROXY_ADDRESS)}" }}
"""
    return config.replace(f'  listen_addr: "{PROXY_ADDRESS}:{port}"\n', "", 1) + door
