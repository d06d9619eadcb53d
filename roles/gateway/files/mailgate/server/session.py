# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sender can say: the commands of RFC 5321, with addresses parsed strictly and DATA read in bulk.

A method's name puts it into aiosmtpd's table of commands; `session` and `envelope` are aiosmtpd's, with our Transaction
beside them.
"""

from __future__ import annotations

import asyncio

from mailgate.delivery.transaction import Transaction
from mailgate.events import CLIENT_ANSWERS_LOST
from mailgate.gateway import Client, Gateway
from mailgate.server.protocol import ClosingError, Protocol
from mailgate.server.rcpt_policy import decide
from mailgate.smtp import dsn
from mailgate.smtp.address import AddressError, Path, is_helo_name, parse_recipient, parse_sender
from mailgate.smtp.data import DataDecoder
from mailgate.smtp.envelope import Envelope
from mailgate.smtp.reply import Reply

_OK = Reply.of(250, "2.0.0 OK")
_TOO_MUCH = Reply.of(452, "4.3.1 Too much mail at the moment; try again later")
_TOO_BIG = Reply.of(552, "5.3.4 Message too big")


class Session(Protocol):
    """One connection of a sender and its current transaction."""

    def __init__(self, gateway: Gateway) -> None:
        self._transaction: Transaction | None = None
        super().__init__(gateway)

    def _set_post_data_state(self) -> None:
        """The transaction is over; also what RSET, HELO, EHLO, STARTTLS and the end of the connection do."""
        super()._set_post_data_state()
        if self._transaction:
            self._transaction.close()
            self._transaction = None

    async def smtp_HELO(self, hostname: str | None) -> None:
        """Take the client's name."""
        await self._hello(hostname, extended=False)

    async def smtp_EHLO(self, hostname: str | None) -> None:
        """Take the client's name and say what is on offer."""
        await self._hello(hostname, extended=True)

    async def _hello(self, hostname: str | None, *, extended: bool) -> None:
        if not hostname or not is_helo_name(hostname):
            await self._error(Reply.of(501, "5.5.4 Give your host name"))
            return
        self._idle_talk()
        self._set_rset_state()
        self.session.host_name = hostname
        self.session.extended_smtp = extended
        lines = [self.hostname]
        if extended:
            size = f"SIZE {self.data_size_limit}"
            lines += ["PIPELINING", size, "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]
            if self.tls_context and not self.session.ssl:
                lines.append("STARTTLS")
        await self._say(Reply(250, tuple(lines)))

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """Encrypt, and begin anew (RFC 3207)."""
        if self.tls_context is None:
            await self._error(Reply.of(502, "5.5.1 STARTTLS not supported"))
        elif self.session.ssl:
            await self._error(Reply.of(503, "5.5.1 Encrypted already"))
        elif arg:
            await self._error(Reply.of(501, "5.5.4 STARTTLS takes no argument"))
        else:
            await self._start_tls(self.tls_context)

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Begin a transaction."""
        if not self.session.host_name:
            await self._error(Reply.of(503, "5.5.1 Send HELO or EHLO first"))
            return
        if self.in_transaction:
            await self._error(Reply.of(503, "5.5.1 Sender already given"))
            return
        path = parse_sender(arg)
        refusal = self._check_mail_parameters(path)
        if refusal:
            await self._error(refusal)
            return
        size = int(path.parameters.get("SIZE") or 0)
        if size > self.data_size_limit:
            await self._say(_TOO_BIG)
            return
        if self._gateway.budget.used + size > self._gateway.config.limits.max_bytes_in_flight:
            await self._say(_TOO_MUCH)
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
                dsn=dsn.wishes(path.parameters, dsn.OF_MAIL),
            ),
        )
        await self._say(Reply.of(250, "2.1.0 Sender accepted"))

    def _check_mail_parameters(self, path: Path) -> Reply | None:
        if path.parameters and not self.session.extended_smtp:
            return Reply.of(555, "5.5.4 Parameters need EHLO")
        for name, value in path.parameters.items():
            if name == "SIZE":
                if not value or not value.isdigit() or len(value) > 20:
                    return Reply.of(501, "5.5.4 SIZE takes a number")
            elif name == "BODY":
                if (value or "").upper() not in ("7BIT", "8BITMIME"):
                    return Reply.of(501, "5.5.4 BODY is 7BIT or 8BITMIME")
                path.parameters[name] = (value or "").upper()
            elif name == "SMTPUTF8":
                if value is not None:
                    return Reply.of(501, "5.5.4 SMTPUTF8 takes no value")
            elif name not in dsn.OF_MAIL:
                return Reply.of(555, f"5.5.4 Parameter {name} not supported")
        return dsn.check(path.parameters)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """Ask about a recipient, in order: form, relaying, number, home server."""
        transaction = self._transaction
        if transaction is None:
            await self._error(Reply.of(503, "5.5.1 Send MAIL first"))
            return
        client = self._client()
        try:
            path = parse_recipient(arg, utf8=self.envelope.smtp_utf8)
        except AddressError as error:
            self._gateway.refused_recipient(client, transaction.sender, arg, error.reply, relay=error.relay)
            raise
        unknown = next((name for name in path.parameters if name not in dsn.OF_RCPT), "")
        wrong = Reply.of(555, f"5.5.4 Parameter {unknown} not supported") if unknown else dsn.check(path.parameters)
        if wrong:
            await self._error(wrong)
            return
        notify = dsn.wishes(path.parameters, dsn.OF_RCPT)
        decision = decide(path.mailbox, client.address, self._gateway.config, self._gateway.routes)
        if decision.refusal:
            self._gateway.refused_recipient(
                client, transaction.sender, path.mailbox, decision.refusal, relay=decision.relay
            )
            await self._error(decision.refusal)
            return
        if len(self.envelope.rcpt_tos) >= self._gateway.config.limits.max_recipients:
            await self._say(Reply.of(452, "4.5.3 Too many recipients; send to the others in another transaction"))
            return
        if decision.route:
            reply = await transaction.add(decision.recipient, decision.route, notify)
        else:
            reply = await transaction.add_to_queue(decision.recipient, notify)
        if reply.ok:
            self.envelope.rcpt_tos.append(str(decision.recipient))
        else:
            self._gateway.refused_recipient(client, transaction.sender, decision.recipient, reply, relay=False)
        await self._say(reply)

    async def smtp_DATA(self, arg: str | None) -> None:
        """Receive the message, and answer when it has been handed over."""
        transaction = self._transaction
        if arg:
            await self._error(Reply.of(501, "5.5.4 DATA takes no argument"))
            return
        if transaction is None or not transaction.recipients:
            await self._error(Reply.of(503, "5.5.1 No valid recipient"))
            return
        await self._say(Reply.of(354, "End data with <CR><LF>.<CR><LF>"))
        held = _Held(self._gateway)
        try:
            content = await self._receive(held)
            if isinstance(content, Reply):
                reply = content
            else:
                # The task closes the transaction, also when the client has left.
                client = self._client()
                self._transaction = None
                task = self._gateway.run(self._gateway.process(content, transaction, client))
                task.add_done_callback(held.release)
                held = _Held(self._gateway)
                del content
                try:
                    reply = await asyncio.shield(task)
                except asyncio.CancelledError:
                    self._gateway.events.count(CLIENT_ANSWERS_LOST)
                    raise
        finally:
            held.release()
            self._set_post_data_state()
        if reply.ok:
            self._talk = 0
            self._acknowledge(transaction.acknowledged)
        await self._say(reply)

    async def _receive(self, held: _Held) -> bytes | Reply:
        """The message, or the reply that refuses it."""
        timeouts = self._gateway.config.timeouts
        intake = _Intake(held, self.data_size_limit)
        try:
            await self.pour(intake.take, idle=timeouts.data_idle, total=timeouts.data_total)
        except TimeoutError:
            raise ClosingError(Reply.of(421, "4.4.2 Message not received in time")) from None
        return intake.result()

    async def smtp_RSET(self, arg: str | None) -> None:
        """Give up the transaction."""
        if arg:
            await self._error(Reply.of(501, "5.5.4 RSET takes no argument"))
            return
        self._idle_talk()
        self._set_rset_state()
        await self._say(_OK)

    async def smtp_NOOP(self, arg: str | None) -> None:
        """Do nothing."""
        self._idle_talk()
        await self._say(_OK)

    async def smtp_QUIT(self, arg: str | None) -> None:
        """End the conversation."""
        raise ClosingError(Reply.of(221, "2.0.0 Bye"))

    async def smtp_VRFY(self, arg: str | None) -> None:
        """Tell nothing about addresses."""
        self._idle_talk()
        await self._say(Reply.of(252, "2.5.2 Send some mail, and see"))

    async def smtp_EXPN(self, arg: str | None) -> None:
        """Tell nothing about lists."""
        await self._error(Reply.of(502, "5.5.1 EXPN not supported"))

    async def smtp_HELP(self, arg: str | None) -> None:
        """Name the commands."""
        self._idle_talk()
        await self._say(Reply.of(214, "2.0.0 " + " ".join(self._smtp_methods)))

    def _client(self) -> Client:
        protocol = "ESMTP" if self.session.extended_smtp else "SMTP"
        # RFC 3848 and RFC 6531 section 4.3.
        if self.envelope.smtp_utf8:
            protocol = "UTF8SMTP"
        if self.session.ssl:
            protocol += "S"
        return Client(self._counted, self.session.host_name or "", protocol)


class _Held:
    """Octets of one message that are taken from the budget."""

    def __init__(self, gateway: Gateway) -> None:
        self._budget = gateway.budget
        self._octets = 0

    def take(self, octets: int) -> bool:
        taken = self._budget.take(octets)
        if taken:
            self._octets += octets
        return taken

    def release(self, _task: object = None) -> None:
        self._budget.give(self._octets)
        self._octets = 0


class _Intake:
    """A message as it comes in, as far as there is room for it."""

    def __init__(self, held: _Held, limit: int) -> None:
        self._held = held
        self._decoder = DataDecoder(limit)
        self._full = False

    def take(self, chunk: bytes) -> bytes | None:
        """Take a piece; what comes after the end of the message, or None before it."""
        decoder = self._decoder
        if not self._full and not decoder.too_big and not self._held.take(len(chunk)):
            self._full = True
            decoder.discard()
        rest = decoder.feed(chunk)
        if self._full or decoder.too_big:
            self._held.release()
        return rest if decoder.done else None

    def result(self) -> bytes | Reply:
        """The message, or the reply that refuses it."""
        if self._decoder.too_big:
            return _TOO_BIG
        return _TOO_MUCH if self._full else self._decoder.content()
