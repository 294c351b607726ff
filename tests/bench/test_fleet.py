"""The fleet's bench, as far as it needs no nodes: its table, its variants of a release, its caller."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ai_client.bundle import archive, release
from ai_client.bundle.release import Archive, File, Manifest
from bench.fleet import caller, cost, paper, stages
from bench.fleet.__main__ import picked, table
from bench.fleet.cost import Cpu
from bench.fleet.drift import PLANTED
from bench.fleet.fleet import Play
from bench.fleet.stages import Row
from bench.fleet.store import certificates
from bench.fleet.traffic import Traffic
from bench.fleet.variants import BROKEN, variant
from bench.processes import contained
from lab.plan import plan

PROGRAM = "#!/usr/bin/python3.11 -ISB\nprint('sound')\n"


def test_the_table_says_what_was_missed() -> None:
    rows = [Row("a", "1 s"), Row("b", "2 s", "≤ 1 s", met=False), Row("c", "3", "3", met=True)]
    assert table(rows).splitlines()[3:] == ["| a | 1 s |  |  |", "| b | 2 s | ≤ 1 s | **no** |", "| c | 3 | 3 | yes |"]


def test_stages_are_picked_by_name_and_a_misspelt_one_is_refused() -> None:
    there = (stages.deploy, stages.again, stages.upgrade)
    assert picked("upgrade, deploy", there) == (stages.deploy, stages.upgrade)
    with pytest.raises(ValueError, match="no stage is called 'agian', '': there are deploy, again, upgrade"):
        picked("agian,,deploy", there)


def test_traffic_is_sound_only_if_every_node_was_answered() -> None:
    assert not Traffic().sound
    assert Traffic([0.1], [], {"a": 1}).sound
    assert not Traffic([0.1], [], {"a": 1, "b": 0}).sound
    broken = Traffic([0.1], ["a: status 500"], {"a": 1})
    assert not broken.sound
    assert broken.told == "1 of 2 requests failed (a: status 500)"


def test_a_larger_fleet_is_worked_out_from_what_each_node_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    ten = Play(0, 30.0, {}, {}, "", Cpu(20.0, 5.0))
    one = Play(0, 4.0, {}, {}, "", Cpu(2.0, 0.5))
    assert "3 batches × 4.0 s (one node alone) + 500 × 2.00 s" in paper.worked(ten, one, 10, 0.0)
    assert "= 512 s; a node spends 0.50 s" in paper.worked(ten, one, 10, 0.0)
    assert "500 × 11.7 MB / 117 MB/s = 562 s" in paper.worked(ten, one, 10, 11.7)


def test_the_time_of_a_process_is_read_as_the_kernel_tells_it() -> None:
    assert Cpu(3.0, 5.0).since(Cpu(1.0, 2.0)) == (2.0, 3.0)
    assert cost.of(os.getpid()) > 0
    with subprocess.Popen(["true"]) as gone:
        pass
    assert cost.of(gone.pid) == 0


def test_what_was_killed_leaves_nothing_behind_in_sessions_of_their_own(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        pytest.skip("the kernel lets nobody but root have a PID namespace")
    os.mkfifo(tmp_path / "alive")
    worker = "echo begun; exec sleep 300"
    with contained(["sh", "-c", f"setsid sh -c '{worker}' >alive & wait"], tmp_path, os.environ):
        alive = (tmp_path / "alive").open("rb", buffering=0)
        assert alive.readline() == b"begun\n"
    with alive:
        assert select.select([alive], [], [], 60)[0]  # it ends when nobody is left to write into it
        assert alive.read() == b""


def test_each_node_of_a_store_has_a_certificate_that_python_3_13_takes(
    tmp_path: Path,
) -> None:
    nodes = plan(tmp_path, 2).nodes
    certificates(tmp_path / "pki", nodes)
    for node in nodes:
        words = [
            "openssl",
            "verify",
            "-x509_strict",
            "-CAfile",
            "ca.pem",
            "-verify_ip",
            node.address,
            f"{node.name}.pem",
        ]
        done = subprocess.run(words, cwd=tmp_path / "pki", capture_output=True, text=True, check=False)
        assert done.stdout == f"{node.name}.pem: OK\n", done.stderr


def test_twelve_kinds_of_drift_are_planted() -> None:
    assert len({planted.name for planted in PLANTED}) == len({planted.command for planted in PLANTED}) == 12


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A bundle of one release."""
    files = {
        release.PROGRAM: File(PROGRAM.encode(), executable=True),
        "lib/ai_client/_version.py": File(b'__version__ = "0.1.0"\n'),
        "lib/ai_client/__pycache__/_version.cpython-311.pyc": File(b"compiled"),
    }
    made = release.finished(files, "0.1.0", "3.11", "x86_64", bytecode=True)
    said, data = release.release_of(made), archive.pack(made)
    part = Archive(said.id, "3.11", "x86_64", True, "a.tar.gz", hashlib.sha256(data).hexdigest(), len(data))
    folder = tmp_path / "sound"
    folder.mkdir()
    (folder / part.file).write_bytes(data)
    (folder / release.MANIFEST).write_bytes(msgspec.json.encode(Manifest(1, "0.1.0", [part])))
    return folder


