"""Our own daemon: limits, costs, metrics and the audit log on, the cache off."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import workload
from bench.contestant import JSON_HEADERS, Contestant
from bench.processes import PROXY_CORE, Process, Processes, wait_until_answers

NAME = "ai-client"

# Every limit is counted, none is ever reached: what is measured is the work of keeping them.
_CONFIG = """
[api]
base_url = http://127.0.0.1:{upstream}/v1
api_key = {key}
timeout = 60
connection_pool_size = 10000

[models]
default = {model}

[model_costs]
{model} = 0.42

[performance]
max_concurrent_requests = 100000

[limits]
requests_per_minute = 1000000000
tokens_per_minute = 1000000000000

[caching]
enabled = false

[logging]
level = INFO
format = json
destination = file
log_dir = {folder}

[monitoring]
enable_metrics = true
metrics_port = 0

[daemon]
listen = 127.0.0.1:{port}
"""


def command() -> str:
    """The installed program, beside the interpreter that runs the bench."""
    return str(Path(sys.executable).with_name("ai-client"))


def write_config(folder: Path, port: int, upstream: int) -> Path:
    """Writes the configuration of a daemon on `port`, in front of the port `upstream`, into `folder`."""
    logs = folder / "ai-client-logs"
    logs.mkdir(exist_ok=True)
    config = folder / f"ai-client-{port}.conf"
    text = _CONFIG.format(port=port, upstream=upstream, key=workload.KEY, model=workload.MODEL, folder=logs)
    config.write_text(text)
    return config


def serve_argv(config: Path, port: int) -> list[str]:
    """The command that starts the daemon."""
    return [command(), "serve", "--config", str(config), "--listen", f"127.0.0.1:{port}"]


def start_simulator(
    processes: Processes, port: int, *options: str, name: str = "simulator", core: int | None = None
) -> Process:
    """The project's own provider on `port`, as a process; it may take a moment to answer."""
    return processes.start(name, [command(), "simulate", "--listen", f"127.0.0.1:{port}", *options], core=core)


def start(processes: Processes, port: int, upstream: int) -> Contestant:
    """The daemon on `port`, in front of the port `upstream`. Raises NotReadyError."""
    config = write_config(processes.folder, port, upstream)
    process = processes.start(NAME, serve_argv(config, port), core=PROXY_CORE)
    wait_until_answers(process, port, JSON_HEADERS)
    return Contestant(NAME, port, process)
