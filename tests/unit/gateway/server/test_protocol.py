# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol class replaces aiosmtpd's unsafe behaviour; a new aiosmtpd must not add commands."""

from __future__ import annotations

from dataclasses import replace

from aiosmtpd.smtp import SMTP
from gateway_doubles import client_context

from mailgate.config import Tls
from mailgate.gateway import INTERNAL_ERROR
from mailgate.server.protocol import Protocol
from mailgate.server.session import Session

OURS = {"DATA", "EHLO", "EXPN", "HELO", "HELP", "MAIL", "NOOP", "QUIT", "RCPT", "RSET", "STARTTLS", "VRFY"}


THEIRS = {name.removeprefix("smtp_") for name in dir(SMTP) if name.startswith("smtp_")}


def only_session(campus) -> Session:
    [session] = campus.gateway.sessions
    return session


class TestCommands:
    async def test_every_command_is_defined_here(self, campus):
        client = await campus.connect(hello=False)
        listener = only_session(campus)
        assert isinstance(listener, SMTP)
        assert set(listener.commands) == OURS
        assert {method.__module__ for method in listener.commands.values()} == {"mailgate.server.session"}
        # Private attributes of aiosmtpd: its other tables of commands must stay empty.
        assert listener._auth_methods == listener._handle_hooks == {}
        assert (await client.say("HELP")).split()[2:] == sorted(OURS)

    async def test_other_commands_of_aiosmtpd_are_unknown(self, campus):
        assert {"AUTH"} == THEIRS - OURS, "a new aiosmtpd has new commands: look at them, and name them here"
        client = await campus.connect()
        for name in (b"AUTH", b"auth", b"smtp_AUTH", b"AUTH_PLAIN", b"MAIL\xa0", "\u017fTARTTLS".encode()):
            assert await client.say(name + b" PLAIN AGEAYg==") == "500 5.5.2 Command not recognized", name

    async def test_a_command_of_aiosmtpd_is_not_inherited_by_a_subclass(self):
        class Fewer(Protocol):
            def command_NOOP(self, arg: str | None) -> None: ...

        class More(Fewer):
            def command_QUIT(self, arg: str | None) -> None: ...

        assert tuple(Fewer.commands) == ("NOOP",)
        assert tuple(More.commands) == ("NOOP", "QUIT")
        assert Protocol.commands == {}

    async def test_ehlo_does_not_raise_the_limit_of_commands(self, campus):
        """Check that EHLO does not raise the command length of all sessions, which aiosmtpd keeps in the class."""
        client = await campus.connect(hello=False)
        for _ in range(3):
            await client.hello()
            assert (await client.say("MAIL FROM:<" + "a" * 2000 + ">")) == "500 5.5.2 Line too long"
        assert dict(SMTP.command_size_limits) == {}


class TestState:
    async def test_starttls_does_not_enable_auth(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(*certificate))
        client = await campus.connect()
        assert only_session(campus).session.ssl is None
        assert (await client.say("STARTTLS")).startswith("220")
        await client.writer.start_tls(client_context(certificate))
        assert "AUTH" not in await client.hello()
        assert (await client.say("AUTH PLAIN AGEAYg==")).startswith("500 5.5.2")
        assert only_session(campus).session.ssl["cipher"]

    async def test_state_of_session_and_envelope(self, campus):
        client = await campus.connect(hello=False)
        listener = only_session(campus)
        assert (listener.session.host_name, listener.session.extended_smtp) == (None, False)
        assert listener.session.peer[:2] == client.writer.get_extra_info("sockname")[:2]
        await client.hello()
        assert (listener.session.host_name, listener.session.extended_smtp) == ("sender.example", True)
        for end in ("RSET", "EHLO sender.example", "HELO sender.example"):
            await client.say("MAIL FROM:<a@sender.example>")
            await client.say("RCPT TO:<alice@A.univ.example>")
            await client.say("RCPT TO:<alice@nowhere.example>")
            assert listener.in_transaction
            assert listener.envelope.mail_from == "a@sender.example"
            assert listener.envelope.rcpt_tos == ["alice@a.univ.example"]
            before = listener.envelope
            assert (await client.say(end)).splitlines()[-1].startswith("250")
            assert listener.envelope is not before
            assert (listener.envelope.mail_from, listener.envelope.rcpt_tos) == (None, [])
            assert not listener.in_transaction
        assert listener.session.extended_smtp is False

    async def test_the_empty_sender_begins_a_transaction(self, campus):
        client = await campus.connect()
        assert (await client.say("MAIL FROM:<>")).startswith("250")
        assert only_session(campus).in_transaction
        assert (await client.say("MAIL FROM:<a@sender.example>")).startswith("503 5.5.1")
        assert (await client.say("RCPT TO:<alice@a.univ.example>")).startswith("250")
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
        assert [got.sender for got in campus.a.received] == [""]

    async def test_an_error_in_data_ends_the_transaction_without_details(self, campus, monkeypatch):
        async def fail(*_: object) -> None:
            raise ValueError("secret")

        client = await campus.connect()
        await client.start("alice@a.univ.example")
        monkeypatch.setattr(Session, "_receive", fail)
        assert (await client.say("DATA")).startswith("354")
        assert await client.reply() == "451 4.3.0 Internal error; try again later"
        assert not only_session(campus).in_transaction
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")

    async def test_an_error_in_a_command_does_not_end_the_session(self, campus, monkeypatch, caplog):
        def fail(_session: Session, _arg: str | None) -> None:
            raise ValueError("secret")

        monkeypatch.setattr(Session, "commands", {**Session.commands, "NOOP": fail})
        client = await campus.connect()
        client.writer.write(b"NOOP\r\nRSET\r\n")
        assert [await client.reply(), await client.reply()] == [str(INTERNAL_ERROR), "250 2.0.0 OK"]
        assert "secret" in caplog.text

    async def test_all_callbacks_of_the_event_loop_are_the_connections(self):
        calls = (
            "connection_made",
            "connection_lost",
            "data_received",
            "eof_received",
            "pause_writing",
            "resume_writing",
        )
        for name in calls:
            assert getattr(Session, name).__module__ in (
                "mailgate.server.connection",
                "mailgate.server.protocol",
                "mailgate.smtp.connection",
            ), name

    async def test_a_session_keeps_the_settings_of_its_start(self, make_campus):
        campus = await make_campus()
        old = await campus.connect()
        gateway = campus.gateway
        gateway.use(
            replace(gateway.config, limits=replace(gateway.config.limits, max_message_bytes=5000)), gateway.routes
        )
        assert "SIZE 26214400" in await old.hello()
        assert (await old.say("MAIL FROM:<a@sender.example> SIZE=5001")).startswith("250")
        new = await campus.connect(hello=False)
        assert "SIZE 5000" in await new.hello()
        assert (await new.say("MAIL FROM:<a@sender.example> SIZE=5001")).startswith("552 5.3.4")
