# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with what a connection to a server of the campus needs: a password, and certificates of authorities."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol


class SecretFiles(Protocol):
    """Settings of a server: paths, each empty for none."""

    @property
    def password_file(self) -> str:
        """File with the password."""

    @property
    def ca_file(self) -> str:
        """File with the certificates of authorities."""


def password_of(settings: SecretFiles) -> str:
    """Return the password, if there is one; raise OSError or UnicodeError if its file cannot be read."""
    return Path(settings.password_file).read_text("utf-8").strip() if settings.password_file else ""


def file_problems(section: str, settings: SecretFiles) -> list[tuple[str, str]]:
    """Return setting and problem of each file that cannot be used; `section` is the name of the settings' section."""
    found = []
    try:
        if settings.password_file and not password_of(settings):
            found.append((f"{section}.password_file", f"{settings.password_file} is empty; write the password to it"))
    except (OSError, UnicodeError) as error:
        found.append((f"{section}.password_file", f"cannot be read: {error}"))
    try:
        if settings.ca_file:
            ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        found.append((f"{section}.ca_file", f"{settings.ca_file}: is not a file with certificates: {error}"))
    return found
