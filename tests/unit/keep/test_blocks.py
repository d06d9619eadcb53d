# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A marked block in an admin's file leaves all other bytes as they are, and can be removed to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._keep import blocks

LINES = st.lists(
    st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=20), max_size=4
)
TEXTS = st.text(st.sampled_from("ab#\r\n \t\udce4'`"), max_size=60)
STYLES = st.sampled_from([blocks.HASH, blocks.Style("dnl # "), blocks.Style("// "), blocks.Style("/* ", " */")])


def test_a_block_at_the_end():
    text = blocks.put("a b\n", ["c d"], "routes")
    assert text == "a b\n# BEGIN campus.mailgate: routes\nc d\n# END campus.mailgate\n"
    assert blocks.without(text) == "a b\n"


@given(TEXTS, LINES, STYLES, st.integers(0, 9))
def test_a_removed_block_leaves_no_trace(text, lines, style, number):
    starts = [0, *(at + 1 for at, char in enumerate(text) if char == "\n"), len(text)]
    put = blocks.put(text, lines, "routes", style, at=starts[number % len(starts)])
    assert blocks.without(put, style) == text
    assert blocks.put(put, [], "routes", style) == text


@given(TEXTS, LINES, LINES, STYLES)
def test_a_changed_block_stays_in_its_place(text, first, second, style):
    once = blocks.put(text, ["x", *first], "routes", style)
    twice = blocks.put(once, ["y", *second], "routes", style)
    assert blocks.put(text, ["y", *second], "routes", style) == twice
    assert [block.lines for block in blocks.found(twice, style)] == [("y", *second)]


@given(TEXTS, LINES, LINES)
def test_two_blocks_do_not_disturb_each_other(text, first, second):
    both = blocks.put(blocks.put(text, ["x", *first], "routes"), ["y", *second], "domains")
    assert [block.about for block in blocks.found(both)] == ["routes", "domains"]
    assert blocks.put(both, [], "domains") == blocks.put(text, ["x", *first], "routes")
    assert blocks.without(both) == text


@given(TEXTS, TEXTS, LINES)
def test_other_lines_may_change_around_a_block(before, after, lines):
    text = blocks.put("".join([before, "\n" if before and before[-1] != "\n" else ""]), lines, "routes")
    assert blocks.without("new\n" + text + after) == "new\n" + blocks.without(text) + after


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# BEGIN campus.mailgate: routes\na\n", "no end"),
        ("a\n# END campus.mailgate\n", "line 2"),
        ("# BEGIN campus.mailgate: a\n# BEGIN campus.mailgate: b\n# END campus.mailgate\n", "line 2"),
    ],
)
def test_damaged_markers_are_an_error(text, told):
    for call in (blocks.without, blocks.found, lambda text: blocks.put(text, ["a"], "routes")):
        with pytest.raises(blocks.BlockError, match=told):
            call(text)
