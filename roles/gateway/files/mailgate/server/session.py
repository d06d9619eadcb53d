# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SMTP session: the commands of RFC 5321, with strict address parsing and bulk reads of DATA.

`session` and `envelope` are aiosmtpd's state; our Transaction is kept beside them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from mailgate.admission import Visit
from mailgate.delivery.transaction import SEPARATE_TRANSACTION, Transaction
from mailgate.delivery.unknown_recipients import DEFERRED, DOMAIN_DEFERRED, SESSION_LIMIT, SessionRecipients
from mailgate.gateway import Budget, Gateway, Result
from mailgate.message import Client, Message, new_id
from mailgate.routes import Route
from mailgate.server.protocol import END_OF_DATA, ClosingError, Protocol, Work
from mailgate.server.rcpt_policy import Decision, decide
from mailgate.server.separation import must_separate
from mailgate.smtp import dsn
from mailgate.smtp.address import AddressError, Mailbox, Path, helo_name, parse_recipient, parse_sender
from mailgate.smtp.data import DataDecoder
from mailgate.smtp.envelope import Envelope
from mailgate.smtp.reply import Reply

if TYPE_CHECKING:
    from mailgate.rules.screening import Screening

_TOO_MANY = Reply.of(452, "4.5.3 Too many recipients")
_OK = Reply.of(250, "2.0.0 OK")
_SENDER_ACCEPTED = Reply.of(250, "2.1.0 Sender accepted")
_GO_AHEAD = Reply.of(354, "End data with <CR><LF>.<CR><LF>")
_BYE = Reply.of(221, "2.0.0 Bye")
_INSUFFICIENT_STORAGE = Reply.of(452, "4.3.1 Insufficient system storage; try again later")
_MESSAGE_TOO_BIG = Reply.of(552, "5.3.4 Message size exceeds fixed limit")


@lru_cache(maxsize=8)
def _hello(hostname: str) -> Reply:
    """Return the reply to HELO."""
    return Reply.of(250, hostname)


@lru_cache(maxsize=8)
def _extensions(hostname: str, max_size: int, *, tls: bool) -> Reply:
    """Return the reply to EHLO."""
    lines = [hostname, "PIPELINING", f"SIZE {max_size}", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]
    return Reply(250, (*lines, "STARTTLS") if tls else tuple(lines))


