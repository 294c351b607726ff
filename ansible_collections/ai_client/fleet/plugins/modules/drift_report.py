#!/usr/bin/python
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Documentation of the action plugin of this name, which does all of the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift_report
short_description: Bring together what a look at every node found
description:
  - Runs on the controller. Fails unless every node was looked at and is as it should be.
  - With the callback P(ai_client.fleet.exit_code#callback) the playbook then ends with the exit code 3.
author: The ai-client authors (@ai-client)
options:
  results:
    description: The name under which the results of M(ai_client.fleet.node) were registered.
    type: str
    required: true
  json:
    description: The file to write the report to, as JSON.
    type: path
    default: ""
  textfile:
    description: The file to write the report to, for node_exporter's textfile collector.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Report
  ai_client.fleet.drift_report:
    results: looked
    json: drift.json
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
report:
  description: C(clean), C(counts) by state, and C(nodes), each with its state, drift and reason.
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
            "textfile": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="ai_client.fleet.drift_report runs on the controller: its action plugin was not found")


if __name__ == "__main__":
    main()
