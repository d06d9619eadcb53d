# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the files of a directory, all or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def current(directory: Path, names: Mapping[str, str]) -> dict[str, str | None]:
    """Return the current content of the files, None for those that do not exist. Raises OSError."""
    return {name: _read(directory / name) for name in names}


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def write_all(directory: Path, texts: Mapping[str, str]) -> None:
    """Write the texts atomically; after a failure the directory is unchanged. Raises OSError."""
    before = current(directory, texts)
    made = [path for path in _directories(directory, texts) if not path.exists()]
    staged: dict[str, Path] = {}
    done: list[str] = []
    try:
        for path in made:
            path.mkdir()
        for name, text in texts.items():
            staged[name] = _stage(directory / name, text)
        for name, temporary in staged.items():
            temporary.replace(directory / name)
            done.append(name)
    except BaseException:
        for name in done:
            old = before[name]
            if old is None:
                (directory / name).unlink()
            else:
                _stage(directory / name, old).replace(directory / name)
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
        for path in reversed(made):
            if path.exists():
                path.rmdir()
        raise


def _directories(directory: Path, texts: Mapping[str, str]) -> list[Path]:
    """Return every directory that the files need, the outer ones first."""
    needed = {parent for name in texts for parent in (directory / name).parents}
    return sorted(needed, key=lambda path: len(path.parts))


def _stage(path: Path, text: str) -> Path:
    # With the permissions of any new file, according to the umask.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text.encode("utf-8", errors="surrogateescape"))
    return temporary
