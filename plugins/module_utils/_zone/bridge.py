# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Replace a zone's file and the files that it includes so that an interruption leaves the old or the new zone.

A rename replaces one file, not several. Therefore the zone's own file is first replaced by a bridge: the same zone,
read from copies of the included files. Then the included files change, which are not read in this state. Then the own
file is replaced by the new one, and the copies are removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from .._replace import replace_all
from .file import ZoneFile, words_in

_MARK = ".before-mailgate"
_CHANGED = re.compile(
    rb'^(?P<head>\$INCLUDE[ \t]+"?)(?P<folder>(?:[^";\r\n]*/)?)\.(?P<name>[^"/;\r\n]+?)'
    + re.escape(_MARK.encode())
    + rb'(?=["\s;]|$)',
    re.MULTILINE | re.IGNORECASE,
)

Bridge = Mapping[Path, "tuple[bytes | None, bytes, bytes | None]"]
"""The copies, then each zone's own file: the content before, during and after the change of the included files."""


def copy_of(name: str) -> str:
    """Return the path of an included file's copy, in the same directory; a relative path stays relative."""
    base = name.rfind("/") + 1
    return f"{name[:base]}.{name[base:]}{_MARK}"


def bridge_over(file: ZoneFile, changed: Collection[str]) -> tuple[bytes, dict[str, bytes]]:
    """Return the content of a file that reads copies of its `changed` included files, and these copies by their paths.

    `changed` and the paths are as the $INCLUDE lines have them. Every file that includes a changed one, directly or
    not, has a copy.
    """
    pieces, copies = [], {}
    for entry in file.entries:
        text = file.text[entry.start : entry.end]
        if entry.included:
            inner, below = bridge_over(entry.included, changed)
            copies.update(below)
            if entry.included.path in changed or below:
                copies[copy_of(entry.included.path)] = inner
                word = words_in(file.text, entry.start, entry.end)[1]
                quote = '"' if word.text.startswith('"') else ""
                name = quote + copy_of(entry.included.path) + quote
                text = file.text[entry.start : word.start] + name + file.text[word.end : entry.end]
        pieces.append(text + entry.eol)
    return "".join(pieces).encode("latin-1"), copies


def replace_over(old: Mapping[Path, bytes | None], new: Mapping[Path, bytes | None], bridge: Bridge) -> None:
    """Do what replace_all does over the bridge; raise OSError on failure, and then all files have their old content."""
    before = {path: steps[0] for path, steps in bridge.items()}
    during: dict[Path, bytes | None] = {path: steps[1] for path, steps in bridge.items()}
    after = {path: steps[2] for path, steps in bridge.items()}
    like = {path: path.with_name(path.name[1 : -len(_MARK)]) for path, data in before.items() if data is None}
    replace_all(before, during, like)
    try:
        # The own files are last in the bridge. In reverse order they are replaced before the copies are removed.
        rest = {path: data for path, data in new.items() if path not in bridge}
        replace_all({**old, **during}, {**rest, **_backwards(after)}, like)
    except BaseException:
        replace_all(during, _backwards(before), like)
        raise


def _backwards(files: Mapping[Path, bytes | None]) -> dict[Path, bytes | None]:
    """Return the files in reverse order."""
    return dict(reversed(list(files.items())))


def is_bridge(data: bytes) -> bool:
    """Return whether a zone's file reads copies, as an interrupted run leaves it."""
    return bool(_CHANGED.search(data))


def recover(path: Path, included: Collection[Path], directory: str) -> None:
    """Clean up after an interrupted run: keep the zone of the file `path` as it is, but without copies.

    Args:
        path: The zone's own file.
        included: The real paths of all files that it includes.
        directory: The directory of relative paths in $INCLUDE lines.

    Raises:
        OSError: A file cannot be read or replaced. All have their old content.
    """
    now = path.read_bytes()
    old: dict[Path, bytes | None] = {}
    new: dict[Path, bytes | None] = {}
    copies: dict[Path, bytes | None] = {}
    waiting = [now]
    while waiting:
        for match in _CHANGED.finditer(waiting.pop()):
            folder = Path(directory, os.fsdecode(match["folder"]))
            name = os.fsdecode(match["name"])
            copy, file = (folder / copy_of(name)).resolve(), (folder / name).resolve()
            data = copies[copy] = copy.read_bytes()
            old[file], new[file] = file.read_bytes(), _without_copies(data)
            waiting.append(data)
    if copies:
        old[path], new[path] = now, _without_copies(now)
    else:
        # Interrupted before the first step or after the last one.
        found = {file.with_name(copy_of(file.name)) for file in included}
        copies = {copy: copy.read_bytes() for copy in found if copy.exists()}
    if copies:
        replace_all({**old, **copies}, {**new, **dict.fromkeys(copies)})


def _without_copies(data: bytes) -> bytes:
    """Return the content of a file with the original names in its $INCLUDE lines."""
    return _CHANGED.sub(rb"\g<head>\g<folder>\g<name>", data)
