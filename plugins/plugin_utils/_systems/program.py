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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARK = "mailgate answer: "
"""Before the answer; a login may print other lines."""
_PACKAGE = "mailgate_program"

# Modules are executed on import, from their texts. A name without a text is a package.
_LOADER = """\
import importlib.abc, importlib.util, json, sys

texts, entry, function, arguments = json.loads({data!r})

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
print({mark!r} + getattr(importlib.import_module(entry), function)(arguments))
"""


def program(top: Path, modules: tuple[str, ...], function: str, arguments: Mapping[str, Any]) -> bytes:
    """Return a program that prints `MARK` and what a function returns.

    Args:
        top: The directory in which the modules are.
        modules: All modules that the program needs, such as `_keep.text`; they import each other by relative names,
            and the standard library. The last one has the function.
        function: Its name. It takes `arguments` and returns one line.
        arguments: Plain data, as JSON has it.

    Raises:
        OSError: A module cannot be read.
    """
    texts = {f"{_PACKAGE}.{name}": (top / f"{name.replace('.', '/')}.py").read_text("utf-8") for name in modules}
    data = json.dumps([texts, f"{_PACKAGE}.{modules[-1]}", function, arguments])
    return _LOADER.format(data=data, mark=MARK).encode("ascii")


def answer(output: str) -> dict[str, Any] | None:
    """Return the answer in the output of the program; None without one."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    try:
        found = json.loads(lines[-1].removeprefix(MARK))
    except (IndexError, ValueError):
        return None
    return found if isinstance(found, dict) else None
