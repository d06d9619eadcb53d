# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the guard checks and stops, what it reports, and what counts as a difference."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from netfilter_kernel import GUARD

from ansible_collections.campus.mailgate.plugins.module_utils._border import events, guard, state
from ansible_collections.campus.mailgate.plugins.module_utils._border.check import differences, entries
from ansible_collections.campus.mailgate.plugins.module_utils._border.guard import Guard, Next
from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model

TABLE = model.render(GUARD, "ipv4")
RULES = TABLE.text()
JUMP = f"-A FORWARD {TABLE.chains[0].jumps[0]}"
SAVED = "\n".join(
    ["*filter", ":FORWARD DROP [3:180]", ":MAILGATE - [0:0]", JUMP, "-A FORWARD -j ACCEPT", *TABLE.rules, "COMMIT", ""]
)


def settled(events: bool = True) -> Guard:
    """Return a guard that has just checked, at 1000 s, long after its start at 0 s."""
    found = Guard(0)
    found.checked(1000, 0.02, events)
    return found


def test_the_first_check_is_at_once_and_the_next_ones_soon() -> None:
    started = Guard(50)
    assert started.wait(50) == 0
    started.checked(50.1, 0.02, True)
    assert started.wait(50.1) == pytest.approx(guard.POLL_SETTLING)


@pytest.mark.parametrize(("events", "poll"), [(True, guard.POLL_EVENTS), (False, guard.POLL_LEGACY)])
def test_later_the_checks_are_less_frequent(events: bool, poll: float) -> None:
    assert settled(events).wait(1000) == poll


def test_checks_of_many_rules_take_one_percent_of_the_time() -> None:
    slow = Guard(0)
    slow.checked(1000, 0.5, True)
    assert slow.wait(1000) == 50
    booting = Guard(990)
    booting.checked(1000, 0.5, True)
    assert booting.wait(1000) == 5


def test_an_event_is_followed_by_a_check_and_many_by_few() -> None:
    watching = settled()
    watching.event(1005)
    assert watching.wait(1005) == pytest.approx(guard.DEBOUNCE)
    watching.event(1005.1)
    assert watching.wait(1005.1) == pytest.approx(guard.DEBOUNCE - 0.1)
    watching.checked(1005.2, 0.02, True)
    watching.event(1005.3)
    assert watching.wait(1005.3) == pytest.approx(guard.GAP - 0.1)


def test_repairs_without_end_are_a_conflict() -> None:
    watching = settled()
    found = [watching.repaired(1000 + number, in_place=True) for number in range(guard.REPAIRS)]
    assert found == [Next.WATCH] * (guard.REPAIRS - 1) + [Next.CONFLICT]


def test_repairs_now_and_then_are_not() -> None:
    watching = settled()
    step = guard.WINDOW / (guard.REPAIRS - 2)
    assert {watching.repaired(1000 + step * number, in_place=True) for number in range(500)} == {Next.WATCH}


def test_repairs_that_do_not_help_end_and_are_less_and_less_frequent() -> None:
    watching = settled()
    waits = []
    for number in range(1, guard.FAILURES):
        now = 1000.0 + 100 * number
        assert watching.repaired(now, in_place=False) is Next.WATCH
        waits.append(watching.wait(now))
    assert waits == sorted(set(waits))
    assert watching.repaired(1999, in_place=False) is Next.USELESS


def test_one_that_helps_resets_the_count() -> None:
    watching = settled()
    for number in range(3 * guard.FAILURES):
        now = 1000 + guard.WINDOW * number
        assert watching.repaired(now, in_place=number % guard.FAILURES == 0) is Next.WATCH


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, *attributes: bytes) -> bytes:
    body = bytes(4) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_the_sender_of_a_transaction_is_read() -> None:
    new_rule = message(10 << 8 | 6, attribute(1, b"filter\0"))
    generation = message(
        10 << 8 | 15,
        attribute(1, struct.pack(">I", 7)),
        attribute(2, struct.pack(">I", 4711)),
        attribute(3, b"iptables\0"),
    )
    assert events.senders(new_rule + generation) == [(4711, "iptables")]
    assert events.senders(message(10 << 8 | 15)) == [(0, "")]
    for length in range(len(generation)):
        events.senders(generation[:length])


