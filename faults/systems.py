"""The systems that the scorecard runs: our daemon, and those of its peers that can be installed here by name.

All get what the catalogue gives: two retries, 30 s for a request, one fallback; and 10 s for the first token where that
can be set. The rest is as each comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import httpx

from bench import peers
from bench.ours import command
from bench.processes import NotReadyError, Process, Processes, free_port
from faults.server import PRIMARY, SPARE

REQUEST_SECONDS: Final = 30
FIRST_TOKEN_SECONDS: Final = 10
_START_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class System:
    """One that is up. `headers` are those of a call for a model."""

    name: str
    port: int
    headers: Callable[[str], Mapping[str, str]]


def _plain(_model: str) -> Mapping[str, str]:
    return MappingProxyType({})


async def _ready(process: Process, system: System) -> System:
    """Until the spare answers a stream through it. Raises NotReadyError."""
    body = {"model": SPARE, "messages": [{"role": "user", "content": SPARE}], "stream": True}
    url = f"http://127.0.0.1:{system.port}/v1/chat/completions"
    loop = asyncio.get_running_loop()
    deadline, said = loop.time() + _START_SECONDS, "nothing"
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        while loop.time() < deadline and process.popen.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.post(url, json=body, headers=dict(system.headers(SPARE)))
                if answer.status_code == 200:
                    return system
                said = f"{answer.status_code} {answer.text[:200]}"
            await asyncio.sleep(0.2)
    raise NotReadyError(f"{system.name} answered no stream in {_START_SECONDS} s; last it said: {said}")


async def ours(processes: Processes, provider: int, models: Sequence[str], *, whole: bool) -> System:
    """Our daemon; `whole` holds streams until they are whole."""
    port, short = free_port(), "whole" if whole else "plain"
    url = f"http://127.0.0.1:{provider}"
    config = processes.folder / f"ai-client-{short}.conf"
    config.write_text(f"""\
[api]
base_url = {url}/{PRIMARY}/v1
provider = {PRIMARY}
api_key = none
models = {", ".join(models)}
timeout = {REQUEST_SECONDS}
max_retries = 2
[models]
default = {models[0]}
fallback = {SPARE}
[routing]
simple = {models[0]}
moderate = {models[0]}
complex = {models[0]}
[performance]
read_timeout = {REQUEST_SECONDS}
first_token_timeout = {FIRST_TOKEN_SECONDS}
[streams]
commit = {"whole" if whole else "first_content"}
[provider {SPARE}]
base_url = {url}/{SPARE}/v1
models = {SPARE}
api_key = none
[caching]
enabled = no
[costs]
ledger = none
[logging]
destination = file
log_dir = {processes.folder / f"logs-{short}"}
[monitoring]
metrics_port = 0
""")
    argv = [command(), "serve", "--config", str(config), "--listen", f"127.0.0.1:{port}"]
    process = processes.start(f"ai-client-{short}", argv)
    return await _ready(process, System("ai-client, commit = whole" if whole else "ai-client", port, _plain))


async def litellm(processes: Processes, provider: int, models: Sequence[str]) -> System:
    """LiteLLM's proxy, with a fallback for each model. Raises SkippedError."""
    program = peers.litellm() / "bin" / "litellm"

    def entry(model: str, where: str) -> dict[str, object]:
        base = f"http://127.0.0.1:{provider}/{where}/v1"
        return {"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_base": base, "api_key": "k"}}

    fallbacks = [{model: [SPARE]} for model in models]
    config = processes.folder / "litellm.yaml"  # JSON is YAML
    config.write_text(
        json.dumps(
            {
                "model_list": [*(entry(model, PRIMARY) for model in models), entry(SPARE, SPARE)],
                "router_settings": {
                    "num_retries": 2,
                    "timeout": REQUEST_SECONDS,
                    "stream_timeout": FIRST_TOKEN_SECONDS,
                    "fallbacks": fallbacks,
                    "context_window_fallbacks": fallbacks,
                },
            }
        )
    )
    port = free_port()
    argv = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    process = processes.start("litellm", argv, environment=peers.LITELLM_ENVIRONMENT)
    return await _ready(process, System("LiteLLM proxy", port, _plain))


async def portkey(processes: Processes, provider: int, _models: Sequence[str]) -> System:
    """Portkey's gateway, told in a header of each call what to do. Raises SkippedError."""

    def headers(model: str) -> Mapping[str, str]:
        def target(name: str, where: str) -> dict[str, object]:
            host = f"http://127.0.0.1:{provider}/{where}/v1"
            return {"provider": "openai", "api_key": "k", "custom_host": host, "override_params": {"model": name}}

        statuses = [429, 500, 502, 503, 504]
        retry = {"attempts": 2, "on_status_codes": statuses, "use_retry_after_header": True}
        targets = [{**target(model, SPARE if model == SPARE else PRIMARY), "retry": retry}, target(SPARE, SPARE)]
        told = {"strategy": {"mode": "fallback"}, "request_timeout": REQUEST_SECONDS * 1000, "targets": targets}
        return {"x-portkey-config": json.dumps(told), "authorization": "Bearer k"}

    port = free_port()
    process = processes.start("portkey", peers.portkey_argv(port))
    return await _ready(process, System("Portkey gateway", port, headers))


PUBLISHED: Mapping[str, tuple[int, int, int, int]] = MappingProxyType(
    {
        "Bifrost 2.1.1": (9, 3, 3, 1),
        "LiteLLM proxy": (9, 3, 4, 0),
        "LiteLLM Router": (9, 3, 4, 0),
        "LangChain ChatOpenAI, with_fallbacks": (9, 3, 4, 0),
        "Portkey gateway": (11, 2, 0, 3),
        "DeepSeek Harness, dsh-llm-fallbacks": (12, 3, 1, 0),
        "openai-python, no fallback": (6, 0, 10, 0),
    }
)
"""Pass, partial, safe and fail of Failover Bench's own scorecard of 12 September 2026."""
