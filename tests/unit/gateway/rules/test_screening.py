# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of rule by real SMTP, with answers of a real DNS server on loopback.

Clients have their address from a PROXY header.
"""

from __future__ import annotations

import dataclasses

import pytest
from gateway_doubles import send_hello
from rule_clients import ALICE, BOB, CLIENT, OK, OTHER, ZONE, connect, reply_to, rule


class TestConditions:
    @pytest.mark.parametrize(
        ("when", "refused", "passed"),
        [
            ('client = ["198.18.9.0/29", "198.18.9.9"]', {}, {"address": OTHER}),
            ('client = ["2001:db8:9::/48"]', {"address": "2001:db8:9::1"}, {"address": "2001:db8:8::1"}),
            ('helo = ["bad.example", "*.dyn.example"]', {"helo": "x.Y.dyn.example"}, {"helo": "dyn.example"}),
            ('helo_is = ["own"]', {"helo": "gw1.univ.example"}, {"helo": "mail.univ.example"}),
            ('helo_is = ["own"]', {"helo": "[198.18.0.25]"}, {"helo": "[198.18.0.26]"}),
            ('helo_is = ["own"]', {"helo": "198.18.0.25"}, {"helo": "198.18.0.26"}),
            ('helo_is = ["own"]', {"helo": "a.univ.example"}, {"helo": "c.univ.example"}),
            ('helo_is = ["bare"]', {"helo": "localhost"}, {"helo": "[198.18.9.9]"}),
            ('helo_is = ["bare"]', {"helo": "198.18.9.9"}, {"helo": "local.host"}),
            ('helo_is = ["literal"]', {"helo": "[IPv6:2001:db8::1]"}, {"helo": "198.18.9.9"}),
            ('sender = ["spam.example"]', {"sender": "a@SPAM.example"}, {"sender": "a@x.spam.example"}),
            ('sender = ["*.spam.example"]', {"sender": "a@x.spam.example"}, {"sender": "a@spam.example"}),
            ('sender = ["win@prize.example"]', {"sender": "Win@prize.example"}, {"sender": "b@prize.example"}),
            ('sender = ["win@"]', {"sender": "win@x.example"}, {"sender": "winner@x.example"}),
            ('sender_is = ["empty"]', {"sender": ""}, {}),
            ('sender_is = ["own"]', {"sender": "x@b.univ.example"}, {"sender": "x@univ.example"}),
            ('recipient = ["bob@"]', {"to": BOB}, {}),
            ('recipient = ["b.univ.example"]', {"to": BOB}, {}),
            # All of several conditions.
            ('sender_is = ["empty"]\nrecipient = ["b.univ.example"]', {"sender": "", "to": BOB}, {"sender": ""}),
        ],
    )  # fmt: skip
    async def test_without_dns(self, with_rules, dns, when, refused, passed):
        campus = await with_rules(rule("r", "refuse", when))
        assert (await reply_to(campus, **refused)).startswith("550 5.7.1 ")
        assert await reply_to(campus, **passed) == OK
        assert not dns.asked
        (event,) = campus.events("recipient_refused")
        assert (event["rule"], event["score"], event["client"]) == ("r", 0, refused.get("address", CLIENT))
        assert {"sender", "recipient", "helo"} <= set(event)
        assert campus.count("rule:r") == 1

    async def test_no_server_is_asked_about_a_recipient_that_is_refused(self, with_rules):
        campus = await with_rules(rule("r", "refuse", 'helo_is = ["bare"]'))
        assert (await reply_to(campus, helo="pc")).startswith("550")
        assert campus.a.connections == 0

    async def test_null_sender_has_one_recipient(self, with_rules):
        campus = await with_rules(rule("one", "refuse", 'sender_is = ["empty"]\nmore_recipients_than = 1'))
        client = await connect(campus)
        assert await client.start(ALICE, "bob@a.univ.example", sender="") == [
            OK,
            "550 5.5.3 Too many recipients for this sender",
        ]
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
        assert await client.start(ALICE, "bob@a.univ.example") == [OK, OK]

    async def test_own_domain_from_outside_but_not_from_a_forwarder(self, with_rules):
        campus = await with_rules(
            rule("forged", "refuse", 'sender_is = ["own"]', unless='client = ["@forwarders"]\nhelo = ["list.example"]'),
            lists=f'[lists.forwarders]\nkind = "network"\nentries = ["{OTHER}"]\n',
        )
        forged = {"sender": "dean@a.univ.example", "to": BOB}
        assert await reply_to(campus, **forged) == "550 5.7.1 Sender address <dean@a.univ.example> refused"
        assert await reply_to(campus, **forged, address=OTHER) == OK
        assert await reply_to(campus, **forged, helo="list.example") == OK

    async def test_first_decision_counts(self, with_rules):
        campus = await with_rules(
            rule("partner", "allow", f'client = ["{CLIENT}"]')
            + rule("busy", "defer", 'sender = ["spam.example"]', 'reply = "4.7.0 {client} may try later"')
            + rule("spam", "refuse", 'sender = ["spam.example"]')
        )
        assert await reply_to(campus, sender="a@spam.example") == OK
        assert await reply_to(campus, sender="a@spam.example", address=OTHER) == f"450 4.7.0 {OTHER} may try later"
        assert campus.count("rule:spam") == 0


class TestDns:
    async def test_dns_list(self, with_rules, dns):
        campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"'))
        dns.list_address(CLIENT, ZONE, "127.0.0.2")
        assert await reply_to(campus) == f"550 5.7.1 Client host {CLIENT} is listed in {ZONE}"
        assert await reply_to(campus, address=OTHER) == OK
        assert await reply_to(campus) != OK
        # Cached; and 127.0.0.1 was asked once, to see that not everything is listed.
        assert dict(dns.asked) == {
            (f"9.9.18.198.{ZONE}", "A"): 1,
            (f"10.9.18.198.{ZONE}", "A"): 1,
            (f"1.0.0.127.{ZONE}", "A"): 1,
        }

    async def test_dns_list_of_ipv6(self, with_rules, dns):
        campus = await with_rules(rule("bl", "refuse", f'dns_list = "{ZONE}"'))
        nibbles = ".".join(reversed("20010db8000900000000000000000001"))
        dns.add(f"{nibbles}.{ZONE}", "A", "127.0.0.2")
        assert (await reply_to(campus, address="2001:db8:9::1")).startswith("550")

    @pytest.mark.parametrize(
        ("codes", "score", "action"),
        [
            (["127.0.0.2"], 6, "tag"),
            (["127.0.0.4", "127.0.0.2"], 9, "refuse"),
            (["127.0.0.10"], None, "pass"),
            (["127.0.1.9"], 1, "pass"),
        ],
    )
    async def test_points_by_code_and_several_lists(self, with_rules, dns, codes, score, action):
        campus = await with_rules(
            rule(
                "bl",
                "score",
                f'dns_list = "{ZONE}"',
                'score = 1\ncodes = ["127.0.0.2=6", "127.0.0.4-7=9", "127.0.1.*"]',
            )
            + rule("wl", "score", 'dns_list = "dnswl.example"', "score = -20"),
            refusal="tag_score = 5\nrefuse_score = 8",
        )
        dns.list_address(CLIENT, ZONE, *codes)
        client = await connect(campus)
        (reply,) = await client.start(ALICE)
        if action == "refuse":
            assert reply == f"550 5.7.1 Client host {CLIENT} is listed in {ZONE}"
            assert campus.events("recipient_refused")[0]["score"] == score
        else:
            assert reply == OK
            await client.send(b"Subject: x\r\nX-Mailgate-Tag: forged\r\n\r\nHello.\r\n")
            content = campus.a.received[0].content
            tags = [line for line in content.split(b"\r\n") if line.startswith(b"X-Mailgate-Tag")]
            assert tags == ([b"X-Mailgate-Tag: score=6 rules=bl"] if action == "tag" else [])
            assert campus.events("message")[0].get("score") == score
        # A list of good clients makes up for it.
        dns.list_address(OTHER, ZONE, *codes)
        dns.list_address(OTHER, "dnswl.example", "127.0.5.1")
        assert await reply_to(campus, address=OTHER) == OK

    @pytest.mark.parametrize(
        ("records", "reply"),
        [
            ({}, "550 5.1.8 Domain of sender address <a@sender.example> does not exist or has no mail server"),
            ({("sender.example", "TXT"): ['"x"']}, "550 5.1.8 "),
            ({("sender.example", "MX"): ["10 mail.sender.example."]}, OK),
            ({("sender.example", "A"): ["198.18.9.9"]}, OK),
            ({("sender.example", "AAAA"): ["2001:db8::1"]}, OK),
            ({("sender.example", "MX"): ["0 ."]}, "550 5.1.8 "),
        ],
    )
    async def test_sender_domain(self, with_rules, dns, records, reply):
        campus = await with_rules(rule("none", "refuse", 'sender_is = ["no_server", "null_mx"]'))
        dns.records.update(records)
        assert (await reply_to(campus)).startswith(reply)
        # Not asked: the null sender, an address literal, our own domains need no record.
        assert await reply_to(campus, sender="") == OK
        assert await reply_to(campus, sender="a@[198.18.9.9]") == OK

    async def test_null_mx_only(self, with_rules, dns):
        campus = await with_rules(rule("null", "refuse", 'sender_is = ["null_mx"]'))
        dns.add("null.example", "MX", "0 .")
        assert (await reply_to(campus, sender="a@null.example")).startswith("550 5.7.27 ")
        assert await reply_to(campus, sender="a@none.example") == OK

    async def test_names_of_the_client(self, with_rules, dns):
        campus = await with_rules(
            rule("good", "allow", 'client_name = ["*.good.example"]')
            + rule("pool", "refuse", 'reverse_name = ["*.dyn.example"]')
            + rule("forged", "refuse", 'reverse_is = ["unverified"]')
            + rule("none", "defer", 'reverse_is = ["missing"]')
        )
        names = {1: "m.good.example", 2: "pc.dyn.example", 3: "m.good.example", 4: "m.fine.example"}
        for number, name in names.items():
            dns.add(f"{number}.9.18.198.in-addr.arpa", "PTR", f"{name}.")
        dns.add("m.good.example", "A", "198.18.9.1")
        dns.add("m.fine.example", "A", "198.18.9.4")
        replies = [(await reply_to(campus, address=f"198.18.9.{number}"))[:9] for number in range(1, 6)]
        assert replies == [OK[:9], "550 5.7.1", "550 5.7.2", OK[:9], "450 4.7.2"]


class TestWhereRulesApply:
    @pytest.mark.parametrize(
        ("address", "reply"), [("198.18.0.25", OK), ("198.18.7.1", OK), ("198.18.6.1", OK), (CLIENT, "550")]
    )
    async def test_exempt_clients_are_never_touched(self, with_rules, dns, address, reply):
        campus = await with_rules(
            rule("all", "refuse", 'sender = ["sender.example"]') + rule("bl", "refuse", f'dns_list = "{ZONE}"'),
            refusal='exempt = ["198.18.7.0/24", "@partners"]',
            lists='[lists.partners]\nkind = "network"\nentries = ["198.18.6.0/24"]\n',
        )
        assert (await reply_to(campus, address=address)).startswith(reply)
        assert address == CLIENT or not dns.asked
        assert campus.count("rule:all") == (address == CLIENT)

    async def test_domains_choose(self, with_rules):
        campus = await with_rules(
            rule("bare", "score", 'helo_is = ["bare"]', "score = 4"),
            refusal="tag_score = 5\nrefuse_score = 8\nstrict_tag_score = 2\nstrict_refuse_score = 4",
            domains='[domains."b.univ.example"]\nrules = "strict"\n[domains."*.a.univ.example"]\nrules = "ignore"\n',
        )
        client = await connect(campus, helo="pc")
        assert [reply[:3] for reply in await client.start(ALICE, BOB, "x@pc.lab.a.univ.example")] == [
            "250",
            "550",
            "250",
        ]
        assert campus.count("rule:bare") == 2

    async def test_each_recipient_gets_the_tag_of_its_domain(self, with_rules):
        campus = await with_rules(
            rule("bare", "tag", 'helo_is = ["bare"]'), domains='[domains."b.univ.example"]\nrules = "ignore"\n'
        )
        client = await connect(campus, helo="pc")
        assert await client.start(ALICE, BOB) == [OK, OK]
        assert (await client.send(b"Subject: x\r\n\r\nHello.\r\n")).startswith("250")
        assert b"\r\nX-Mailgate-Tag: score=0 rules=bare\r\nSubject: x\r\n" in campus.a.received[0].content
        assert b"X-Mailgate-Tag" not in campus.b.received[0].content
        # The next message of the connection is evaluated again.
        assert (await client.start(BOB))[0] == OK

    @pytest.mark.parametrize("way", ["rule", "service", "domain"])
    async def test_log_only(self, with_rules, way):
        campus = await with_rules(
            rule("r", "refuse", 'helo_is = ["bare"]', "log_only = true" if way == "rule" else ""),
            refusal='rules = "log"' if way == "service" else "",
            domains='[domains."a.univ.example"]\nrules = "log"' if way == "domain" else "",
        )
        client = await connect(campus, helo="pc")
        assert (await send_hello(client)).startswith("250")
        (event,) = campus.events("rule_log_only")
        assert (event["rules"], event["action"], event["recipient"]) == (["r"], "refuse", ALICE)
        assert campus.count("rule:r") == 1
        assert b"X-Mailgate-Tag" not in campus.a.received[0].content

    async def test_postmaster_of_the_gateway_is_always_reached(self, with_rules):
        campus = await with_rules(rule("all", "refuse", 'sender = ["sender.example"]'))
        client = await connect(campus)
        assert [reply[:3] for reply in await client.start("postmaster", "postmaster@gw1.univ.example", ALICE)] == [
            "250", "250", "550",
        ]  # fmt: skip

    async def test_japanese_reply_with_smtputf8(self, with_rules):
        campus = await with_rules(
            rule(
                "a", "refuse", 'sender = ["spam.example"]', 'reply = "5.7.1 No {sender}"\nreply_ja = "{sender} は不可"'
            )
            + rule("b", "refuse", 'helo_is = ["bare"]')
        )
        client = await connect(campus, helo="pc")
        await client.say("MAIL FROM:<a@spam.example> SMTPUTF8")
        assert (
            await client.say(f"RCPT TO:<{ALICE}>") == "550-5.7.1 No <a@spam.example>\n550 5.7.1 <a@spam.example> は不可"
        )
        await client.say("RSET")
        await client.say("MAIL FROM:<a@x.example> SMTPUTF8")
        first, second = (await client.say(f"RCPT TO:<{ALICE}>")).split("\n")
        assert first == "550-5.7.1 HELO name pc refused"
        assert second.startswith("550 5.7.1 ")
        assert not second.isascii()
        await client.say("RSET")
        assert await client.start(ALICE) == ["550 5.7.1 HELO name pc refused"]

    async def test_rules_change_at_a_reload(self, with_rules):
        campus = await with_rules(rule("r", "refuse", 'helo_is = ["bare"]'))
        assert (await reply_to(campus, helo="pc")).startswith("550")
        campus.gateway.use(dataclasses.replace(campus.gateway.config, rules=()), campus.gateway.routes)
        assert campus.gateway.rules is None
        assert await reply_to(campus, helo="pc") == OK
