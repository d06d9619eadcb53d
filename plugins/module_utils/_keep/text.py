# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and show files of any encoding."""

from __future__ import annotations

from pathlib import Path


def content(path: Path) -> bytes | None:
    """Return the bytes of a file, None without one."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def read(path: Path) -> str | None:
    """Return the content of a file, None without one."""
    data = content(path)
    return None if data is None else decode(data)


def decode(data: bytes) -> str:
    """Return bytes of any encoding that contains ASCII as text, with their line ends; `encode` reverses it."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Return the bytes of a text from `decode`."""
    return text.encode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """Return a text from `decode` for people: bytes that are not UTF-8 are replaced."""
    return encode(text).decode("utf-8", "replace")


def diff(path: Path, before: str | None, after: str | None) -> dict[str, str]:
    """Return a difference in the format of Ansible."""
    texts = {"before": shown(before or ""), "after": shown(after or "")}
    return {"before_header": str(path), "after_header": str(path), **texts}
