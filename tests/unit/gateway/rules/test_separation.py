# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipients whose domains have chosen differently, each in a transaction of its own."""

from __future__ import annotations

import pytest
from gateway_doubles import EICAR
from rule_clients import ALICE, BOB, OK, OTHER, connect, rule
from signed_mail import MESSAGE

SEPARATE = "452 4.5.3 Recipient requires a separate transaction; retry this recipient"
ON = "separate_choices = true"
FROM = rule("r", "refuse", 'from_header = ["sender.example"]')


@pytest.mark.parametrize(
    ("given", "separate"),
    [
        ({"domains": 'infected = "refuse"'}, True),
        ({"domains": 'macro = "strip"'}, True),
        # What is the choice of all domains.
        ({"domains": 'infected = "strip"'}, False),
        ({"domains": 'rules = "ignore"', "rules": FROM}, True),
        # Without an effect on the received message.
        ({"domains": 'rules = "ignore"', "rules": rule("r", "refuse", 'helo = ["x.example"]')}, False),
        ({"domains": 'dmarc = "refuse"', "auth": "evaluate = true"}, True),
        ({"domains": 'spam = "off"'}, False),
        ({}, False),
    ],
)
async def test_choices(with_rules, given, separate):
    chosen = given.pop("domains", "")
    campus = await with_rules(refusal=ON, domains=f'[domains."b.univ.example"]\n{chosen}\n', **given)
    client = await connect(campus)
    assert await client.start(ALICE, BOB, "carol@a.univ.example") == [OK, SEPARATE if separate else OK, OK]
    await client.say("RSET")
    assert await client.start(BOB, ALICE) == [OK, SEPARATE if separate else OK]
    assert [event["recipient"] for event in campus.events("recipient_refused")] == [BOB, ALICE] * separate


async def test_each_domain_gets_what_it_chose(with_rules):
    campus = await with_rules(refusal=ON, domains='[domains."b.univ.example"]\ninfected = "refuse"\n')
    infected = MESSAGE.replace(b"\r\n\r\n", b"\r\n\r\n" + EICAR + b"\r\n", 1)
    client = await connect(campus)
    assert await client.start(BOB, ALICE) == [OK, SEPARATE]
    assert (await client.send(infected)).startswith("554 5.7.0 Message contains malware")
    assert await client.start(ALICE) == [OK]
    assert (await client.send(MESSAGE)).startswith("250")


async def test_postmaster_is_separate(with_rules):
    campus = await with_rules(FROM, refusal=ON)
    client = await connect(campus)
    assert await client.start("postmaster@gw1.univ.example", ALICE, "postmaster") == [OK, SEPARATE, OK]


@pytest.mark.parametrize("refusal", ["", f'{ON}\nexempt = ["{OTHER}"]'])
async def test_exempt_clients_and_default(with_rules, refusal):
    campus = await with_rules(FROM, refusal=refusal, domains='[domains."b.univ.example"]\nrules = "ignore"\n')
    client = await connect(campus, OTHER)
    assert await client.start(ALICE, BOB) == [OK, OK]
