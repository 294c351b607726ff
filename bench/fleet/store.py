"""The role `quota_store` on nodes: three with Redis (Debian 12), three with Valkey (Debian 13), all of them clients."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from bench.fleet.fleet import Play
from bench.fleet.stages import DEPLOY, Run, last
from bench.fleet.traffic import traffic
from lab.images import packages
from lab.plan import Node

_PLAYBOOK: Final = "ai_client.fleet.quota_store"
_PASSWORDS: Final = {name: f"{name}-of-the-lab-0001" for name in ("client", "replica", "sentinel")}
_LIBRARIES: Final = ("libjemalloc2", "liblzf1", "libatomic1")
_UNITS: Final = "ai-client-store.service ai-client-store-sentinel.service"
_SERVERS: Final = 3
_MOST_S: Final = 60.0


class Server(NamedTuple):
    """A server of the distribution's: what it is called, where it is packaged, and what the role has to be told."""

    name: str
    suite: str
    packages: tuple[str, ...]
    told: Mapping[str, str]


SERVERS: Final = (
    Server("redis", "bookworm", ("redis-server", "redis-tools"), {}),
    Server(
        *("valkey", "trixie", ("valkey-server", "valkey-tools")),
        {
            "ai_store_package": "valkey-server",
            "ai_store_package_service": "valkey-server.service",
            "ai_store_program": "/usr/bin/valkey-server",
            "ai_store_cli": "/usr/bin/valkey-cli",
        },
    ),
)


class Store:
    """Three nodes of one suite with this server."""

    def __init__(self, run: Run, server: Server) -> None:
        """Fetches the packages, and issues the certificates."""
        self.run, self.server = run, server
        self.nodes = [node for node in run.fleet.lab.nodes if node.suite == server.suite][:_SERVERS]
        self.folder = run.fleet.folder / server.name
        packages(server.suite, (*server.packages, *_LIBRARIES), self.folder / "packages")
        certificates(self.folder / "pki", self.nodes)

    def play(self, *more: str) -> Play:
        """Run the role's playbook."""
        said = {
            "ai_store_hosts": [node.name for node in self.nodes],
            "ai_store_package_files": str(self.folder / "packages"),
            "ai_store_tls_ca": str(self.folder / "pki" / "ca.pem"),
            "ai_store_tls_cert": f"{self.folder}/pki/{{{{ inventory_hostname }}}}.pem",
            "ai_store_tls_key": f"{self.folder}/pki/{{{{ inventory_hostname }}}}.key",
            **{f"ai_store_{name}_password": word for name, word in _PASSWORDS.items()},
            **self.server.told,
        }
        return self.run.fleet.play(_PLAYBOOK, self.run.first, [*_given(self.folder / "store.json", said), *more])

    def share(self) -> Play:
        """Have every node share its limits through it. They are far above what is asked: no caller has to wait."""
        seats = ",".join(f"{node.address}:26380" for node in self.nodes)
        said = {
            "ai_redis_url": f"rediss+sentinel://ai-client:{_PASSWORDS['client']}@{seats}/ai-client-quota",
            "ai_redis_ca": str(self.folder / "pki" / "ca.pem"),
            "ai_rpm": 6000,
        }
        return self.run.fleet.play(DEPLOY, self.run.first, _given(self.folder / "clients.json", said))

    def is_shared(self) -> bool:
        """Whether all nodes share their limits, and each knows of all others."""
        told = self.run.fleet.on_all("/usr/local/bin/ai-client limits --json").values()
        states = [json.loads(each) for each in told]
        return all(each["mode"] == "shared" and each["members"] == len(states) for each in states)

    def ask(
        self, node: Node, port: int, words: str, options: str = "--tls --cacert /etc/ai-client-store/ca.pem"
    ) -> str:
        """What the node's own server, or Sentinel, answers to lines of commands."""
        command = f"printf '{words}\\n' | {self.server.name}-cli {options} -h {node.address} -p {port} 2>&1 || true"
        return self.run.fleet.on(node.name, command)

    def primary(self, asked: Node) -> Node:
        """The node that a Sentinel holds for the primary."""
        address = self.ask(asked, 26380, "sentinel get-master-addr-by-name ai-client-quota").split()[0]
        return next(node for node in self.nodes if node.address == address)

    def replicas(self, asked: Node) -> int:
        """How many replicas follow the primary, as a Sentinel sees it."""
        told = self.ask(asked, 26380, "sentinel replicas ai-client-quota").splitlines()
        return list(pairwise(told)).count(("master-link-status", "ok"))


def store(run: Run) -> None:
    """From blank nodes to a store that loses its primary while every node is asked; first the one, then the other."""
    for server in SERVERS:
        made = Store(run, server)
        if len(made.nodes) < _SERVERS:
            run.say(server.name, f"{len(made.nodes)} nodes of {server.suite}", f"{_SERVERS} nodes", met=False)
        else:
            _bring(made)
            _refuse(made)
            if _share(made):
                _lose(made)


