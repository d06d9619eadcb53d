# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of several gateways as one on the page, by the rules of the report itself."""

from __future__ import annotations

from typing import Any

from mailgate.period_report.sums import TOTALS, added
from mailgate.web.merge import reports


def answer(processed: int, **delays: int) -> dict[str, Any]:
    buckets = {name.removeprefix("s").replace("_", "."): number for name, number in delays.items()}
    totals = dict.fromkeys(TOTALS, processed)
    return {
        **totals, "since": "2026-07-01", "until": "2026-08-01", "before": dict.fromkeys(TOTALS, 1),
        "days": {"2026-07-01": {"accepted": processed}}, "domains": {"a.example": {"accepted": processed}},
        "viruses": {"Eicar": processed}, "delays": {"p50": 9.0, "p95": 9.0, "p99": 9.0, "buckets": buckets},
    }  # fmt: skip


def test_percentiles_are_those_of_all_mail_together():
    one, other = answer(990, s0_05=990), answer(10, s2=10)
    found = reports([one, other])
    assert [found["delays"][name] for name in ("p50", "p95", "p99")] == [0.05, 0.05, 0.05]
    assert found["delays"] == added({"gw1": one, "gw2": other})["delays"]
    assert reports([answer(50, s0_05=50), answer(50, s2=50)])["delays"]["p95"] == 2.0


def test_numbers_are_added_up():
    found = reports([answer(3), answer(4)])
    assert found["totals"] == dict.fromkeys(TOTALS, 7)
    assert found["before"] == dict.fromkeys(TOTALS, 2)
    assert found["days"]["2026-07-01"]["accepted"] == found["domains"]["a.example"]["accepted"] == 7
    assert found["lists"] == {"viruses": [("Eicar", 7)]}
    assert found["delays"] == {}


def test_the_part_of_a_faculty_and_of_an_earlier_version():
    part = {"days": {"2026-07-01": {"accepted": 1}}, "domains": {}, "recipients": {"a@a.example": 1}, "notes": []}
    found = reports([part, {"days": {}, "delays": {"p50": 0.1}}])
    assert found["totals"] == {}
    assert found["delays"] == {}
    assert found["lists"] == {"recipients": [("a@a.example", 1)]}
