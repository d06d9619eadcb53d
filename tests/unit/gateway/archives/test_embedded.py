# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of archives in base64 that is not decoded."""

from __future__ import annotations

import base64

import pytest

from mailgate.archives import embedded, rar


@pytest.mark.parametrize("front", range(4))
@pytest.mark.parametrize("signature", [rar.SIGNATURE, embedded.SEVEN_ZIP])
@pytest.mark.parametrize("before", [b"", b"\0", b"A\0\0B"])
def test_a_signature_is_found_at_each_place_in_a_group_and_behind_nul(front, signature, before):
    letters = base64.b64encode(b"x" * front + signature + b"\1\0 and more")
    assert embedded.may_be_in_base64([before + letters + b"\0"])
    assert embedded.may_be_in_base64([b"other", before + letters])
    assert not embedded.may_be_in_base64([before + letters.replace(letters[2:6], b"!!!!")])


def test_libc_and_python_search_alike():
    for signature in (b"UmFyIRoH", b"N3q8rycc"):
        for data in (signature, b"U" * 100 + signature, b"N" * 9000 + signature[:-1], signature[1:], b""):
            assert bool(embedded._contains(data, signature)) is embedded._by_python(data, signature)
