# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account of a rehearsal: each message is delivered, refused, lost or doubled, in the phase it was sent in."""

from __future__ import annotations

import pytest

from lab.rehearsal import account
from lab.rehearsal.account import Phase, percentile, reached, read, rows, troubles

HOMES = {"a.example": ["one"], "b.example": ["two", "backup"]}
PHASES = [Phase("before", 0, 10), Phase("mx", 10, 30), Phase("end", 30, 40)]


def sent(number: int, time: float = 1, domain: str = "a.example", flow: str = account.INWARD) -> dict:
    return {"time": time, "number": number, "kind": "sent", "flow": flow, "sender": "outside", "domain": domain}


def tried(number: int, result: str = "accepted", time: float = 2, text: str = "") -> dict:
    return {"time": time, "number": number, "kind": "tried", "result": result, "text": text}


def arrived(number: int, where: str = "one", time: float = 3) -> dict:
    return {"time": time, "number": number, "kind": "arrived", "where": where}


def total(*events: dict) -> account.Row:
    return rows(read(events), PHASES, HOMES)[1]


def test_delivered():
    row = total(sent(1), tried(1), arrived(1, time=3.5))
    assert (row.sent, row.delivered, row.refused, row.put_off) == (1, 1, 0, 0)
    assert (row.lost, row.doubled, row.astray) == (0, 0, 0)
    assert row.late_p50 == row.late_p99 == 2.5
    assert row.sound


def test_arrival_may_be_read_before_the_reply():
    assert total(sent(1), arrived(1), tried(1)).sound


def test_accepted_and_in_no_mailbox_is_lost():
    row = total(sent(1), tried(1))
    assert (row.delivered, row.lost, row.late_p50, row.sound) == (0, 1, None, False)


def test_never_accepted_is_lost_too():
    assert total(sent(1), tried(1, "deferred"), tried(1, "deferred")).lost == 1


def test_put_off_is_counted_once():
    row = total(sent(1), tried(1, "deferred"), tried(1, "deferred"), tried(1), arrived(1))
    assert (row.put_off, row.sound) == (1, True)


def test_refused_is_not_lost():
    row = total(sent(1), tried(1, "refused", text="550 no"))
    assert (row.refused, row.lost, row.sound) == (1, 0, False)


def test_notice_of_a_server_is_a_refusal():
    row = total(sent(1), tried(1), {"time": 9, "number": 1, "kind": "bounced", "where": "one", "text": "550 no"})
    assert (row.refused, row.lost, row.sound) == (1, 0, False)


def test_doubled():
    row = total(sent(1), tried(1, "lost reply"), tried(1), arrived(1), arrived(1))
    assert (row.delivered, row.doubled, row.put_off, row.sound) == (1, 1, 1, False)


def test_mailbox_of_another_server():
    assert total(sent(1), tried(1), arrived(1, "two")).astray == 1
    assert total(sent(1, domain="b.example"), tried(1), arrived(1, "backup")).sound
    assert total(sent(1, domain="outside.example", flow=account.OUTWARD), tried(1), arrived(1, "outside")).sound
    assert total(sent(1, domain="outside.example", flow=account.OUTWARD), tried(1), arrived(1)).astray == 1


def test_phase_is_the_one_in_which_a_message_was_sent():
    table, _ = rows(read([sent(1, 9.9), sent(2, 10), sent(3, 29), sent(4, 35)]), PHASES, HOMES)
    assert [(row.name, row.sent, row.seconds) for row in table] == [("before", 1, 10), ("mx", 2, 20), ("end", 1, 10)]


def test_sent_between_two_phases_belongs_to_the_first():
    table, _ = rows(read([sent(1, 11)]), [Phase("a", 0, 10), Phase("b", 12, 20)], HOMES)
    assert [row.sent for row in table] == [1, 0]


def test_events_of_unknown_messages_are_ignored():
    assert read([arrived(7), tried(7)]) == {}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3], 0.99, 3), ([1, 2, 3, 4], 0.5, 2), (list(range(1, 101)), 0.99, 99), ([5, 1], 1.0, 5)],
)
def test_percentile(values, share, expected):
    assert percentile(values, share) == expected


def test_reached_domains():
    events = [sent(1), arrived(1), sent(2, domain="b.example"), arrived(2, "two"), sent(3, domain="b.example")]
    assert reached(read(events[:4]), HOMES) == (2, 2)
    assert reached(read(events), HOMES) == (1, 2)  # the third message has not arrived
    assert reached(read(events[:2]), HOMES) == (1, 2)  # no mail to b.example


def test_troubles_name_message_and_cause():
    events = [
        *(sent(number) for number in range(1, 6)),
        tried(1, "refused", text="550 no"),
        tried(2, "deferred", text="451 later"),
        tried(3, "lost reply"), arrived(3), arrived(3),
        tried(4), arrived(4, "two"),
        tried(5), arrived(5),
    ]  # fmt: skip
    lines = troubles(read(events), HOMES)
    assert [line.partition(": ")[2] for line in lines] == [
        "refused: 550 no",
        "lost; last attempt: deferred 451 later",
        "2 copies, the sender did not get the reply to the first copy",
        "in a mailbox of two",
    ]
    assert lines[0].startswith("message 1 (inward, outside to a.example)")