class Session(Protocol):
    """One client connection and its current transaction."""

    def __init__(self, gateway: Gateway, *, checked: bool = False) -> None:
        self._transaction: Transaction | None = None
        # The client of the transaction, once it was needed.
        self._named_client: Client | None = None
        self._named = SessionRecipients(gateway.unknown_recipients)
        # None before HELO, and if no rule applies to the client.
        self._screening: Screening | None = None
        super().__init__(gateway, checked=checked)

    def _set_rset_state(self) -> None:
        """End the transaction, if there is one, by RSET, HELO, EHLO, STARTTLS or the end of the connection."""
        if self.envelope.mail_from is not None:
            self._set_post_data_state()

    def _set_post_data_state(self) -> None:
        """End the transaction."""
        if self._transaction:
            self._emit_abandoned(self._transaction)
            self._transaction.close()
            self._transaction = None
        super()._set_post_data_state()
        self._named_client = None
        if self._visit:
            self._gateway.admission.end_transaction(self._visit)

    def _emit_abandoned(self, transaction: Transaction) -> None:
        """Log a transaction that ends without a message although recipients were accepted."""
        if transaction.recipients:
            client = self._client()
            command = "" if self._verb == "DATA" else self._verb
            self._gateway.events.emit(
                "abandoned",
                id=transaction.id,
                session=self.id,
                client=client.address,
                helo=client.helo,
                sender=transaction.sender,
                recipients=transaction.recipients,
                reason=self._last_reply or command or "connection ended",
            )

    def command_HELO(self, hostname: str | None) -> None:
        """Store the client's name."""
        self._hello(hostname, extended=False)

    def command_EHLO(self, hostname: str | None) -> None:
        """Store the client's name and list the extensions."""
        self._hello(hostname, extended=True)

    def _hello(self, hostname: str | None, *, extended: bool) -> None:
        if not hostname:
            self._error(Reply.of(501, f"5.5.4 Syntax: {'EHLO' if extended else 'HELO'} hostname"))
            return
        self._count_idle_command()
        self._note_pipelining()
        self._set_rset_state()
        self.session.host_name = helo_name(hostname)
        self.session.extended_smtp = extended
        rules = self._gateway.rules
        self._screening = rules.screen(self._client_address, self.session.host_name, self.traits) if rules else None
        if extended:
            tls = self.tls_context is not None and not self.session.ssl
            self._reply(_extensions(self.hostname, self.data_size_limit, tls=tls))
        else:
            self._reply(_hello(self.hostname))

    def command_STARTTLS(self, arg: str | None) -> Work | None:
        """Start TLS and reset the session (RFC 3207)."""
        if self.tls_context is None:
            self._error(Reply.of(502, "5.5.1 STARTTLS not supported"))
        elif self.session.ssl:
            self._error(Reply.of(503, "5.5.1 TLS already active"))
        elif arg:
            self._error(Reply.of(501, "5.5.4 Syntax: STARTTLS"))
        else:
            return partial(self._start_tls, self.tls_context)
        return None

    def command_MAIL(self, arg: str | None) -> None:
        """Begin a transaction."""
        if not self.session.host_name:
            self._error(Reply.of(503, "5.5.1 Send HELO/EHLO first"))
            return
        if self.in_transaction:
            self._error(Reply.of(503, "5.5.1 Nested MAIL command"))
            return
        if not self.session.extended_smtp:
            self._note_pipelining()
        path = parse_sender(arg)
        refusal = self._check_mail_parameters(path) if path.parameters else None
        if refusal:
            self._error(refusal)
            return
        size = _declared_size(path)
        if size > self.data_size_limit:
            self._reply(_MESSAGE_TOO_BIG)
            return
        if size and self._gateway.budget.used + size > self._gateway.config.limits.max_bytes_in_flight:
            self._reply(_INSUFFICIENT_STORAGE)
            return
        self.envelope.mail_from = str(path.mailbox)
        self.envelope.smtp_utf8 = "SMTPUTF8" in path.parameters
        self._transaction = Transaction(
            self._gateway.delivery,
            Envelope(
                path.mailbox,
                size=size,
                eight_bit=path.parameters.get("BODY") == "8BITMIME",
                utf8=self.envelope.smtp_utf8,
                dsn=dsn.select(path.parameters, dsn.MAIL_PARAMETERS),
                id=new_id(),
            ),
        )
        if self._screening:
            self._screening.begin(path.mailbox, self._transaction.id)
        self._reply(_SENDER_ACCEPTED)

    @staticmethod
    def _check_mail_parameters(path: Path) -> Reply | None:
        for name, value in path.parameters.items():
            if name == "SIZE":
                if value is None or value.startswith("-"):
                    return Reply.of(501, "5.5.4 Bad message size syntax")
            elif name == "BODY":
                if (value or "").upper() not in ("7BIT", "8BITMIME"):
                    return Reply.of(501, "5.5.4 Unknown BODY value")
                path.parameters[name] = (value or "").upper()
            elif name == "SMTPUTF8":
                if value is not None:
                    return Reply.of(501, "5.5.4 SMTPUTF8 does not accept a value")
            elif name == "AUTH":
                # RFC 4954 section 5: parsed, and ignored from a client that is not trusted.
                if not value:
                    return Reply.of(501, "5.5.4 Bad AUTH parameter syntax")
            elif name not in dsn.MAIL_PARAMETERS:
                return Reply.of(555, f"5.5.4 Unsupported option: {name}")
        return dsn.check(path.parameters)

    def command_RCPT(self, arg: str | None) -> Work | None:
        """Check a recipient, in order: syntax, relaying, number of recipients; then rules, rates and verification."""
        transaction = self._transaction
        if transaction is None:
            refusal = Reply.of(503, "5.5.1 Need MAIL command")
            self._emit_refusal(refusal)
            self._error(refusal)
            return None
        client = self._client()
        try:
            path = parse_recipient(arg, utf8=self.envelope.smtp_utf8)
        except AddressError as error:
            self._gateway.refused_recipient(client, transaction.sender, arg, error.reply, relay=error.relay)
            raise
        refused = self._check_rcpt_parameters(path) if path.parameters else None
        if refused:
            self._gateway.refused_recipient(client, transaction.sender, path.mailbox, refused, relay=False)
            self._error(refused)
            return None
        decision = decide(
            path.mailbox, client.address, self._gateway.config, self._gateway.routes, self._gateway.removed_routes
        )
        if decision.refusal:
            self._gateway.refused_recipient(
                client, transaction.sender, path.mailbox, decision.refusal, relay=decision.relay
            )
            # A deferred recipient is no error of the client.
            (self._error if decision.relay else self._reply)(decision.refusal)
            return None
        if len(self.envelope.rcpt_tos) >= self._gateway.config.limits.max_recipients:
            self._gateway.refused_recipient(client, transaction.sender, path.mailbox, _TOO_MANY, relay=False)
            self._reply(_TOO_MANY)
            return None
        if self._screening or self._gateway.client_limits.counts_recipients:
            return partial(self._screen_recipient, client, transaction, path, decision)
        return self._admit_recipient(client, transaction, path, decision)

    async def _screen_recipient(self, client: Client, transaction: Transaction, path: Path, decision: Decision) -> None:
        """Check a recipient by rules and rates; then `_admit_recipient`."""
        if (
            await self._refused_by_rules(client, transaction, path.mailbox)
            or await self._is_separate(client, transaction, decision.recipient)
            or await self._exceeds_rates(client, transaction, decision.recipient)
        ):
            return
        work = self._admit_recipient(client, transaction, path, decision)
        if work:
            await work()

    def _admit_recipient(self, client: Client, transaction: Transaction, path: Path, decision: Decision) -> Work | None:
        """Count the transaction, and defer a guess, which is not verified; then `_add_recipient`."""
        deferral = self._visit and self._gateway.admission.begin_transaction(self._visit)
        if deferral:
            self._gateway.refused_recipient(client, transaction.sender, path.mailbox, deferral, relay=False)
            self._reply(deferral)
            return None
        guess = self._defer_guess(decision.recipient) if decision.route else None
        if guess:
            self._answer_recipient(client, transaction, decision.recipient, self._counted(decision.recipient, guess))
            return None
        return partial(self._add_recipient, client, transaction, path, decision)

    async def _add_recipient(self, client: Client, transaction: Transaction, path: Path, decision: Decision) -> None:
        """Verify a recipient."""
        notify = dsn.select(path.parameters, dsn.RCPT_PARAMETERS)
        if decision.route:
            reply = await self._verify(transaction, decision.recipient, decision.route, notify)
        else:
            reply = await transaction.add_to_queue(decision.recipient, notify)
        self._answer_recipient(client, transaction, decision.recipient, reply)

    def _answer_recipient(self, client: Client, transaction: Transaction, recipient: Mailbox, reply: Reply) -> None:
        """Send the reply to a recipient, and record a refusal."""
        if reply.ok:
            self.envelope.rcpt_tos.append(str(recipient))
        elif not self._gateway.unknown_recipients.summarize(client.address, recipient.domain):
            self._gateway.refused_recipient(client, transaction.sender, recipient, reply, relay=False)
        if reply is SESSION_LIMIT:
            raise ClosingError(reply)
        self._reply(reply)

    async def _refused_by_rules(self, client: Client, transaction: Transaction, recipient: Mailbox) -> bool:
        """Refuse a recipient if the rules do; return whether they do."""
        screening = self._screening
        if screening is None:
            return False
        number = len(self.envelope.rcpt_tos) + 1
        verdict = await screening.check(recipient, number, utf8=self.envelope.smtp_utf8)
        if not verdict or not verdict.reply:
            return False
        self._gateway.refused_recipient(
            client,
            transaction.sender,
            recipient,
            verdict.reply,
            relay=False,
            rule=verdict.first,
            score=verdict.score,
        )
        self._reply(verdict.reply)
        return True

    async def _is_separate(self, client: Client, transaction: Transaction, recipient: Mailbox) -> bool:
        """Defer a recipient whose domain has chosen otherwise than that of the first; return whether it has."""
        config, screening = self._gateway.config, self._screening
        if not (config.refusal.separate_choices and screening and transaction.recipients):
            return False
        if not must_separate(config, screening, transaction.recipients[0], recipient):
            return False
        self._gateway.refused_recipient(client, transaction.sender, recipient, SEPARATE_TRANSACTION, relay=False)
        self._reply(SEPARATE_TRANSACTION)
        return True

    async def _exceeds_rates(self, client: Client, transaction: Transaction, recipient: Mailbox) -> bool:
        """Defer a recipient if a rate is exceeded; return whether one is."""
        limits = self._gateway.client_limits
        if not limits.counts_recipients:
            return False
        reply = await limits.refuse_recipient(client.address, transaction.sender, recipient)
        if reply is None:
            return False
        self._gateway.refused_recipient(client, transaction.sender, recipient, reply, relay=False)
        self._reply(reply)
        return True

    async def _verify(self, transaction: Transaction, recipient: Mailbox, route: Route, notify: str) -> Reply:
        """Verify a recipient; return the reply."""
        metrics = self._gateway.events.metrics
        began = self.loop.time() if metrics else 0.0
        reply = await transaction.add(recipient, route, notify)
        if metrics:
            metrics.observe("verify", self.loop.time() - began)
        return self._counted(recipient, reply)

    def _counted(self, recipient: Mailbox, reply: Reply) -> Reply:
        """Count the reply to a recipient; return it, or the one that ends a session that has guessed too much."""
        exceeds = self._named.add(self._client_address, recipient, reply, stranger=self._stranger)
        return SESSION_LIMIT if exceeds else reply

    @property
    def _stranger(self) -> bool:
        """Whether the client's network has no history."""
        return self._visit is not None and not self._gateway.admission.knows(self._visit)

    def _defer_guess(self, recipient: Mailbox) -> Reply | None:
        """Return the reply that defers a recipient that was never seen while addresses are guessed, or None."""
        gateway = self._gateway
        if gateway.verification_cache.find(recipient):
            return None
        if gateway.unknown_recipients.client_exceeds(self._client_address):
            return DEFERRED
        if not self._stranger or gateway.client_limits.is_exempt(self._client_address):
            return None
        return DOMAIN_DEFERRED if gateway.unknown_recipients.domain_defers(recipient.domain) else None

    @staticmethod
    def _check_rcpt_parameters(path: Path) -> Reply | None:
        for name in path.parameters:
            if name not in dsn.RCPT_PARAMETERS:
                return Reply.of(555, f"5.5.4 Unsupported option: {name}")
        return dsn.check(path.parameters)

    def command_DATA(self, arg: str | None) -> Work | None:
        """Ask for the message; then `_handle_message`."""
        transaction = self._transaction
        if arg:
            self._error(Reply.of(501, "5.5.4 Syntax: DATA"))
            return None
        if transaction is None or not transaction.recipients:
            self._error(Reply.of(503, "5.5.1 No valid recipients"))
            return None
        self._note_pipelining()
        self._reply(_GO_AHEAD)
        return partial(self._handle_message, transaction)

    async def _handle_message(self, transaction: Transaction) -> None:
        """Receive the message, deliver it, and send the reply."""
        reservation = _Reservation(self._gateway.budget)
        try:
            content = await self._receive(reservation)
            if isinstance(content, Reply):
                self._gateway.refused_message(self._client(), transaction, content)
                self._transaction = None
                transaction.close()
                result = Result(content)
            else:
                number = transaction.id or self.id
                message = Message(number, self._client(), transaction.sender, transaction.recipients, content)
                check = None
                if screening := self._screening:
                    message = replace(message, tags=screening.tags, noted=screening.noted)
                    if screening.needs_message:
                        # Imported here because only this needs libraries of mail authentication.
                        from mailgate.rules.message_check import MessageCheck  # noqa: PLC0415

                        check = MessageCheck(screening, utf8=transaction.envelope.utf8)
                spam = self._gateway.spam_check(message.client, self._screening)
                # The task closes the transaction, also if the client disconnects.
                self._transaction = None
                answer: asyncio.Future[Result] = self.loop.create_future()
                task = self._gateway.run(self._gateway.process(message, transaction, check, spam, answer))
                task.add_done_callback(partial(_end_message, reservation, answer))
                reservation = _Reservation(self._gateway.budget)
                del content, message
                try:
                    result = await answer
                except asyncio.CancelledError:
                    task.add_done_callback(self._gateway.unanswered)
                    if task.cancelled():
                        # The message was given up, and not this session.
                        raise ConnectionAbortedError from None
                    raise
        finally:
            reservation.release()
            self._set_post_data_state()
        if result.reply.ok:
            self._idle_commands = 0
            if self._visit:
                self._gateway.admission.accept_message(self._visit)
            await self._accept_message(result.reply, result.acknowledged)
        else:
            self._verb = END_OF_DATA
            self._reply(result.reply)

    async def _receive(self, reservation: _Reservation) -> bytes | Reply:
        """Return the message, or the reply that refuses it."""
        timeouts = self._gateway.config.timeouts
        receiver = _DataReceiver(reservation, self.data_size_limit, self._visit)
        if self._visit:
            self._gateway.admission.receive(self._visit)
        try:
            await self.stream(receiver.feed, idle=timeouts.data_idle, total=timeouts.data_total)
        except TimeoutError:
            raise ClosingError(Reply.of(421, "4.4.2 Timeout exceeded while receiving the message")) from None
        finally:
            self._set_waiting(waiting=False)
        return receiver.result()

    def command_RSET(self, arg: str | None) -> None:
        """Abandon the transaction."""
        if arg:
            self._error(Reply.of(501, "5.5.4 Syntax: RSET"))
            return
        self._count_idle_command()
        self._set_rset_state()
        self._reply(_OK)

    def command_NOOP(self, arg: str | None) -> None:
        """Do nothing."""
        self._count_idle_command()
        self._reply(_OK)

    def command_QUIT(self, arg: str | None) -> None:
        """Close the session."""
        raise ClosingError(_BYE)

    def command_VRFY(self, arg: str | None) -> None:
        """Disclose nothing about addresses."""
        self._count_idle_command()
        self._reply(Reply.of(252, "2.5.2 Cannot VRFY user, but will accept message"))

    def command_EXPN(self, arg: str | None) -> None:
        """Disclose nothing about mailing lists."""
        self._error(Reply.of(502, "5.5.1 EXPN not supported"))

    def command_HELP(self, arg: str | None) -> None:
        """List the commands."""
        self._count_idle_command()
        self._reply(Reply.of(214, "2.0.0 " + " ".join(self.commands)))

    def _client(self) -> Client:
        """Return the client of the open transaction."""
        if self._named_client is None:
            self._named_client = self._describe_client()
        return self._named_client

    def _describe_client(self) -> Client:
        protocol = "ESMTP" if self.session.extended_smtp else "SMTP"
        # RFC 3848 and RFC 6531 section 4.3.
        if self.envelope.smtp_utf8:
            protocol = "UTF8SMTP"
        if self.session.ssl:
            protocol += "S"
        transaction = self._transaction.id if self._transaction else None
        return Client(self._client_address, self.session.host_name or "", protocol, self.id, transaction)


