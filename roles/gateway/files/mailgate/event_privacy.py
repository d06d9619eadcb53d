# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyed hashes in place of addresses in events: the same person has the same hash, the domain stays readable."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from base64 import b32encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from mailgate.event_kinds import FIELDS
from mailgate.event_settings import EventSettings
from mailgate.state import EVENT_SALT

# Marks a hashed local part; 80 bits in 16 characters.
MARK = "h-"
_DIGEST_BYTES = 10
_KNOWN = 4096
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"]+@[^\s<>()\[\],;:\"]+")
_HASHED = re.compile(re.escape(MARK) + r"[a-z2-7]{16}@")
_KEY_BYTES = 64


class AddressHasher:
    """Hashes local parts with a key."""

    def __init__(self, key: str) -> None:
        self._key = blake2b(key.encode(), digest_size=_KEY_BYTES).digest()
        self.address = lru_cache(_KNOWN)(self._address)

    def _address(self, address: str) -> str:
        """Return an address with its local part hashed; the null sender and a hashed address as they are."""
        local, _at, domain = address.rpartition("@")
        if not local or _HASHED.match(address):
            return address
        digest = blake2b(address.lower().encode("utf-8", "replace"), digest_size=_DIGEST_BYTES, key=self._key).digest()
        return f"{MARK}{b32encode(digest).decode().lower()}@{domain}"

    def text(self, text: str) -> str:
        """Return a text with all addresses in it hashed."""
        return _ADDRESS.sub(lambda match: self.address(match[0]), text) if "@" in text else text

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of an event with hashes in place of addresses."""
        return {name: self._field(name, value) for name, value in fields.items()}

    def _field(self, name: str, value: object) -> object:
        declared = FIELDS.get(name)
        if declared is None or not (declared.address or declared.quotes):
            return value
        if declared.quotes:
            return self.text(str(value))
        if isinstance(value, list | tuple):
            return [self.address(str(each)) for each in value]
        return self.address(str(value))


def hasher(settings: EventSettings, state_dir: Path) -> AddressHasher | None:
    """Return the hasher that the settings ask for, None for plain addresses.

    Raises:
        OSError: The key cannot be read, or that of this gateway not written.
    """
    if not settings.hash_addresses:
        return None
    if settings.hash_key_file:
        return AddressHasher(_key_in(Path(settings.hash_key_file)))
    _make_key(state_dir / EVENT_SALT)
    return AddressHasher(_key_in(state_dir / EVENT_SALT))


def _make_key(path: Path) -> None:
    """Write a random key unless there is one; raise OSError, and leave no file without a key on a full disk."""
    if path.exists():
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        # Another worker may have been first.
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)


def _key_in(path: Path) -> str:
    """Return the key in a file; raise OSError."""
    key = path.read_text(encoding="utf-8", errors="replace").strip()
    if not key:
        raise OSError(f"{path} is empty; write a long random text into it")
    return key