def test_a_unit_is_found_in_a_control_group() -> None:
    assert events.unit_of("0::/system.slice/firewalld.service\n") == "firewalld.service"
    assert events.unit_of("0::/user.slice/user-0.slice/session-3.scope\n") == "session-3.scope"
    assert events.unit_of("0::/\n") == ""


def test_the_count_is_kept_and_read_again(tmp_path: Path) -> None:
    assert state.read(tmp_path) == state.Count()
    count = state.Count().repaired(1_900_000_000, ["iptables (process 7)", "iptables (process 8)"], ["gone"], 0.255)
    count = count.repaired(1_900_000_060, [], ["set x is gone"], 3)
    state.write(tmp_path, count)
    assert state.read(tmp_path) == count
    assert json.loads((tmp_path / state.JSON).read_text())["by"] == {"iptables": 1, "unknown": 1}
    assert "mailgate_border_guard_repairs_total 2\n" in (tmp_path / state.METRICS).read_text()
    assert "put the port-25 rules back 2 times" in count.text()
    (tmp_path / state.JSON).write_text("[")
    assert state.read(tmp_path) == state.Count()


def test_the_names_of_processes_are_bounded() -> None:
    count = state.Count()
    for number in range(99):
        count = count.repaired(number, [f"tool{number} (process {number})"], ["gone"], 1)
    assert len(count.by) == 21


def test_what_was_loaded_has_no_differences() -> None:
    assert differences(SAVED, RULES) == []
    assert differences(SAVED.replace("-A FORWARD -j ACCEPT", "-A FORWARD -i wan2 -j MAILGATE"), RULES) == []
    assert differences(SAVED.replace("limit 10/minute", "limit 10/min"), RULES) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (JUMP + "\n", "", "the jump from FORWARD to MAILGATE is gone"),
        (
            JUMP,
            f"-A FORWARD -j DOCKER-USER\n{JUMP}",
            "the jump to MAILGATE is rule 2 of FORWARD, after '-j DOCKER-USER'",
        ),
        (":MAILGATE - [0:0]\n", "", None),
        ("198.18.0.26/32", "198.18.0.27/32", "chain MAILGATE was changed"),
        ("COMMIT", "-A MAILGATE -j ACCEPT\nCOMMIT", "chain MAILGATE was changed"),
    ],
)
def test_a_difference_is_named(old: str, new: str, expected: str | None) -> None:
    assert differences(SAVED.replace(old, new), RULES) == ([expected] if expected else [])


def test_a_flushed_table_lacks_everything() -> None:
    gone = ["chain MAILGATE is gone", "the jump from FORWARD to MAILGATE is gone"]
    assert differences("", RULES) == gone
    empty = "*filter\n:FORWARD ACCEPT [0:0]\n:MAILGATE - [0:0]\nCOMMIT\n"
    assert differences(empty, RULES) == ["chain MAILGATE is empty", gone[1]]


def test_the_entries_of_a_set_are_read_from_the_file() -> None:
    table = model.Table("ipv4", (), {"mailgate-permits": {"198.18.1.40": "a b", "198.18.2.0/28": ""}})
    text = model.sets_text([table])
    assert entries(text, "mailgate-permits") == {"198.18.1.40": "a b", "198.18.2.0/28": ""}
    assert entries(text, "mailgate-bans") == {}


UNITS = Path(__file__).resolve().parents[3] / "roles" / "border_firewall" / "templates" / "systemd"


@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.iterdir()))
def test_no_unit_stops_or_blocks_that_of_another_firewall(unit: str) -> None:
    lines = (UNITS / unit).read_text().splitlines()
    settings = [line.partition("=")[::2] for line in lines if "=" in line and not line.startswith("#")]
    names = {name for name, _value in settings}
    assert not names & {
        "PartOf",
        "ReloadPropagatedFrom",
        "PropagatesReloadTo",
        "Requires",
        "Requisite",
        "BindsTo",
        "Upholds",
    }
    assert {value for name, value in settings if name == "Conflicts"} <= {"shutdown.target"}
