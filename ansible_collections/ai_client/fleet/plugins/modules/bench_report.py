#!/usr/bin/python
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Documentation of the action plugin of this name, which does all of the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_report
short_description: Bring together what load on every node gave
description:
  - Runs on the controller. Fails when a target was missed, or a node could not be measured.
  - Percentiles cannot be added up. Each is told of the middle node and of the worst one.
author: The ai-client authors (@ai-client)
options:
  results:
    description: The name under which the results of M(ai_client.fleet.bench) were registered.
    type: str
    required: true
  json:
    description: The file to write the report to, as JSON.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Report
  ai_client.fleet.bench_report:
    results: measured
    json: bench.json
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
report:
  description: C(nodes), C(requests), C(failed), C(latency_ms), C(hit_rate), C(connections), and the targets C(missed).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Say that this must not be reached."""
    module = AnsibleModule(
        argument_spec={
            "results": {"type": "str", "required": True},
            "json": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="ai_client.fleet.bench_report runs on the controller: its action plugin was not found")


if __name__ == "__main__":
    main()
