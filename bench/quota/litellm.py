"""A peer: two replicas of LiteLLM's proxy that count in one Redis, in front of the judge."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path

from bench import workload
from bench.contestant import JSON_HEADERS
from bench.peers import LITELLM_ENVIRONMENT, litellm
from bench.processes import Processes, free_port, wait_until_answers
from bench.quota.play import play as play_members
from bench.quota.scene import Outcome, Scene
from bench.quota.servers import Redis, judge

REPLICAS = 2
_START_SECONDS = 180
_CONFIG = """
model_list:
  - model_name: "{model}"
    litellm_params:
      model: openai/{model}
      api_base: {url}
      api_key: sk-bench-of-quota
      rpm: {rpm}
      tpm: {tpm}
      max_retries: 0
router_settings:
  routing_strategy: usage-based-routing-v2
  enable_pre_call_checks: true
  num_retries: 0
  redis_host: 127.0.0.1
  redis_port: {redis}
"""


def play(scene: Scene) -> Outcome:
    """Members without limits of their own ask the replicas, half of them each. Raises SkippedError, NotReadyError."""
    command = litellm() / "bin" / "litellm"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="litellm-")))
        port = free_port()
        stack.enter_context(Redis(port))
        url = stack.enter_context(judge(scene)).replace("0.0.0.0", "127.0.0.1")
        config = folder / "litellm.yaml"
        config.write_text(_CONFIG.format(model=workload.MODEL, url=url, rpm=scene.rpm, tpm=scene.tpm, redis=port))
        processes = stack.enter_context(Processes(folder))
        addresses = []
        for place in range(REPLICAS):
            own = free_port()
            argv = [str(command), "--config", str(config), "--host", "127.0.0.1", "--port", str(own)]
            process = processes.start(f"litellm-{place}", argv, environment=LITELLM_ENVIRONMENT)
            wait_until_answers(process, own, JSON_HEADERS, seconds=_START_SECONDS, pause=0.5)
            addresses.append(f"http://127.0.0.1:{own}/v1")
        return play_members(dataclasses.replace(scene, through=tuple(addresses)), url)
