# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Import paths: the collection by its real name, the gateway as the package `mailgate`, bench and lab."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".cache" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "campus" / "mailgate"

if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(ROOT, target_is_directory=True)

# Keep compiled modules, of pytest and of the programs that tests start, outside the source tree, even where the
# environment forbids to keep any: compiling them takes each worker several seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".cache" / "pycache")

for entry in (ROOT, COLLECTIONS, ROOT / "roles" / "gateway" / "files"):
    sys.path.insert(0, str(entry))


def pytest_configure() -> None:
    """Keep the tests' files in memory if there is room: databases and replaced files are synced to the disk."""
    memory = Path("/dev/shm")
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not memory.is_dir():
        return
    found = os.statvfs(memory)
    if found.f_bavail * found.f_frsize > 4 << 30 and not found.f_flag & os.ST_NOEXEC and os.access(memory, os.W_OK):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(memory)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name binary parameters by their argument: some hold the time, and all workers must collect the same names."""
    return argname if isinstance(val, bytes) and not val.decode("latin-1").isprintable() else None
