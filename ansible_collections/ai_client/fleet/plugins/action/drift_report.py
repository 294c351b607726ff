# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Brings together what a look at every node found. Touches no node."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.ai_client.fleet.plugins.plugin_utils import report
from ansible_collections.ai_client.fleet.plugins.plugin_utils.report import write


class ActionModule(ActionBase):
    """The action."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Gather, write, and fail unless all is well."""
        result = super().run(tmp, task_vars)
        known = task_vars or {}
        name, arguments = self._task.args["results"], self._task.args
        hosts = known["ansible_play_hosts_all"]
        told = report.gather(hosts, {host: known["hostvars"][host].get(name) for host in hosts})
        if arguments.get("json"):
            write(arguments["json"], json.dumps(told, indent=2) + "\n")
        if arguments.get("textfile"):
            write(arguments["textfile"], report.textfile(told))
        counts = ", ".join(f"{count} {state}" for state, count in told["counts"].items())
        found = report.sentences(told)
        result.update(changed=False, failed=not told["clean"], report=told, msg="\n".join([counts, *found]))
        return result
