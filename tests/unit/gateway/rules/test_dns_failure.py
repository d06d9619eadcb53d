# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules while DNS is slow, down or wrong, by real SMTP and a real DNS server on loopback."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from gateway_doubles import wait_for
from rule_clients import ALICE, CLIENT, OK, ZONE, connect, reply_to, rule


@pytest.mark.parametrize("fault", ["silent", "failing", "garbage", "wrong", "refused", "everything"])
@pytest.mark.parametrize(
    ("default", "reply"), [("skip", OK), ("defer", "450 4.4.3 DNS lookup failed; try again later")]
)
async def test_mail_goes_on_by_the_rules_default(with_rules, dns, fault, default, reply):
    campus = await with_rules(
        rule("bl", "refuse", f'dns_list = "{ZONE}"', f'on_dns_failure = "{default}"'), refusal="dns_seconds = 1"
    )
    dns.list_address(CLIENT, ZONE, "127.0.0.2")
    if fault == "garbage":
        dns.garbage = b"\0" * 12
    elif fault == "wrong":
        dns.list_address(CLIENT, ZONE, "198.18.7.7")
    elif fault == "refused":
        dns.list_address(CLIENT, ZONE, "127.255.255.254")
    elif fault == "everything":
        dns.list_address("127.0.0.1", ZONE, "127.0.0.2")
    else:
        getattr(dns, fault).add(ZONE)
    assert [await reply_to(campus) for _time in range(3)] == [reply] * 3
    # Logged once a minute.
    (event,) = campus.events("dns_failed")
    assert (event["of"], event["number"]) == (ZONE, 1)
    assert campus.count(f"dns_failed:{ZONE}") >= 1


async def test_rule_that_would_not_apply_anyway_defers_nothing(with_rules, dns):
    campus = await with_rules(
        rule("bl", "refuse", f'dns_list = "{ZONE}"\nsender = ["x.example"]', 'on_dns_failure = "defer"')
    )
    dns.failing.add(ZONE)
    assert await reply_to(campus) == OK
    assert not dns.asked


async def test_exception_that_is_unknown_keeps_a_rule_from_refusing(with_rules, dns):
    campus = await with_rules(
        rule("own", "refuse", 'sender_is = ["own"]', unless='client_name = ["*.forwarder.example"]')
    )
    dns.failing.add("in-addr.arpa")
    assert await reply_to(campus, sender="x@a.univ.example") == OK


@pytest.mark.slow
async def test_server_that_is_down_is_not_asked_for_each_message(with_rules, dns, monkeypatch):
    monkeypatch.setattr("mailgate.rules.resolver.PAUSE_SECONDS", 600)
    campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"'), refusal="dns_seconds = 1")
    dns.silent.add(ZONE)
    addresses = [f"198.18.9.{number}" for number in range(1, 6)]
    assert await asyncio.gather(*(reply_to(campus, address=address) for address in addresses)) == [OK] * 5
    asked = dns.asked.total()
    assert [await reply_to(campus, address=f"198.18.8.{number}") for number in range(1, 20)] == [OK] * 19
    assert dns.asked.total() == asked


async def test_large_answer_comes_by_tcp(with_rules, dns):
    campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"', 'codes = ["127.0.*.*"]'))
    dns.list_address(CLIENT, ZONE, *(f"127.0.{a}.{b}" for a in range(4) for b in range(2, 250)))
    assert (await reply_to(campus)).startswith("550")
    assert dns.by_tcp == 1


async def test_no_more_look_ups_than_allowed(with_rules, dns):
    campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"'), refusal="dns_seconds = 60\ndns_queries = 3")
    dns.silent.add(ZONE)
    asking = [asyncio.create_task(reply_to(campus, address=f"198.18.9.{number}")) for number in range(1, 9)]
    await wait_for(lambda: sum(task.done() for task in asking) == 5)
    assert [task.result() for task in asking if task.done()] == [OK] * 5
    assert len(dns.asked) == 3
    for task in asking:
        task.cancel()


async def test_client_that_leaves_while_dns_is_slow(with_rules, dns):
    campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"'), refusal="dns_seconds = 1")
    dns.silent.add(ZONE)
    client = await connect(campus)
    await client.say("MAIL FROM:<a@sender.example>")
    client.writer.write(f"RCPT TO:<{ALICE}>\r\n".encode())
    await client.writer.drain()
    client.writer.transport.abort()
    await wait_for(lambda: campus.gateway.worker_counters.connections == 0)
    assert not campus.events("recipient_refused")


async def test_an_error_of_the_library_is_a_failure_too(with_rules, dns, monkeypatch):
    campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"'))

    async def broken(*_arguments, **_options):
        raise AssertionError("a reply that cannot be read")

    monkeypatch.setattr("dns.asyncresolver.Resolver.resolve", broken)
    assert [await reply_to(campus), await reply_to(campus, address="198.18.9.10")] == [OK, OK]
    assert campus.events("dns_failed")[0]["reason"] == "AssertionError: a reply that cannot be read"


@pytest.mark.parametrize("text", ["", "nameserver x\n", None])
async def test_no_usable_resolv_conf(with_rules, dns, monkeypatch, tmp_path, text):
    campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"'))
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr("mailgate.rules.resolver._RESOLV_CONF", path)
    config = campus.gateway.config
    refusal = dataclasses.replace(config.refusal, dns_servers=(), dns_seconds=1)
    campus.gateway.use(dataclasses.replace(config, refusal=refusal), campus.gateway.routes)
    dns.list_address(CLIENT, ZONE, "127.0.0.2")
    assert await reply_to(campus) == OK
    # A corrected file is read at a reload.
    before = campus.gateway.rules.resolver
    path.write_text("nameserver 127.0.0.9\n")
    campus.gateway.use(campus.gateway.config, campus.gateway.routes)
    assert campus.gateway.rules.resolver is not before
