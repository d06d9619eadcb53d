# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail authentication by real SMTP, with our own zones on a real DNS server on loopback."""

from __future__ import annotations

import asyncio

import pytest
from gateway_doubles import Campus
from rule_clients import ALICE, BOB, CLIENT, OK, OTHER, connect, rule
from signed_mail import HEADER, MESSAGE, key, seal, sign, txt

ACCEPTED = "250 2.0.0 Message accepted"
REFUSED = "550 5.7.26 DMARC check of From address <alice@sender.example> failed, and its policy is to reject"
ON = "evaluate = true"
SENDER = "bounce@sender.example"


@pytest.fixture
def dns(dns):
    """Return the records of a sender that signs its mail, of another one, and of a forwarder that seals it."""
    for domain in ("sender.example", "other.example", "list.example"):
        dns.add(f"s1._domainkey.{domain}", "TXT", txt(key()[1]))
        dns.add(domain, "TXT", txt("site-verification=1"), txt(f"v=spf1 ip4:{CLIENT} -all"))
    dns.add("_dmarc.sender.example", "TXT", txt("v=DMARC1; p=reject"))
    dns.add("mail.sender.example", "TXT", txt(f"v=spf1 a:{'mx.sender.example'} ~all"))
    dns.add("mx.sender.example", "A", CLIENT)
    return dns


async def send(
    campus: Campus, content: bytes = MESSAGE, *recipients: str, address: str = CLIENT, sender: str = SENDER
) -> str:
    """Return the reply to the end of data."""
    client = await connect(campus, address)
    recipients = recipients or (ALICE,)
    assert await client.start(*recipients, sender=sender) == [OK] * len(recipients)
    return await client.send(content)


def results_of(content: bytes) -> list[str]:
    """Return the results that the gateway wrote, which are above its trace field."""
    field, received, _rest = content.partition(b"\r\nReceived: from ")
    assert received
    first, *results = field.decode().split(";\r\n\t")
    assert first == "Authentication-Results: gw1.univ.example"
    return results


