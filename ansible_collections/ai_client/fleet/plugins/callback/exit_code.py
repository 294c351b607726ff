# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Ends a playbook that found drift with an exit code of its own."""

from __future__ import annotations

DOCUMENTATION = """
name: exit_code
type: aggregate
short_description: The exit code 3 for drift
description:
  - C(ansible-playbook) ends with 2 for any failure. With this callback it ends with 3 when M(ai_client.fleet.drift_report)
    found a node that is not as it should be, or that could not be looked at.
author: The ai-client authors (@ai-client)
requirements:
  - Enabled by C(callbacks_enabled = ai_client.fleet.exit_code) in C(ansible.cfg).
"""

from typing import Any

from ansible.plugins.callback import CallbackBase

DRIFTED = 3


class CallbackModule(CallbackBase):
    """The callback."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "ai_client.fleet.exit_code"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Nothing was found yet."""
        super().__init__(*arguments, **named)
        self._drifted = False

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Remember that the report was not clean."""
        if result.task.action == "ai_client.fleet.drift_report" and not ignore_errors:
            self._drifted = True

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end, when all has been told."""
        if self._drifted:
            raise SystemExit(DRIFTED)
