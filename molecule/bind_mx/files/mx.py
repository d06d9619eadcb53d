# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query MX records over UDP and print them as JSON: `mx.py SERVER NAME …`."""

from __future__ import annotations

import json
import sys

import dns.message
import dns.query


def ask(server: str, name: str) -> list[str]:
    """Return the records of the answer as text, sorted."""
    answer = dns.query.udp(dns.message.make_query(name, "MX"), server, timeout=5)
    return sorted(record.to_text() for rrset in answer.answer for record in rrset)


server, *names = sys.argv[1:]
print(json.dumps({name: ask(server, name) for name in names}))
