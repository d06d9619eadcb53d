# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of sendmail on the gateway: what `mailq` lists, and what the log says about queue ids.

Only root and the queue's owner may read it. Others ask `mailgate queue-data`, if its socket lets them.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

SECONDS = 30
# Where `mailgate queue-data` listens; systemd makes the socket, which the service's user may use.
QUEUE_SOCKET = "/run/mailgate-queue-data.sock"
MAX_ANSWER = 64 * 1024 * 1024
_HEAD = re.compile(
    r"^(?P<id>[0-9A-Za-z]{10,24})(?P<flag>[*X?-]?)\s+(?:(?P<size>\d+)\s+)?"
    r"(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2})\s*(?P<sender>\S.*)?$"
)
_REASON = re.compile(r"^\s+(?:8BITMIME|7BIT)?\s*\((?P<reason>[^)].*?)\)?$")
_RECIPIENT = re.compile(r"^\s+(?P<recipient><[^>]*>|\S+@\S+)$")
_LOG = re.compile(
    r"^(?P<time>\d+\.\d+) \S+ (?:sendmail|sm-mta|sm-msp\S*)\[\d+\]: (?P<id>[0-9A-Za-z]{10,24}): (?P<text>.*)$"
)
_REFUSED = "You are not permitted to see the queue"
_MAX_LINES = 200


class QueueUnreadableError(Exception):
    """The queue cannot be listed; the message says why."""


@dataclass
class QueuedMessage:
    """A message in the queue.

    Attributes:
        id: Queue id.
        active: sendmail is working on it.
        size: Size in bytes; None while it is written.
        since: When it was queued, in seconds since 1970, by the local clock.
        sender: Sender, empty for the null sender.
        reason: Why it waits, in the words of sendmail.
        recipients: For whom it waits.
    """

    id: str
    active: bool
    size: int | None
    since: float
    sender: str
    reason: str = ""
    recipients: list[str] = field(default_factory=list)

    @property
    def domains(self) -> list[str]:
        """Domains of the recipients."""
        return sorted({each.lower().rpartition("@")[2] for each in self.recipients})


def parse_mailq(text: str, now: float) -> list[QueuedMessage]:
    """Return the messages that `mailq` of sendmail lists; `now` gives the year, which it does not show."""
    found: list[QueuedMessage] = []
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            size = int(head["size"]) if head["size"] else None
            sender = (head["sender"] or "").strip().strip("<>")
            found.append(QueuedMessage(head["id"], head["flag"] == "*", size, _since(head["time"], now), sender))
        elif found and (recipient := _RECIPIENT.match(line)):
            found[-1].recipients.append(recipient["recipient"].strip("<>"))
        elif found and (reason := _REASON.match(line)):
            found[-1].reason = reason["reason"]
    return found


def _since(text: str, now: float) -> float:
    """Return the time of `Mon Nov 30 17:06` in the last year."""
    current = datetime.fromtimestamp(now)
    for year in (current.year, current.year - 1):
        try:
            moment = datetime.strptime(f"{text[4:]} {year}", "%b %d %H:%M %Y")
        except ValueError:
            continue
        if moment <= current + timedelta(days=1):
            return moment.timestamp()
    return now


def waiting(seconds: float = SECONDS) -> list[QueuedMessage]:
    """Return what is in the queue, by `mailgate queue-data` if this user may not read it; raise QueueUnreadableError.

    Args:
        seconds: How long to wait for it.
    """
    if os.geteuid() != 0 and os.access(QUEUE_SOCKET, os.W_OK):
        return ask(QUEUE_SOCKET, seconds)
    return listed(seconds)


def ask(path: str, seconds: float = SECONDS) -> list[QueuedMessage]:
    """Return what `mailgate queue-data` at a socket says is in the queue; raise QueueUnreadableError."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(path)
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline(MAX_ANSWER))
        if problem := answer.get("problem"):
            raise QueueUnreadableError(str(problem))
        return [QueuedMessage(**each) for each in answer["messages"]]
    except OSError as error:
        raise QueueUnreadableError(f"{path}: {error}; see mailgate-queue-data.service") from error
    except (ValueError, TypeError, KeyError, AttributeError):
        raise QueueUnreadableError(f"{path}: not an answer; see mailgate-queue-data.service") from None


def listed(seconds: float = SECONDS) -> list[QueuedMessage]:
    """Return what `mailq` lists; raise QueueUnreadableError."""
    output = _run(["mailq"], seconds)
    if _REFUSED in output:
        # Besides, it lists the queue of local programs, which anybody may see.
        raise QueueUnreadableError(f"mailq: {_REFUSED}; run as root")
    found = parse_mailq(output, time.time())
    if not found and "Total requests: " not in output and "is empty" not in output:
        raise QueueUnreadableError(f"mailq: {output.strip()[:200] or 'no output'}; run as root")
    return found


def retry(domain: str | None) -> str:
    """Have sendmail try the mail of a domain, or all of it, now; return its output.

    Raises:
        QueueUnreadableError: sendmail cannot be run, or failed.
    """
    return _run(["sendmail", f"-qR@{domain}" if domain else "-qf"], SECONDS * 20)


def _run(command: Sequence[str], seconds: float = SECONDS) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueueUnreadableError(f"{command[0]}: {error}") from error
    if done.returncode:
        text = (done.stderr or done.stdout).strip()[:200] or f"exit status {done.returncode}"
        raise QueueUnreadableError(f"{command[0]}: {text}; run as root")
    return done.stdout


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the queue's log: time in seconds since 1970, queue id, and text."""

    time: float
    id: str
    text: str


def parse_log(lines: Iterable[str], ids: Collection[str]) -> list[LogLine]:
    """Return the lines of sendmail about these queue ids."""
    found = []
    for line in lines:
        match = _LOG.match(line)
        if match and match["id"] in ids:
            found.append(LogLine(float(match["time"]), match["id"], match["text"]))
            if len(found) >= _MAX_LINES:
                break
    return found


def log_of(ids: Collection[str], since: float) -> list[LogLine]:
    """Return what the journal says about queue ids; nothing if it cannot be read."""
    if not ids:
        return []
    try:
        output = _run(
            ["journalctl", "--quiet", "--no-pager", "--output=short-unix", f"--since=@{int(since) - 60}",
             "SYSLOG_FACILITY=2"]
        )  # fmt: skip
    except QueueUnreadableError:
        return []
    return parse_log(output.splitlines(), ids)
