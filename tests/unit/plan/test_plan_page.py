# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The printed plan: complete, in columns, in the campus's language."""

from __future__ import annotations

import re

import pytest
from plan_campus import paper, plan_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._report import columns as text_columns


def page(**settings):
    groups = small()
    groups["all"][None] |= settings
    return plan_of(groups)["text"]


def section(text, title):
    """Return the lines below a title, up to the next blank line."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    rest = lines[start + 1 :]
    return rest[: rest.index("")] if "" in rest else rest


def test_the_delivery_list_names_every_domain_once_by_faculty():
    rows = [line.split() for line in section(page(), "Delivery list (7)")[2:]]
    assert rows == [
        ["civil.eng.univ.example", "198.18.1.31", "civil.eng.univ.example", "engineering"],
        ["eng.univ.example", "198.18.1.25", "mail.eng.univ.example", "engineering"],
        ["*.lab.mech.eng.univ.example", "198.18.1.30", "mech.eng.univ.example", "engineering"],
        ["mech.eng.univ.example", "198.18.1.30", "mech.eng.univ.example", "engineering"],
        ["quake.univ.example", "198.18.3.40", "quake.univ.example", "research"],
        ["bio.sci.univ.example", "198.18.2.30", "bio.sci.univ.example", "science"],
        ["sci.univ.example", "198.18.2.25", "mail.sci.univ.example", "science"],
    ]


def test_tiered_delivery_names_the_hub_on_the_way_and_the_address_that_is_asked():
    (row,) = [line for line in section(page(mailgate_delivery="tiered"), "Delivery list") if " bio.sci" in line]
    assert row.split() == [
        "bio.sci.univ.example",
        "198.18.2.25",
        "mail.sci.univ.example",
        "bio.sci.univ.example",
        "198.18.2.30",
        "science",
    ]


def test_every_part_is_there():
    text = page()
    assert text.startswith("Mail plan: Small University\n")
    assert "gw1.univ.example  198.18.0.25, 2001:db8:18::25  0" in text
    assert re.search(
        r"^  mech\.eng\.univ\.example +0 gw1\.univ\.example, 10 gw2\.univ\.example, 20 mech\.eng\.univ\.example$",
        text,
        re.M,
    )
    assert re.search(r"^  mail\.eng\.univ\.example +mail\.eng\.univ\.example +1 +6 +6$", text, re.M)
    assert re.search(r"quake\.univ\.example +198\.18\.3\.40, 2001:db8:18:3::40 +measurements +netlab +2099-03-31", text)
    assert "Proof: passed" in text
    assert re.search(r"border rule missing +7 delivered +7 EXPOSED +7 blocked +56 delivered", text)
    assert "Warnings" not in text


def test_no_permits_and_warnings_are_shown():
    groups = small()
    del groups["research"], groups["dns"]
    text = plan_of(groups)["text"]
    assert section(text, "Open to the outside (port 25)") == ["  none"]
    assert "MX records are not planned" in section(text, "Warnings")[0]


def test_japanese():
    text = page(mailgate_language="ja")
    assert text.startswith("メール配送計画: Small University")
    assert "配送先一覧 (7)" in text
    assert "検証: 合格" in text
    words = set(re.findall(r"(?<![\w.:-])[A-Za-z]{3,}(?![\w.:-])", text, re.A))
    assert words == {"Small", "University", "STATIC", "engineering", "science", "research", "measurements", "netlab"}


@pytest.mark.parametrize(
    ("text", "columns"),
    [("gw1", 3), ("配送", 4), ("ﾒｰﾙ", 3), ("か\u3099", 2), ("\uff21", 2), ("é", 1), ("e\u0301", 1), ("", 0)],
)
def test_width(text, columns):
    assert text_columns.width(text) == columns


def test_columns_line_up_with_wide_characters():
    lines = text_columns.table(["ドメイン", "n"], [["a.example", "1"], ["優先度", "22"]])
    assert lines == [
        "  ドメイン   n",
        "  ---------  --",
        "  a.example  1",
        "  優先度     22",
    ]


def test_no_column_of_a_whole_campus_in_japanese_is_out_of_line():
    groups = paper()
    groups["all"][None]["mailgate_language"] = "ja"
    lines = section(plan_of(groups)["text"], "配送先一覧 (168)")
    assert len(lines) == 2 + 168
    starts = {text_columns.width(line.rpartition("  ")[0]) for line in lines[:1] + lines[2:]}
    assert len(starts) == 1
