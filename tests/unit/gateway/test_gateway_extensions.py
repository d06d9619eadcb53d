# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""STARTTLS both ways, SMTPUTF8, DSN and the PROXY protocol, as offered and as passed on."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl

import pytest

from mailgate import tls
from mailgate.config import ConfigError, Limits, Tls
from mailgate.config_file import parse_config
from mailgate.smtp.address import AddressError, parse_recipient, parse_sender

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"
FULL = "250-mailhost\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE 99999999"


def server_context(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def client_context(certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate[0])
    context.check_hostname = False
    return context


async def test_sender_can_encrypt(make_campus, certificate):
    campus = await make_campus(tls=Tls(*certificate))
    client = await campus.connect(hello=False)
    assert "250 STARTTLS" in await client.hello()
    assert (await client.say("STARTTLS")).startswith("220")
    await client.writer.start_tls(client_context(certificate))
    assert (await client.say("MAIL FROM:<a@sender.example>")).startswith("503"), "all begins anew"
    assert "STARTTLS" not in await client.hello()
    assert (await client.say("STARTTLS")).startswith("503")
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE * 20_000)).startswith("250")
    assert b" with ESMTPS id " in campus.a.received[0].content
    assert (await client.say("QUIT")).startswith("221")


async def test_commands_sent_in_the_clear_behind_starttls_are_thrown_away(make_campus, certificate):
    campus = await make_campus(tls=Tls(*certificate))
    client = await campus.connect()
    injected = b"EHLO x.example\r\nMAIL FROM:<evil@x.example>\r\nRCPT TO:<alice@a.univ.example>\r\n"
    client.writer.write(b"STARTTLS\r\n" + injected)
    assert (await client.reply()).startswith("220")
    await client.writer.start_tls(client_context(certificate))
    assert (await client.say("NOOP")).startswith("250"), "the first answer is to the first encrypted command"
    assert (await client.say("DATA")).startswith("503")
    assert campus.a.connections == 0


async def test_client_that_does_not_encrypt_after_all_is_let_go(make_campus, certificate):
    campus = await make_campus(tls=Tls(*certificate))
    client = await campus.connect()
    assert (await client.say("STARTTLS")).startswith("220")
    client.writer.write(b"NOOP\r\n" * 10)
    assert b"250" not in await client.reader.read()
    await asyncio.sleep(0.05)
    assert campus.gateway.worker_counters.connections == 0


async def test_next_hop_is_encrypted_to_where_it_offers_it(campus, certificate):
    campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("250")
    assert campus.a.commands[:3] == ["EHLO gw1.univ.example", "STARTTLS", "EHLO gw1.univ.example"]
    assert len(campus.a.received) == 1


async def test_next_hop_that_fails_to_encrypt_gets_mail_in_the_clear(campus, certificate):
    campus.a.ehlo = FULL.replace("250-DSN", "250-STARTTLS")
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("250")
    assert len(campus.a.received) == 1


async def test_mail_that_must_be_encrypted_is_not_sent_in_the_clear(make_campus, certificate):
    campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
    client = await campus.connect()
    assert (await client.start("alice@a.univ.example"))[0].startswith("450 4.7.10")
    assert not any(command.startswith("RCPT") for command in campus.a.commands)
    campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
    await client.say("RSET")
    assert (await client.start("alice@a.univ.example"))[0].startswith("250")
    assert (await client.send(MESSAGE)).startswith("250")


@pytest.mark.parametrize("when", ["at the second recipient", "at DATA", "after the message"])
async def test_mail_that_must_be_encrypted_never_goes_by_the_queue(make_campus, certificate, when):
    campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
    campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
    client = await campus.connect()
    assert (await client.start("alice@a.univ.example"))[0].startswith("250")
    if when == "at the second recipient":
        campus.a.rcpt = lambda _: None
        assert (await client.say("RCPT TO:<bob@a.univ.example>")).startswith("450")
    elif when == "at DATA":
        campus.a.data = None
    else:
        campus.a.final = None
    assert (await client.send(MESSAGE)) == "451 4.3.0 Message could not be delivered; try again later"
    assert campus.queue.received == []


