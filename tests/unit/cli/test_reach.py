"""Who answers a command's calls."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import click
import pytest
from msgspec import structs

from ai_client.cli.group import Options
from ai_client.cli.reach import Route, find_daemon, nobody_at, reach, read_token
from ai_client.clock import SystemClock
from ai_client.config.load import load
from ai_client.transport.server import Server
from tests.running import Run
from tests.unit.cli.stage import Stage


def test_a_daemon_is_found_among_dead_foreign_and_wrong_addresses(run: Run, tmp_path: Path) -> None:
    async def scene(address: str) -> None:
        foreign = Server(lambda request, exchange: exchange.send(404, (), b"?"))
        host, port = await foreign.listen_tcp("127.0.0.1", 0)
        listen = [f"{host}:{port}", "nonsense", address, f"unix:{tmp_path / 'none'}"]
        assert await find_daemon(listen, SystemClock()) == address
        assert await find_daemon(listen[:2], SystemClock()) is None
        foreign.close()

    with Stage(tmp_path) as stage:
        run(scene(stage.address))


def test_calls_go_through_the_daemon_unless_told_otherwise(run: Run, tmp_path: Path) -> None:
    async def through(route: Route, stage: Stage) -> str:
        reached = await reach(route, load(stage.conf, {}), Options(stage.conf))
        assert not reached.in_vain
        await reached.client.chat_completion([{"role": "user", "content": "Hello"}])
        await reached.client.aclose()
        return reached.through

    with Stage(tmp_path) as stage:
        assert run(through(Route(), stage)) == f"the daemon at {stage.address}"
        assert run(through(Route(local=stage.address), stage)) == f"the daemon at {stage.address}"
        assert run(through(Route(direct=True), stage)) == f"this process, to {stage.url}"


def test_why_no_daemon_serves_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "f.conf"
    path.write_text(f"[api]\nprovider = p\nbase_url = http://127.0.0.1:1/v1\n[daemon]\nlisten = unix:{tmp_path}/none\n")

    async def go() -> None:
        reached = await reach(Route(), load(path, {}), Options(path))
        await reached.client.aclose()
        assert reached.in_vain
        assert reached.through == (
            f"this process, to http://127.0.0.1:1/v1, since no daemon answers at unix:{tmp_path}/none"
        )

    run(go())


def test_a_socket_of_others_is_told_apart(plain_user: None) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder, "sock")
        listener.bind(str(path))
        assert nobody_at([f"unix:{path}", "a:1"]) == f"no daemon answers at unix:{path}, a:1"
        path.chmod(0)
        told = f"no daemon answers at unix:{path} (it is there, and not for you: see `ls -l`)"
        assert nobody_at([f"unix:{path}"]) == told
        path.parent.chmod(0)
        assert nobody_at([f"unix:{path}"]) == told
        path.parent.chmod(0o700)


def test_doubts_are_told_to_whom_no_daemon_serves(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def go(route: Route, stage: Stage) -> None:
        loaded = structs.replace(load(stage.conf, {}), warnings=("no key",))
        reached = await reach(route, loaded, Options(stage.conf))
        await reached.client.aclose()

    with Stage(tmp_path) as stage:
        run(go(Route(), stage))
        assert capsys.readouterr().err == ""
        run(go(Route(direct=True), stage))
        assert capsys.readouterr().err == "warning: no key\n"


def test_what_is_spent_through_the_daemon_is_booked_by_it_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(stage: Stage) -> None:
        client = (await reach(Route(), load(stage.conf, {}), Options(stage.conf))).client
        await client.chat_completion([{"role": "user", "content": "Hello"}])
        await client.aclose()

    with Stage(tmp_path, f"[costs]\nledger = {tmp_path / 'ledger'}\n") as stage:
        monkeypatch.setenv("AI_CLIENT_CONFIG", str(stage.conf))
        run(ask(stage))
        stage.shared.tell()
        assert [entry.calls for entry in stage.shared.ledger.read("2000-01-01", "9999-12-31")] == [1]


def test_a_route_that_contradicts_itself_and_a_token_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="exclude one another"):
        Route("a:1", direct=True).check()
    assert read_token(None) is None
    (tmp_path / "t").write_text("secret\n")
    assert read_token(tmp_path / "t") == "secret"
    with pytest.raises(click.UsageError, match="cannot be read"):
        read_token(tmp_path)
    (tmp_path / "t").write_bytes(b"\xff")
    with pytest.raises(click.UsageError, match="cannot be read: it is no text"):
        read_token(tmp_path / "t")
