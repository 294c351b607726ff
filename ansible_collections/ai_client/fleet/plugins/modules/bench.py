#!/usr/bin/python
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Load on one node, by its own `ai-client bench`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench
short_description: Send load through a node's client, and compare what came of it with targets
description:
  - Runs C(ai-client bench) on the node, and reads the service's metrics before and after.
  - Real models cost real money. RV(ignore:rate) times RV(ignore:duration) requests are sent.
author: The ai-client authors (@ai-client)
options:
  rate:
    description: Requests a second.
    type: float
    default: 10
  duration:
    description: Seconds.
    type: float
    default: 10
  prompts:
    description: How many different prompts there are; they come in turn, so the cache knows what came before. With 0 all differ.
    type: int
    default: 0
  model:
    description: A model; empty asks the configured one.
    type: str
    default: ""
  max_tokens:
    description: Bounds each answer.
    type: int
    default: 16
  pool_size:
    description: Connections to the provider that there may be.
    type: int
    default: 100
  address:
    description: Where the daemon answers.
    type: str
    default: unix:/run/ai-client/ai-client.sock
  target_p99_ms:
    description: The slowest that the 99th percentile may be; 0 for any.
    type: float
    default: 0
  target_failed:
    description: The share of requests that may fail.
    type: float
    default: 0
  target_hit_rate:
    description: The least share of requests that the cache has to answer.
    type: float
    default: 0
attributes:
  check_mode:
    description: Asks whether the service is ready, and sends no load.
    support: full
"""

EXAMPLES = r"""
- name: A minute of load
  ai_client.fleet.bench:
    rate: 20
    duration: 60
    prompts: 100
    target_hit_rate: 0.7
  become: true
"""

RETURN = r"""
figures:
  description: What C(ai-client bench --json) told, with the cache's C(hit_rate) and the C(connections) of the pool.
  returned: when load was sent
  type: dict
missed:
  description: The targets that were missed, in words.
  returned: always
  type: list
  elements: str
"""

import json
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ai_client.fleet.plugins.module_utils import gate
from ansible_collections.ai_client.fleet.plugins.module_utils.figures import Targets, counted, missed

PROGRAM = "/usr/local/bin/ai-client"
PROMPT = "Prompt {number} of a benchmark: say in one sentence what a cache is for."


def main() -> None:
    """Read the metrics, send the load, read them again, and compare."""
    module = AnsibleModule(
        argument_spec={
            "rate": {"type": "float", "default": 10},
            "duration": {"type": "float", "default": 10},
            "prompts": {"type": "int", "default": 0},
            "model": {"type": "str", "default": ""},
            "max_tokens": {"type": "int", "no_log": False, "default": 16},
            "pool_size": {"type": "int", "default": 100},
            "address": {"type": "str", "default": "unix:/run/ai-client/ai-client.sock"},
            "target_p99_ms": {"type": "float", "default": 0},
            "target_failed": {"type": "float", "default": 0},
            "target_hit_rate": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    fault, _told = gate.ready(params["address"], 5)
    if fault:
        module.fail_json(msg=fault)
    if module.check_mode:
        module.exit_json(changed=False, missed=[], msg="ready; no load is sent in check mode")
    before = counted(_metrics(module, params["address"]))
    figures = _load(module)
    after = counted(_metrics(module, params["address"]))
    asked = after.cache_asked - before.cache_asked
    figures["hit_rate"] = round((after.cache_hits - before.cache_hits) / asked, 4) if asked else 0.0
    figures["connections"] = after.connections
    targets = Targets(params["target_p99_ms"], params["target_failed"], params["target_hit_rate"], params["pool_size"])
    module.exit_json(changed=False, figures=figures, missed=missed(figures, targets))


def _metrics(module: AnsibleModule, address: str) -> str:
    try:
        status, body = gate.ask(address, "GET", "/metrics")
    except OSError as error:
        module.fail_json(msg=f"/metrics does not answer: {error}")
    return body.decode("utf-8", "replace") if status == 200 else ""


def _load(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    command = [PROGRAM, "bench", "--json", "--rate", str(params["rate"]), "--duration", str(params["duration"])]
    command += ["--max-tokens", str(params["max_tokens"])]
    command += ["--model", params["model"]] if params["model"] else []
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        if params["prompts"]:
            lines = ({"prompt": PROMPT.format(number=each + 1)} for each in range(params["prompts"]))
            file.write("".join(json.dumps(each) + "\n" for each in lines))
            file.flush()
            command += ["--prompt-file", file.name]
        code, out, err = module.run_command(command)
    try:
        told: dict[str, object] = json.loads(out)
    except ValueError:
        module.fail_json(msg=f"ai-client bench ended with {code}: {err.strip()[-300:]}")
    return told


if __name__ == "__main__":
    main()
