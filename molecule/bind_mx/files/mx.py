# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a DNS server for MX records over UDP: `mx.py SERVER NAME …` prints them as JSON."""

from __future__ import annotations

import json
import sys

import dns.message
import dns.query


def ask(server: str, name: str) -> list[str]:
    """Gives the answer's records as text, in order."""
    answer = dns.query.udp(dns.message.make_query(name, "MX"), server, timeout=5)
    return sorted(record.to_text() for rrset in answer.answer for record in rrset)


server, *names = sys.argv[1:]
print(json.dumps({name: ask(server, name) for name in names}))
