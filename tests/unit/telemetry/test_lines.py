"""The line writer, on real files, a real full device, a real pipe."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai_client.telemetry.lines import FLUSH_BYTES, FLUSH_SECONDS, MAX_BYTES, RETRY_SECONDS, LineWriter, Stderr
from ai_client.telemetry.logfile import LogFile
from tests.unit.telemetry.hands import HandClock, HandLoop

LINE = b"x" * 99 + b"\n"


class Pipe:
    """A destination that takes what fits and refuses the rest."""

    name = "pipe"
    opened = 1

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self.reader, False)

    def descriptor(self) -> int:
        return self._writer

    def read(self) -> bytes:
        try:
            return os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self._writer)


@pytest.fixture
def plain(tmp_path: Path, clock: HandClock) -> LogFile:
    return LogFile(tmp_path, "calls", clock, daily=False)


@pytest.fixture
def full(tmp_path: Path, plain: LogFile) -> LogFile:
    """A log on a device that is full."""
    (tmp_path / "calls.log").symlink_to("/dev/full")
    return plain


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: what a full disk looks like to one file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_wait_for_one_timer_and_are_written_together(
    tmp_path: Path, plain: LogFile, clock: HandClock, loop: HandLoop
) -> None:
    writer = LineWriter(plain, clock, loop)
    assert not loop.waiting
    writer.write(b"one\n")
    writer.write(b"two\n")
    assert [timer.delay for timer in loop.waiting] == [FLUSH_SECONDS]
    assert not (tmp_path / "calls.log").exists()
    loop.fire()
    assert (tmp_path / "calls.log").read_bytes() == b"one\ntwo\n"
    assert not loop.waiting


def test_a_batch_that_is_large_enough_does_not_wait(
    tmp_path: Path, plain: LogFile, clock: HandClock, loop: HandLoop
) -> None:
    writer = LineWriter(plain, clock, loop)
    for _ in range(FLUSH_BYTES // len(LINE) + 1):
        writer.write(LINE)
    assert (tmp_path / "calls.log").stat().st_size > FLUSH_BYTES
    assert not loop.waiting


def test_without_a_loop_every_line_is_written_at_once(tmp_path: Path, plain: LogFile, clock: HandClock) -> None:
    writer = LineWriter(plain, clock, None)
    writer.write(b"one\n")
    assert (tmp_path / "calls.log").read_bytes() == b"one\n"
    writer.close()


def test_close_writes_what_is_gathered_and_then_takes_no_more(
    tmp_path: Path, plain: LogFile, clock: HandClock, loop: HandLoop
) -> None:
    writer = LineWriter(plain, clock, loop)
    writer.write(b"one\n")
    writer.close()
    writer.close()
    writer.write(b"late\n")
    assert (tmp_path / "calls.log").read_bytes() == b"one\n"
    assert writer.dropped == 1
    assert not loop.waiting


def test_a_real_loop_fits(tmp_path: Path, plain: LogFile, clock: HandClock) -> None:
    async def log() -> None:
        writer = LineWriter(plain, clock, asyncio.get_running_loop())
        writer.write(b"one\n")
        writer.flush()
        writer.close()

    asyncio.run(log())
    assert (tmp_path / "calls.log").read_bytes() == b"one\n"


def test_a_full_disk_raises_nothing_and_is_tried_again(
    tmp_path: Path, full: LogFile, clock: HandClock, loop: HandLoop, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = LineWriter(full, clock, loop)
    writer.write(b"one\n")
    loop.fire()
    assert writer.errors == 1
    assert writer.dropped == 0
    assert [timer.delay for timer in loop.waiting] == [RETRY_SECONDS]
    complaint = capfd.readouterr().err
    assert complaint.startswith(f"ai-client: cannot write {tmp_path}/calls.log: [Errno 28]")
    assert complaint.count("\n") == 1

    (tmp_path / "calls.log").unlink()
    loop.fire()
    assert (tmp_path / "calls.log").read_bytes() == b"one\n"
    assert not loop.waiting


def test_a_full_disk_is_complained_of_once_a_minute(
    full: LogFile, clock: HandClock, loop: HandLoop, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = LineWriter(full, clock, loop)
    writer.write(b"one\n")
    for _ in range(61):
        loop.fire()
        clock.pass_seconds(1)
    assert writer.errors == 61
    assert capfd.readouterr().err.count("\n") == 2


def test_lines_beyond_the_buffer_are_dropped_and_counted(
    tmp_path: Path, full: LogFile, clock: HandClock, loop: HandLoop
) -> None:
    writer = LineWriter(full, clock, loop)
    fits = MAX_BYTES // len(LINE)
    for _ in range(fits + 5):
        writer.write(LINE)
    assert writer.errors == 1  # the disk is asked once a second, not once a line
    assert writer.dropped == 5
    (tmp_path / "calls.log").unlink()
    loop.fire()
    assert (tmp_path / "calls.log").stat().st_size == fits * len(LINE)
    writer.write(LINE)
    assert writer.dropped == 5
    assert [timer.delay for timer in loop.waiting] == [FLUSH_SECONDS]


def test_closing_on_a_full_disk_counts_what_is_lost(full: LogFile, clock: HandClock, loop: HandLoop) -> None:
    writer = LineWriter(full, clock, loop)
    writer.write(b"one\n")
    writer.write(b"two\n")
    writer.close()
    assert writer.dropped == 2
    assert not loop.waiting


def test_without_a_loop_a_full_disk_is_tried_again_at_the_next_line(
    tmp_path: Path, full: LogFile, clock: HandClock
) -> None:
    writer = LineWriter(full, clock, None)
    writer.write(b"one\n")
    (tmp_path / "calls.log").unlink()
    writer.write(b"two\n")
    assert (tmp_path / "calls.log").read_bytes() == b"one\ntwo\n"
    writer.close()


def test_a_line_that_was_half_written_goes_on_where_it_stopped(clock: HandClock, loop: HandLoop) -> None:
    pipe = Pipe()
    writer = LineWriter(pipe, clock, loop)
    sent = b"".join(b"%07d\n" % number for number in range(40_000))  # 320 kB, and a pipe holds 64 KiB
    for start in range(0, len(sent), 8):
        writer.write(sent[start : start + 8])
    received = b""
    while loop.waiting:
        received += pipe.read()
        loop.fire()
    received += pipe.read()
    assert received == sent
    assert writer.dropped == 0
    writer.close()
    os.close(pipe.reader)


def test_half_a_line_is_not_carried_over_into_another_file(tmp_path: Path, clock: HandClock, loop: HandLoop) -> None:
    file = LogFile(tmp_path, "calls", clock)
    writer = LineWriter(file, clock, loop)
    with file_size_limit(150):
        writer.write(LINE)
        writer.write(LINE)
        writer.write(b"three\n")
        loop.fire()
    first = (tmp_path / "calls.log").resolve()
    assert first.stat().st_size == 150
    clock.pass_seconds(86_400)
    loop.fire()
    second = (tmp_path / "calls.log").resolve()
    assert second != first
    assert second.read_bytes() == b"three\n"
    assert writer.dropped == 1


def test_standard_error_takes_lines(clock: HandClock, capfd: pytest.CaptureFixture[str]) -> None:
    writer = LineWriter(Stderr(), clock, None)
    writer.write(b"one\n")
    writer.close()
    assert capfd.readouterr().err == "one\n"


def test_a_closed_standard_error_is_nobody_to_complain_to(clock: HandClock, loop: HandLoop) -> None:
    writer = LineWriter(Stderr(), clock, loop)
    kept = os.dup(2)
    os.close(2)
    try:
        writer.write(b"one\n")
        loop.fire()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert writer.errors == 1
    writer.close()


def test_lines_handed_over_together_are_counted_each(
    tmp_path: Path, plain: LogFile, clock: HandClock, loop: HandLoop
) -> None:
    writer = LineWriter(plain, clock, loop)
    writer.write(b"one\ntwo\n", 2)
    writer.close()
    writer.write(b"three\nfour\nfive\n", 3)
    assert (tmp_path / "calls.log").read_bytes() == b"one\ntwo\n"
    assert writer.dropped == 3
