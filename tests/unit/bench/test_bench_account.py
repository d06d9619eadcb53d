# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account of a run with kills: lost messages, duplicates and their causes, from the trace fields in mailboxes."""

from __future__ import annotations

import random

import pytest

from bench.campus import Copy, copies
from bench.chaos import MARKS, infected, random_message
from bench.kill_places import account_of_mailboxes, cause
from bench.sender import Senders, message

GATE, OTHER = ("gw1", "19ea1"), ("gw1", "19ea2")
QUEUE = ("gw1", "4AOC1")
HOME, AGAIN = ("mech", "4AOD1"), ("mech", "4AOD2")


def senders(messages: int = 4) -> Senders:
    made = Senders(messages, 1, [("127.0.0.1", 25)], lambda _: "u@mech.eng.univ.example")
    made.accepted = set(range(messages))
    return made


def copy_of(number: int, *trace: tuple[str, str], complete: bool = True) -> Copy:
    text = message(number).replace(b"\r\n", b"\n")
    return Copy(text if complete else text[:-3], trace)


def test_lost_queued_and_incomplete_messages_are_counted_separately():
    mail = [copy_of(0, GATE, HOME), copy_of(1, GATE, HOME, complete=False)]
    result = account_of_mailboxes(mail, [2], senders())
    assert (result["arrived"], result["in_queues"], result["lost_numbers"], result["cut_off_copies"]) == (
        1,
        1,
        [1, 3],
        1,
    )
    assert account_of_mailboxes(mail, [1, 2, 3], senders())["lost"] == 0


@pytest.mark.parametrize(
    ("traces", "doubtful", "deferred", "expected"),
    [
        (((GATE, HOME), (OTHER, AGAIN)), True, False, "a gateway's reply to the sender was lost"),
        (((GATE, QUEUE, HOME), (OTHER, AGAIN)), False, True, "the queue's reply to a gateway was lost"),
        (((GATE, HOME), (OTHER, AGAIN)), False, False, "unexplained"),
        (((GATE, HOME), (GATE, QUEUE, AGAIN)), False, False, "a server's reply to a gateway was lost"),
        (((GATE, QUEUE, HOME), (GATE, QUEUE, AGAIN)), False, False, "a server's reply to the queue was lost"),
        (((GATE, HOME), (GATE, HOME)), False, False, "a final server's own delivery was interrupted"),
        (((GATE, HOME), (GATE, AGAIN)), False, False, "unexplained"),
    ],
)
def test_duplicates_are_explained_by_the_hop_where_traces_differ(traces, doubtful, deferred, expected):
    sent = senders(1)
    sent.doubtful[0] += doubtful
    if deferred:
        sent.deferred.add(0)
    assert cause(*traces, sent, 0) == expected
    result = account_of_mailboxes([copy_of(0, *trace) for trace in traces], [], sent)
    assert result["doubled"] == 1 and result["unexplained_doubles"] == (expected == "unexplained")


def test_a_mailbox_is_read_with_its_trace():
    received = (
        b"Received: from gw1.univ.example (gw1.univ.example [198.18.0.25])\n"
        b"\tby mech.eng.univ.example (8.17.1.9/8.17.1.9) with ESMTP id 4AODWlS0001\n"
        b"\tfor <u1@mech.eng.univ.example>; Tue, 24 Nov 2026 13:32:09 GMT\n"
        b"Received: from sender.example ([198.19.255.10])\n\tby gw1.univ.example with ESMTP id 19ab34\n"
        b"\tfor <u1@mech.eng.univ.example>;\n\tTue, 24 Nov 2026 13:32:09 +0000\n"
    )
    text = message(7).replace(b"\r\n", b"\n")
    (one, two) = copies(b"From a@sender.example  Tue\n" + received + text + b"\nFrom a@sender.example  Tue\n" + text)
    assert (one.number, one.trace) == (7, (("gw1", "19ab34"), ("mech", "4AODWlS0001")))
    assert (two.number, two.trace) == (7, ())


def test_an_infection_that_passes_is_detected():
    rng = random.Random(1)
    kinds = set()
    for _ in range(60):
        kind, content = random_message(rng)
        kinds.add(kind)
        assert infected(content) == (kind != "clean")
    assert kinds == {"clean", "infected", "too deep"}
    assert all(len(mark) == 40 for mark in MARKS)
