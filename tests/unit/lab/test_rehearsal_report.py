# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rehearsal: verdict, table, page and drawing; and what the machine must have."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from lab.inventory import Inventory
from lab.rehearsal import __main__ as command_line
from lab.rehearsal import account, needs, steps, timeline
from lab.rehearsal.account import Message, Phase
from lab.rehearsal.page import page
from lab.rehearsal.report import Report, duration, text
from lab.twin import Twin

PHASES = [Phase("before", 1000, 1020), Phase("routes", 1020, 1080, (0,)), Phase("mx", 1080, 1100, (2, 0))]
HOMES = {"a.example": ["one"]}


def made(*messages: Message, failure: str = "") -> Report:
    by_number = {message.number: message for message in messages}
    rows, total = account.rows(by_number, PHASES, HOMES)
    return Report(
        title="Rehearsal: <Example>", settings=(("Mail", "3 messages a second"), ("With", "")), rows=rows, total=total,
        reached=account.reached(by_number, HOMES), troubles=account.troubles(by_number, HOMES),
        remarks=[(1030.0, "gw1 switched off")], messages=by_number,
        phases=[(phase.name, phase.began, phase.ended) for phase in PHASES], failure=failure,
    )  # fmt: skip


def message(number: int, time: float, *copies: float, attempts=((account.ACCEPTED, ""),)) -> Message:
    return Message(
        number, account.INWARD, "outside", "a.example", time,
        [(time, result, said) for result, said in attempts], [(at, "one") for at in copies],
    )  # fmt: skip


GOOD = message(1, 1001, 1001.4)


def test_sound():
    report = made(GOOD, message(2, 1050, 1053))
    assert report.sound
    assert report.verdict == "0 lost, 0 refused for good, 0 doubled of 2 messages; 1 of 1 domains; 1 min 40 s"


@pytest.mark.parametrize(
    "bad",
    [message(2, 1050), message(2, 1050, 1051, 1052), message(2, 1050, attempts=[(account.REFUSED, "550")])],
    ids=["lost", "doubled", "refused"],
)
def test_not_sound(bad):
    assert not made(GOOD, bad).sound


def test_not_sound_when_steps_are_missing_or_a_domain_got_no_mail():
    assert not made(GOOD, failure="mx ended with exit status 2").sound
    assert made(GOOD, failure="mx ended with exit status 2").verdict.startswith("Not complete: 0 lost")
    assert not replace(made(GOOD), reached=(1, 2)).sound


def test_text_has_a_line_for_each_phase():
    lines = text(made(GOOD, message(2, 1085), failure="why")).splitlines()
    table = {line.split()[0]: line.split() for line in lines if line[:1].isalpha()}
    assert table["before"][1:] == ["1", "1", "0", "0", "0.4", "s", "0.4", "s", "0", "0", "0", "20", "s"]
    assert table["mx"][1:] == ["1", "0", "0", "0", "-", "-", "1", "0", "0", "20", "s"]
    assert "why" in lines
    assert any(line.startswith("  message 2 (inward, outside to a.example): lost") for line in lines)


def test_page_is_well_formed_and_loads_nothing():
    source = page(made(GOOD, message(2, 1085)))
    assert "Rehearsal: &lt;Example&gt;" in source
    assert not re.search(r"(?:src|href)=|url\(|@import", source)
    drawing = ET.fromstring(re.search(r"<svg.*?</svg>", source, re.DOTALL)[0])
    kinds = {each.get("class") for each in drawing.iter("{http://www.w3.org/2000/svg}rect")}
    assert {"good", "bad", "band"} <= kinds
    width = float(drawing.get("viewBox").split()[2])
    for box in drawing.iter("{http://www.w3.org/2000/svg}rect"):
        assert 0 <= float(box.get("x")) <= float(box.get("x")) + float(box.get("width")) <= width


def test_labels_of_short_phases_do_not_overlap():
    assert timeline.places([(0, "routes"), (10, "ttl"), (12, "mx"), (200, "block")]) == [0, 1, 2, 0]


def test_drawing_without_messages_and_phases():
    assert timeline.draw([], {}).rects == []
    assert timeline.draw([("before", 1.0, 1.0)], {}).height > 0


@pytest.mark.parametrize(("value", "shown"), [(0.2, "0 s"), (59.6, "1 min 00 s"), (1799, "29 min 59 s")])
def test_duration(value, shown):
    assert duration(value) == shown


def test_needs_grow_with_the_hosts():
    small, large = needs.needs(12, 2), needs.needs(152, 2)
    assert large.memory - small.memory == 140 * needs.HOST.memory
    assert large.processes - small.processes == 140 * needs.HOST.processes


def test_what_is_missing_is_stated():
    need, have = needs.Amount(8000, 900, 5000), needs.Amount(7999, 900, 100)
    assert needs.missing(need, have) == [
        "memory: needs 8000 MB, available 7999 MB",
        "processes: needs 5000, available 100",
    ]
    assert needs.missing(need, need) == []


def test_all_phases_are_rehearsed_in_the_order_of_the_rollout():
    assert [step.name for step in steps.forward()] == ["survey", "routes", "gateways", "ttl", "mx", "observe", "block"]
    back = [step.options[1] for step in steps.back()]
    assert back == ["to=observe", "to=mx", "to=gateways", "to=routes", "to=survey"]


def test_a_machine_that_is_too_small_is_refused_before_anything_boots(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lab.rehearsal", "--inventory", "inventories/demo", "--name", "too-small"])
    monkeypatch.setattr(command_line, "read", lambda *_arguments: Inventory(()))
    monkeypatch.setattr(needs, "available", lambda: needs.Amount(memory=100, disk=10**6, processes=10**6))
    monkeypatch.setattr(Twin, "up", lambda *_arguments, **_options: pytest.fail("the twin was booted"))
    assert command_line.main() == 2
    problem = capsys.readouterr().err
    assert "too small for a twin of 1 hosts, 0 of them gateways; nothing was started" in problem
    assert f"memory: needs {needs.needs(1, 0).memory} MB, available 100 MB" in problem