async def test_mail_that_must_be_encrypted_is_taken_by_itself(make_campus, certificate):
    campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
    campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
    client = await campus.connect()
    answers = await client.start("alice@a.univ.example", "bob@a.univ.example", "alice@b.univ.example")
    assert [answer[:9] for answer in answers] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]
    await client.say("RSET")
    answers = await client.start("alice@b.univ.example", "alice@a.univ.example")
    assert [answer[:9] for answer in answers] == ["250 2.1.5", "452 4.5.3"]


async def test_answers_injected_behind_the_next_hops_starttls_are_not_believed(make_campus, certificate):
    campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
    campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
    campus.a.injected = b"250 evil\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n"
    client = await campus.connect()
    assert (await client.start("alice@a.univ.example"))[0].startswith("450")


def test_certificate_that_is_none_is_named(tmp_path, certificate):
    text = f'hostname = "gw.example"\nroutes_file = "{tmp_path}/routes"\n[tls]\n'
    with pytest.raises(ConfigError, match="certificate and key must be set together"):
        parse_config(text + 'certificate = "/x"\n')
    with pytest.raises(ConfigError, match="are not a matching certificate and key"):
        tls.server_context(parse_config(text + f'certificate = "{tmp_path}/x"\nkey = "{tmp_path}/y"\n'))
    good = parse_config(
        text + f'certificate = "{certificate[0]}"\nkey = "{certificate[1]}"\nrequired_for = ["*.a.example"]'
    )
    assert tls.server_context(good)
    assert good.tls.required("x.a.example") and not good.tls.required("a.example")
    with pytest.raises(ConfigError, match=r"tls.required_for: '-' is not a valid domain"):
        parse_config(text + 'required_for = ["-"]')


async def test_international_addresses_are_passed_on(campus):
    campus.a.ehlo = FULL
    client = await campus.connect()
    assert (await client.say("MAIL FROM:<用户@例え.example> SMTPUTF8 BODY=8BITMIME")).startswith("250")
    assert (await client.say("RCPT TO:<rené@A.univ.example>")).startswith("250")
    assert (await client.send("Subject: é\r\n\r\nx\r\n".encode())).startswith("250")
    mail = next(line for line in campus.a.commands if line.startswith("MAIL FROM:<用户"))
    assert mail == "MAIL FROM:<用户@xn--r8jz45g.example> BODY=8BITMIME SMTPUTF8"
    assert "RCPT TO:<rené@a.univ.example>" in campus.a.commands
    assert "with UTF8SMTP id" in campus.a.received[0].content.decode()


async def test_international_addresses_are_refused_where_the_server_does_not_take_them(campus):
    client = await campus.connect()
    for sender, recipient in (("é@x.example", "alice"), ("a@x.example", "é")):
        assert (await client.say(f"MAIL FROM:<{sender}> SMTPUTF8")).startswith("250")
        assert (await client.say(f"RCPT TO:<{recipient}@a.univ.example>")).startswith("550 5.6.7")
        await client.say("RSET")
    assert not any("é" in command for command in campus.a.commands)


async def test_senders_that_say_smtputf8_for_nothing_are_served(campus):
    client = await campus.connect()
    for content, answer in ((MESSAGE, "250"), ("Subject: é\r\n\r\n".encode(), "550 5.6.7")):
        assert (await client.say("MAIL FROM:<a@x.example> SMTPUTF8")).startswith("250")
        assert (await client.say("RCPT TO:<alice@a.univ.example>")).startswith("250")
        assert (await client.send(content)).startswith(answer)
    assert len(campus.a.received) == 1
    assert campus.queue.received == []


def test_international_grammar():
    assert str(parse_sender("FROM:<é.ß@bücher.example> SMTPUTF8").mailbox) == "é.ß@xn--bcher-kva.example"
    for argument in ("FROM:<é@x.example>", "FROM:<a@é.example>", "FROM:<a\x85@x.example> SMTPUTF8",
                     "FROM:<a\u200b@x.example> SMTPUTF8", f"FROM:<{'é' * 33}@x.example> SMTPUTF8"):  # fmt: skip
        with pytest.raises(AddressError):
            parse_sender(argument)
    with pytest.raises(AddressError) as refused:
        parse_recipient("TO:<é%x.example@a.example>", utf8=True)
    assert refused.value.relay


