# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Replaces several files as one: all of them, or none; and each one atomically, so that a reader sees old or new."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

_MARK = ".mailgate-"


def replace_all(old: Mapping[Path, bytes], new: Mapping[Path, bytes]) -> None:
    """Writes `new` over the files, which must still hold `old`; on any failure all have their old bytes.

    Owner, mode, ACL and SELinux label stay. Paths are real (no symbolic links). Raises OSError.
    """
    staged: dict[Path, Path] = {}
    done: list[Path] = []
    try:
        for path, data in new.items():
            staged[path] = _stage(path, data)
        for path in new:
            if path.read_bytes() != old[path]:
                raise OSError(f"{path} was changed by somebody else in the meantime")
        for path in new:
            staged[path].replace(path)
            done.append(path)
    except BaseException:
        for path in done:
            _stage(path, old[path]).replace(path)
        raise
    finally:
        for path, temporary in staged.items():
            temporary.unlink(missing_ok=True)
            _sync_directory(path.parent)


def _stage(path: Path, data: bytes) -> Path:
    """Writes a file's next content beside it, with all that belongs to it but its time, which BIND looks at."""
    for leftover in path.parent.glob(f".{path.name}{_MARK}*"):
        leftover.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}{_MARK}", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            status = path.stat()
            os.fchown(descriptor, status.st_uid, status.st_gid)
            shutil.copystat(path, name)
            os.utime(name)
            os.fsync(descriptor)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