def _files(bundle: Path) -> dict[str, File]:
    (part,) = msgspec.json.decode((bundle / release.MANIFEST).read_bytes(), type=Manifest).releases
    files = archive.unpack((bundle / part.file).read_bytes(), part.file)
    assert release.release_of(files).id == part.id
    assert release.differences(files) == []
    return files


def test_a_later_version_is_a_whole_release_of_another_name(sound: Path, tmp_path: Path) -> None:
    later = _files(variant(sound, tmp_path / "later", "0.2.0"))
    assert release.release_of(later).id.startswith("0.2.0-")
    assert later["lib/ai_client/_version.py"].data == b'__version__ = "0.2.0"\n'
    assert not any(name.endswith(".pyc") for name in later)  # it would still say the old version


def _program(sound: Path, tmp_path: Path, name: str) -> Path:
    program = tmp_path / name
    program.write_bytes(_files(variant(sound, tmp_path / f"of-{name}", "0.3.0", BROKEN[name]))[release.PROGRAM].data)
    return program


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_release_is_sound_but_for_serving(name: str, sound: Path, tmp_path: Path) -> None:
    program = _program(sound, tmp_path, name)
    done = subprocess.run([sys.executable, program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == "sound\n"


def test_one_crashes_at_its_start(sound: Path, tmp_path: Path) -> None:
    program = _program(sound, tmp_path, "crashes")
    done = subprocess.run([sys.executable, program, "serve"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "broken on purpose" in done.stderr


@pytest.mark.parametrize("name", ["errors", "hangs"])
def test_the_others_say_that_they_are_ready(name: str, sound: Path, tmp_path: Path) -> None:
    program = _program(sound, tmp_path, name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        command = [sys.executable, str(program), "serve", "--listen", f"unix:{tmp_path}/socket"]
        with subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}) as serving:
            try:
                notified.settimeout(30)
                assert notified.recv(100) == b"READY=1"
                assert _status(tmp_path / "socket", "GET", 30) == 200
                if name == "errors":
                    assert _status(tmp_path / "socket", "POST", 30) == 500
                else:
                    with pytest.raises(TimeoutError):
                        _status(tmp_path / "socket", "POST", 0.2)
            finally:
                serving.kill()


def _status(path: Path, method: str, timeout: float) -> int:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(timeout)
    connection.sock.connect(str(path))
    try:
        connection.request(method, "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


class _Provider(http.server.BaseHTTPRequestHandler):
    """Answers streams whole, and all else with 503."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = b"data: [DONE]\n\n" if asked["stream"] else b"{}"
        self.send_response(200 if asked["stream"] else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_caller_counts_what_was_answered_in_full(provider: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "_PORT", provider)
    seconds: list[float] = []
    failed: list[str] = []
    for number in range(4):
        caller._ask(number, seconds, failed)
    assert len(seconds) == 1  # the stream
    assert len(failed) == 3
    assert failed[0].startswith("OSError status 503")


def test_the_caller_reports_when_its_input_ends() -> None:
    done = subprocess.run(
        [sys.executable, caller.__file__, "5"], input="", capture_output=True, text=True, check=True, timeout=60
    )
    assert set(json.loads(done.stdout)) == {"seconds", "failed"}
