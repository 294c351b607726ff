"""Takes everything away that the other rooms brought, data included."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from ansible_collections.ai_client.fleet.plugins.module_utils import standin, systemd
from ansible_collections.ai_client.fleet.plugins.module_utils.files import Difference
from ansible_collections.ai_client.fleet.plugins.module_utils.look import _has_group, _has_user
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import Spec


def leftovers(spec: Spec) -> list[Difference]:
    """What is still there."""
    found = [Difference("extra", path, "present", "absent") for path in _paths(spec) if os.path.lexists(path)]
    found += [Difference("user", f"user {spec.user}", "present", "absent")] if _has_user(spec.user) else []
    found += [Difference("user", f"group {spec.group}", "present", "absent")] if _has_group(spec.group) else []
    return found


def remove(spec: Spec) -> None:
    """Stop the service, and remove its units, files, folders, user and group."""
    standin.clear()
    systemd.run("systemctl", "disable", "--now", "--quiet", spec.socket, spec.service, check=False)
    for path in _paths(spec):
        if os.path.islink(path) or os.path.isfile(path):
            os.unlink(path)
        elif os.path.lexists(path):
            shutil.rmtree(path)
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "reset-failed", spec.service, spec.socket, check=False)
    if _has_user(spec.user):
        systemd.run("userdel", spec.user)
    if _has_group(spec.group):
        systemd.run("groupdel", spec.group)


def _paths(spec: Spec) -> list[str]:
    folders = [each.path for each in spec.folders]
    paths = [each.path for each in spec.files] + [each["path"] for each in spec.links]
    paths += [path for pattern in spec.owned for path in glob.glob(pattern)]
    paths += [f"{spec.config}.d", *folders[::-1], *spec.data, spec.root, str(Path("/run/ai-client-fleet"))]
    paths += [f"/etc/systemd/system/{unit}.d" for unit in (spec.service, spec.socket)]
    if spec.address.startswith("unix:/run/"):
        paths.append(os.path.dirname(spec.address[5:]))
    return list(dict.fromkeys(path for path in paths if path not in ("/run", "")))
