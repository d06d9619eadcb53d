# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM signatures of outgoing mail by real SMTP: which messages have one, and what happens without a key or record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from dns_server import DnsServer, serving_dns
from gateway_doubles import EICAR, Campus
from opendkim import NO_OPENDKIM, OPENDKIM, verify
from rule_clients import connect
from signed_mail import key, txt

from mailgate.config_file import parse_config
from mailgate.signing import signer

RELAY, LISTS, OUTSIDE = "198.18.200.7", "198.18.200.99", "198.18.9.9"
BOB = "bob@x.example"
MESSAGE = (
    b"From: Alice <alice@a.univ.example>\r\nTo: bob@x.example\r\nSubject: hello\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"
)
NAME = "gw1._domainkey.univ.example"
Start = Callable[..., Awaitable[Campus]]


@pytest.fixture
async def dns():
    """Return a DNS server with the record of the key."""
    async with serving_dns() as server:
        server.add(NAME, "TXT", txt(key()[1]))
        yield server


@pytest.fixture
def start(make_campus: Start, dns: DnsServer, tmp_path: Path) -> Start:
    """Start a gateway with a key for univ.example."""
    path = tmp_path / "key.pem"
    path.write_bytes(key()[0])

    async def start(more: str = "") -> Campus:
        config = parse_config(
            f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nown_names = ["gw2.univ.example"]\n'
            f'[refusal]\ndns_servers = ["{dns.address}"]\n[signing]\nlist_servers = ["{LISTS}/32"]\n'
            f'[dkim."univ.example"]\nselector = "gw1"\nkey_file = "{path}"\n{more}'
        )
        return await make_campus(
            dkim=config.dkim,
            signing=config.signing,
            own_names=config.own_names,
            refusal=config.refusal,
            relay_networks=(ip_network("198.18.200.0/24"),),
            proxy_protocol_from=(ip_network("127.0.0.0/8"),),
        )

    return start


async def send(campus: Campus, content: bytes = MESSAGE, *, address: str = RELAY, to: str = BOB) -> bytes:
    """Return the message as the queue or the next hop has received it."""
    client = await connect(campus, address)
    assert (await client.start(to, sender="alice@a.univ.example"))[0].startswith("250")
    assert (await client.send(content)).startswith("250 2.0.0")
    return [*campus.queue.received, *campus.a.received][-1].content


def domain_of(content: bytes) -> str:
    """Return the signing domain, empty without a signature on top."""
    if not content.startswith(b"DKIM-Signature:"):
        return ""
    return content.partition(b" d=")[2].partition(b";")[0].decode()


class TestWhatIsSigned:
    @pytest.mark.skipif(not OPENDKIM, reason=NO_OPENDKIM)
    async def test_outgoing_mail_has_a_signature_that_verifies(self, start, tmp_path):
        campus = await start()
        large = MESSAGE + b"0123456789 abcdef\r\n" * 10_000
        contents = [await send(campus), await send(campus, large), await send(campus, MESSAGE + b"..\r\n")]
        assert verify(contents, NAME, key()[1], tmp_path) == [True] * 3
        assert [(each["signed"], each["selector"]) for each in campus.events("message")] == [
            ("univ.example", "gw1")
        ] * 3
        assert campus.count("signed:univ.example") == 3
        assert len(campus.events("signing_begins")) == 1

    @pytest.mark.skipif(not OPENDKIM, reason=NO_OPENDKIM)
    async def test_what_is_delivered_after_stripping_is_signed(self, start, tmp_path):
        campus = await start()
        infected = (
            MESSAGE.partition(b"\r\n\r\n")[0]
            + b'\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n'
            b"\r\n--b\r\n\r\nHello.\r\n--b\r\nContent-Disposition: attachment; filename=v.txt\r\n\r\n"
            + EICAR
            + b"\r\n--b--\r\n"
        )
        content = await send(campus, infected)
        assert EICAR not in content
        assert verify([content], NAME, key()[1], tmp_path) == [True]

    async def test_mail_within_the_campus_too(self, start):
        assert domain_of(await send(await start(), to="alice@a.univ.example")) == "univ.example"

    @pytest.mark.parametrize(
        "author",
        ["eve@other.example", "eve@notuniv.example", "a@univ.example, eve@other.example", "", "univ.example",
         "eve@example", "<a@univ.example> <eve@other.example>"],
    )  # fmt: skip
    async def test_other_authors_are_not(self, start, author):
        campus = await start()
        content = MESSAGE.replace(b"Alice <alice@a.univ.example>", author.encode())
        assert (await send(campus, content)).startswith(b"Received:")
        assert not campus.events("not_signed")

    async def test_two_from_fields_are_not(self, start):
        content = await send(await start(), b"From: <a@univ.example>\r\n" + MESSAGE)
        assert content.startswith(b"Received:")

    async def test_mail_from_outside_is_not(self, start):
        content = await send(await start(), address=OUTSIDE, to="alice@a.univ.example")
        assert content.startswith(b"Received:")

    @pytest.mark.parametrize(
        ("received", "address", "domain"),
        [
            (b"from spam.example by gw1.univ.example with ESMTP", RELAY, ""),
            (b"from spam.example\r\n\tby\r\n\tGW2.UNIV.EXAMPLE with ESMTP", RELAY, ""),
            (b"from pc.univ.example by gw2.univ.example.org; by xgw1.univ.example", RELAY, "univ.example"),
            (b"from pc.univ.example by mail.a.univ.example", RELAY, "univ.example"),
            (b"from pc.univ.example by gw2.univ.example with ESMTP", LISTS, "univ.example"),
        ],
    )
    async def test_what_has_passed_a_gateway_is_signed_for_list_servers_only(self, start, received, address, domain):
        content = b"Received: " + received + b"; now\r\n" + MESSAGE
        assert domain_of(await send(await start(), content, address=address)) == domain

    async def test_the_longest_domain_with_a_key_signs(self, start, dns, tmp_path):
        dns.add("s2._domainkey.a.univ.example", "TXT", txt(key()[1]))
        campus = await start(f'[dkim."a.univ.example"]\nselector = "s2"\nkey_file = "{tmp_path}/key.pem"\n')
        assert domain_of(await send(campus)) == "a.univ.example"
        assert domain_of(await send(campus, MESSAGE.replace(b"@a.univ", b"@b.univ"))) == "univ.example"
        assert domain_of(await send(campus, MESSAGE.replace(b"@a.univ", b"@univ"))) == "univ.example"

    async def test_a_header_section_that_is_malformed(self, start):
        campus = await start()
        assert (await send(campus, b"To : x\r\n" + MESSAGE)).startswith(b"Received:")
        assert campus.events("not_signed")[0]["reason"] == "the header section of a message is malformed"


