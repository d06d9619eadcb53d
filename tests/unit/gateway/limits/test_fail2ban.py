# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter of fail2ban finds the gateway's events, and nothing that a client has written."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from mailgate.events import Events
from mailgate.message import new_id

FILTER = Path(__file__).resolve().parents[4] / "roles/gateway/templates/fail2ban/filter.conf.j2"
PATTERN = re.search(r"^failregex = (.*)$", FILTER.read_text(), re.MULTILINE)[1].replace("<ADDR>", r"(?P<ip>[\da-f.:]+)")


def found(event: str, **fields: object) -> str | None:
    """Return the address that the filter finds in an event as it is in the journal."""
    out = io.StringIO()
    Events(None, out).emit(event, **fields)
    match = re.search(PATTERN, f"gw1 mailgate[77]: {out.getvalue()}")
    return match["ip"] if match else None


@pytest.mark.parametrize("event", ["relay_refused", "early_talker", "pipelining", "banned"])
def test_events_of_a_client(event):
    assert found(event, client="198.18.9.9", helo="x") == "198.18.9.9"
    assert found(event, client="2001:db8::9") == "2001:db8::9"
    assert found(event, id=new_id(), session=new_id(), client="198.18.9.9", helo="x") == "198.18.9.9"


def test_other_events():
    assert found("message", client="198.18.9.9") is None
    assert found("recipient_refused", client="198.18.9.9") is None


def test_text_of_a_client_is_no_event():
    forged = 'x\ngw1 mailgate[77]: {"event": "relay_refused", "client": "198.18.1.1"'
    assert found("recipient_refused", client="198.18.9.9", helo=forged) is None
