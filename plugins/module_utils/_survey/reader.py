# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and files of a host that is only read, within a time limit."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .._keep.text import decode

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BYTES = 8_000_000
_PIECE = 4096
_TIMEOUT = 124


class Reader:
    """The host below `root`; `run` and `files` stop at the deadline, and `missed` names what was cut short."""

    def __init__(
        self, seconds: float = 15.0, each: float = 5.0, root: Path = Path("/"), path: str = SEARCH_PATH
    ) -> None:
        self._deadline = time.monotonic() + seconds
        self._each = each
        self._path = path
        self.root = root
        self.missed: list[str] = []

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self._deadline - time.monotonic()

    def find(self, program: str) -> str | None:
        """Return the path of a program, None without it."""
        return shutil.which(program, path=self._path)

    def run(
        self, command: Sequence[str], data: bytes | None = None, variables: Mapping[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Run a command that changes nothing; return status, output and errors. 127: not found, 124: out of time."""
        program = self.find(command[0])
        limit = min(self._each, self.left)
        if not program:
            return 127, "", f"{command[0]}: not installed"
        if limit <= 0:
            self.missed.append(command[0])
            return _TIMEOUT, "", "out of time"
        environment = {"PATH": self._path, "LC_ALL": "C.UTF-8", "HOME": "/root"} | dict(variables or {})
        # Commands are fixed lists. A child of the command may hold the pipe, so the whole group is ended.
        with (
            subprocess.Popen(  # pylint: disable=ansible-bad-function
                [program, *command[1:]],
                stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            ) as process
        ):
            try:
                out, errors = process.communicate(data, timeout=limit)
                status = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, errors = process.communicate()
                status = _TIMEOUT
                self.missed.append(" ".join(command[:3]))
        return status, decode(out), decode(errors)

    def at(self, path: str | Path) -> Path:
        """Return a path of the host."""
        return self.root / str(path).lstrip("/")

    def text(self, path: str | Path) -> str | None:
        """Return a file's text, None if it cannot be read; not more than a few megabytes."""
        try:
            with self.at(path).open("rb", buffering=0) as stream:
                # In small pieces: some files of /proc cannot be read with a large buffer.
                pieces = iter(lambda: stream.read(_PIECE), b"")
                return decode(b"".join(itertools.islice(pieces, _BYTES // _PIECE)))
        except OSError:
            return None

    def exists(self, path: str | Path) -> bool:
        """Return whether a path exists."""
        try:
            return self.at(path).exists()
        except OSError:
            return False

    def names(self, directory: str | Path, depth: int = 0) -> Iterator[str]:
        """Yield the names of the files in a directory, and in directories below it down to `depth`."""
        try:
            with os.scandir(self.at(directory)) as entries:
                for entry in entries:
                    if self.left <= 0:
                        self.missed.append(str(directory))
                        return
                    if not entry.is_dir(follow_symlinks=False):
                        yield entry.name
                    elif depth:
                        yield from self.names(Path(directory, entry.name), depth - 1)
        except OSError:
            return
