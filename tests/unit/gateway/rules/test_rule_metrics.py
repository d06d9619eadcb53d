# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of refusal rules and of DNS, by real SMTP and a real DNS server."""

from __future__ import annotations

from rule_clients import CLIENT, OK, OTHER, ZONE, reply_to, rule

from mailgate.config import Endpoint
from mailgate.metric_settings import MetricSettings

METRICS = MetricSettings(listen=(Endpoint("127.0.0.1", 9812),))


async def test_refusals_have_the_name_of_the_rule_and_look_ups_are_timed(with_rules, dns):
    campus = await with_rules(rule("spamlist", "refuse", f'dns_list = "{ZONE}"'), metrics=METRICS)
    dns.list_address(CLIENT, ZONE, "127.0.0.2")
    for _ in range(3):
        assert (await reply_to(campus)).startswith("550")
    assert await reply_to(campus, address=OTHER) == OK
    memory = campus.gateway.worker_counters._shared.metrics
    assert {labels: value for labels, value in memory.totals("refusals").items() if value} == {
        ("recipient", "spamlist", "550"): 3
    }
    stages = {labels[0]: (counts[-1], total) for labels, counts, total in memory.histogram("stage_seconds")}
    number, seconds = stages["dns"]
    assert number == 2, "the answer about the first client is cached"
    assert 0 < seconds < 10
    assert stages["verify"][0] == 1
