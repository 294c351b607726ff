"""The pure parts of the node's module, and those that need a folder only."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.ai_client.fleet.plugins.module_utils import (
    apply,
    figures,
    files,
    gate,
    releases,
    spec,
    standin,
    systemd,
)
from ansible_collections.ai_client.fleet.plugins.plugin_utils import report
from ansible_collections.ai_client.fleet.plugins.plugin_utils.units import Place, service_unit, socket_unit

BOUNDS = gate.Bounds(3, 0.25)


def archive(folder: Path, contents: dict[str, str]) -> tuple[str, str]:
    tree = folder / "tree"
    for name, text in contents.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    sums = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in contents.items())
    (tree / "SHA256SUMS").write_text(sums)
    path = folder / "release.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree, ".")
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


CONTENTS = {"bin/ai-client": "#!/bin/sh\n", "lib/click/core.py": "x", "lib/msgspec/a.py": "y", "lib/one.py": "z"}


def installed(tmp_path: Path) -> Path:
    path, digest = archive(tmp_path, CONTENTS)
    releases.unpack(str(tmp_path / "opt"), "1.0-a", Path(path).read_bytes(), digest)
    return releases.folder(str(tmp_path / "opt"), "1.0-a")


def test_a_release_is_whole_or_not_there(tmp_path: Path) -> None:
    path, digest = archive(tmp_path, CONTENTS)
    root = str(tmp_path / "opt")
    with pytest.raises(releases.ReleaseError, match="is not what was sent"):
        releases.unpack(root, "1.0-a", Path(path).read_bytes(), "0" * 64)
    assert not releases.is_complete(root, "1.0-a")
    releases.unpack(root, "1.0-a", Path(path).read_bytes(), digest)
    assert releases.is_complete(root, "1.0-a")
    assert releases.is_untouched(releases.folder(root, "1.0-a"))
    assert releases.verify(releases.folder(root, "1.0-a")) == []


def test_an_archive_cannot_leave_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    (tmp_path / "x").write_text("x")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "x", "../x")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(releases.ReleaseError, match="only files and folders below its root"):
        releases.unpack(str(tmp_path / "opt"), "1.0-a", path.read_bytes(), digest)
    assert list((tmp_path / "opt" / "releases").iterdir()) == []


def test_what_changed_in_a_release_is_found(tmp_path: Path) -> None:
    place = installed(tmp_path)
    (place / "lib/click/core.py").write_text("changed")
    (place / "lib/msgspec/a.py").unlink()
    (place / "lib/own").mkdir()
    (place / "lib/own/b.py").write_text("")
    (place / "lib/two.py").write_text("")
    assert not releases.is_untouched(place)
    assert {(each.kind, os.path.relpath(each.what, place)) for each in releases.verify(place)} == {
        ("package", "lib/msgspec"),
        ("package", "lib/own"),
        ("release_file", "lib/two.py"),
        ("release_file", "lib/click/core.py"),
    }


def test_old_releases_go_and_linked_ones_stay(tmp_path: Path) -> None:
    for index, name in enumerate(("a", "b", "c", "d")):
        place = tmp_path / "releases" / name
        place.mkdir(parents=True)
        (place / releases.MARKER).write_text("")
        os.utime(place, (index, index))
    files.link(str(tmp_path / "current"), "releases/b")
    files.link(str(tmp_path / "previous"), "releases/a")
    assert releases.prune(str(tmp_path), 3) == ["c"]
    assert sorted(each.name for each in (tmp_path / "releases").iterdir()) == ["a", "b", "d"]


def test_files_are_compared_without_telling_secrets(tmp_path: Path) -> None:
    want = files.File(str(tmp_path / "key"), "hs_new\n", 0o400, "root", "root", "key", "restart", secret=True)
    assert files.compare_file(want)[0].before == "absent"
    (tmp_path / "key").write_text("hs_old\n")
    (tmp_path / "key").chmod(0o644)
    found = files.compare_file(want)
    assert [each.kind for each in found] == ["key", "mode"]
    assert "hs_" not in repr(found)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    file, link, gone = tmp_path / "file", tmp_path / "link", tmp_path / "gone"
    file.write_text("before")
    file.chmod(0o640)
    files.link(str(link), "a")
    saved = [files.save(str(each)) for each in (file, link, gone)]
    file.write_text("after")
    files.link(str(link), "b")
    gone.write_text("new")
    for each in saved:
        files.restore(each)
    assert (file.read_text(), file.stat().st_mode & 0o777, link.readlink().name) == ("before", 0o640, "a")
    assert not gone.exists()


@pytest.mark.parametrize(
    ("after", "effect"),
    [
        ("[api]\ntimeout = 2\n[daemon]\nlisten = a\n", "reload"),
        ("[api]\ntimeout = 1\n[daemon]\nlisten = b\n", "restart"),
        ("no section\n", "restart"),
    ],
)
def test_a_configuration_is_reloaded_where_that_will_do(after: str, effect: str) -> None:
    assert spec.config_effect("[api]\ntimeout = 1\n[daemon]\nlisten = a\n", after) == effect


def sample(failed: int = 0, seconds: float = 0.1, asked: int = 4) -> gate.Sample:
    return gate.Sample(asked, failed, "status 500", (seconds,) * (asked - failed))


@pytest.mark.parametrize(
    ("new", "old", "reason"),
    [
        (sample(), None, ""),
        (sample(asked=0), None, ""),
        (sample(4), None, "answers none of 4"),
        (sample(4), sample(4), "nor does the one that runs now"),
        (sample(1), sample(), "1 of 4 real requests failed, 0% before"),
        (sample(1), sample(1), ""),
        (sample(seconds=0.34), sample(), ""),
        (sample(seconds=0.36), sample(), "360 ms a request; before it were 100 ms"),
    ],
)
def test_the_gate_compares_with_what_ran_before(new: gate.Sample, old: gate.Sample | None, reason: str) -> None:
    fault = gate.judge(new, old, BOUNDS)
    assert reason in fault
    assert bool(reason) == bool(fault)


class _Model(BaseHTTPRequestHandler):
    """Answers by what it is asked for: `works`, `waits` (a long while of it for quota), or neither."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = b'{"error": {"message": "no such model"}}'
        self.send_response(404 if asked["model"] == "none" else 200)
        self.send_header("content-length", str(len(told)))
        if asked["model"] != "works":
            self.send_header("x-ai-client-queue-ms", "3600000" if asked["model"] == "waits" else "soon")
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_args: object) -> None:
        """Says nothing."""


