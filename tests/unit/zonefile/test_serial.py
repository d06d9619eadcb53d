# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._zone.serial import is_later, next_serial

TODAY = date(2026, 3, 4)
SERIALS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("serial", "served", "after"),
    [
        (1, None, 2),
        (0, None, 1),
        (2025123105, None, 2026030401),  # an older date
        (2026030400, None, 2026030401),
        (2026030401, None, 2026030402),  # again today
        (2026030499, None, 2026030500),
        (2026030500, None, 2026030501),  # still ahead of the date
        (2099010101, None, 2099010102),  # a date in the future is not taken back
        (1767225600, None, 1767225601),  # seconds since 1970 are a counter
        (2026991301, None, 2026991302),  # no month 99
        (4294967295, None, 1),  # the wrap-around skips 0
        (7, 41, 42),
        (41, 7, 42),
        (2026030101, 2026030409, 2026030410),
    ],
)
def test_next(serial, served, after):
    assert next_serial(serial, TODAY, served) == after


@given(SERIALS, st.none() | SERIALS, st.dates(date(1999, 1, 1), date(2090, 1, 1)))
def test_always_later(serial, served, today):
    after = next_serial(serial, today, served)
    assert 0 < after < 2**32
    assert is_later(after, serial) or (served is not None and is_later(served, serial) and is_later(after, served))


@given(SERIALS, st.integers(1, 2**31 - 1))
def test_order_is_that_of_rfc_1982(serial, step):
    assert is_later((serial + step) % 2**32, serial)
    assert not is_later(serial, (serial + step) % 2**32)
    assert not is_later(serial, serial)