class TestResults:
    @pytest.mark.parametrize(
        ("content", "given", "results"),
        [
            (sign(), {}, ["spf=pass smtp.mailfrom=sender.example", "dkim=pass header.d=sender.example header.s=s1",
                          "dmarc=pass header.from=sender.example", "arc=none"]),
            (sign(), {"address": OTHER}, ["spf=fail smtp.mailfrom=sender.example",
                "dkim=pass header.d=sender.example header.s=s1", "dmarc=pass header.from=sender.example", "arc=none"]),
            (MESSAGE, {"address": OTHER}, ["spf=fail smtp.mailfrom=sender.example", "dkim=none",
                                           "dmarc=fail (p=reject) header.from=sender.example", "arc=none"]),
            (MESSAGE, {"sender": ""}, ["spf=pass smtp.helo=mail.sender.example", "dkim=none",
                                       "dmarc=pass header.from=sender.example", "arc=none"]),
            (sign(domain="other.example") + b"more\r\n", {"sender": "a@none.example"},
             ["spf=none smtp.mailfrom=none.example",
              'dkim=fail reason="body hash did not verify" header.d=other.example header.s=s1',
              "dmarc=fail (p=reject) header.from=sender.example", "arc=none"]),
            (seal(MESSAGE), {"sender": "a@list.example"},
             ["spf=pass smtp.mailfrom=list.example", "dkim=none", "dmarc=fail (p=reject) header.from=sender.example",
              "arc=pass"]),
            (b"Subject: no sender\r\n\r\n", {}, ["spf=pass smtp.mailfrom=sender.example", "dkim=none", "dmarc=none",
                                                 "arc=none"]),
        ],
    )  # fmt: skip
    async def test_are_written(self, with_rules, content, given, results):
        campus = await with_rules(auth=ON)
        assert (await send(campus, content, **given)).startswith(ACCEPTED)
        (received,) = campus.a.received
        assert results_of(received.content) == results
        assert received.content.endswith(content)
        (event,) = campus.events("message")
        for method in ("spf", "dkim", "dmarc"):
            result = next(each for each in results if each.startswith(method)).split()[0].partition("=")[2]
            assert event[method] == result
            assert campus.count(f"auth:{method}={result}") == 1

    async def test_forged_ones_are_removed(self, with_rules):
        campus = await with_rules(auth=f'{ON}\nidentifier = "univ.example"')
        forged = b"Authentication-Results: %s; dmarc=pass\r\n"
        content = forged % b"univ.example" + forged % b"gw1.univ.example" + forged % b"isp.example" + MESSAGE
        await send(campus, content)
        (received,) = campus.a.received
        assert received.content.startswith(b"Authentication-Results: univ.example;\r\n\tspf=pass")
        assert received.content.endswith(b"\r\n" + forged % b"isp.example" + MESSAGE)
        assert received.content.count(b"univ.example; dmarc=pass") == 0

    async def test_a_signature_of_a_forged_field_is_evaluated_as_received(self, with_rules):
        campus = await with_rules(auth=ON)
        content = b"Authentication-Results: gw1.univ.example; x=y\r\n" + MESSAGE
        await send(campus, sign(content, include_headers=[b"from", b"authentication-results"]))
        assert results_of(campus.a.received[0].content)[1].startswith("dkim=pass")

    async def test_large_message(self, with_rules):
        campus = await with_rules(auth=ON)
        await send(campus, sign(MESSAGE + b"x  y \r\n" * 100_000))
        assert results_of(campus.a.received[0].content)[1].startswith("dkim=pass")

    async def test_exempt_clients_are_not_evaluated(self, with_rules, dns):
        campus = await with_rules(auth=f'{ON}\ndmarc = "refuse"', refusal=f'exempt = ["{OTHER}"]')
        assert (await send(campus, address=OTHER)).startswith(ACCEPTED)
        assert campus.a.received[0].content.startswith(b"Received: ")
        assert not dns.asked

    async def test_nothing_is_done_unless_it_is_on(self, with_rules, dns):
        campus = await with_rules(rule("r", "refuse", 'helo_is = ["bare"]'))
        assert (await send(campus, address=OTHER)).startswith(ACCEPTED)
        assert campus.a.received[0].content.startswith(b"Received: ")
        assert not dns.asked
        assert "spf" not in campus.events("message")[0]

    async def test_records_are_cached(self, with_rules, dns):
        campus = await with_rules(auth=ON)
        for _time in range(3):
            await send(campus, sign())
        assert dict(dns.asked) == {
            ("sender.example", "TXT"): 1,
            ("s1._domainkey.sender.example", "TXT"): 1,
            ("_dmarc.sender.example", "TXT"): 1,
        }


