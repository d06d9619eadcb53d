# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPF: the public test suite of RFC 7208, and records that are to exhaust the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mailgate.authentication.lookups import Lookup, NeededError, Records
from mailgate.authentication.spf import MAX_RECORD_BYTES, evaluate

SUITE = Path(__file__).parent / "vectors" / "rfc7208-tests.yml"


def scenarios():
    for scenario in yaml.safe_load_all(SUITE.read_text(encoding="utf-8")):
        zone = {name.lower(): records for name, records in scenario["zonedata"].items()}
        for name, test in scenario["tests"].items():
            yield pytest.param(zone, test, id=name)


def answer(zone: dict, lookup: Lookup) -> Records | None:
    """Return the records of the suite's zone; SPF records stand for TXT records where there are none."""
    records = zone.get(lookup.name, [])
    fields = [item for record in records if isinstance(record, dict) for item in record.items()]
    texts = any(kind == "TXT" for kind, _value in fields)
    found = []
    for given, value in fields:
        kind = "TXT" if given == "SPF" and not texts else given
        if kind == "CNAME":
            return answer(zone, Lookup(lookup.type, value.lower()))
        if kind != lookup.type or value == "NONE":
            continue
        if value == "TIMEOUT":
            return None
        if kind == "TXT":
            found.append((value if isinstance(value, str) else "".join(value)).encode())
        else:
            found.append((f"{value[0]} {value[1]}" if kind == "MX" else value).encode())
    return None if "TIMEOUT" in records and not found else tuple(found)


def result(zone: dict, host: str, helo: str, sender: str) -> tuple[str, int]:
    """Return the result and the number of look-ups."""
    found: dict[Lookup, Records | None] = {}
    while True:
        try:
            return evaluate(host, helo, sender, found), len(found)
        except NeededError as needed:
            found[needed.lookup] = answer(zone, needed.lookup)


SCENARIOS = list(scenarios())


@pytest.mark.parametrize(("zone", "test"), SCENARIOS)
def test_suite_of_rfc_7208(zone, test):
    expected = test["result"]
    found, _lookups = result(zone, test["host"], test["helo"], test["mailfrom"])
    assert found in ([expected] if isinstance(expected, str) else expected)


def test_the_suite_is_whole():
    assert len(SCENARIOS) == 203


@pytest.mark.parametrize(
    ("helo", "expected"),
    [("mail.x.example", "pass"), ("pc", "none"), ("[198.18.9.9]", "none"), ("other.example", "none")],
)
def test_null_sender_is_checked_by_its_helo_name(helo, expected):
    zone = {"mail.x.example": [{"TXT": "v=spf1 a -all"}, {"A": "198.18.9.9"}]}
    assert result(zone, "198.18.9.9", helo, "")[0] == expected


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ('"a@other.example"@x.example', "pass"),
        ('"a@x.example"@other.example', "none"),
        ("a@[198.18.9.9]", "none"),
        ("ü@x.example", "pass"),
    ],
)
def test_domain_of_the_sender(sender, expected):
    assert result({"x.example": [{"TXT": "v=spf1 ip4:198.18.9.9 -all"}]}, "198.18.9.9", "pc", sender)[0] == expected


def test_failure_of_dns_is_temporary():
    found = {Lookup("TXT", "x.example"): None}
    assert evaluate("198.18.9.9", "pc", "a@x.example", found) == "temperror"


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 " + "%{" * 2000,
        "v=spf1 " + "a:%{d" * 800,
        "v=spf1 " + " ".join(f"a:{number}.x.example" for number in range(250)),
        "v=spf1 " + "ip4:1.2.3.4 " * 330,
        "v=spf1 exists:" + "%{i}." * 600,
        "v=spf1 include:x.example",
        "v=spf1 redirect=x.example",
        "v=spf1 exp=%{" + "a" * 4000,
        "v=spf1 " + "/" * 4000,
        "v=spf1 a:" + "-" * 4000,
        "v=spf1 ip6:" + "1:" * 2000,
    ],
)  # fmt: skip
def test_hostile_records_end_soon(record, cpu_seconds):
    def evaluate() -> None:
        found, lookups = result({"x.example": [{"TXT": record}]}, "198.18.9.9", "pc", "a@x.example")
        assert found in ("permerror", "neutral")
        assert lookups <= 20

    assert cpu_seconds(evaluate) < 1


def test_record_that_is_too_large_is_left_out():
    record = "v=spf1 " + "ip4:198.18.9.9 " * 300
    assert len(record) > MAX_RECORD_BYTES
    assert result({"x.example": [{"TXT": record}]}, "198.18.9.9", "pc", "a@x.example")[0] == "none"


def test_many_servers_of_many_terms_are_bounded(cpu_seconds):
    zone: dict = {"x.example": [{"TXT": "v=spf1 " + " ".join(f"mx:m{number}.example" for number in range(12))}]}
    for number in range(12):
        zone[f"m{number}.example"] = [{"MX": [10, f"h{number}-{server}.example"]} for server in range(10)]
        zone |= {f"h{number}-{server}.example": [{"A": "198.18.7.7"}] for server in range(10)}

    def evaluate() -> None:
        assert result(zone, "198.18.9.9", "pc", "a@x.example") == ("permerror", 111)

    assert cpu_seconds(evaluate) < 2
