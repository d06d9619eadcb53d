# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values added to main.cf leave all other bytes as they are, and can be removed to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._keep.blocks import BlockError
from ansible_collections.campus.mailgate.plugins.module_utils._postfix import main_cf

# Pieces of real files: continuations, comments inside and between, duplicates, variables, CRLF, Latin-1, no line end.
PIECES = st.sampled_from(
    [
        "transport_maps = hash:/etc/postfix/transport\n",
        "transport_maps=\n",
        "transport_maps =\r\n",
        "relay_domains = $mydestination,\n",
        "relay_domains =\n    a.example\n# a comment inside\n    b.example\n",
        "mydestination = $myhostname, localhost.$mydomain\n\n\tlocalhost\n",
        "myhostname = mail.univ.example\r\n",
        "# transport_maps = hash:/old\n",
        "#\n",
        "\n",
        "   # indented comment\n",
        "    continued\n",
        "smtpd_banner = $myhostname f\udcfcr alle\n",
        "x\udce4 = y\n",
        "no_line_end = 1",
    ]
)
FILES = st.lists(PIECES, max_size=12).map("".join)
ADDITIONS = {"transport_maps": "texthash:ours", "relay_domains": "regexp:ours", "mydestination": ""}
DEFAULTS = {"transport_maps": "", "relay_domains": "${{$compatibility_level} <level {2} ? {$mydestination} : {}}"}


@given(FILES)
def test_removed_values_leave_no_trace(text):
    added = main_cf.add(text, ADDITIONS, DEFAULTS)
    assert added != text
    assert main_cf.without_ours(added) == text
    assert main_cf.add(added, ADDITIONS, DEFAULTS) == added


@given(FILES)
def test_each_parameter_has_its_value_and_ours(text):
    before = {each.name: each.text for each in main_cf.definitions(text)}
    after = {each.name: each.text for each in main_cf.definitions(main_cf.add(text, ADDITIONS, DEFAULTS))}
    for name, value in after.items():
        if ADDITIONS.get(name):
            old = before.get(name, f"{name} = {DEFAULTS[name]}".rstrip())
            assert value.split() == [*old.split(), ADDITIONS[name]]
        else:
            assert value == before[name]


def test_the_last_definition_is_continued():
    text = "transport_maps = a\nrelay_domains = b\ntransport_maps = c,\n # inside\n  d\n# end\n\nx = y\n"
    assert main_cf.add(text, {"transport_maps": "texthash:ours"}, {}) == (
        "transport_maps = a\nrelay_domains = b\ntransport_maps = c,\n # inside\n  d\n"
        "# BEGIN campus.mailgate: added to transport_maps\n    texthash:ours\n# END campus.mailgate\n"
        "# end\n\nx = y\n"
    )


def test_repeated_parameters_are_found():
    text = "relay_domains = a\nx = y\n# x = z\n    x = continued\nrelay_domains = a\n"
    assert main_cf.repeated(text) == {"relay_domains"}


def test_damaged_markers_are_reported():
    with pytest.raises(BlockError, match="no end"):
        main_cf.without_ours("# BEGIN campus.mailgate: added to transport_maps\n  x\n")
