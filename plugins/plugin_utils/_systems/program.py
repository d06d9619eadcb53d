# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python program of several modules as one text, for the standard input of a host's Python.

A module of Ansible brings some 150 KB of Ansible's own code, which the host compiles each time: 0.13 s of CPU time for
`ping`. What is asked of every host in every run costs less than half as such a program. Ansible's part is needed by
what changes a host, and where this program cannot run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MARK = "mailgate answer: "
"""Before the answer; a login may print other lines."""
_PACKAGE = "mailgate_program"
_IMPORT = re.compile(r"^from (\.+)([\w.]*) import (\([^)]*\)|[^\n#]+)", re.MULTILINE)

# Modules are executed on import, from their texts. A name without a text is a package.
_LOADER = """\
import importlib.abc, importlib.util, json, sys

texts, entry, arguments = json.loads({data!r})

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name in texts:
            return importlib.util.spec_from_loader(name, self)
        if any(each.startswith(name + ".") for each in texts):
            return importlib.util.spec_from_loader(name, self, is_package=True)
        return None

    def exec_module(self, module):
        if module.__name__ in texts:
            exec(compile(texts[module.__name__], module.__name__, "exec", dont_inherit=True), module.__dict__)

sys.meta_path.insert(0, Finder())
print({mark!r} + importlib.import_module(entry).answer(arguments))
"""


def program(top: Path, entry: str, arguments: Mapping[str, Any]) -> bytes:
    """Return a program that prints `MARK` and what the function `answer` of a module returns.

    Args:
        top: The directory in which the modules are.
        entry: The module, such as `_mta.first_look`. It imports the standard library, and others by relative names.
        arguments: What `answer` takes, plain data as JSON has it. It returns one line.

    Raises:
        OSError: A module cannot be read.
    """
    texts = {f"{_PACKAGE}.{name}": text for name, text in modules(top, entry).items()}
    data = json.dumps([texts, f"{_PACKAGE}.{entry}", arguments])
    return _LOADER.format(data=data, mark=MARK).encode("ascii")


def modules(top: Path, entry: str) -> dict[str, str]:
    """Return the texts of a module and of all that it imports by relative names."""
    found: dict[str, str] = {}
    missing = [entry]
    while missing:
        name = missing.pop()
        if name not in found:
            found[name] = _path(top, name).read_text("utf-8")
            missing += _imported(top, name, found[name])
    return found


def _imported(top: Path, name: str, text: str) -> Iterator[str]:
    for dots, module, names in _IMPORT.findall(text):
        parts = [*name.split(".")[: -len(dots)], *filter(None, module.split("."))]
        if parts and _path(top, ".".join(parts)).is_file():
            yield ".".join(parts)
        else:
            yield from (".".join([*parts, each.split()[0]]) for each in names.strip("()").split(",") if each.strip())


def _path(top: Path, name: str) -> Path:
    return top / f"{name.replace('.', '/')}.py"


def answer(output: str) -> dict[str, Any] | None:
    """Return the answer in the output of the program; None without one."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    try:
        found = json.loads(lines[-1].removeprefix(MARK))
    except (IndexError, ValueError):
        return None
    return found if isinstance(found, dict) else None
