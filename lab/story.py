# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an admin sees on a gateway after the demo's scenario: the way of a mail, the month's table, the web page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from lab.campus import Campus
from lab.mail import Letter

# Of the demo's inventories.
POSTMASTER = "alice"
# On a gateway: prints the status, the language and the heading of the first page, and whether it lists the queue.
_READ = rf"""
import re, urllib.request
for language in ("en", "ja"):
    headers = {{"X-Remote-User": "{POSTMASTER}", "Cookie": "mailgate_language=" + language}}
    request = urllib.request.Request("http://127.0.0.1:8025/", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    heading = re.search("<h1>(.*?)</h1>", text, re.DOTALL)[1]
    print(answer.status, re.search('<html lang="(.*?)"', text)[1], heading, end="; ")
"""
_SHOWN = 24


def tell(campus: Campus, queued: Letter | None) -> Iterator[tuple[str, str, str, str, float]]:
    """Print what there is to see; yield it as steps of the scenario."""
    shows: list[tuple[str, str, str, Callable[[], str]]] = [
        ("10a", "mailgate trace of the mail of step 6b", "gw1, its queue, mech", lambda: _trace(campus, queued)),
        ("10b", "mailgate report of this month", "the month's table", lambda: _report(campus)),
        ("10c", "the first page in both languages", "200 en Now; 200 ja 現在の状態", lambda: _page(campus)),
    ]
    for number, what, expected, show in shows:
        started = time.monotonic()
        try:
            seen = show()
        except (RuntimeError, OSError, ValueError) as error:  # an error is a result that differs
            seen = f"{type(error).__name__}: {error}"
        yield number, what, expected, seen, time.monotonic() - started


def _run(campus: Campus, command: str) -> str:
    """Run a command on gw1, and print it with its output."""
    output = campus.sh("gw1", command)
    lines = output.rstrip().splitlines()
    print(f"\ngw1# {command}")
    print("\n".join(lines[:_SHOWN] + (["…"] if len(lines) > _SHOWN else [])), end="\n\n", flush=True)
    return output


def _trace(campus: Campus, queued: Letter | None) -> str:
    """Return the hosts that the trace of the mail names, in the words of the expectation."""
    if queued is None:
        return "no mail was queued"
    text = _run(campus, f"mailgate trace --language en '<{queued.message_id}>'")
    way = [name for name, word in (("gw1", "sent it from"), ("its queue", "The queue of the gateway accepted it"),
                                   ("mech", "stat=Sent")) if word in text]  # fmt: skip
    return ", ".join(way) or "nothing"


def _report(campus: Campus) -> str:
    month = time.strftime("%Y-%m")
    text = _run(campus, f"mailgate report --language en --month {month}")
    return "the month's table" if "Mails processed" in text and f"{month}-01" in text else text[:60]


def _page(campus: Campus) -> str:
    return campus.sh("gw1", "python3 -", _READ.encode()).strip("; \n")
