# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: well formed, self-contained, safe with hostile names; and its picture, which must agree with the plan."""

from __future__ import annotations

import re

import pytest
from page_reader import Page
from print_campus import PERMIT, big, hosts, plan_of, server

from ansible_collections.campus.mailgate.plugins.plugin_utils._report import difference as differences
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import html as html_page
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import picture as drawing
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import plan as report_plan
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.static import blocks
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations

EN = translations("en")
HOSTILE = "<script>alert(1)</script>\"'&{{ 7777 * 7 }}"


def page_of(plan, faculty=None, difference=None):
    catalog = translations(plan.campus["language"])
    return html_page.page(plan, blocks(plan), catalog, difference, faculty)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("faculty", [None, "science"])
def test_the_page_is_well_formed_and_needs_nothing_else(language, faculty):
    plan = plan_of(hosts(), mailgate_language=language)
    text = page_of(plan, faculty)
    page = Page(text)
    page.check_self_contained(text, language)
    assert page.all("title")
    assert {attributes.get("scope") for attributes in page.all("th")} == {"col", "row"}


def test_every_row_is_on_the_page():
    plan = plan_of(hosts())
    rows = [row for table in Page(page_of(plan)).tables for row in table]
    for route in plan.routes:
        assert [route.domain, *route.next_hops, route.home] in rows
    for mx in plan.mx:
        assert [mx.owner, ", ".join(f"{number} {name}" for number, name in mx.lines)] in rows
    assert ["gw2.univ.example", "198.18.0.26, 2001:db8:18::26", "10"] in rows
    assert [row[0] for row in rows].count("quake.univ.example") >= 3  # route, MX, permit
    assert ["all hosts up", "7 delivered", "1 delivered, 6 blocked", "7 blocked", "56 delivered"] in rows


def test_border_routers_are_named_where_a_server_is_not_open_on_all():
    facts = hosts() | {"b2.univ.example": {"ansible_host": "198.18.0.2", "mailgate_border": {"outside_interface": "o"}}}
    assert '<th scope="col">Border router</th>' not in page_of(plan_of(facts))
    result = plan_of(facts).data
    border = {
        name: own | ({"permits": []} if name == "b2.univ.example" else {}) for name, own in result["border"].items()
    }
    assert "border.univ.example</td>" in page_of(report_plan.read({**result, "border": border}))


def test_a_faculty_s_page_has_its_rows_only():
    first = {row[0] for table in Page(page_of(plan_of(hosts()), "science")).tables[1:3] for row in table}
    assert first == {"Domain", "Name", "bio.sci.univ.example", "sci.univ.example"}


def test_every_text_is_japanese():
    text = "".join(Page(page_of(plan_of(hosts(), mailgate_language="ja", mailgate_campus="例題大学"))).text)
    words = set(re.findall(r"(?<![\w.:-])[A-Za-z]{3,}(?![\w.:-])", text, re.A))
    assert words <= {"STATIC", "DNS", "engineering", "science", "research", "measurements", "netlab", "border", "quake"}


@pytest.mark.parametrize("faculty", [None, HOSTILE])
def test_hostile_names_stay_text(faculty):
    facts = hosts()
    facts["quake.univ.example"] |= {
        "mailgate_faculty": HOSTILE,
        "mailgate_permit": PERMIT | {"reason": HOSTILE, "owner": HOSTILE},
    }
    before = plan_of(hosts())
    plan = plan_of(facts, mailgate_campus=HOSTILE)
    text = page_of(plan, faculty, differences.compare(before, plan))
    page = Page(text)
    assert page.all("script") == []
    assert "<script" not in text
    assert "54439" not in text
    assert any(HOSTILE in cell for table in page.tables for row in table for cell in row)
    assert not any("alert" in name for _, attributes in page.elements for name in attributes)


def test_the_page_tells_the_difference():
    facts = hosts()
    facts["bio.sci.univ.example"]["ansible_host"] = "198.18.2.99"
    old, plan = plan_of(hosts()), plan_of(facts)
    rows = [row for table in Page(page_of(plan, None, differences.compare(old, plan))).tables for row in table]
    assert ["changed", "bio.sci.univ.example", "Next hop: 198.18.2.30", "Next hop: 198.18.2.99"] in rows
    assert "Nothing changed." in page_of(old, None, differences.compare(old, old))
    assert "Nothing changed." not in page_of(old)


def test_print_rules():
    text = page_of(plan_of(hosts()))
    for rule in ("size: A4", "section.sheet { break-before: page }", "thead { display: table-header-group }"):
        assert rule in text
    assert text.count('<section class="sheet"') == 3


def test_the_same_plan_gives_the_same_bytes():
    assert page_of(plan_of(hosts())) == page_of(plan_of(hosts()))


def contrast(one, other):
    """Return the contrast ratio of WCAG 2, section 1.4.3."""

    def luminance(color):
        digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_of_the_page_is_read_on_white():
    declared = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", page_of(plan_of(hosts()))))
    for name in ("ink", "mx", "blocked", "permit", "static"):
        assert contrast(declared[name], "#fff") >= 7, name
    assert contrast(declared["ink"], declared["shade"]) >= 7


def texts(picture):
    return [each.text for each in picture.texts]


def kinds(picture, kind):
    return [line for line in picture.lines if line.kind == kind]


def inside(point, rect):
    return rect.x <= point[0] <= rect.x + rect.width and rect.y <= point[1] <= rect.y + rect.height


