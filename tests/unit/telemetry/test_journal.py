from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_client.telemetry.base import Level
from ai_client.telemetry.journal import Journal
from ai_client.telemetry.lines import LineWriter
from ai_client.telemetry.logfile import LogFile
from ai_client.telemetry.text import Style
from tests.unit.telemetry.hands import HandClock, HandLoop


def journal(
    directory: Path,
    clock: HandClock,
    level: Level = Level.INFO,
    style: Style = Style.JSON,
    loop: HandLoop | None = None,
) -> Journal:
    return Journal(LineWriter(LogFile(directory, "daemon", clock), clock, loop), clock, level=level, style=style)


def lines(directory: Path) -> list[str]:
    path = directory / "daemon.log"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_json(tmp_path: Path, clock: HandClock) -> None:
    daemon = journal(tmp_path, clock)
    daemon.info("started", listen="127.0.0.1:8080", workers=1, load=0.5, tls=False, socket=None)
    clock.pass_seconds(1)
    daemon.warning("tls_verification_off")
    daemon.close()
    assert lines(tmp_path) == [
        (
            '{"ts":"2026-01-31T12:00:00.000Z","level":"INFO","event":"started",'
            '"listen":"127.0.0.1:8080","workers":1,"load":0.5,"tls":false,"socket":null}'
        ),
        '{"ts":"2026-01-31T12:00:01.000Z","level":"WARNING","event":"tls_verification_off"}',
    ]


def test_text(tmp_path: Path, clock: HandClock) -> None:
    daemon = journal(tmp_path, clock, style=Style.TEXT)
    daemon.info("started", listen="127.0.0.1:8080", note="two words", quote='"', equals="a=b", empty="", tls=False)
    daemon.close()
    assert lines(tmp_path) == [
        (
            "2026-01-31T12:00:00.000Z INFO started listen=127.0.0.1:8080"
            ' note="two words" quote="\\"" equals="a=b" empty= tls=false'
        )
    ]


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (Level.DEBUG, ["d", "i", "w", "e"]),
        (Level.INFO, ["i", "w", "e"]),
        (Level.WARNING, ["w", "e"]),
        (Level.ERROR, ["e"]),
        (Level.CRITICAL, []),
    ],
)
def test_levels(tmp_path: Path, clock: HandClock, level: Level, said: list[str]) -> None:
    daemon = journal(tmp_path, clock, level)
    daemon.debug("d")
    daemon.info("i")
    daemon.warning("w")
    daemon.error("e")
    daemon.close()
    assert [json.loads(line)["event"] for line in lines(tmp_path)] == said


def test_an_error_is_written_at_once(tmp_path: Path, clock: HandClock, loop: HandLoop) -> None:
    daemon = journal(tmp_path, clock, loop=loop)
    daemon.info("before")
    assert not lines(tmp_path)
    daemon.error("broken")
    assert len(lines(tmp_path)) == 2
    assert not loop.waiting


@pytest.mark.parametrize("style", Style)
def test_no_value_can_forge_a_line(tmp_path: Path, clock: HandClock, style: Style) -> None:
    daemon = journal(tmp_path, clock, style=style)
    daemon.info("refused", why="x\n2026-01-31T12:00:00.000Z ERROR forged\x1b[2J\u2028\ud800")
    daemon.close()
    (line,) = (tmp_path / "daemon.log").read_text().splitlines()
    assert line.isprintable()


def test_no_field_can_take_the_place_of_the_head(tmp_path: Path, clock: HandClock) -> None:
    daemon = journal(tmp_path, clock)
    daemon.info("refused", level="ERROR", ts="never", event="forged")
    daemon.close()
    assert lines(tmp_path) == ['{"ts":"2026-01-31T12:00:00.000Z","level":"INFO","event":"refused"}']