class TestKeysAndRecords:
    async def test_without_a_record_nothing_is_signed_until_there_is_one(self, start, dns):
        text = dns.records.pop((NAME, "TXT"))
        campus = await start()
        for _message in range(3):
            assert (await send(campus)).startswith(b"Received:")
        (event,) = campus.events("not_signed")
        assert event["domain"] == "univ.example"
        assert event["reason"] == f"{NAME} has no key record"
        assert dns.asked[NAME, "TXT"] == 1, "a message does not wait for DNS again"
        assert campus.count("unsigned:univ.example") == 3
        dns.add(NAME, "TXT", *text)
        campus.gateway.signer._due = 0
        await campus.gateway.signer.refresh()
        assert domain_of(await send(campus)) == "univ.example"
        assert len(campus.events("signing_begins")) == 1

    async def test_a_record_that_is_replaced_ends_it_and_dns_that_fails_does_not(self, start, dns):
        campus = await start()
        assert domain_of(await send(campus)) == "univ.example"
        dns.failing.add(NAME)
        campus.gateway.signer._due = 0
        await campus.gateway.signer.refresh()
        assert domain_of(await send(campus)) == "univ.example"
        dns.failing.clear()
        dns.add(NAME, "TXT", txt("v=DKIM1; p="))
        campus.gateway.signer._due = 0
        await campus.gateway.signer.refresh()
        assert (await send(campus)).startswith(b"Received:")
        assert campus.events("not_signed")[0]["reason"] == f"{NAME} has a revoked key"

    async def test_dns_that_fails_at_the_start(self, start, dns):
        dns.failing.add(NAME)
        campus = await start()
        assert (await send(campus)).startswith(b"Received:")
        assert campus.events("not_signed")[0]["reason"].startswith(f"{NAME}: ")

    async def test_a_key_that_cannot_be_read_is_read_again(self, start, tmp_path):
        content = (tmp_path / "key.pem").rename(tmp_path / "elsewhere")
        campus = await start()
        assert (await send(campus)).startswith(b"Received:")
        assert campus.events("not_signed")[0]["reason"] == f"{tmp_path}/key.pem: No such file or directory"
        content.rename(tmp_path / "key.pem")
        campus.gateway.signer._due = 0
        await campus.gateway.signer.refresh()
        assert domain_of(await send(campus)) == "univ.example"

    async def test_a_previous_key_signs_until_dns_has_the_new_one(self, start, dns, tmp_path):
        (tmp_path / "old.pem").write_bytes(key()[0])
        (tmp_path / "key.pem").write_bytes(key(2048)[0])
        dns.add("old._domainkey.univ.example", "TXT", txt(key()[1]))
        more = f'previous_selector = "old"\nprevious_key_file = "{tmp_path}/old.pem"\n'
        campus = await start(more)
        assert b"s=old;" in await send(campus)
        dns.add(NAME, "TXT", txt(key(2048)[1]))
        campus.gateway.signer._due = 0
        await campus.gateway.signer.refresh()
        assert b"s=gw1;" in await send(campus)
        assert [each["selector"] for each in campus.events("signing_begins")] == ["old", "gw1"]

    async def test_a_reload_keeps_what_dns_has_said(self, start, dns):
        campus = await start()
        await send(campus)
        campus.gateway.use(campus.gateway.config, campus.gateway.routes)
        dns.failing.add(NAME)
        assert domain_of(await send(campus)) == "univ.example"

    async def test_an_error_does_not_stop_mail(self, start, monkeypatch):
        campus = await start()
        monkeypatch.setattr(signer, "signature_field", lambda *_given, **_more: 1 / 0)
        assert (await send(campus)).startswith(b"Received:")
        assert campus.events("not_signed")[0]["reason"] == "ZeroDivisionError: division by zero"

    async def test_without_keys_there_is_no_signer(self, make_campus):
        assert (await make_campus()).gateway.signer is None
