"""Daily files, the link to them, and what is removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ai_client.clock import local_day
from ai_client.telemetry.lines import LineWriter
from ai_client.telemetry.logfile import LogFile
from tests.unit.telemetry.hands import DAY, NOON, HandClock


def write(file: LogFile, text: str) -> None:
    os.write(file.descriptor(), text.encode())


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_each_local_day_has_its_file_and_the_link_follows(tmp_path: Path, clock: HandClock) -> None:
    file = LogFile(tmp_path / "log", "calls", clock)
    today, tomorrow = (f"calls-{local_day(moment)}.log" for moment in (NOON, NOON + DAY))
    write(file, "one\n")
    write(file, "two\n")
    link = tmp_path / "log" / "calls.log"
    assert link.readlink() == Path(today)  # relative: the directory may be moved
    clock.pass_seconds(86_400)
    write(file, "three\n")
    file.close()
    assert link.readlink() == Path(tomorrow)
    assert (tmp_path / "log" / today).read_text() == "one\ntwo\n"
    assert (tmp_path / "log" / tomorrow).read_text() == "three\n"
    assert names(tmp_path / "log") == [today, tomorrow, "calls.log"]


def test_files_are_for_the_owner_and_the_group_only(tmp_path: Path, clock: HandClock) -> None:
    before = os.umask(0)
    try:
        file = LogFile(tmp_path / "log", "calls", clock)
        write(file, "one\n")
        file.close()
    finally:
        os.umask(before)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "log" / "calls.log").stat().st_mode & 0o777 == 0o640


def test_only_own_files_beyond_retention_are_removed(tmp_path: Path, clock: HandClock) -> None:
    def dated(days_ago: int, stem: str = "calls") -> str:
        return f"{stem}-{local_day(NOON - days_ago * DAY)}.log"

    others = ["calls-notes.log", dated(99, "callsx"), dated(99, "daemon"), dated(99) + ".gz", "x" + dated(99)]
    for name in [dated(1), dated(2), dated(3), dated(400), *others]:
        (tmp_path / name).touch()
    (tmp_path / dated(500)).mkdir()
    (tmp_path / dated(501)).symlink_to("calls-notes.log")
    file = LogFile(tmp_path, "calls", clock, retention_days=2)
    write(file, "one\n")
    file.close()
    kept = [dated(0), dated(1), dated(2), dated(500), dated(501), "calls.log", *others]
    assert names(tmp_path) == sorted(kept)


def test_a_retention_of_nought_keeps_all(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "calls-2001-01-01.log").touch()
    file = LogFile(tmp_path, "calls", clock, retention_days=0)
    write(file, "one\n")
    file.close()
    assert (tmp_path / "calls-2001-01-01.log").exists()


@pytest.mark.parametrize("daily", [True, False])
def test_a_file_that_was_moved_is_opened_anew(tmp_path: Path, clock: HandClock, *, daily: bool) -> None:
    file = LogFile(tmp_path, "calls", clock, daily=daily)
    write(file, "one\n")
    (tmp_path / "calls.log").resolve().rename(tmp_path / "moved")
    write(file, "two\n")
    (tmp_path / "calls.log").resolve().rename(tmp_path / "moved again")
    (tmp_path / "calls.log").resolve().touch()
    write(file, "three\n")
    file.close()
    assert (tmp_path / "moved").read_text() == "one\n"
    assert (tmp_path / "moved again").read_text() == "two\n"
    assert (tmp_path / "calls.log").read_text() == "three\n"
    assert (tmp_path / "calls.log").is_symlink() == daily


def test_two_processes_share_a_directory(tmp_path: Path, clock: HandClock) -> None:
    one, two = LogFile(tmp_path, "calls", clock), LogFile(tmp_path, "calls", clock)
    write(one, "one\n")
    write(two, "two\n")
    clock.pass_seconds(86_400)
    write(one, "three\n")
    write(two, "four\n")
    one.close()
    two.close()
    assert (tmp_path / f"calls-{local_day(NOON)}.log").read_text() == "one\ntwo\n"
    assert (tmp_path / "calls.log").read_text() == "three\nfour\n"


def test_a_file_of_somebody_else_under_the_links_name_is_left_alone(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "calls.log").write_text("precious\n")
    file = LogFile(tmp_path, "calls", clock)
    write(file, "one\n")
    file.close()
    assert (tmp_path / "calls.log").read_text() == "precious\n"
    assert (tmp_path / f"calls-{local_day(NOON)}.log").read_text() == "one\n"


def test_a_link_that_cannot_be_made_stops_no_line(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / f"calls.log.{os.getpid()}").mkdir()
    file = LogFile(tmp_path, "calls", clock)
    write(file, "one\n")
    file.close()
    assert (tmp_path / f"calls-{local_day(NOON)}.log").read_text() == "one\n"


def test_a_directory_that_cannot_be_made_is_known_at_once_and_stops_nothing_later(
    tmp_path: Path, clock: HandClock, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text("a file, not a directory")
    file = LogFile(tmp_path / "log", "calls", clock)
    with pytest.raises(OSError, match="log"):
        file.descriptor()
    writer = LineWriter(file, clock, None)
    writer.write(b"one\n")
    assert writer.errors == 1
    assert "cannot write" in capfd.readouterr().err
