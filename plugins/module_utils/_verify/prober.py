# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask many mail servers at once what they answer, without sending mail: bounded, and polite to each server."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .._probe.answers import WILDCARD_LABEL
from .certificate import CertificateError, read
from .forms import STRANGER, USER, forms
from .session import Reply, Session, SessionError, SilentError

OPEN, REFUSED, SILENT, UNREACHABLE, NO_ROUTE = "open", "refused", "silent", "unreachable", "no_route"
"""What a connection to a port meets: it is made, reset, not answered, another error, or this host has no route."""

_DOMAINS_PER_SESSION = 50
_ERRORS_PER_SESSION = 8
"""Servers delay replies or close the session after more rejected commands; Postfix from the tenth on."""
_ATTEMPTS = 2
_CLOSING = 421
_NO_ROUTE_ERRNO = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(frozen=True)
class Server:
    """A server, and what to ask it.

    Attributes:
        host: Its name, which its certificate is compared with.
        address: Its address.
        port: Its port.
        domains: Domains that it should accept, asked with the recipient postmaster.
        unknown: Domains to ask with a user that does not exist.
        relay: A domain of its own, for the forms of relay attempts; "" not to try them.
        session: Whether to speak with it at all; else only the connection is tried.
    """

    host: str
    address: str
    port: int = 25
    domains: Sequence[str] = ()
    unknown: Sequence[str] = ()
    relay: str = ""
    session: bool = True


@dataclass(frozen=True)
class Limits:
    """The limits of a run: seconds, connections at once in all, and sessions at once with one server."""

    connect: float = 5.0
    reply: float = 60.0
    total: float = 300.0
    connections: int = 64
    sessions: int = 4


class _Question(NamedTuple):
    """Arguments of MAIL FROM and RCPT TO, and where the answer goes."""

    sender: str
    recipient: str
    answer: dict[str, Any]


@dataclass
class Prober:
    """A run from one vantage point."""

    limits: Limits = field(default_factory=Limits)
    stranger: str = STRANGER
    name: str = field(default_factory=socket.getfqdn)

    def run(self, servers: Sequence[Server]) -> list[dict[str, Any]]:
        """Return the answers of all servers, in their order."""
        return asyncio.run(self.ask_all(servers))

    async def ask_all(self, servers: Sequence[Server]) -> list[dict[str, Any]]:
        """Ask all servers at once; those that are not done in the time of the run have `unfinished`."""
        places = asyncio.Semaphore(self.limits.connections)
        answers = [_answer(server) for server in servers]
        tasks = [
            asyncio.create_task(_Asker(self, places, server, answer).ask())
            for server, answer in zip(servers, answers, strict=True)
        ]
        if tasks:
            _done, pending = await asyncio.wait(tasks, timeout=self.limits.total)
            for task in pending:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
        return answers


def _answer(server: Server) -> dict[str, Any]:
    """Return the answer of a server before it is asked."""
    return {
        "host": server.host,
        "address": server.address,
        "port": server.port,
        "state": SILENT,
        "source": "",
        "error": "",
        "seconds": 0.0,
        "greeting": "",
        "extensions": {},
        "tls": {},
        "size": {},
        "domains": [],
        "unknown": [],
        "relay": {},
        "unfinished": True,
    }


