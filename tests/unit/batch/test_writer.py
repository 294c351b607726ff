"""A file that grows by whole lines."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai_client.batch.writer import LineFile
from ai_client.errors import InvalidRequestError


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes meanwhile: a full disk that needs no root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_are_kept_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for text in (b"one\n", b"two\n"):
        file = LineFile(path)
        file.append(text)
        file.close()
    file = LineFile(path)
    assert list(file.lines()) == [b"one\n", b"two\n"]
    assert file.size == 8
    file.append(b"three\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_line_is_in_the_file_as_soon_as_it_was_added(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "out")
    file.append(b"one\n")
    assert (tmp_path / "out").read_bytes() == b"one\n"
    file.close()


def test_a_torn_end_can_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"one\ntw")
    file = LineFile(path)
    assert list(file.lines()) == [b"one\n", b"tw"]
    file.cut(2)
    file.append(b"two\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_file_can_be_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"one\n")
    file = LineFile(path)
    file.clear()
    assert file.size == 0
    file.append(b"two\n")
    file.close()
    assert path.read_bytes() == b"two\n"


def test_a_line_that_does_not_fit_leaves_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = LineFile(path)
    file.append(b"x" * 99 + b"\n")
    with files_at_most(150), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        file.append(b"y" * 99 + b"\n")  # 50 bytes of it fit
    assert path.read_bytes() == b"x" * 99 + b"\n"
    file.append(b"z\n")
    file.close()
    assert path.read_bytes() == b"x" * 99 + b"\nz\n"


def test_a_locked_file_is_refused_to_others_until_it_is_closed(tmp_path: Path) -> None:
    first, second = LineFile(tmp_path / "out"), LineFile(tmp_path / "out")
    first.lock()
    with pytest.raises(InvalidRequestError, match="being written by another run"):
        second.lock()
    first.close()
    first.close()
    second.lock()
    second.close()


def test_what_cannot_be_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be written: No such file or directory"):
        LineFile(tmp_path / "nowhere" / "out")
    with pytest.raises(InvalidRequestError, match="cannot be written: Is a directory"):
        LineFile(tmp_path)
    with pytest.raises(InvalidRequestError, match="/dev/null is not a regular file"):
        LineFile(Path("/dev/null"))