def points(line):
    return [tuple(map(float, point.split(","))) for point in line.points.split()]


def test_the_picture_names_every_host():
    shown = texts(drawing.draw(plan_of(hosts()), EN))
    for text in ("gw1", "198.18.0.26  MX 10", "engineering (4)", "hub: mail.eng", "mech.eng", "bio.sci", "◆ quake"):
        assert text in shown, text
    assert "Border: border" in shown
    assert any(text.endswith("names are shown without .univ.example") for text in shown)


def test_mx_arrows_reach_every_server_in_direct_delivery_and_hubs_alone_in_tiered():
    def reached(delivery):
        picture = drawing.draw(plan_of(hosts(), mailgate_delivery=delivery), EN)
        boxes = [rect for rect in picture.rects if rect.kind in ("hub", "host")]
        ends = [points(line)[-1] for line in kinds(picture, drawing.MX) if line.head]
        found = set()
        for text in picture.texts:
            if any(inside((text.x, text.y), box) and any(inside(end, box) for end in ends) for box in boxes):
                found.add(text.text)
        return found

    assert reached("direct") == {"hub: mail.eng", "mech.eng", "civil.eng", "hub: mail.sci", "bio.sci", "◆ quake"}
    assert reached("tiered") == {"hub: mail.eng", "hub: mail.sci", "◆ quake"}


def test_what_is_blocked_ends_at_the_border():
    picture = drawing.draw(plan_of(hosts()), EN)
    wall = min(rect.y for rect in picture.rects if rect.kind == "wall")
    (blocked,) = [line for line in kinds(picture, drawing.BLOCKED) if max(y for _, y in points(line)) < 200]
    assert points(blocked)[-1][1] < wall
    assert not blocked.head
    assert len(kinds(picture, drawing.CROSS)) == 2
    assert "direct connection, blocked" in texts(picture)


def test_without_a_border_the_direct_connection_goes_through():
    facts = hosts()
    del facts["border.univ.example"]
    picture = drawing.draw(plan_of(facts), EN)
    wall = [rect for rect in picture.rects if rect.kind == "nowall"]
    assert wall
    assert not [rect for rect in picture.rects if rect.kind == "wall"]
    heads = [line for line in kinds(picture, drawing.BLOCKED) if line.head]
    assert max(y for line in heads[:1] for _, y in points(line)) > wall[0].y + 100
    assert not kinds(picture, drawing.CROSS)
    assert "direct connection, not blocked" in texts(picture)


@pytest.mark.parametrize(("method", "own"), [("gateway", False), ("split", False), ("fallback", True)])
def test_the_picture_shows_the_order_of_mx_records(method, own):
    shown = texts(drawing.draw(plan_of(hosts(), mailgate_method=method), EN))
    assert ("first by MX: the server itself" in shown, "follows MX" in shown) == (own, not own)


def test_without_a_permit_the_border_has_no_opening():
    facts = hosts()
    del facts["quake.univ.example"]["mailgate_permit"]
    picture = drawing.draw(plan_of(facts), EN)
    assert kinds(picture, drawing.PERMIT) == []
    assert "Open servers" not in texts(picture)


@pytest.mark.parametrize(
    ("campus", "faculty"), [(hosts, None), (hosts, "science"), (hosts, "research"), (big, None), (big, "faculty3")]
)
def test_everything_lies_in_the_picture_and_no_two_boxes_cross(campus, faculty):
    picture = drawing.draw(plan_of(campus()), EN, faculty)
    for rect in picture.rects:
        assert rect.x >= 0
        assert rect.x + rect.width <= drawing.WIDTH
        assert rect.y >= 0
        assert rect.y + rect.height <= picture.height
    for line in picture.lines:
        assert all(0 <= x <= drawing.WIDTH and 0 <= y <= picture.height for x, y in points(line))
    for number, one in enumerate(picture.rects):
        for other in picture.rects[number + 1 :]:
            apart = (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )
            nested = all(
                inside(corner, one) for corner in ((other.x, other.y), (other.x + other.width, other.y + other.height))
            )
            assert apart or nested


def test_a_big_campus_is_grouped_by_faculty_and_stays_on_a_sheet():
    picture = drawing.draw(plan_of(big()), EN)
    assert "servers: 7" in texts(picture)
    assert len([rect for rect in picture.rects if rect.kind == "faculty"]) == 18
    assert picture.height < drawing.WIDTH * 265 / 186  # what A4 leaves within its margins
    one = drawing.draw(plan_of(big()), EN, "faculty3")
    assert len([rect for rect in one.rects if rect.kind == "faculty"]) == 2
    assert any(text.startswith("s21.f3") for text in texts(one))
    assert "17 other faculties (158)" in texts(one)


def test_long_and_wide_names_are_cut_to_fit():
    facts = hosts() | {
        f"a-very-long-host-name-that-does-not-fit-{n}.x{n}.univ.example": server(
            f"情報理工学系研究科附属センター{n}", f"198.19.0.{n + 1}", f"x{n}.univ.example"
        )
        for n in range(8)
    }
    picture = drawing.draw(plan_of(facts), EN)
    cut = [text for text in picture.texts if text.full]
    assert cut
    assert all(text.text.endswith("…") and text.full.startswith(text.text[:-1]) for text in cut)


@pytest.mark.parametrize(
    ("text", "room", "short"), [("abc", 100, "abc"), ("abcdefgh", 36, "abcd…"), ("配送計画", 36, "配送…")]
)
def test_fit(text, room, short):
    assert drawing.fit(text, room) == short
