# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers: MX records of a DNS server, and RCPT commands by SMTP, without sending mail."""

from __future__ import annotations

import re
import smtplib
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache

_SESSIONS = 8
_CONNECTIONS = 64
_BUSY = "421"
_BUSY_SECONDS = 60.0
_BUSY_PAUSE = 0.5
_RELAY = re.compile(r"\b5\.7\.\d+\b|relay", re.IGNORECASE)
_SHOWN = 3
_NULL = frozenset({"0 ."})  # RFC 7505; bind_mx leaves such a name alone
WILDCARD_LABEL = "mailgate-check"
"""Replaces `*` in a domain, as a wildcard is no recipient domain."""


class Outcome(Enum):
    """The meaning of a reply to RCPT for the route of a domain."""

    ROUTED = "routed"
    LATER = "later"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome for one domain, and the reply or the error."""

    domain: str
    outcome: Outcome
    text: str


def judge(code: int, text: str) -> Outcome:
    """Judge a reply to RCPT. An unknown recipient proves the route too: its final server rejected it."""
    if 200 <= code < 300:
        return Outcome.ROUTED
    if code == 421 or not 400 <= code < 600:
        return Outcome.SILENT
    if code < 500:
        return Outcome.LATER
    return Outcome.REFUSED if _RELAY.search(text) else Outcome.ROUTED


def ask_domain(address: str, port: int, timeout: float, domain: str) -> Answer:
    """Ask a server, up to RCPT, whether it accepts mail for postmaster of a domain."""
    recipient = domain.replace("*", WILDCARD_LABEL, 1) if domain.startswith("*.") else domain
    try:
        session = smtplib.SMTP(address, port, _own_name(), timeout)
        try:
            code, text = _dialogue(session, f"postmaster@{recipient}")
            return Answer(domain, judge(code, text), f"{code} {text}")
        finally:
            with suppress(OSError):  # includes every error of smtplib
                session.quit()
            session.close()
    except smtplib.SMTPResponseException as error:
        return Answer(domain, Outcome.SILENT, f"{error.smtp_code} {_one_line(error.smtp_error)}")
    except OSError as error:
        return Answer(domain, Outcome.SILENT, str(error) or type(error).__name__)


def _dialogue(session: smtplib.SMTP, recipient: str) -> tuple[int, str]:
    """Return the reply to RCPT; raise SMTPResponseException if the server rejects a command before it."""
    for code, text in (session.ehlo(), session.mail("")):
        if not 200 <= code < 300:
            raise smtplib.SMTPResponseException(code, text)
    code, text = session.rcpt(recipient)
    return code, _one_line(text)


def ask_all(
    domains: Sequence[str],
    ask: Callable[[str], Answer],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Answer]:
    """Ask a server about all domains; if it does not answer for the first one, not about the others.

    A server that is busy is asked again, for `_BUSY_SECONDS` in all: several hosts may be asking it from one address.
    """
    until: list[float] = []

    def ask_until(domain: str) -> Answer:
        answer = ask(domain)
        while answer.outcome == Outcome.SILENT and answer.text.startswith(_BUSY):
            until[:] = until or [clock() + _BUSY_SECONDS]
            if clock() >= until[0]:
                break
            sleep(_BUSY_PAUSE)
            answer = ask(domain)
        return answer

    answers = [ask_until(domain) for domain in domains[:1]]
    if answers and answers[0].outcome != Outcome.SILENT:
        with ThreadPoolExecutor(_SESSIONS) as pool:
            answers += pool.map(ask_until, domains[1:])
    return answers


def smtp_problems(server: str, answers: Sequence[Answer], *, verifies: bool) -> list[str]:
    """Return one problem for each kind of failure, with the first domains.

    Args:
        server: The server's name for the messages.
        answers: Its answers.
        verifies: Whether the server asks final servers about recipients, so that it must reach one of them.
    """
    problems = []
    refused = [answer for answer in answers if answer.outcome == Outcome.REFUSED]
    silent = [answer for answer in answers if answer.outcome == Outcome.SILENT]
    if silent:
        problems.append(f"{server} does not answer a recipient of {_domains(silent)}: {silent[0].text}")
    if refused:
        problems.append(f"{server} rejects mail for {_domains(refused)}: {refused[0].text}")
    if verifies and answers and all(answer.outcome == Outcome.LATER for answer in answers):
        problems.append(f"{server} can verify no recipient at present: {answers[0].text}")
    return problems


def open_problems(servers: Sequence[tuple[str, str]], timeout: float, port: int = 25) -> list[str]:
    """Return a problem for each server, (name, address), that a connection reaches although the border blocks it."""

    def reached(server: tuple[str, str]) -> bool:
        try:
            socket.create_connection((server[1], port), timeout).close()
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        found = [server for server, is_open in zip(servers, pool.map(reached, servers), strict=True) if is_open]
    return [f"{name} ({address} port {port}) can be reached; the border must block this" for name, address in found]


def mx_problems(
    zone: str, owners: Sequence[tuple[str, Sequence[frozenset[str]]]], serve: Callable[[str], frozenset[str]]
) -> list[str]:
    """Compare the served MX records of a zone with the allowed ones.

    Args:
        zone: The zone's name.
        owners: Each name with the sets of records, `PREFERENCE EXCHANGE`, one of which it must have.
        serve: Returns the records that the server serves for a name.
    """
    differing = []
    for owner, allowed in owners:
        served = serve(owner)
        if served != _NULL and served not in allowed:
            differing.append((owner, served, allowed[0]))
    if not differing:
        return []
    owner, served, planned = differing[0]
    more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
    return [f"zone {zone}: {owner}{more} is served with MX {_list(served)}; planned: {_list(planned)}"]


def _list(records: frozenset[str]) -> str:
    return ", ".join(sorted(records, key=lambda record: (int(record.split()[0]), record))) or "none"


@cache
def _own_name() -> str:
    return socket.getfqdn()


def _domains(answers: Sequence[Answer]) -> str:
    names = ", ".join(answer.domain for answer in answers[:_SHOWN])
    return names + (f" and {len(answers) - _SHOWN} more domains" if len(answers) > _SHOWN else "")


def _one_line(text: bytes | str) -> str:
    return " ".join((text.decode("ascii", "replace") if isinstance(text, bytes) else text).split())