@pytest.fixture
def models() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_both_are_asked_in_turn_and_the_queue_for_quota_does_not_count(models: str) -> None:
    new, old = gate.samples([models, models], gate.Question("works", 2, 5.0))
    assert (new.asked, new.failed, len(new.seconds), len(old.seconds)) == (2, 0, 2, 2)
    assert min(new.seconds) > 0
    assert gate.sample(models, gate.Question("waits", 1, 5.0)).seconds == (0.0,)
    failed = gate.sample(models, gate.Question("none", 3, 5.0))
    assert (failed.failed, failed.reason, failed.seconds) == (3, "status 404: no such model", ())
    new, old = gate.samples(["127.0.0.1:1", models], gate.Question("works", 3, 5.0))
    assert (new.asked, new.failed, old.asked, old.failed) == (1, 1, 1, 0)
    gone = gate.sample("127.0.0.1:1", gate.Question("works", 1, 5.0))
    assert "no answer within 5 s" in gone.reason
    assert gate.sample(models, gate.Question("works", 0, 5.0)) == gate.Sample(0, 0, "", ())


def test_a_stand_in_is_the_service_on_the_same_sockets() -> None:
    place = Place("/opt/x", "/etc/x.conf", "u", "g", {"k": "/etc/k"}, "/etc/env", ("/srv/log",))
    unit = service_unit(place)
    text = standin.unit_text(unit, "ai-client.socket")
    head, _, service = text.partition("[Service]\n")
    assert "Requires" not in head
    assert "[Install]" not in text
    for line in unit.partition("[Service]\n")[2].partition("\n\n")[0].splitlines():
        assert (line in service.splitlines()) != line.startswith("Restart")
    assert {"Sockets=ai-client.socket", "Restart=no", "RuntimeMaxSec=300"} <= set(service.splitlines())


def test_callers_errors_are_compared_by_their_share() -> None:
    assert apply.worse((1000, 10), (19, 19)) == ""
    assert apply.worse((1000, 10), (100, 6)) == ""
    assert "7% of 100 requests of callers fail; 1% did before" in apply.worse((1000, 10), (100, 7))


