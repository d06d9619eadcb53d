# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fingerprint of all that a role is asked for: the values of its variables, and the code that would run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Variables that choose a step on the way and not the end.
_STEPS = ("_distance",)


def fingerprint(role: str, values: Mapping[str, Any], code: str, inputs: str = "") -> str:
    """Return a hash of a role's variables, of the state of its code, and of its files on the controller.

    Args:
        role: The name of the role.
        values: The values by name, templated; plain data as JSON has it.
        code: What `code_state` returned.
        inputs: What `input_state` returned.
    """
    ends = {name: value for name, value in values.items() if not name.removeprefix(role).startswith(_STEPS)}
    text = json.dumps([role, ends, code, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def code_state(collection: Path, role: str) -> str:
    """Return what changes when the collection is installed again or edited: size and time of each file that matters.

    The contents are not read, as this is asked once for each host.

    Args:
        collection: The directory of the collection.
        role: The role; the plugins, which all roles share, count too.
    """
    return _state([collection / "roles" / role, collection / "plugins"])


def input_state(names: Iterable[str], places: Sequence[Path]) -> str:
    """Return what changes when a file on the controller that a role copies, or builds from, changes: size and time.

    Args:
        names: Files and directories, absolute or relative to one of `places`.
        places: The directories in which a relative name is looked for. Those found in several all count.

    Raises:
        FileNotFoundError: One of them does not exist.
    """
    found: list[Path] = []
    for name in names:
        # An absolute name replaces the place.
        here = [path for place in places if (path := place / Path(name).expanduser()).exists()]
        if not here:
            raise FileNotFoundError(name)
        found += here
    return _state(found)


def _state(tops: Iterable[Path]) -> str:
    lines = {f"{path} {found.st_size} {found.st_mtime_ns}" for top in tops for path, found in _files(str(top))}
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    if not Path(top).is_dir():
        yield top, Path(top).stat()
        return
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _files(entry.path)
            else:
                yield entry.path, entry.stat()