class TestDmarc:
    @pytest.mark.parametrize(
        ("policy", "option", "effect"),
        [
            ("p=reject", "off", ""),
            ("p=reject", "tag", "tag"),
            ("p=reject", "refuse", "refuse"),
            ("p=quarantine", "tag", "tag"),
            ("p=quarantine", "refuse", "tag"),
            ("p=none", "refuse", ""),
            ("p=reject; pct=0", "refuse", "tag"),
        ],
    )
    async def test_effect_of_a_failure(self, with_rules, dns, policy, option, effect):
        dns.add("_dmarc.sender.example", "TXT", txt(f"v=DMARC1; {policy}"))
        campus = await with_rules(auth=f'{ON}\ndmarc = "{option}"')
        reply = await send(campus, address=OTHER)
        if effect == "refuse":
            assert reply == REFUSED
            assert not campus.a.received
            assert campus.events("message")[0]["rule"] == "dmarc"
        else:
            assert reply.startswith(ACCEPTED)
            tags = campus.a.received[0].content.count(b"X-Mailgate-Tag: score=0 rules=dmarc\r\n")
            assert tags == (effect == "tag")
        assert (await send(campus, sign(), address=OTHER)).startswith(ACCEPTED)
        assert b"X-Mailgate-Tag" not in campus.a.received[-1].content

    async def test_domains_choose(self, with_rules):
        campus = await with_rules(
            auth=f'{ON}\ndmarc = "refuse"', domains='[domains."b.univ.example"]\ndmarc = "off"\nrules = "ignore"\n'
        )
        assert await send(campus, MESSAGE, ALICE, address=OTHER) == REFUSED
        assert (await send(campus, MESSAGE, BOB, address=OTHER)).startswith(ACCEPTED)
        assert (await send(campus, MESSAGE, ALICE, BOB, address=OTHER)).startswith(ACCEPTED)
        assert b"X-Mailgate-Tag: score=0 rules=dmarc\r\n" in campus.a.received[0].content
        assert all(b"X-Mailgate-Tag" not in each.content for each in campus.b.received)

    async def test_postmaster_with_an_address_of_a_domain(self, with_rules):
        campus = await with_rules(auth=f'{ON}\ndmarc = "refuse"', postmaster=ALICE)
        assert (await send(campus, MESSAGE, "postmaster@gw1.univ.example", address=OTHER)).startswith(ACCEPTED)
        assert campus.a.received[0].recipients == [ALICE]
        assert await send(campus, MESSAGE, ALICE, address=OTHER) == REFUSED

    async def test_allowed_forwarder(self, with_rules):
        campus = await with_rules(rule("partner", "allow", f'client = ["{OTHER}"]'), auth=f'{ON}\ndmarc = "refuse"')
        assert (await send(campus, address=OTHER)).startswith(ACCEPTED)
        assert b"X-Mailgate-Tag" not in campus.a.received[0].content
        assert await send(campus, address="198.18.9.11") == REFUSED

    @pytest.mark.parametrize(
        ("sealers", "content", "passes"),
        [
            ('["list.example"]', seal(MESSAGE), True),
            ('["*.example"]', seal(seal(MESSAGE), "other.example", "arc=pass"), True),
            ('["@lists"]', seal(MESSAGE), True),
            ('["list.example"]', seal(seal(MESSAGE), "other.example", "arc=pass"), False),
            ('["list.example"]', seal(MESSAGE, results="dmarc=fail"), False),
            ('["list.example"]', seal(MESSAGE) + b"more\r\n", False),
            ("[]", seal(MESSAGE), False),
        ],
    )
    async def test_trusted_forwarder(self, with_rules, sealers, content, passes):
        campus = await with_rules(
            auth=f'{ON}\ndmarc = "refuse"\narc_sealers = {sealers}',
            lists='[lists.lists]\nkind = "name"\nentries = ["list.example"]\n',
        )
        reply = await send(campus, content, sender="bounce@list.example")
        assert reply.startswith(ACCEPTED) if passes else reply == REFUSED


class TestRules:
    @pytest.mark.parametrize(
        ("when", "matching", "other", "reply"),
        [
            ('dkim = ["none", "fail"]', MESSAGE, sign(), "550 5.7.20 DKIM check failed"),
            ('dmarc = ["fail"]', MESSAGE, sign(),
             "550 5.7.26 DMARC check of From address <alice@sender.example> failed"),
            ('arc = ["pass"]', seal(MESSAGE), MESSAGE, "550 5.7.29 ARC check failed"),
            ('dkim = ["pass"]\nfrom_header = ["sender.example"]', sign(), MESSAGE, "550 5.7.20 "),
        ],
    )  # fmt: skip
    async def test_conditions_on_results(self, with_rules, when, matching, other, reply):
        campus = await with_rules(rule("r", "refuse", when), auth=ON)
        assert (await send(campus, matching, address=OTHER)).startswith(reply)
        assert (await send(campus, other, address=OTHER)).startswith(ACCEPTED)

    async def test_spf_is_known_at_rcpt(self, with_rules, dns):
        campus = await with_rules(rule("r", "refuse", 'spf = ["fail", "softfail"]'))
        client = await connect(campus, OTHER)
        assert await client.start(ALICE, sender=SENDER) == [f"550 5.7.23 SPF check of sender <{SENDER}> failed"]
        # The null sender: the HELO name.
        await client.say("RSET")
        assert (await client.start(ALICE, sender=""))[0].startswith("550 5.7.23 ")
        assert (await send(campus)).startswith(ACCEPTED)
        assert "spf" not in campus.events("message")[0]

    async def test_scores_of_spf_and_dkim_add_up(self, with_rules):
        campus = await with_rules(
            rule("spf", "score", 'spf = ["fail"]', "score = 5") + rule("dkim", "score", 'dkim = ["none"]', "score = 5")
            + rule("good", "score", 'dkim = ["pass"]', "score = -5"),
            auth=ON,
        )  # fmt: skip
        assert (await send(campus, address=OTHER)).startswith("550 5.7.23 ")
        assert (await send(campus, sign(), address=OTHER)).startswith(ACCEPTED)
        assert b"X-Mailgate-Tag" not in campus.a.received[0].content
        assert (await send(campus)).startswith(ACCEPTED)
        assert b"X-Mailgate-Tag: score=5 rules=dkim\r\n" in campus.a.received[1].content


