"""A file that only ever grows by whole lines, whatever happens to the process or the disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ai_client.errors import InvalidRequestError


class LineFile:
    """An append-only file of lines.

    Every line goes to the system by one call as soon as it is there, so a killed process leaves whole lines, at worst
    a torn last one. Nothing is gathered first: a write costs 2 microseconds, an answer far more.
    """

    def __init__(self, path: Path) -> None:
        """Open or create. Raises `InvalidRequestError` when that cannot be done."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InvalidRequestError(f"{path} cannot be written: {error.strerror}") from None
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._fd)
            raise InvalidRequestError(f"{path} is not a regular file: a batch reads what it wrote when it is resumed")
        self._size = found.st_size
        self._open = True

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self._size

    def lock(self) -> None:
        """Keep others out until the file is closed or the process ends. Raises `InvalidRequestError` when taken."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidRequestError(f"{self.path} is being written by another run: wait for it, or end it") from None

    def clear(self) -> None:
        """Throw away what is in it."""
        os.ftruncate(self._fd, 0)
        self._size = 0

    def lines(self) -> Iterator[bytes]:
        """What is in it, line by line. The last one lacks its end if it was torn: see `cut`."""
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            yield from file

    def cut(self, count: int) -> None:
        """Take the last `count` bytes away."""
        self._size -= count
        os.ftruncate(self._fd, self._size)

    def append(self, line: bytes) -> None:
        """Write a line, its end included. Raises OSError when it could not be written whole; none of it stays then."""
        rest = memoryview(line)
        try:
            while rest:  # a disk that is nearly full takes a part, and fails only when asked again
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            with contextlib.suppress(OSError):  # what this leaves behind, the next run finds and cuts off
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)

    def sync(self) -> None:
        """Wait until the disk has it. Raises OSError when the disk will not."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Sync and close; harmless when repeated. Raises OSError when the disk failed, and is closed all the same."""
        if self._open:
            self._open = False
            try:
                self.sync()
            finally:
                os.close(self._fd)
