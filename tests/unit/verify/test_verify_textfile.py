# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification as metrics: a format that Prometheus reads, complete, and written as a whole."""

from __future__ import annotations

import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from verify_campus import DAY, GW1, NOW, Sound

from ansible_collections.campus.mailgate.plugins.action import mail_verify_print
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.fault import KINDS
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.textfile import (
    LABELS,
    as_textfile,
    first_expiry,
)
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.verdict import Acknowledged


def parse(text: str) -> dict[tuple[str, ...], float]:
    """Return the values by name and values of the labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) == LABELS[sample.name]
            found[sample.name.removeprefix("mailgate_verify_"), *sample.labels.values()] = sample.value
    return found


def metrics(campus: Sound, **changes: object) -> dict[tuple[str, ...], float]:
    return parse(as_textfile(campus.verdict(**changes), NOW, seconds=12.5, expiry=NOW + DAY))


def test_a_sound_campus():
    found = metrics(Sound())
    assert found["timestamp_seconds",] == NOW
    assert found["duration_seconds",] == 12.5
    assert found["certificate_expiry_timestamp_seconds",] == NOW + DAY
    assert found["hosts",] > 0
    kinds = {key[2]: value for key, value in found.items() if key[0] == "faults"}
    assert kinds == dict.fromkeys(KINDS, 0), "also those without faults, so that an alert ends"


def test_faults_by_level_and_kind():
    campus = Sound()
    campus.smtp("2001:db8:18:1::25").update(state="open")
    campus.facts(GW1)["kept"] = [{"path": "/etc/x", "state": "edited", "own": True, "by": "x"}]
    found = metrics(campus)
    assert found["faults", "error", "open"] == 1
    assert found["faults", KINDS["drift"].level, "drift"] == 1
    found = metrics(campus, baseline=[Acknowledged("drift *", "waits", datetime.date(2026, 5, 1))])
    assert found["faults", KINDS["drift"].level, "drift"] == 0
    assert found["acknowledged_faults",] == 1


def test_what_is_not_known_is_missing():
    found = parse(as_textfile(Sound().verdict(), NOW, seconds=None, expiry=None))
    assert not {("duration_seconds",), ("certificate_expiry_timestamp_seconds",)} & set(found)


def test_first_expiry():
    def seen(*tls: object) -> list[dict]:
        return [{"smtp": {"servers": [{"tls": each}, {}]}} for each in tls]

    good = {"error": "", "not_after": NOW + DAY}
    later = {"error": "", "not_after": NOW + 2 * DAY}
    assert first_expiry(seen(later, {}, {"error": "no certificate"}, good)) == NOW + DAY
    assert first_expiry(seen({}, None)) is None


@pytest.mark.parametrize("check", [False, True])
def test_it_is_written_as_a_whole(tmp_path, check):
    action = mail_verify_print.ActionModule.__new__(mail_verify_print.ActionModule)
    action._task = type("Task", (), {"check_mode": check})()
    (tmp_path / "mailgate.prom").write_text("old")
    before = (tmp_path / "mailgate.prom").stat().st_ino
    assert action._write(tmp_path, {"mailgate.prom": "new\n"}) == [f"{tmp_path}/mailgate.prom"]
    assert [path.name for path in tmp_path.iterdir()] == ["mailgate.prom"]
    assert (tmp_path / "mailgate.prom").read_text() == ("old" if check else "new\n")
    assert ((tmp_path / "mailgate.prom").stat().st_ino == before) is check
