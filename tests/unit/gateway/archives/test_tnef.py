# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in TNEF (winmail.dat)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infected_mail import HEAD, TEXT, b64, multi, part, tnef, zipped
from sample_archives import violations_of

from mailgate.config import Attachments
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy
from mailgate.content.screen import Rules, screen
from mailgate.scan.clamd import CLEAN

EXE = b"MZ\x90\0" + bytes(200)


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000)


MACRO_OLE = OLE + "_VBA_PROJECT".encode("utf-16-le")


LISTS = Attachments()


def kinds(name: str, data: bytes, *more: str) -> set[str]:
    return {violation.kind for violation in violations_of((name, *more), data)}


def two_in_tnef() -> bytes:
    one, two = tnef("a.txt", b"fine"), tnef("b.txt", EXE, long_name="b.exe")
    return one + two[two.index(b"\2\2\x90\6\0") :]


async def clean(_pieces):
    return CLEAN


def judge(raw: bytes, **words: str):
    rules = Rules(ContentPolicy(**words), LISTS, Notice("en", "gw1.univ.example"), number="abc123")
    return screen(raw, clean, rules)


class TestTnef:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (tnef("a.txt", b"fine"), set()),
            (tnef("a.exe", b"fine"), {"extension"}),
            (tnef("A~1.TXT", b"fine", long_name="請求書.exe"), {"extension"}),
            (tnef("A~1.TXT", b"fine", long_name="bill.pdf.exe"), {"extension", "double_extension"}),
            (tnef("a.txt", EXE), {"real_type"}),
            (tnef("a.txt", EXE, as_object=True), {"real_type"}),
            (tnef("a.zip", zipped(b"x", "a.exe")), {"extension"}),
            (tnef("a", tnef("a.txt", MACRO_OLE), as_object=True), {"macro"}),
            (tnef("a.txt", b"fine") + bytes(20), set()),
            (two_in_tnef(), {"extension", "real_type"}),
            (zipped(tnef("a.exe", b"fine"), "winmail.dat"), {"extension"}),
            (tnef("a.exe", b"fine" * 99)[:-300], {"extension", "encrypted_archive"}),
            (tnef("a.txt", EXE)[:-180], {"real_type", "encrypted_archive"}),
        ],
    )
    def test_files_in_tnef(self, data, expected):
        assert kinds("winmail.dat", data) == expected

    async def test_tnef_is_removed_as_a_whole(self):
        body = part(b64(two_in_tnef()), b"application/ms-tnef; name=winmail.dat")
        raw = HEAD + multi(TEXT, body)
        judged = await judge(raw, real_type="strip")
        assert judged.removed == ("winmail.dat",)
        assert body not in judged.content
        assert "winmail.dat/b.exe: application/x-dosexec" in str(judged.violation)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 400), st.integers(0, 255), st.integers(6, 500))
    def test_damaged_tnef_can_be_inspected(self, at, byte, end):
        damaged = bytearray(tnef("a.txt", b"fine", long_name="b.txt", as_object=at % 2 == 0)[:end])
        damaged[at % len(damaged)] = byte
        kinds("winmail.dat", bytes(damaged))
