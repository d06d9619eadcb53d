# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Replace several files, all or none, each one atomically: a reader sees the old or the new content."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

_MARK = ".mailgate-"
_NEW_MODE = 0o644
_NEW_DIRECTORY_MODE = 0o755


def replace_all(
    old: Mapping[Path, bytes | None],
    new: Mapping[Path, bytes | None],
    like: Mapping[Path, Path] | None = None,
    modes: Mapping[Path, int] | None = None,
) -> None:
    """Replace files in the order of `new`; on failure restore all in reverse order.

    Owner, mode, ACL and SELinux label stay.

    Args:
        old: The present content by real path (no symbolic links); None for a file that does not exist.
        new: The new content by path; None removes the file.
        like: For a new file, the file whose owner and mode it gets.
        modes: For a new file, its mode; by default everyone can read it.

    Raises:
        OSError: All files have their old content.
    """
    models, new_modes = like or {}, modes or {}

    def stage(path: Path, data: bytes) -> Path:
        """Stage content with the metadata for its path."""
        return _stage(path, data, models.get(path, path), new_modes.get(path, _NEW_MODE))

    staged: dict[Path, Path] = {}
    done: list[Path] = []
    try:
        for path, data in new.items():
            if data is not None:
                staged[path] = stage(path, data)
        for path in new:
            if (path.read_bytes() if path.exists() else None) != old[path]:
                raise OSError(f"{path} was changed by another process in the meantime")
        for path in new:
            _put(path, staged.get(path))
            done.append(path)
    except BaseException:
        for path in reversed(done):
            before = old[path]
            _put(path, None if before is None else stage(path, before))
        raise
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
        for directory in {path.parent for path in new if path.parent.exists()}:
            _sync_directory(directory)


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents for everyone to read, under any umask; existing ones stay."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        directory.chmod(_NEW_DIRECTORY_MODE)


def _put(path: Path, staged: Path | None) -> None:
    """Move a staged file to its path, or remove the file."""
    if staged:
        staged.replace(path)
    else:
        path.unlink()


def _stage(path: Path, data: bytes, like: Path, mode: int) -> Path:
    """Write the new content to a temporary file next to `path`, with the metadata of `like` except its time.

    BIND reads a file again only if its time has changed. Without a file `like` the mode is `mode`.
    """
    for leftover in path.parent.glob(f".{path.name}{_MARK}*"):
        leftover.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}{_MARK}", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if like.exists():
                status = like.stat()
                os.fchown(descriptor, status.st_uid, status.st_gid)
                shutil.copystat(like, name)
                os.utime(name)
            else:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _sync_directory(directory: Path) -> None:
    """Write the entries of a directory to disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
