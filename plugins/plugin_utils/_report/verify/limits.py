# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits beyond which a verification reports a warning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits; times in the unit of their name."""

    certificate_days: int = 14
    permit_days: int = 14
    dnssec_days: int = 3
    signature_days: int = 3
    queue_messages: int = 1000
    queue_hours: int = 24
    clock_seconds: int = 5
    ttl_min: int = 600
    ttl_max: int = 172800
