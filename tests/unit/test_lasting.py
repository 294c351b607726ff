"""What outlives a reload: which cache, ledger and logs there are, and that they lose nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_client.build import build
from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.backends.tiered import TieredCache
from ai_client.errors import ConfigurationError
from ai_client.lasting import open_library
from ai_client.model.request import Endpoint
from ai_client.service import LOCAL_APP, Ask
from tests.gateway import ASK, configured, opened, simulated
from tests.running import Run


@pytest.mark.parametrize(
    ("caching", "kind"),
    [
        ({"enabled": "false"}, None),
        ({"enabled": "true", "persistent": "no"}, MemoryCache),
        ({"enabled": "true", "max_cache_size_gb": 0}, MemoryCache),
        ({"enabled": "true"}, TieredCache),
        ({"enabled": "true", "persistent": "yes"}, TieredCache),
    ],
)
def test_which_cache(run: Run, tmp_path: Path, caching: dict[str, object], kind: type | None) -> None:
    async def scene() -> None:
        sections = {"caching": {"cache_dir": tmp_path / "cache", **caching}}
        async with opened(tmp_path, sections) as shared:
            assert (shared.cache and type(shared.cache)) is kind

    run(scene())


def test_a_cache_directory_that_cannot_be_had(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        (tmp_path / "file").write_text("")
        sections = {"caching": {"enabled": "true", "cache_dir": tmp_path / "file" / "cache"}}
        async with opened(tmp_path, sections) as shared:
            assert type(shared.cache) is MemoryCache
        assert "cache_in_memory" in (tmp_path / "logs" / "daemon.log").read_text()

    run(scene())


def test_a_library_keeps_answers_in_memory(tmp_path: Path) -> None:
    assert open_library(configured(tmp_path)).cache is None
    assert type(open_library(configured(tmp_path, {"caching": {"enabled": "true"}})).cache) is MemoryCache
    assert open_library(configured(tmp_path, {"caching": {"enabled": "true", "memory_mb": 0}})).cache is None


def test_logs_go_where_they_can(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        (tmp_path / "file").write_text("")
        for logging in ({"destination": "stderr"}, {"destination": "auto", "log_dir": tmp_path / "file" / "logs"}):
            async with opened(tmp_path, {"logging": logging}) as shared:
                assert shared.log_dir is None
                shared.journal.warning("here", at=str(logging["destination"]))
        said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        assert [line["at"] for line in said] == ["stderr", "auto"]
        async with opened(tmp_path, {"logging": {"destination": "auto", "log_dir": tmp_path / "logs"}}) as shared:
            assert shared.log_dir == tmp_path / "logs"

    run(scene())


def test_a_log_that_must_be_a_file_and_cannot(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigurationError) as caught:
            async with opened(tmp_path, {"logging": {"destination": "file", "log_dir": tmp_path / "file" / "logs"}}):
                pass
        assert caught.value.problems == (f"[logging] log_dir = {tmp_path}/file/logs: Not a directory",)

    run(scene())


def test_a_ledger_that_cannot_be_had(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = configured(tmp_path, {"costs": {"ledger": tmp_path / "file" / "ledger.db"}})
    with pytest.raises(ConfigurationError, match=r"\[costs\] ledger = "):
        open_library(config)


def test_a_ledger_that_fails_later_is_logged_and_loses_nothing(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated() as simulator:
            ledger = tmp_path / "ledger.db"
            sections = {"costs": {"ledger": ledger}}
            async with opened(tmp_path, sections) as shared:
                service = build(configured(tmp_path, sections, simulator.url), shared)
                ask, body = Ask(Endpoint.CHAT), json.dumps(ASK).encode()
                await service.answer(ask, body, LOCAL_APP, service.record(ask, body, LOCAL_APP))
                shared.tell()
                backend = shared.ledger._backend
                rows = shared.ledger._totals.copy()
                backend.close()
                await shared.flush()
                assert shared.ledger._totals == rows
                service.close()
        events = [json.loads(line)["event"] for line in (tmp_path / "logs" / "daemon.log").read_text().splitlines()]
        assert events.count("ledger_failed") == 2  # the flush, and the end

    run(scene())


def test_a_defect_is_logged_with_its_place_and_no_values(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as shared:
            try:
                raise KeyError("the-canary-sings")
            except KeyError as error:
                shared.crash(error)
        text = (tmp_path / "logs" / "daemon.log").read_text()
        assert '"internal_error"' in text
        assert "test_lasting.py" in text
        assert "canary" not in text

    run(scene())


def test_request_ids_do_not_repeat(tmp_path: Path) -> None:
    first, second = (open_library(configured(tmp_path)) for _ in range(2))
    made = {shared.make_id() for shared in (first, second) for _ in range(100)}
    assert len(made) == 200
