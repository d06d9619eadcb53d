# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateways are in the event database."""

from __future__ import annotations

import hashlib

_MAX_NAME = 63  # bytes; PostgreSQL cuts off the rest


def user_of(gateway: str) -> str:
    """Return the name of a gateway's user in PostgreSQL, which is no other gateway's."""
    name = f"mailgate_{gateway}"
    if len(name.encode()) <= _MAX_NAME:
        return name
    return f"mailgate_{hashlib.sha256(gateway.encode()).hexdigest()[:32]}"