def _bring(made: Store) -> None:
    run, name = made.run, made.server.name
    blank = made.play("--check", "--diff")
    left = run.fleet.on_all(f"ls -d /etc/ai-client-store /usr/bin/{name}-server 2>/dev/null || true")
    nothing = not any(left[node.name] for node in made.nodes)
    run.say(f"{name}: check mode", f"{blank.seconds:.0f} s{last(blank)}", "makes nothing", met=blank.sound and nothing)
    play = made.play("--diff", "-vvvv")
    version = run.fleet.on(made.nodes[0].name, f"/usr/bin/{name}-server --version").split()[2]
    told = [word for word in _PASSWORDS.values() if word in play.output]
    follow = _seconds(lambda: made.replicas(made.nodes[-1]) == _SERVERS - 1) if play.sound else None
    figure = f"{play.seconds:.0f} s, {version}, {len(told)} passwords told with --diff and -vvvv{last(play)}"
    run.say(f"{name}: three servers", figure, "replicas follow, none told", met=follow is not None and not told)


def _refuse(made: Store) -> None:
    """Nobody speaks to it in the clear, without a password, or of what is not theirs."""
    node = made.nodes[0]
    client = f"AUTH ai-client {_PASSWORDS['client']}\\n"
    refused = {
        "in the clear": made.ask(node, 6380, "PING", "").startswith("Error"),
        "without a password": "NOAUTH" in made.ask(node, 6380, "PING"),
        "another's key": "NOPERM" in made.ask(node, 6380, f"{client}SET other 1"),
        "another's command": "NOPERM" in made.ask(node, 6380, f"{client}KEYS *"),
        "a failover by anybody": "NOPERM" in made.ask(node, 26380, "sentinel failover ai-client-quota"),
    }
    let = [what for what, was in refused.items() if not was]
    figure = f"{len(refused) - len(let)} of {len(refused)}{''.join(f', not {what}' for what in let)}"
    made.run.say(f"{made.server.name}: what is refused", figure, "all", met=not let)


def _share(made: Store) -> bool:
    play = made.share()
    seconds = _seconds(made.is_shared) if play.sound else None
    figure = f"{play.seconds:.1f} s, shared {_after(seconds)}{last(play)}"
    made.run.say(f"{made.server.name}: every node its client", figure, "shared", met=seconds is not None)
    return seconds is not None


def _lose(made: Store) -> None:
    """The primary and its Sentinel die and come back; the role finds nothing to do after it."""
    run, name = made.run, made.server.name
    old = made.primary(made.nodes[0])
    asked = next(node for node in made.nodes if node is not old)
    with traffic(run.fleet, run.rate) as met:
        run.fleet.on(old.name, f"systemctl kill --signal=KILL {_UNITS}; systemctl stop {_UNITS}")
        other = _seconds(lambda: made.primary(asked) is not old)
        shared = _seconds(made.is_shared)
        run.fleet.on(old.name, f"systemctl start {_UNITS}")
        back = _seconds(lambda: made.replicas(asked) == _SERVERS - 1)
    figure = f"another {_after(other)}, shared {_after(shared)} more, the old one a replica {_after(back)}; {met.told}"
    sound = met.sound and None not in (other, shared, back)
    run.say(f"{name}: the primary dies under load", figure, "all three, 0 failed", met=sound)
    play = made.play()
    changed = sum(play.changed.values())
    figure = f"{play.seconds:.0f} s, {changed} changed{last(play)}"
    run.say(f"{name}: second run, after that", figure, "0 changed", met=play.sound and not changed)


def certificates(folder: Path, nodes: Sequence[Node]) -> None:
    """An authority, and a certificate for each node that names its address: as docs/how-to/quota-store.md has it."""
    folder.mkdir(parents=True)
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    use = "-addext keyUsage=critical,keyCertSign"  # Python 3.13 takes no authority without it
    _openssl(folder, f"req -x509 {key} -days 3650 -subj /CN=Authority {use} -keyout ca.key -out ca.pem")
    for node in nodes:
        name = node.name
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name},IP:{node.address}", "ascii")
        _openssl(folder, f"req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr")
        signed = f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365"
        _openssl(folder, f"{signed} -extfile {name}.ext -out {name}.pem")


def _openssl(folder: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, capture_output=True, check=True)


def _given(path: Path, said: Mapping[str, object]) -> tuple[str, str]:
    """The words that hand variables over: in a file, as there are passwords among them."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(said), "ascii")
    return "-e", f"@{path}"


def _seconds(condition: Callable[[], bool]) -> float | None:
    """After how many seconds it was so; None if it never was."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > _MOST_S:
            return None
        time.sleep(0.2)
    return time.monotonic() - begun


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.1f} s"
