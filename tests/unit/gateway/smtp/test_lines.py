# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Line ends in large messages: the fast ways and the simple ones agree."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.smtp import lines

BASE64 = base64.encodebytes(bytes(range(256)) * 200).replace(b"\n", b"\r\n")
ODD = st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\n\r", b"x\ny", b"x\ry", b"text\r\n", b"\r\r\n", b"=" * 77])


def text(content):
    first, *others = lines.joined(content, 0, len(content), 7)
    return first + b"".join(piece[len(before[-7:]) :] for before, piece in itertools.pairwise([first, *others]))


def bare(content):
    return any(b"\r" in rest or b"\n" in rest for rest in content.split(b"\r\n"))


@given(st.lists(st.tuples(ODD, st.sampled_from([1, 2, 64, 76, 998]), st.integers(0, 900), ODD), max_size=4))
def test_any_lines(parts):
    content = b"".join(before + (b"a" * width + b"\r\n") * count + after for before, width, count, after in parts)
    assert lines.has_bare_newlines(content) == bare(content)
    assert text(content) == content.translate(None, b"\r\n")


@given(st.integers(0, len(BASE64) - 1), st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"x", b"\n\n"]), st.integers(0, 3))
def test_one_damage_anywhere(at, put, cut):
    content = BASE64[:at] + put + BASE64[at + cut :]
    assert lines.has_bare_newlines(content) == bare(content)
    assert text(content) == content.translate(None, b"\r\n")


@pytest.mark.parametrize("width", [2, 3, 66, 78, 1000])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_widths_and_line_ends(width, end):
    content = (b"a" * (width - len(end)) + end) * (90_000 // width)
    assert lines.has_bare_newlines(content) == (end != b"\r\n")
    assert text(content) == content.translate(None, b"\r\n")


def test_base64_is_one_run():
    run = lines.equal_lines(BASE64, 0, len(BASE64))
    assert run.end - run.start > len(BASE64) - 200
    assert run.width == 78


def test_pieces_overlap():
    content = b"".join([b"a" * 76, b"\r\n"] * 5000)
    pieces = [*lines.joined(content, 10, len(content), 7)]
    assert len(pieces) > 3
    assert all(after.startswith(before[-7:]) for before, after in itertools.pairwise(pieces))
