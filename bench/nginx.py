"""nginx twice: the upstream that answers at once, and `proxy_pass`, the floor that a proxy is measured against."""

from __future__ import annotations

from pathlib import Path

from bench import workload
from bench.contestant import JSON_HEADERS, Contestant
from bench.processes import LOAD_CORE, PROXY_CORE, Process, Processes, free_port, wait_until_answers

FLOOR = "nginx proxy_pass"

_MAIN = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
}}
"""

_MOCK = """
    default_type application/json;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 '{reply}'; }}
    }}
"""

_PROXY = """
    upstream target {{
        server 127.0.0.1:{target};
        keepalive 2048;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://target;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {more}
        }}
    }}
"""


def _start(processes: Processes, binary: str, name: str, http: str, core: int) -> Process:
    folder: Path = processes.folder / name
    folder.mkdir(exist_ok=True)
    config = folder / "nginx.conf"
    # Started by root, workers would become nobody and could not enter the bench's folder.
    user = "user root;" if folder.owner() == "root" else ""
    config.write_text(_MAIN.format(user=user, folder=folder, http=http))
    argv = [binary, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    return processes.start(name, argv, core=core)


def start_mock(processes: Processes, binary: str, *, core: int = LOAD_CORE) -> Contestant:
    """An upstream that answers every request at once with the bench's completion."""
    port = free_port()
    http = _MOCK.format(port=port, reply=workload.reply_body().decode())
    process = _start(processes, binary, f"nginx-mock-{core}", http, core)
    wait_until_answers(process, port, JSON_HEADERS)
    return Contestant("direct", port)


def start_proxy(processes: Processes, binary: str, name: str, target: int, *, streams: bool = False) -> Contestant:
    """nginx with `proxy_pass` and kept connections to the port `target`; unbuffered when it is to pass streams on."""
    port = free_port()
    more = "proxy_buffering off; proxy_read_timeout 600s;" if streams else ""
    process = _start(processes, binary, name, _PROXY.format(port=port, target=target, more=more), PROXY_CORE)
    wait_until_answers(process, port, JSON_HEADERS)
    return Contestant(FLOOR, port, process)
