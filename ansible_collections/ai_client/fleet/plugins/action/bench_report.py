# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Brings together what load on every node gave. Touches no node."""

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
        """Gather, write, and fail where a target was missed."""
        result = super().run(tmp, task_vars)
        known = task_vars or {}
        name, arguments = self._task.args["results"], self._task.args
        hosts = known["ansible_play_hosts_all"]
        results = {host: known["hostvars"][host].get(name) or {"unreachable": True} for host in hosts}
        told = report.together(results)
        told["missed"] += [
            f"{host}: could not be measured: {each.get('msg', 'nothing was heard of it')}"
            for host, each in results.items()
            if each.get("failed") or each.get("unreachable")
        ]
        if arguments.get("json"):
            write(arguments["json"], json.dumps(told, indent=2) + "\n")
        lines = [
            f"{told['nodes']} nodes, {told['requests']} requests, {told['failed']} failed, hit rate {told['hit_rate']:.1%}",
            *(
                f"{each}: middle node {times['middle_node']:.1f} ms, worst {times['worst_node']:.1f} ms"
                for each, times in told["latency_ms"].items()
            ),
            *told["missed"],
        ]
        result.update(changed=False, failed=bool(told["missed"]), report=told, msg="\n".join(lines))
        return result
