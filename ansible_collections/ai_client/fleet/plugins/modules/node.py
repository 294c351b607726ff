#!/usr/bin/python
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""The whole node in one call. What it takes on the node is rendered by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: Bring a node's AI client to its state
description:
  - User, folders, release, configuration, key, certificate authorities, units and service, in one call.
  - A change that asks for a restart is first proven beside the running service, with real requests. What fails is taken back.
  - The options are filled by the action plugin of this name from the variables of the role P(ai_client.fleet.client#role);
    a task gives C(state) only.
author: The ai-client authors (@ai-client)
options:
  state:
    description:
      - V(present) brings the node to its state.
      - V(drift) looks only, at every file of the release too, and says what is not as it should be.
      - V(previous) goes back to the release before, with the configuration it was run with.
      - V(proven) tries the key RV(ignore:ai_api_key_next) beside the running service, and changes nothing that runs.
      - V(rotated) puts that key in force, and changes nothing else.
      - V(asked) changes nothing and looks at nothing: it tells the release and the key that are in use.
      - V(absent) leaves nothing.
    type: str
    choices: [present, drift, previous, proven, rotated, asked, absent]
    default: present
  spec:
    description: The node as it should be. Filled by the action plugin.
    type: dict
    default: {}
  secrets:
    description: The contents of secret files, by path. Filled by the action plugin.
    type: dict
    default: {}
  archive:
    description: Where the action plugin put the release's archive. Removed when done.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows what changes in files; never a secret.
    support: full
"""

EXAMPLES = r"""
- name: Bring the node to its state
  ai_client.fleet.node:
    state: present
  become: true

- name: What is not as it should be?
  ai_client.fleet.node:
    state: drift
  become: true
"""

RETURN = r"""
drift:
  description: What was not as it should be, each with RV(ignore:kind), RV(ignore:what) and RV(ignore:effect).
  returned: always
  type: list
  elements: dict
actions:
  description: What was done to the service.
  returned: changed
  type: list
  elements: str
release:
  description: The release that C(current) names afterwards, and the one before.
  returned: always
  type: dict
key_id:
  description: The first 12 hexadecimal digits of the SHA-256 of the key that the running service was given.
  returned: always
  type: str
lacks_release:
  description: The node needs the release's archive; nothing was changed.
  returned: when so
  type: bool
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ai_client.fleet.plugins.module_utils import absent, releases, standin, systemd, trial
from ansible_collections.ai_client.fleet.plugins.module_utils.apply import PREVIOUS, ApplyError, apply
from ansible_collections.ai_client.fleet.plugins.module_utils.files import Difference, File
from ansible_collections.ai_client.fleet.plugins.module_utils.look import look
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import Spec, read_spec

LOCK = "/run/lock/ai-client-fleet"
_RELEASE_KINDS = ("release", "release_file", "package")


def main() -> None:
    """Read the options, and do what `state` says."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["present", "drift", "previous", "proven", "rotated", "asked", "absent"],
                "default": "present",
            },
            "spec": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "archive": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    # A controller that goes away in the middle must not leave a node in the middle.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    params = module.params
    spec = read_spec(params["spec"], params["secrets"])
    try:
        with _alone():
            result = _do(params["state"], spec, params["archive"], check=module.check_mode)
    except (ApplyError, trial.TrialError, systemd.SystemdError, releases.ReleaseError, OSError) as error:
        module.fail_json(msg=str(error), **_facts(spec))
    finally:
        if params["archive"]:
            shutil.rmtree(os.path.dirname(params["archive"]), ignore_errors=True)
    module.exit_json(**result)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One at a time: a call of a controller that was killed may still be at work."""
    Path(LOCK).parent.mkdir(parents=True, exist_ok=True)
    with Path(LOCK).open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    with contextlib.suppress(OSError):
        os.unlink(LOCK)


def _do(state: str, spec: Spec, archive: str, *, check: bool) -> dict[str, object]:
    if state == "asked":
        return _result(spec, [], [])
    if state == "absent":
        found = absent.leftovers(spec)
        if found and not check:
            absent.remove(spec)
        return _result(spec, found, [])
    if state in ("proven", "rotated"):
        # the key alone, with the release that runs; what is proven once need not be proven again
        spec = replace(spec, release=releases.linked(spec.root, "current"), parts=["key"])
        spec = replace(spec, gate=replace(spec.gate, trial=False)) if state == "rotated" else spec
    if state == "proven":
        if not check:
            trial.prove(spec, compare=False)
        return _result(spec, [], [])
    return _bring(state, _previous(spec) if state == "previous" else spec, archive, check=check)


def _bring(state: str, spec: Spec, archive: str, *, check: bool) -> dict[str, object]:
    """Look, and mend what differs, unless it is only to be told."""
    found = look(spec, full=state == "drift")
    if state == "drift":
        return {**_result(spec, found, []), "changed": False}
    if not check:
        standin.clear()  # somebody who was killed has left it
    if check or not found:
        return _result(spec, found, [])
    if not archive and any(each.kind in _RELEASE_KINDS for each in found):
        if state == "previous":
            raise ApplyError(f"the release before, {spec.release}, is not whole any more: {found[0].what}")
        return {**_result(spec, [], []), "lacks_release": True}
    return _result(spec, found, apply(spec, found, archive))


def _previous(spec: Spec) -> Spec:
    """The node as it was before its current release."""
    path = Path(spec.root) / PREVIOUS
    if not path.is_file():
        raise ApplyError("there is no release before the current one: nothing to go back to")
    kept = json.loads(path.read_text(encoding="utf-8"))
    former = {each["path"]: File(**each) for each in kept["files"]}
    return replace(spec, release=kept["release"], files=[former.get(each.path, each) for each in spec.files])


def _result(spec: Spec, found: list[Difference], actions: list[str]) -> dict[str, object]:
    return {
        "changed": bool(found),
        "drift": [{"kind": each.kind, "what": each.what, "effect": each.effect} for each in found],
        "actions": actions,
        "diff": [
            {
                "before_header": each.what,
                "after_header": each.what,
                "before": _ended(each.before),
                "after": _ended(each.after),
            }
            for each in found
        ],
        **_facts(spec),
    }


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _facts(spec: Spec) -> dict[str, object]:
    names = {name: releases.linked(spec.root, name) for name in ("current", "previous")}
    return {"release": names, "key_id": _key_id(spec)}


def _key_id(spec: Spec) -> str:
    """Of the key that the service was started with: its own copy, not the file from which the next start takes it."""
    try:
        key = Path(f"/run/credentials/{spec.service}/{os.path.basename(spec.key)}").read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(key.strip()).hexdigest()[:12]


if __name__ == "__main__":
    main()
