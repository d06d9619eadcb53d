# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Build an executable zip archive (a zip application) of a Python package and the wheels that it needs.

Pure: bytes in, bytes out. The same input gives the same bytes on every machine, so that copying the file to hosts is
idempotent: members are sorted, times and modes are fixed, and nothing is compressed (zlib's output differs between its
builds).
Layout: the standard library's `zipapp` module.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold."""
_UNIX = 3
_MODE = 0o100644 << 16
_ENTRY_POINT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_MAIN = "import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"


class BuildError(Exception):
    """The archive cannot be built; `problems` has one line for each reason, with its place."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(self.problems))


def keep(files: Mapping[str, bytes], exclude: Iterable[str]) -> dict[str, bytes]:
    """Return the files whose path matches none of the shell patterns; `*` also matches `/`, as in fnmatch."""
    patterns = tuple(exclude)
    return {path: data for path, data in files.items() if not any(fnmatchcase(path, item) for item in patterns)}


def build_zipapp(sources: Mapping[str, Mapping[str, bytes]], entry_point: str, interpreter: str) -> bytes:
    """Return the bytes of an executable archive.

    `sources` maps the name of each source (a directory, a wheel; used in errors) to its files by archive path;
    `entry_point` is `package.module:function`, called without arguments and its result passed to sys.exit;
    `interpreter` is what follows `#!`. Raises BuildError when two sources hold different files at one path, or when the
    entry point's module is in none of them.
    """
    problems: list[str] = []
    members: dict[str, bytes] = {}
    origin: dict[str, str] = {}
    for source, files in sorted(sources.items()):
        for path, data in files.items():
            if members.setdefault(path, data) != data:
                problems.append(f"{path} is in {origin[path]} and, different, in {source}")
            origin.setdefault(path, source)
    if _ENTRY_POINT.fullmatch(entry_point):
        module, _colon, function = entry_point.partition(":")
        base = module.replace(".", "/")
        if f"{base}.py" not in members and f"{base}/__init__.py" not in members:
            problems.append(f"entry point {entry_point}: there is no module {module} in {', '.join(sorted(sources))}")
        members["__main__.py"] = _MAIN.format(module=module, function=function).encode()
    else:
        problems.append(f"entry point {entry_point!r} is not of the form package.module:function")
    if "\n" in interpreter or not interpreter.startswith("/"):
        problems.append(f"interpreter {interpreter!r} is not an absolute path")
    if problems:
        raise BuildError(problems)

    buffer = io.BytesIO()
    buffer.write(f"#!{interpreter}\n".encode())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for path in sorted(members):
            info = zipfile.ZipInfo(path, EPOCH)
            info.create_system = _UNIX
            info.external_attr = _MODE
            archive.writestr(info, members[path])
    return buffer.getvalue()
