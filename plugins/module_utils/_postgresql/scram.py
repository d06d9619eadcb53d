# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords as PostgreSQL stores them (RFC 5803), so that no statement has the password itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

_ITERATIONS = 4096
_SALT_BYTES = 16


def verifier(password: str, salt: bytes = b"", iterations: int = _ITERATIONS) -> str:
    """Return the verifier of a password of ASCII characters, which SASLprep does not change.

    Args:
        password: The password.
        salt: The salt; a new one by default.
        iterations: Number of rounds.
    """
    salt = salt or os.urandom(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(server)}"


def fits(stored: str, password: str) -> bool:
    """Return whether a stored verifier is that of a password; not if it is of another kind."""
    kind, _mark, rest = stored.partition("$")
    parameters, _mark, _keys = rest.partition("$")
    iterations, _mark, salt = parameters.partition(":")
    if kind != "SCRAM-SHA-256" or not iterations.isdigit():
        return False
    try:
        made = verifier(password, base64.b64decode(salt, validate=True), int(iterations))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(made, stored)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
