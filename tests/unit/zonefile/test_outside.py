# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What outsiders see of a zone, made from what BIND reads in it."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._zone.edit import plan_names
from ansible_collections.campus.mailgate.plugins.module_utils._zone.external import (
    made_from,
    null_mx_in,
    outside_text,
    serial_in,
)
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError

DUMP = """\
u.example.\t\t\t\t      3600 IN SOA\tns1.u.example. hostmaster.u.example. 41 3600 900 2419200 300
u.example.\t\t\t\t      3600 IN RRSIG\tSOA 13 2 3600 20260401000000 20260301000000 1 u.example. YQ==
u.example.\t\t\t\t      3600 IN MX\t0 mail.u.example.
Mech.u.example.\t\t\t      600 IN MX\t0 mech.u.example.
none.u.example.\t\t\t      600 IN MX\t0 .
other.u.example.\t\t      600 IN MX\t5 mail.u.example.
text.u.example.\t\t\t      600 IN TXT\t"a  b; (" "MX 0 ."
u.example.\t\t\t\t      3600 IN SOA\tns1.u.example. hostmaster.u.example. 41 3600 900 2419200 300
""".splitlines()
GATEWAY = [(0, "gw1.univ.example")]
APEX, PLAN = plan_names(
    "u.example", [(f"{label}u.example", GATEWAY) for label in ("", "mech.", "none.", "new.")] + [("gone.u.example", [])]
)


def test_the_copy():
    text = outside_text(DUMP, APEX, PLAN, 7, source="view in")
    assert text == (
        "; The outside copy of u.example., made by mailgate from serial 41 of view in. Edits here are lost.\n"
        "u.example.\t3600\tIN\tSOA\tns1.u.example. hostmaster.u.example. 7 3600 900 2419200 300\n"
        "other.u.example.\t600\tIN\tMX\t5 mail.u.example.\n"
        'text.u.example.\t600\tIN\tTXT\t"a  b; (" "MX 0 ."\n'
        "u.example.\t3600\tIN\tMX\t0 gw1.univ.example.\n"
        "mech.u.example.\t600\tIN\tMX\t0 gw1.univ.example.\n"
        "none.u.example.\t600\tIN\tMX\t0 .\n"
        "new.u.example.\t3600\tIN\tMX\t0 gw1.univ.example.\n"
    )
    assert (made_from(text), serial_in(text)) == (41, 7)
    assert outside_text(text.splitlines(), APEX, PLAN, 7, source="view in").splitlines()[1:] == text.splitlines()[1:]


def test_null_mx():
    assert null_mx_in(DUMP) == {(b"none", b"u", b"example")}


def test_somebody_s_own_file():
    assert made_from("$TTL 60\n@ SOA ns1 h 1 1 1 1 1\n") is None
    with pytest.raises(ValueError, match="not an outside copy"):
        serial_in("a\nb\n")


def test_nothing_to_copy():
    with pytest.raises(ZoneError, match="view in gives no SOA record"):
        outside_text([], APEX, PLAN, 7, source="view in")
