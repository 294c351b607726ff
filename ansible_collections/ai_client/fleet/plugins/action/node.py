# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Renders what a node should be on the controller, and has the collection's own program bring it there.

A node is visited twice: a look at its Python and releases, and the program, with the release when it is lacking.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase

from ansible_collections.ai_client.fleet.plugins.module_utils.node import key_id
from ansible_collections.ai_client.fleet.plugins.plugin_utils import bundle, configuration, desired, payload

_ROLE = Path(__file__).resolve().parents[2] / "roles" / "client" / "meta" / "argument_specs.yml"
_PROBE = (
    'set -- $({python} -c "import os,sys;print(*sys.version_info[:2],os.uname().machine)") && echo "FOUND $1.$2 $3" && '
    "ls -1d {root}/releases/*/.complete 2>/dev/null; true"
)
_FOUND = re.compile(r"FOUND (\S+) (\S+)")

_OF_THE_NODE = ("absent", "previous", "proven", "rotated", "asked")
"""What is done with the releases that the node has."""
_NEXT_KEY = ("proven", "rotated", "asked")
"""What is about the keys that come."""


class ActionModule(ActionBase):
    """The action."""

    TRANSFERS_FILES = True
    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, send what is lacking, and have it done."""
        result = super().run(tmp, task_vars)
        known = dict(task_vars or {})
        known.setdefault("ansible_python_interpreter", "/usr/bin/python3")
        state = self._task.args.get("state", "present")
        unknown = sorted(set(self._task.args) - {"state"})
        if unknown:
            raise AnsibleActionFail(f"ai_client.fleet.node takes `state` only, not {', '.join(unknown)}")
        try:
            result.update(self._do(state, known))
        except (bundle.BundleError, configuration.VariableError) as error:
            raise AnsibleActionFail(str(error)) from None
        return result

    def _do(self, state: str, known: dict[str, Any]) -> dict[str, Any]:
        values = self._values(known)
        python, arch, there = self._probe(known)
        if state in _OF_THE_NODE:
            release = bundle.Release("", python, arch, "", "")
        else:
            folder = values["ai_bundle"] or str(Path.cwd() / "dist" / "bundle")
            release = bundle.choose(folder, python, arch, values["ai_client_version"])
        coming = state in _NEXT_KEY
        which = "_next" if coming else ""
        if (state == "present" or coming) and not (values[f"ai_api_key{which}"] or values[f"ai_api_keys{which}"]):
            raise AnsibleActionFail(
                "there is no new key: set ai_api_key_next (from a vault), or AI_API_KEY_NEXT in the environment"
                if coming
                else "there is no key: set ai_api_key (from a vault), ai_api_key_file, or HOLYSHEEP_API_KEY in the environment"
            )
        spec, secrets = desired.document(
            values,
            release,
            desired.parts(known.get("ansible_run_tags", ["all"]), known.get("ansible_skip_tags", [])),
            _certificates(values["ai_custom_ca"], known),
            str(known.get("_raw_params", "")),
            _certificates(values["ai_redis_ca"], known),
            coming=coming,
        )
        asked = {"state": state, "spec": spec, "secrets": secrets, "check": self._task.check_mode}
        lacks = bool(release.id) and release.id not in there and state == "present" and not self._task.check_mode
        told = {} if lacks else self._ask(asked, b"", known)
        if lacks or told.get("lacks_release"):
            told = self._ask(asked, Path(release.archive).read_bytes(), known)
        if coming:
            used, new = told.get("key_ids", {}), [each["key"] for each in spec["trials"]]
            told["old_keys"] = [
                name for name in new if used.get(name) != key_id(secrets[spec["credentials"][name]].encode())
            ]
        return told

    def _ask(self, asked: dict[str, Any], archive: bytes, known: dict[str, Any]) -> dict[str, Any]:
        """Run the collection's own program on the node, as the user whom the task becomes."""
        command = payload.COMMAND.format(python=self._python(known))
        given = payload.pack(asked, archive)
        if self._connection.has_pipelining:
            done = self._low_level_execute_command(command, in_data=given)
        else:
            done = self._through_a_file(command, given)
        try:
            told = payload.answer(done.get("stdout", ""), done.get("stderr", ""))
        except payload.NoAnswerError as error:
            raise AnsibleActionFail(f"the node did not answer: {error}") from None
        if not self._task.diff:
            told.pop("diff", None)
        return told

    def _through_a_file(self, command: str, given: bytes) -> dict[str, Any]:
        """The same over a connection that hands no standard input on."""
        handle, here = tempfile.mkstemp()
        there = self._make_tmp_path()
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(given)
            path = f"{there.rstrip('/')}/given"
            self._transfer_file(here, path)
            done: dict[str, Any] = self._low_level_execute_command(f"{command} < {shlex.quote(path)}")
        finally:
            os.unlink(here)
            self._remove_tmp_path(there)
        return done

    def _python(self, known: dict[str, Any]) -> str:
        return shlex.quote(str(self._templar.template(known["ansible_python_interpreter"])))

    def _values(self, known: dict[str, Any]) -> dict[str, Any]:
        """Every variable of the role: given, under another name, from the environment, or its default; typed."""
        options = yaml_load(_ROLE.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
        spec = {
            name: {key: value for key, value in each.items() if key != "description"} for name, each in options.items()
        }
        given = {name: self._templar.template(known[name]) for name in spec if name in known}
        for other, name in desired.OTHER_NAMES.items():
            if other in known and given.get(name) in (None, spec[name].get("default")):
                given[name] = self._templar.template(known[other])
        self._find_keys(given)
        checked = ArgumentSpecValidator(spec).validate(given)
        if checked.error_messages:
            raise AnsibleActionFail("; ".join(checked.error_messages))
        return checked.validated_parameters

    @staticmethod
    def _find_keys(given: dict[str, Any]) -> None:
        if not given.get("ai_api_key") and given.get("ai_api_key_file"):
            path = Path(given["ai_api_key_file"]).expanduser()
            try:
                given["ai_api_key"] = path.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise AnsibleActionFail(f"ai_api_key_file {path} cannot be read: {type(error).__name__}") from None
        for name, variables in (
            ("ai_api_key", ("HOLYSHEEP_API_KEY", "AI_API_KEY")),
            ("ai_api_key_next", ("AI_API_KEY_NEXT",)),
        ):
            for variable in variables:
                given[name] = given.get(name) or os.environ.get(variable, "")

    def _probe(self, known: dict[str, Any]) -> tuple[str, str, set[str]]:
        """The node's Python and architecture, and the releases that stand there whole."""
        python = self._python(known)
        told = self._low_level_execute_command(_PROBE.format(python=python, root=desired.ROOT), sudoable=False)
        found = _FOUND.search(told.get("stdout", ""))
        if not found:
            words = (told.get("stderr") or told.get("stdout") or "").strip()[-300:]
            raise AnsibleActionFail(f"the node's Python ({python}) does not run: {words}")
        complete = [line.split("/")[-2] for line in told["stdout"].splitlines() if line.endswith("/.complete")]
        return found[1], found[2], set(complete)


def _certificates(value: Any, known: dict[str, Any]) -> str:
    """The text of the certificate authorities to trust, empty for the system's."""
    if value in (False, "", None, "false", "False", "no"):
        return ""
    name = "custom-ca-bundle.crt" if value in (True, "true", "True", "yes") else str(value)
    # Ansible's own search begins at the playbook that is imported, which is one of the collection's: nobody keeps files there
    asked_for = [os.path.dirname(str(each)) for each in context.CLIARGS.get("args", ())]
    places = [*asked_for, known.get("playbook_dir"), known.get("inventory_dir"), ""]
    for place in (Path(each).absolute() for each in places if each is not None):
        for path in (place / "files" / name, place / name):
            if path.is_file():
                return path.read_text(encoding="ascii")
    raise AnsibleActionFail(
        f"there is no file {name}, here, beside the playbook or beside the inventory, nor in files/ there"
    )