class TestDnsFailure:
    @pytest.mark.parametrize("fault", ["silent", "failing", "garbage", "huge", "many"])
    @pytest.mark.parametrize("default", ["skip", "defer"])
    async def test_mail_goes_on(self, with_rules, dns, fault, default):
        campus = await with_rules(
            rule("r", "refuse", 'dkim = ["pass", "none", "fail"]', f'on_dns_failure = "{default}"'),
            auth=f'{ON}\ndmarc = "refuse"', refusal="dns_seconds = 1",
        )  # fmt: skip
        names = ("sender.example", "s1._domainkey.sender.example", "_dmarc.sender.example")
        if fault == "garbage":
            dns.garbage = b"\0" * 12
        elif fault in ("huge", "many"):
            texts = ["x" * 40_000] if fault == "huge" else [f"x={number}" for number in range(200)]
            for name in names:
                dns.add(name, "TXT", *map(txt, texts))
        else:
            getattr(dns, fault).add("sender.example")
        replies = await asyncio.gather(*(send(campus, sign(), address=f"198.18.9.{number}") for number in range(1, 8)))
        assert {reply[:9] for reply in replies} == {"450 4.4.3" if default == "defer" else "250 2.0.0"}
        assert [event["spf"] for event in campus.events("message")] == ["temperror"] * 7
        if default == "skip":
            assert results_of(campus.a.received[0].content)[0] == "spf=temperror smtp.mailfrom=sender.example"
        (event,) = campus.events("dns_failed")
        assert event["of"] == "mail authentication"
        assert campus.count("dns_failed:mail authentication") >= 1

    async def test_message_that_is_deferred_for_some_recipients(self, with_rules, dns):
        campus = await with_rules(
            rule("r", "refuse", 'dkim = ["none"]\nrecipient = ["alice@"]', 'on_dns_failure = "defer"'), auth=ON
        )
        dns.failing.add("sender.example")
        assert (await send(campus, sign())).startswith("450 4.4.3 DNS lookup failed")
        assert campus.events("message")[0]["rule"] == "r"
        assert (await send(campus, sign(), ALICE, BOB)).startswith(ACCEPTED)
        assert b"\r\nX-Mailgate-Tag: score=0 rules=r\r\n" in campus.a.received[0].content
        assert b"X-Mailgate-Tag" not in campus.b.received[0].content

    async def test_names_of_senders_do_not_stop_dns_for_others(self, with_rules, dns):
        campus = await with_rules(auth=ON, refusal="dns_seconds = 1")
        dns.silent.add("never.example")
        domains = [f"d{number}.never.example" for number in range(8)]
        await asyncio.gather(*(send(campus, sign(domain=domain), sender=f"a@{domain}") for domain in domains))
        await send(campus, sign())
        assert results_of(campus.a.received[-1].content)[0].startswith("spf=pass")

    async def test_an_error_of_a_library_stops_no_mail(self, with_rules, monkeypatch):
        campus = await with_rules(auth=f'{ON}\ndmarc = "refuse"')

        def broken(*_arguments: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("mailgate.authentication.dmarc.evaluate", broken)
        monkeypatch.setattr("mailgate.authentication.signatures.SignedMessage.chain", broken)
        assert (await send(campus, HEADER + b"\r\n")).startswith(ACCEPTED)
        assert results_of(campus.a.received[0].content)[2] == "dmarc=temperror header.from=sender.example"