def test_a_trial_shares_no_folder_with_the_service() -> None:
    place = Place("/opt/x", "/etc/x.conf", "u", "g", {"k": "/etc/k"}, "/etc/env", ("/srv/log",))
    unit = service_unit(place)
    properties = systemd.transient_properties(unit, frozenset({"TimeoutStartSec"}))
    given = properties[1::2]
    assert set(properties[::2]) == {"-p"}
    assert "LoadCredential=k:/etc/k" in given
    assert "SystemCallFilter=~@privileged @resources" in given
    for name in ("ExecStart", "StateDirectory", "StateDirectoryMode", "CacheDirectory", "Type", "TimeoutStartSec"):
        assert not any(each.startswith(f"{name}=") for each in given)
    assert "ListenStream=/run/s\n" in socket_unit("u", "g", ["127.0.0.1:1", "unix:/run/s"])


def test_systemd_is_read_unit_by_unit() -> None:
    told = systemd.parse_show("Id=a\nActiveState=active\n\nId=b\nDropInPaths=\n", ("a", "b"))
    assert told == {"a": {"Id": "a", "ActiveState": "active"}, "b": {"Id": "b", "DropInPaths": ""}}


def test_systemd_has_read_a_unit_once_it_has_a_file() -> None:
    told = systemd.parse_show("Id=a\nFragmentPath=\n\nId=b\nFragmentPath=/etc/systemd/system/b\n", ("a", "b"))
    assert systemd.has_read(told)
    assert not systemd.has_read({"a": told["a"]})
    assert not systemd.has_read({})


def test_a_node_that_was_not_heard_of_is_not_clean() -> None:
    told = report.gather(
        ["a", "b", "c", "d"],
        {
            "a": {"drift": []},
            "b": {"drift": [{"kind": "key", "what": "/k"}]},
            "c": {"unreachable": True, "msg": "refused"},
        },
    )
    assert told["counts"] == {"clean": 1, "drifted": 1, "failed": 0, "unreachable": 2}
    assert not told["clean"]
    assert "b: key: /k" in report.sentences(told)
    assert "c: unreachable: refused" in report.sentences(told)
    assert 'ai_client_drift{node="b"} 1' in report.textfile(told)
    assert 'ai_client_drift_looked{node="c"} 0' in report.textfile(told)
    assert report.gather(["a"], {"a": {"drift": []}})["clean"]


METRICS = """\
ai_client_cache_total{answer="hit"} 70.0
ai_client_cache_total{answer="coalesced"} 5.0
ai_client_cache_total{answer="miss"} 25.0
ai_client_pool_connections{provider="a"} 3.0
ai_client_pool_connections{provider="b"} 4.0
"""


def test_a_benchmark_is_compared_with_its_targets() -> None:
    assert figures.counted(METRICS) == figures.Counted(100, 75, 7)
    assert figures.counted("") == figures.Counted(0, 0, 0)
    told = {"requests": 100, "failed": 2, "latency_ms": {"p99": 80.0}, "hit_rate": 0.5, "connections": 7}
    assert figures.missed(told, figures.Targets(0, 0.02, 0.5, 8)) == []
    assert figures.missed(told, figures.Targets(50, 0.01, 0.7, 7)) == [
        "2 of 100 requests failed; 1.0% may",
        "the 99th percentile is 80.0 ms; the target is 50 ms",
        "the cache answered 50.0%; the target is 70.0%",
        "the pool is full, 7 of 7 connections: calls wait for one",
    ]


def test_figures_of_nodes_are_brought_together() -> None:
    def node(p99: float, missed: list[str]) -> dict[str, object]:
        one = {"requests": 10, "failed": 1, "latency_ms": {"p50": 1.0, "p99": p99}, "hit_rate": 0.5, "connections": 3}
        return {"figures": one, "missed": missed}

    told = report.together({"a": node(5, []), "b": node(9, ["too slow"]), "c": node(7, []), "d": {"failed": True}})
    assert (told["nodes"], told["requests"], told["failed"], told["hit_rate"]) == (3, 30, 3, 0.5)
    assert told["latency_ms"]["p99"] == {"middle_node": 7.0, "worst_node": 9.0}
    assert told["missed"] == ["b: too slow"]


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    report.write(str(tmp_path / "report"), "text")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("report", "text")]
