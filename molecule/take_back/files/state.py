# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Save which files of a twin's hosts differ from the images, or compare them with what was saved.

usage: state.py save|compare INVENTORY TWIN FILE [IGNORED …]

Databases of packages, and copies that programs make of their own files, are left out. So are paths that begin with a
word of IGNORED, as HOST:/PATH.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lab.twin import Twin

# Programs rewrite these at every installation or new user, and keep the previous version of some beside them.
REWRITTEN = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/ucf/", "/etc/ld.so.cache", "/var/lib/bind/sci.zone")


def main() -> int:
    """Return the exit status."""
    what, inventory, name, file, *ignored = sys.argv[1:]
    found = {
        path: word
        for path, word in Twin(Path(inventory), name).snapshot().items()
        if not path.partition(":")[2].startswith(REWRITTEN) and not path.endswith("-")
    }
    if what == "save":
        Path(file).write_text(json.dumps(found), encoding="utf-8")
        return 0
    before = json.loads(Path(file).read_text(encoding="utf-8"))
    differing = sorted(path for path in before.keys() | found.keys() if before.get(path) != found.get(path))
    differing = [path for path in differing if not path.startswith(tuple(ignored) or ("-",))]
    for path in differing:
        sys.stdout.write(f"{path}: {before.get(path, 'as the image')} -> {found.get(path, 'as the image')}\n")
    return bool(differing)


if __name__ == "__main__":
    raise SystemExit(main())
