"""The peers: Portkey's gateway from npm, LiteLLM's proxy from PyPI, installed by name under bench/.peers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from bench import workload
from bench.contestant import JSON_HEADERS, Contestant
from bench.processes import PROXY_CORE, Processes, free_port, wait_until_answers

FOLDER = Path(__file__).parent / ".peers"
_INSTALL_SECONDS = 600
_START_SECONDS = 120


class SkippedError(Exception):
    """A peer, or a tool, that is not there; the message says why in plain words."""


def _install(name: str, argv: list[str]) -> None:
    print(f"  installing {name} (once)", flush=True)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise SkippedError(f"{name}: not installed within {_INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise SkippedError(f"{name}: could not be installed ({' '.join(last) or 'no reason given'})")


def portkey() -> Path:
    """The program of Portkey's gateway, for Node, installed when it is not there yet. Raises SkippedError."""
    folder = FOLDER / "portkey"
    gateway = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        raise SkippedError("Portkey gateway: needs node and npm")
    if not gateway.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _install(
            "Portkey gateway",
            [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "@portkey-ai/gateway"],
        )
    return gateway


def portkey_argv(port: int) -> list[str]:
    """The command that starts it. Raises SkippedError."""
    gateway = portkey()
    return [shutil.which("node") or "node", str(gateway), f"--port={port}", "--headless"]


def start_portkey(processes: Processes, upstream: int) -> Contestant:
    """Portkey's gateway in front of the port `upstream`. Raises SkippedError without Node or a package registry."""
    port = free_port()
    process = processes.start("portkey", portkey_argv(port), core=PROXY_CORE)
    headers = {
        **JSON_HEADERS,
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
    }
    wait_until_answers(process, port, headers, seconds=_START_SECONDS)
    return Contestant("Portkey gateway", port, process, headers)


LITELLM_BARE = "LiteLLM proxy, passing on"
LITELLM = "LiteLLM proxy, limits, cost and metrics on"

_LITELLM = """
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: {key}
"""

# As our own: every limit is counted and none is reached, a price is known, each call is in the metrics.
_LITELLM_WORK = """      rpm: 1000000000
      tpm: 1000000000000
      input_cost_per_token: 0.00000042
      output_cost_per_token: 0.00000042
router_settings:
  optional_pre_call_checks: [enforce_model_rate_limits]
litellm_settings:
  callbacks: [prometheus]
"""


def start_litellm_bare(processes: Processes, upstream: int) -> Contestant:
    """LiteLLM's proxy as it comes, which counts and limits nothing, in front of the port `upstream`."""
    return _start_litellm(processes, upstream, LITELLM_BARE, _LITELLM)


def start_litellm(processes: Processes, upstream: int) -> Contestant:
    """LiteLLM's proxy at the work that our daemon does here, as far as it does it without a database.

    Its limits, its prices and its Prometheus metrics are on; an audit log it has only with one.
    """
    return _start_litellm(processes, upstream, LITELLM, _LITELLM + _LITELLM_WORK)


LITELLM_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it looks for a newer price table on the network
        "LITELLM_LOG": "ERROR",
        # Nobody in this comparison authenticates its callers; without a key it is also the faster for it.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
)


def litellm() -> Path:
    """The venv with LiteLLM's proxy, installed when it is not there yet. Raises SkippedError."""
    folder = FOLDER / "litellm"
    command = folder / "bin" / "litellm"
    if not command.exists() or not any(folder.glob("lib/python3*/site-packages/prometheus_client")):
        FOLDER.mkdir(parents=True, exist_ok=True)
        _install("a venv for LiteLLM proxy", [sys.executable, "-m", "venv", "--clear", str(folder)])
        packages = ["litellm[proxy]", "prometheus-client"]  # its metrics want the second, and do not ask for it
        _install("LiteLLM proxy", [str(folder / "bin" / "pip"), "install", "--quiet", *packages])
    return folder


def _start_litellm(processes: Processes, upstream: int, name: str, template: str) -> Contestant:
    """One model, one process, no database. Raises SkippedError."""
    command = litellm() / "bin" / "litellm"
    short = "litellm-bare" if name == LITELLM_BARE else "litellm"
    config = processes.folder / f"{short}.yaml"
    config.write_text(template.format(model=workload.MODEL, upstream=upstream, key=workload.KEY))
    port = free_port()
    argv = [str(command), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    process = processes.start(short, argv, core=PROXY_CORE, environment=LITELLM_ENVIRONMENT)
    wait_until_answers(process, port, JSON_HEADERS, seconds=_START_SECONDS, pause=0.5)
    return Contestant(name, port, process)


STARTERS: Mapping[str, Callable[[Processes, int], Contestant]] = MappingProxyType(
    {"Portkey gateway": start_portkey, LITELLM: start_litellm, LITELLM_BARE: start_litellm_bare}
)


def versions() -> dict[str, str]:
    """What is installed, as the packages themselves say."""
    found = {}
    manifest = FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
    if manifest.exists():
        found["Portkey gateway"] = str(json.loads(manifest.read_text())["version"])
    for metadata in FOLDER.glob("litellm/lib/python3*/site-packages/litellm-*.dist-info"):
        found["LiteLLM proxy"] = metadata.name.removeprefix("litellm-").removesuffix(".dist-info")
    return found
