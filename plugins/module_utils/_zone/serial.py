# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Zone serial numbers: 32 bits, compared by serial number arithmetic (RFC 1982)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import reduce

_SPAN = 2**32


def is_later(serial: int, than: int) -> bool:
    """Return whether `serial` is later than `than` (RFC 1982, section 3.2)."""
    return 0 < (serial - than) % _SPAN < _SPAN // 2


def latest(serials: Iterable[int]) -> int | None:
    """Return the latest of several serials, None without any."""
    found = list(serials)
    return reduce(lambda one, other: other if is_later(other, one) else one, found) if found else None


def next_serial(serial: int, today: date, served: int | None = None) -> int:
    """Return the serial after `serial` and after `served`, the one that the server answers with now.

    A serial of the form YYYYMMDDnn keeps it (today's 01, or one more if that is not later); any other is a counter.
    A secondary treats 0 as "no serial" (RFC 2136, section 3.6), so the wrap-around skips it.
    """
    if served is not None and is_later(served, serial):
        serial = served
    after = (serial + 1) % _SPAN or 1
    year, month = divmod(serial // 10_000, 100)
    if 1990 <= year <= 2099 and 1 <= month <= 12:
        dated = int(today.strftime("%Y%m%d")) * 100 + 1
        if is_later(dated, serial):
            return dated
    return after
