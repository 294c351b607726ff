"""Fetching wheels with the real pip, from a folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ai_client.bundle import fetch
from ai_client.errors import AIClientError
from tests.wheels import folder_of, wheel


@pytest.mark.parametrize("python", fetch.PYTHONS)
def test_a_lock_names_every_package_once_by_hash_and_without_conditions(python: str) -> None:
    text = fetch.lock(python).read_text("ascii")
    names = re.findall(r"^([a-z0-9.-]+)==\S+ \\$", text, re.MULTILINE)
    assert {"click", "httptools", "msgspec", "prometheus-client", "redis", "rich", "uvloop"} <= set(names)
    assert len(names) == len(set(names)) == text.count("==")
    assert ";" not in text  # pip would judge a condition by the Python that it runs in itself
    assert text.count("--hash=sha256:") >= len(names)


def test_old_and_new_names_of_a_platform() -> None:
    tags = fetch.platforms("x86_64")
    assert tags[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} < set(tags)


def test_what_the_lock_names_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = folder_of(tmp_path / "wheels", some=wheel("some", "1.0", {}))
    (wheels / "other-1.0-py3-none-any.whl").write_bytes(wheel("other", "1.0", {}))
    monkeypatch.setattr(fetch, "lock", lambda _python: wheels / "lock.txt")
    found = fetch.fetch("3.13", "aarch64", tmp_path / "into", wheels)
    assert [path.name for path in found] == ["some-1.0-py3-none-any.whl"]


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = folder_of(tmp_path / "wheels", some=wheel("some", "1.0", {}))
    (wheels / "some-1.0-py3-none-any.whl").write_bytes(wheel("some", "1.0", {"some.py": "evil()\n"}))
    monkeypatch.setattr(fetch, "lock", lambda _python: wheels / "lock.txt")
    with pytest.raises(AIClientError, match=r"no wheels for Python 3\.11 on x86_64 from the folder .*wheels"):
        fetch.fetch("3.11", "x86_64", tmp_path / "into", wheels)


def test_without_a_folder_the_registry_of_pip_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = folder_of(tmp_path / "wheels", some=wheel("some", "1.0", {}))
    (wheels / "some-1.0-py3-none-any.whl").unlink()
    monkeypatch.setattr(fetch, "lock", lambda _python: wheels / "lock.txt")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # so that pip does not try for minutes
    with pytest.raises(AIClientError, match="from the registry"):
        fetch.fetch("3.11", "x86_64", tmp_path / "into", None)
