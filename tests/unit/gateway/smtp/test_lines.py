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
    assert lines.lines_of(content).have_bare_newlines() == bare(content)
    assert text(content) == content.translate(None, b"\r\n")


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(2, 20))
def test_long_lines_are_found(lengths, limit):
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert lines.has_long_line(content, limit) == any(length + 2 > limit for length in lengths)
    assert lines.lines_of(content).exceed(limit) == lines.has_long_line(content, limit)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 900)), max_size=5), st.integers(2, 220))
def test_long_lines_are_found_among_equal_ones(runs, limit):
    content = b"".join((b"x" * length + b"\r\n") * count for length, count in runs)
    assert lines.lines_of(content).exceed(limit) == any(length + 2 > limit for length, _count in runs)


@given(st.integers(0, len(BASE64) - 1), st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"x", b"\n\n"]), st.integers(0, 3))
def test_one_damage_anywhere(at, put, cut):
    content = BASE64[:at] + put + BASE64[at + cut :]
    assert lines.lines_of(content).have_bare_newlines() == bare(content)
    assert text(content) == content.translate(None, b"\r\n")


@pytest.mark.parametrize("width", [2, 3, 66, 78, 1000])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_widths_and_line_ends(width, end):
    content = (b"a" * (width - len(end)) + end) * (90_000 // width)
    assert lines.lines_of(content).have_bare_newlines() == (end != b"\r\n")
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
