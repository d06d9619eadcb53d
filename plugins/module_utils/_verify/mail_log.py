# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log of sendmail or Postfix says about messages, by their Message-ID."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .._keep.text import decode
from .._survey.reader import Reader

LOGS = ("/var/log/mail.log", "/var/log/maillog")
_MAIL_FACILITY = "SYSLOG_FACILITY=2"
# sendmail: `QID: from=..., msgid=<...>, relay=...`; Postfix: `QID: message-id=<...>`, `QID: client=...`.
_LINE = re.compile(r"(?:sendmail|sm-mta|sm-msp\S*|postfix\S*)\[\d+\]: (?P<queue>[0-9A-Za-z]{6,24}): (?P<rest>.*)")
_IDENT = re.compile(r"\b(?:msgid|message-id)=(<[^<>\s]+>)")
_FROM = re.compile(r"\b(?:client|relay)=(?P<client>\S+(?: \[[^\]\s]+\])?)")
_STATUS = re.compile(r"\b(?:stat|status)=(?P<status>.*)")
_DELAY = re.compile(r"\bdelay=(?P<delay>[\d:+.]+)")
_TO = re.compile(r"\bto=(?P<to><[^<>]*>|[^\s,]+)")
_DELIVERED = re.compile(r"sent\b", re.IGNORECASE)
_POLL_SECONDS = 1.0
_TEXT = 200
_BYTES = 4_000_000
_UNIX = re.compile(r"\d{9,11}\.\d+")
_LINE_TEXT = 500
_MAX_LINES = 500


def parse(lines: Iterable[str], idents: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what the lines say about each message that is in them.

    Returns:
        By Message-ID `queue` (its queue id), `client` (the host that it came from), and `delivered`, `status` and
        `delay` of the last attempt, as the log has them; empty without such a line.
    """
    queues: dict[str, dict[str, str]] = {}
    wanted = set(idents)
    for line in lines:
        match = _LINE.search(line)
        if not match:
            continue
        entry = queues.setdefault(match["queue"], {"ident": "", "client": "", "status": "", "delay": ""})
        rest = match["rest"]
        if found := _IDENT.search(rest):
            entry["ident"] = found[1]
        status = _STATUS.search(rest)
        if status and _TO.search(rest):
            delay = _DELAY.search(rest)
            entry |= {"status": status["status"].strip()[:_TEXT], "delay": delay["delay"] if delay else ""}
        elif client := _FROM.search(rest):
            entry["client"] = client["client"].rstrip(",")
    return {
        entry["ident"]: {
            "queue": queue,
            "client": entry["client"],
            "delivered": _DELIVERED.match(entry["status"]) is not None,
            "status": entry["status"],
            "delay": entry["delay"],
        }
        for queue, entry in queues.items()
        if entry["ident"] in wanted
    }


def entries(lines: Iterable[str], idents: Sequence[str], queues: Sequence[str]) -> list[dict[str, Any]]:
    """Return all lines about messages with one of these Message-IDs or queue ids.

    Returns:
        `time` (seconds since 1970, 0 if the line has no such time), `queue` and `text` of each line, in their order.
    """
    found = [(match, line) for line in lines if (match := _LINE.search(line))]
    wanted = set(queues)
    idents = [ident for ident in idents if ident]
    for match, _line in found:
        if (ident := _IDENT.search(match["rest"])) and ident[1] in idents:
            wanted.add(match["queue"])
    return [
        {"time": _time(line), "queue": match["queue"], "text": match["rest"][:_LINE_TEXT]}
        for match, line in found
        if match["queue"] in wanted
    ][:_MAX_LINES]


def _time(line: str) -> float:
    """Return the time at the beginning of a line of the journal, 0 without one."""
    match = _UNIX.match(line)
    return float(match[0]) if match else 0.0


def read(reader: Reader, idents: Sequence[str], queues: Sequence[str], since: float) -> list[dict[str, Any]]:
    """Return the lines of the log about these messages, as `entries`."""
    return entries(_lines(reader, since), idents, queues)


def find(reader: Reader, idents: Sequence[str], since: float) -> dict[str, dict[str, Any]]:
    """Read the log until all messages are delivered, or the reader's time has passed; return what it says.

    Args:
        reader: The host.
        idents: Message-IDs.
        since: When they were sent, in seconds since 1970 by the clock of this host.
    """
    while True:
        found = parse(_lines(reader, since), idents)
        done = all(found.get(ident, {}).get("delivered") for ident in idents)
        if done or reader.left < 2 * _POLL_SECONDS:
            return found
        time.sleep(_POLL_SECONDS)


def _lines(reader: Reader, since: float) -> list[str]:
    """Return the lines of the mail log: of the journal, or of the file that syslog writes if it has none."""
    status, out, _errors = reader.run(
        ["journalctl", "--quiet", "--no-pager", "--output=short-unix", f"--since=@{int(since)}", _MAIL_FACILITY]
    )
    lines = out.splitlines() if status == 0 else []
    if not lines:
        lines = [line for path in LOGS for line in _end(reader, path).splitlines()]
    return lines


def _end(reader: Reader, path: str) -> str:
    """Return the end of a file, "" if it cannot be read."""
    try:
        with reader.at(path).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _BYTES))
            return decode(stream.read(_BYTES))
    except OSError:
        return ""