def _declared_size(path: Path) -> int:
    """Return the value of SIZE, 0 if there is none or none that can be read."""
    value = path.parameters.get("SIZE") or ""
    return int(value) if value.isascii() and value.isdigit() else 0


class _Reservation:
    """Bytes of the budget that are reserved for one message."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def grow(self, size: int) -> bool:
        reserved = self._budget.reserve(size)
        if reserved:
            self._size += size
        return reserved

    def release(self) -> None:
        self._budget.release(self._size)
        self._size = 0


def _end_message(reservation: _Reservation, answer: asyncio.Future[Result], task: asyncio.Task[Result]) -> None:
    """Release the memory of a message; pass on why its task has no answer."""
    reservation.release()
    if answer.done():
        return
    if task.cancelled():
        answer.cancel()
    elif error := task.exception():
        answer.set_exception(error)


class _DataReceiver:
    """A message being received; data that exceeds a limit is discarded."""

    def __init__(self, reservation: _Reservation, limit: int, visit: Visit | None) -> None:
        self._visit = visit
        self._reservation = reservation
        self._decoder = DataDecoder(limit)
        self._over_budget = False

    def feed(self, chunk: bytes) -> bytes | None:
        """Consume a chunk; return the bytes after the end of data, or None before it."""
        decoder = self._decoder
        if self._visit and self._visit.received is not None:
            self._visit.received += len(chunk)
        if not self._over_budget and not decoder.too_big and not self._reservation.grow(len(chunk)):
            self._over_budget = True
            decoder.discard()
        rest = decoder.feed(chunk)
        if self._over_budget or decoder.too_big:
            self._reservation.release()
        return rest if decoder.done else None

    def result(self) -> bytes | Reply:
        """Return the message, or the reply that refuses it."""
        if self._decoder.too_big:
            return _MESSAGE_TOO_BIG
        return _INSUFFICIENT_STORAGE if self._over_budget else self._decoder.content()