async def test_wishes_for_notifications_are_passed_on(campus):
    campus.a.ehlo = FULL
    client = await campus.connect()
    assert (await client.say("MAIL FROM:<a@x.example> RET=HDRS ENVID=QQ+2B3")).startswith("250")
    wish = "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Alice@a.univ.example"
    assert (await client.say(f"RCPT TO:<alice@a.univ.example> {wish}")).startswith("250")
    assert (await client.say("RCPT TO:<bob@b.univ.example> NOTIFY=NEVER")).startswith("250")
    assert "MAIL FROM:<a@x.example> RET=HDRS ENVID=QQ+2B3" in campus.a.commands
    assert f"RCPT TO:<alice@a.univ.example> {wish}" in campus.a.commands
    assert "RCPT TO:<bob@b.univ.example>" in campus.b.commands, "b does not know DSN"
    assert (await client.send(MESSAGE)).startswith("250")


async def test_mail_whose_sender_wants_to_hear_of_success_goes_by_the_queue_where_the_hop_does_not_tell(campus):
    campus.a.ehlo = campus.queue.ehlo = FULL
    client = await campus.connect()
    assert (await client.say("MAIL FROM:<a@x.example> ENVID=QQ1")).startswith("250")
    for mailbox, wish in (
        ("alice@a.univ.example", "NOTIFY=SUCCESS"),
        ("bob@b.univ.example", "NOTIFY=Success,DELAY ORCPT=rfc822;bob@b.univ.example"),
        ("carol@b.univ.example", "NOTIFY=FAILURE ORCPT=rfc822;SUCCESS@b.univ.example"),
        ("dave@b.univ.example", "NOTIFY=NEVER"),
    ):
        assert (await client.say(f"RCPT TO:<{mailbox}> {wish}")).startswith("250")
    assert (await client.send(MESSAGE)).startswith("250")
    assert [got.recipients for got in campus.a.received] == [["alice@a.univ.example"]]
    assert [got.recipients for got in campus.b.received] == [["carol@b.univ.example", "dave@b.univ.example"]]
    assert [got.recipients for got in campus.queue.received] == [["bob@b.univ.example"]]
    wish = "NOTIFY=Success,DELAY ORCPT=rfc822;bob@b.univ.example"
    assert f"RCPT TO:<bob@b.univ.example> {wish}" in campus.queue.commands
    assert campus.gateway.verification_cache.find(parse_recipient("TO:<bob@b.univ.example>").mailbox).known


async def test_wish_to_hear_of_success_gets_nobody_past_the_home_server(campus):
    campus.a.rcpt = lambda _: "550 5.1.1 unknown"
    client = await campus.connect()
    await client.say("MAIL FROM:<a@x.example>")
    assert await client.say("RCPT TO:<ghost@a.univ.example> NOTIFY=SUCCESS") == "550 5.1.1 unknown"
    campus.a.stop()
    assert (await client.say("RCPT TO:<new@a.univ.example> NOTIFY=SUCCESS")).startswith("450")
    assert campus.queue.connections == 0


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 198.18.9.9 198.18.0.1 4000 25\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 18, 9, 9, 198, 18, 0, 1]) + b"\x0f\xa0\0\x19",
    ],
)
async def test_load_balancer_says_who_the_client_is(make_campus, header):
    campus = await make_campus(
        proxy_protocol_from=(ipaddress.ip_network("127.0.0.0/8"),), limits=Limits(max_connections_per_client=1)
    )

    async def connect(first: bytes):
        reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
        writer.write(first + b"EHLO sender.example\r\n")
        return reader, writer

    reader, writer = await connect(header)
    assert (await reader.readline()).startswith(b"220")
    assert campus.gateway.worker_counters.connections_of("198.18.9.9") == 1
    other, second = await connect(header)
    assert (await other.readline()).startswith(b"421 4.7.0 Too many")
    none, third = await connect(b"")
    assert (await none.readline()).startswith(b"421 4.7.0 PROXY header")
    for end in (writer, second, third):
        end.close()
    await asyncio.sleep(0.05)
    assert campus.gateway.worker_counters.connections == 0


async def test_nobody_else_is_asked_for_a_proxy_header(make_campus):
    campus = await make_campus(proxy_protocol_from=(ipaddress.ip_network("198.18.7.0/24"),))
    client = await campus.connect()
    assert (await client.say("PROXY TCP4 198.18.9.9 198.18.0.1 4000 25")).startswith("500")
