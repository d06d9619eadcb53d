# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenDKIM as a second verifier of signatures."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

OPENDKIM = shutil.which("opendkim", path="/usr/sbin:/usr/bin")
NO_OPENDKIM = "opendkim is not installed here (apt-get install opendkim)"


def verify(contents: Sequence[bytes], name: str, record: str, directory: Path) -> list[bool]:
    """Return for each message whether its signature is valid.

    Args:
        contents: The messages.
        name: Name of the record of the key.
        record: Its text.
        directory: For files.
    """
    assert OPENDKIM
    files = []
    for number, content in enumerate(contents):
        files.append(directory / f"{number}.eml")
        files[-1].write_bytes(content)
    (directory / "keys").write_text(f"{name} {record}\n")
    settings = directory / "opendkim.conf"
    settings.write_text(f"Mode v\nTestPublicKeys {directory}/keys\nSyslog no\n")
    found = subprocess.run(
        [OPENDKIM, "-x", settings, "-t", ",".join(map(str, files)), "-v"], capture_output=True, text=True, check=True
    )
    results = dict(re.findall(r"/(\d+)\.eml: verification .*\) (succeeded|failed)", found.stdout))
    return [results[str(number)] == "succeeded" for number in range(len(files))]
