"""Log files on disk: one for each day, found under a steady name.

Why dated files and a link, and not `name.log` renamed at midnight: a rename can clobber. Two processes that log to one
directory would both rename, and the second would put the new day's file over the old day's; a process that slept
through midnight would date its file wrongly. Here each one opens the day's file by its own name, nothing is ever
moved, and `tail -F name.log` follows the link.
"""

from __future__ import annotations

import contextlib
import os
import re
from datetime import date, timedelta
from pathlib import Path

from ai_client.clock import Clock, local_day

MODE = 0o640
DIRECTORY_MODE = 0o750
_NOWHERE = Path()


class LogFile:
    """`DIRECTORY/NAME-2026-01-31.log`, by the local day on which a line is written, and the link `NAME.log` to it.

    Files older than `retention_days` days are removed when a day's file is opened; 0 keeps all. Only files of exactly
    this name and shape are. With `daily` off everything goes to `NAME.log`, and rotation is somebody else's
    (logrotate's): a file that was moved or removed is opened anew at the next write, in either case.
    """

    def __init__(
        self, directory: Path, name: str, clock: Clock, *, daily: bool = True, retention_days: int = 30
    ) -> None:
        self.name = str(directory / f"{name}.log")
        self.opened = 0
        self._directory = directory
        self._stem = name
        self._clock = clock
        self._daily = daily
        self._retention_days = retention_days
        self._descriptor = -1
        self._path = _NOWHERE
        self._identity = (0, 0)

    def descriptor(self) -> int:
        """The open file for this moment.

        Raises OSError when the directory or the file cannot be made; asked once at the start, a wrong `log_dir` is
        known before the first line.
        """
        path = Path(self.name)
        day = ""
        if self._daily:
            day = local_day(self._clock.unix_ns())
            path = self._directory / f"{self._stem}-{day}.log"
        if path != self._path or not self._in_place():
            self._open(path, day)
        return self._descriptor

    def close(self) -> None:
        """Close the file; the next line would open it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._path = _NOWHERE

    def _in_place(self) -> bool:
        """Whether the path still leads to the file that is open: one stat for each flush, not for each line."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def _open(self, path: Path, day: str) -> None:
        self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        self.close()
        status = os.fstat(descriptor)
        self._descriptor, self._path = descriptor, path
        self._identity = (status.st_dev, status.st_ino)
        self.opened += 1
        if self._daily:
            # Comfort, not the log itself: a file system without links, or a file that cannot be removed, stops no line.
            with contextlib.suppress(OSError):
                self._link(path)
            with contextlib.suppress(OSError):
                self._prune(day)

    def _link(self, path: Path) -> None:
        link = Path(self.name)
        if not link.is_symlink() and link.exists():
            return  # somebody's own file: not ours to replace
        fresh = Path(f"{self.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(path.name)
        fresh.replace(link)

    def _prune(self, day: str) -> None:
        if not self._retention_days:
            return
        oldest = (date.fromisoformat(day) - timedelta(days=self._retention_days)).isoformat()
        pattern = re.compile(re.escape(self._stem) + r"-([0-9]{4}-[0-9]{2}-[0-9]{2})\.log")
        for file in self._directory.iterdir():
            dated = pattern.fullmatch(file.name)
            if dated and dated[1] < oldest and file.is_file() and not file.is_symlink():
                with contextlib.suppress(OSError):
                    file.unlink()
