"""A lab, a simulator on the controller's side, playbooks run against it, and commands run on all nodes at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.fleet.cost import Cpu, spent
from bench.processes import NotReadyError, Process, Processes
from lab.plan import CONTROLLER, Plan, inventory_ini, plan

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "hs_the_first_key_0001"
NEXT_KEY: Final = "hs_the_second_key_0002"
POOL: Final = ("hs_a_key_of_the_pool_0003", "hs_another_provider_0004")
NEXT_POOL: Final = ("hs_a_key_of_the_pool_0005", "hs_another_provider_0006")
"""A further key of the default provider, and one of a second provider; and those that follow them."""

_PORT: Final = 4010
PROVIDER: Final = f"http://{CONTROLLER}:{_PORT}/v1"
"""Where the simulator is, for the nodes."""
_PLAIN: Final = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
_RECAP: Final = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Play:
    """What a playbook's run came to: its exit code, its seconds, and for each host how much changed and failed."""

    code: int
    seconds: float
    changed: Mapping[str, int]
    failed: Mapping[str, int]
    output: str
    cpu: Cpu

    @property
    def sound(self) -> bool:
        """Whether nothing failed."""
        return self.code == 0 and not any(self.failed.values())


class Fleet:
    """N nodes and what they need. Leaving the `with` block stops all of it, also after ^C."""

    def __init__(
        self, folder: Path, count: int, collections: Path, *, images: str | None = None, keep: bool = False
    ) -> None:
        """`folder` takes the lab, the logs, and the bundles; `keep` leaves the nodes when all is done.

        `collections` is where the collection is installed.
        """
        self.folder = folder
        self.lab: Plan = plan(folder / "lab", count)
        self.names = [node.name for node in self.lab.nodes]
        self._keep = keep
        self._environment = {"LAB": str(self.lab.folder), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
        if images:
            self._environment["LAB_IMAGES"] = images
        self._processes = Processes(folder)
        self._inventory = folder / "hosts.ini"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lab("up", "--nodes", str(len(self.names)))
            self._inventory.write_text(inventory_ini(self.lab), "ascii")
            self._simulate()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        # A second ^C, or a second SIGTERM, must not leave nodes, mounts and namespaces behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._processes.stop_all()
        if not self._keep:
            self._lab("down")

    def _lab(self, *words: str) -> None:
        words = (sys.executable, "-m", "lab", *words)
        subprocess.run(words, cwd=ROOT, env=self._all(), check=True, start_new_session=True)

    def _all(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, **self._environment, **(more or {})}

    def _here(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.lab.namespace(), *words]

    def _simulate(self) -> None:
        program = str(Path(sys.executable).with_name("ai-client"))
        listen = f"{CONTROLLER}:{_PORT}"
        keys = [word for key in (KEY, NEXT_KEY, *POOL, *NEXT_POOL) for word in ("--key", key)]
        words = self._here(program, "simulate", "--listen", listen, "--latency-ms", "20", *keys)
        process = self._processes.start("simulator", words)
        until = time.monotonic() + 20
        while "listening" not in process.log.read_text("utf-8", "replace"):
            if time.monotonic() > until or process.popen.poll() is not None:
                raise NotReadyError(f"the simulator did not start: {process.log.read_text('utf-8', 'replace')[-500:]}")
            time.sleep(0.05)

    def start(self, name: str, words: Iterable[str]) -> Process:
        """Start a program on the controller's side; it ends with the fleet."""
        return self._processes.start(name, self._here(*words))

    def playbook(
        self, name: str, bundle: Path, more: Iterable[str] = (), *, key: str = KEY
    ) -> tuple[list[str], dict[str, str]]:
        """The command that runs a playbook for this fleet, and its environment."""
        said = {"ai_bundle": bundle, "ai_base_url": PROVIDER, "ai_rpm": 0, "ai_tpm": 0}
        words = self._here(str(ROOT / ".venv-ansible" / "bin" / "ansible-playbook"), "-i", str(self._inventory), name)
        for variable, value in said.items():
            words += ["-e", f"{variable}={value}"]
        return [*words, *more], self._all({**_PLAIN, "HOLYSHEEP_API_KEY": key, "AI_API_KEY_NEXT": NEXT_KEY})

    def play(self, name: str, bundle: Path, more: Iterable[str] = (), *, key: str = KEY) -> Play:
        """Run a playbook to its end."""
        words, environment = self.playbook(name, bundle, more, key=key)
        begun, before = time.monotonic(), spent(self.lab)
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - begun
        output = done.stdout + done.stderr
        with (self.folder / "plays.log").open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(words)}\n{output}\n")
        found = _RECAP.findall(output)
        return Play(
            done.returncode,
            seconds,
            {host: int(changed) for host, _, changed, _, _ in found},
            {host: int(failed) + int(lost) for host, _, _, lost, failed in found},
            output,
            spent(self.lab).since(before),
        )

    def ask_all(self, module: str, arguments: str) -> str:
        """Run one module of Ansible's on all nodes, without a playbook; what it printed."""
        program = str(ROOT / ".venv-ansible" / "bin" / "ansible")
        words = self._here(program, "all", "-i", str(self._inventory), "--become", "-m", module, "-a", arguments)
        done = subprocess.run(words, cwd=ROOT, env=self._all(_PLAIN), capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def open(self, node: str, command: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a command on a node; `options` are Popen's."""
        words = self._here("ssh", "-F", f"{self.lab.folder}/ssh_config", node, command)
        return subprocess.Popen(words, **options)  # type: ignore[call-overload,no-any-return]

    def on_all(self, command: str, given: Mapping[str, Path] | None = None) -> dict[str, str]:
        """Run a command on all nodes at once; `given` names what each reads. What each printed. Raises RuntimeError."""
        running = {}
        for node in self.names:
            with (given[node] if given else Path(os.devnull)).open("rb") as told:
                running[node] = self.open(node, command, stdin=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        printed = {
            node: process.communicate()[0].decode("utf-8", "replace").strip() for node, process in running.items()
        }
        broken = [node for node, process in running.items() if process.returncode]
        if broken:
            raise RuntimeError(f"{command[:80]!r} failed on {', '.join(broken)}: {printed[broken[0]][-500:]}")
        return printed

    def on(self, node: str, command: str) -> str:
        """Run a command on one node; what it printed. Raises RuntimeError."""
        process = self.open(node, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        printed = process.communicate()[0].decode("utf-8", "replace").strip()
        if process.returncode:
            raise RuntimeError(f"{command[:80]!r} failed on {node}: {printed[-500:]}")
        return printed

    def releases(self) -> dict[str, str]:
        """The release that each node runs now; empty where there is none."""
        return self.on_all('basename "$(readlink /opt/ai-client/current)"')


def missing() -> str:
    """What this machine lacks for a fleet, after installing and building what can be; empty when nothing."""
    if os.geteuid() != 0:
        return "a lab needs root: run it with sudo"
    if not (ROOT / ".venv-ansible" / "bin" / "ansible-playbook").exists():
        return "ansible-core is missing: make ansible"
    if not (ROOT / "ansible_collections").is_dir():
        return "this source tree has no ansible_collections"
    images = subprocess.run(
        [sys.executable, "-m", "lab", "images"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return f"no images for its nodes: {images.stderr.strip()}" if images.returncode else ""
