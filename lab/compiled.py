# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' sitecustomize: keep the compiled code of modules in zip archives, by a hash of their source.

Ansible sends each module as a zip archive, which Python compiles again in each task: half of its processor time. Only
compiling is left out; what is run is the same. Every Python process of a host reads this, so it imports little.
"""

from __future__ import annotations

import marshal
import os
import sys
import zipimport
from _blake2 import blake2b

DIRECTORY = "/run/lab-compiled"

compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def compiled(pathname: str, source: bytes) -> object:
    """Return the code of a module's source; its tracebacks name the file that it was compiled from first."""
    path = f"{DIRECTORY}/{blake2b(source, digest_size=20).hexdigest()}.{sys.implementation.cache_tag}"
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except (OSError, EOFError, ValueError, TypeError):
        code = compile_source(pathname, source)
    try:
        # Complete before it has its name: other hosts write and read here at the same time.
        unfinished = f"{path}.{os.urandom(8).hex()}"
        with open(unfinished, "xb") as file:
            marshal.dump(code, file)
            os.fchmod(file.fileno(), 0o644)  # also of a service that keeps its files to itself
        os.replace(unfinished, path)
    except OSError:
        pass  # this user may not write here, or nothing is there
    return code


if not sys.flags.optimize:
    zipimport._compile_source = compiled  # type: ignore[attr-defined]