class _Asker:
    """The questions to one server."""

    def __init__(self, run: Prober, places: asyncio.Semaphore, server: Server, answer: dict[str, Any]) -> None:
        self._limits, self._name, self._stranger = run.limits, run.name, run.stranger
        self._places, self._server, self._answer = places, server, answer
        self._extensions: dict[str, str] = {}

    async def ask(self) -> None:
        """Ask everything; the answer is filled as it comes."""
        if await self._look():
            await self._domains()
            await self._unknown()
            await self._relay()
        self._answer["unfinished"] = False

    async def _look(self) -> bool:
        """Note what the port is, the greeting, extensions, certificate and size; return whether to go on."""
        answer = self._answer
        start = time.monotonic()
        try:
            async with self._connection() as session:
                answer["state"], answer["source"] = OPEN, session.source
                if not self._server.session:
                    session.close()
                    return False
                reply = await session.reply()
                answer["greeting"] = f"{reply.code} {reply.text}"
                answer["seconds"] = round(time.monotonic() - start, 3)
                if reply.code != 220:
                    answer["error"] = "the greeting rejects this client"
                    return False
                answer["extensions"] = self._extensions = await session.ehlo(self._name)
                await self._size(session)
                if "STARTTLS" in self._extensions:
                    answer["tls"] = await self._certificate(session)
                return True
        except SessionError as error:
            answer["error"] = str(error)
        except OSError as error:
            answer["state"], answer["error"] = _state(error)
        return False

    async def _size(self, session: Session) -> None:
        """Announce a message that is one byte larger than the server's limit."""
        declared = self._extensions.get("SIZE", "")
        if declared.isascii() and declared.isdigit() and int(declared):
            reply = await session.command(f"MAIL FROM:<> SIZE={int(declared) + 1}")
            self._answer["size"] = {"declared": int(declared), "code": reply.code, "text": reply.text}
            await session.command("RSET")

    async def _certificate(self, session: Session) -> dict[str, Any]:
        try:
            der, version = await session.starttls(self._server.host)
            found = read(der)
        except (SessionError, CertificateError) as error:
            return {"error": str(error)}
        return {
            "error": "",
            "version": version,
            "not_before": found.not_before,
            "not_after": found.not_after,
            "names": list(found.names),
            "issuer": found.issuer,
            "matches": found.matches(self._server.host),
        }

    async def _domains(self) -> None:
        """Ask for postmaster of each domain; if there is no answer for the first one, not for the others."""
        questions = []
        for domain in self._server.domains:
            entry = {"domain": domain, "code": 0, "text": ""}
            self._answer["domains"].append(entry)
            questions.append(_Question("<>", f"<postmaster@{asked(domain)}>", entry))
        await self._ask(questions[:1], 1)
        if questions and questions[0].answer["code"]:
            await self._ask(questions[1:], _DOMAINS_PER_SESSION)

    async def _unknown(self) -> None:
        """Ask for a user that nobody has, where postmaster was accepted."""
        questions = []
        failed = {each["domain"] for each in self._answer["domains"] if not 200 <= each["code"] < 300}
        user = f"{USER}-{time.time_ns():x}"
        for domain in (each for each in self._server.unknown if each not in failed):
            entry = {"domain": domain, "code": 0, "text": ""}
            self._answer["unknown"].append(entry)
            questions.append(_Question("<>", f"<{user}@{asked(domain)}>", entry))
        await self._ask(questions, _ERRORS_PER_SESSION)

    async def _relay(self) -> None:
        """Try all forms of relay attempts, one after the other; keep those that are accepted or not answered."""
        server = self._server
        if not server.relay:
            return
        tried = forms(asked(server.relay), server.host, server.address, self._stranger)
        entries = [
            {"name": each.name, "sender": each.sender, "recipient": each.recipient, "local": each.local}
            | {"code": 0, "text": ""}
            for each in tried
        ]
        pairs = zip(tried, entries, strict=True)
        await self._ask([_Question(form.sender, form.recipient, entry) for form, entry in pairs], _ERRORS_PER_SESSION)
        self._answer["relay"] = {
            "tried": len(entries),
            "accepted": [each for each in entries if str(each["code"]).startswith("2")],
            "unanswered": sum(not each["code"] for each in entries),
        }

    async def _ask(self, questions: Sequence[_Question], each: int) -> None:
        """Ask in several sessions, with up to `each` questions in one."""
        waiting = [list(questions[at : at + each]) for at in range(0, len(questions), each)]
        count = min(self._limits.sessions, len(waiting))

        async def work() -> None:
            while waiting:
                await self._ask_some(waiting.pop(0))

        await asyncio.gather(*(work() for _number in range(count)))

    async def _ask_some(self, questions: list[_Question]) -> None:
        """Ask in one session, and in further ones what is not answered when it ends; no question ends more than two."""
        ended = 0
        while questions:
            before, connected, silent, error = len(questions), False, False, ""
            try:
                async with self._connection() as session:
                    reply = await session.reply()
                    if reply.code != 220:
                        raise SessionError(f"{reply.code} {reply.text}")
                    await session.ehlo(self._name)
                    connected = True
                    sender = ""
                    while questions:
                        sender = await _ask_one(session, questions[0], sender)
                        del questions[0]
            except SessionError as problem:
                error = str(problem)
                silent = isinstance(problem, SilentError)
            except OSError as problem:
                error = _state(problem)[1]
            ended = ended + 1 if len(questions) == before else 1
            if questions and (silent or ended == _ATTEMPTS):
                given_up = questions[:1] if connected else questions[:]
                for question in given_up:
                    question.answer["text"] = error
                del questions[: len(given_up)]
                ended = 0

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Session]:
        """Connect when there is a place, and close in the end."""
        async with self._places:
            server, limits = self._server, self._limits
            session = await Session.connect(server.address, server.port, limits.connect, limits.reply)
            try:
                yield session
                await session.quit()
            finally:
                session.close()


async def _ask_one(session: Session, question: _Question, sender: str) -> str:
    """Ask one question in the transaction of `sender`, if that is its own; return the sender of the transaction now.

    A rejected recipient leaves the transaction as it was, so that the next one needs no other commands.

    Raises:
        SessionError: The session ends with the question.
    """
    if sender and sender != question.sender:
        await session.command("RSET")
    reply = None if sender == question.sender else await session.command(f"MAIL FROM:{question.sender}")
    if reply is None or reply.positive:
        sender = question.sender
        reply = await session.command(f"RCPT TO:{question.recipient}")
    else:
        sender = ""
    if reply.code == _CLOSING:
        raise SessionError(f"{reply.code} {reply.text}")
    _note(question.answer, reply)
    if reply.positive:
        await session.command("RSET")
        sender = ""
    return sender


def _note(answer: dict[str, Any], reply: Reply) -> None:
    answer["code"], answer["text"] = reply.code, reply.text


def asked(domain: str) -> str:
    """Return a recipient's domain for a domain of the plan, which may be a wildcard."""
    return domain.replace("*", WILDCARD_LABEL, 1) if domain.startswith("*.") else domain


def _state(error: OSError) -> tuple[str, str]:
    """Return what an error of a connection says about the port, and its text."""
    text = error.strerror or str(error) or type(error).__name__
    if isinstance(error, ConnectionRefusedError):
        return REFUSED, text
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return SILENT, "no answer in time"
    if error.errno in _NO_ROUTE_ERRNO:
        return NO_ROUTE, text
    return UNREACHABLE, text
