# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Permits that end by themselves, with each backend in a real kernel."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from netfilter_kernel import GUARD, Kernel

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import expiry, model, nft
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Permit

LATER = "2099-12-31"
DATED = [
    (Permit("198.18.1.40", f"research's: SMTP é; netlab; until {LATER}"), LATER),
    (Permit("2001:db8:18:1::40", "research"), LATER),
]
UNDATED = Permit("198.18.2.0/28")
GUARDED = dataclasses.replace(GUARD, permits=(*(permit for permit, _until in DATED), UNDATED))


def test_only_the_lines_of_expired_permits_go():
    text = expiry.text_of([*DATED, (UNDATED, "")])
    assert len(text.splitlines()) == 6
    assert expiry.expired(text, datetime.date(2099, 12, 31)) == frozenset()
    gone = expiry.expired(f"{text}damaged\n", datetime.date(2100, 1, 1))
    for guard in (GUARDED, dataclasses.replace(GUARDED, set_threshold=0)):
        tables = [model.render(guard, family) for family in model.FAMILIES]
        for before in (*(table.text() for table in tables), model.sets_text(tables), nft.render(guard)):
            after = expiry.without(before, gone)
            assert "198.18.1.40" not in after
            assert "2001:db8:18:1::40" not in after
            left = set(before.splitlines()) - set(after.splitlines())
            assert all("1.40" in line or ":1::40" in line or line.strip() in {"elements = {", "}"} for line in left)
            assert after.count("198.18.2.0/28") == before.count("198.18.2.0/28")


@pytest.mark.parametrize("kernel", ["nft"], indirect=True)
@pytest.mark.parametrize("backend", ["iptables", "sets", "nft"])
def test_the_router_ends_permits_and_takes_it_back(kernel: Kernel, backend: str) -> None:
    guard = dataclasses.replace(GUARDED, set_threshold=0 if backend == "sets" else 64)
    tables = [] if backend == "nft" else [model.render(guard, family) for family in model.FAMILIES]
    text = expiry.text_of(DATED)
    router = kernel.router()
    router.apply(router.compare(tables, "" if tables else nft.render(guard), text), 0)

    def permitted() -> list[bool]:
        """Return which of the dated permits and of the other one are in force."""
        rules = kernel.must("nft", "list", "ruleset") + kernel.must("ipset", "save")
        rules += "".join("\n".join(kernel.rules(family)) for family in model.FAMILIES)
        return [address in rules for address in ("198.18.1.40", "2001:db8:18:1::40", "198.18.2.0/28")]

    assert permitted() == [True] * 3
    file = kernel.directory / expiry.FILE
    file.write_text("".join(f"2026-01-01{line.removeprefix(LATER)}\n" for line in text.splitlines()))
    assert permitted() == [True] * 3
    assert kernel.loader("expire") == 0
    assert permitted() == [False, False, True]
    counted = kernel.rules("ipv4")
    assert kernel.loader("expire") == 0
    assert kernel.rules("ipv4") == counted
    kernel.flush()
    assert kernel.loader("boot") == 0
    assert permitted() == [False, False, True]
    file.write_text(text)
    assert kernel.loader("expire") == 0
    assert permitted() == [True] * 3
    assert not router.compare(tables, "" if tables else nft.render(guard), text).needed
    router.apply(router.compare([]), 0)
    assert list(kernel.directory.iterdir()) == []


@pytest.mark.parametrize("kernel", ["nft"], indirect=True)
def test_an_unconfirmed_date_is_taken_back(kernel: Kernel) -> None:
    router = kernel.router()
    tables = [model.render(GUARDED, family) for family in model.FAMILIES]
    router.apply(router.compare(tables), 0)
    before = {path.name: path.read_text() for path in kernel.directory.iterdir()}
    change = router.compare(tables, expiry_text=expiry.text_of(DATED))
    assert change.needed
    assert not change.parts
    router._keep_old(change.old_files)  # as an interrupted run leaves it
    (kernel.directory / expiry.FILE).write_text(change.files[expiry.FILE])
    assert kernel.loader("undo") == 0
    assert {path.name: path.read_text() for path in kernel.directory.iterdir()} == before
