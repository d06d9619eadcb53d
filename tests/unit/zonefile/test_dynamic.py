# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dynamic zones: an updated zone that BIND 9.20 signs is served with the change a moment later."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind import dynamic
from ansible_collections.campus.mailgate.plugins.module_utils._bind.client import Change, Key, MxSet
from ansible_collections.campus.mailgate.plugins.module_utils._bind.dynamic import DynamicZone
from ansible_collections.campus.mailgate.plugins.module_utils._bind.named_conf import ServedZone
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import Name, ZoneError

OWNER: Name = (b"eng", b"test")
OLD, NEW = MxSet(frozenset({(0, (b"old", b"test"))}), 60), MxSet(frozenset({(0, (b"gw", b"test"))}), 60)


class SigningServer:
    """Serves updates after so many queries."""

    def __init__(self, queries: int) -> None:
        self.queries = queries
        self.updated: list[Sequence[Change]] = []

    def update(self, zone: str, changes: Sequence[Change], key: Key | None) -> None:
        self.updated.append(changes)

    def mx(self, zone: str, owner: Name, key: Key | None) -> MxSet:
        self.queries -= 1
        return OLD if self.queries >= 0 else NEW

    def soa(self, zone: str, key: Key | None) -> tuple[int, int]:
        return 2, 60


def zone(server: SigningServer) -> DynamicZone:
    served = ServedZone(name="eng.test", view="", kind="primary", file="/z", directory="", journal="", obstacles=())
    return DynamicZone(served, {}, server, None, [(OWNER, OLD, NEW)], [], {}, 1, 1)  # type: ignore[arg-type]


def test_a_change_that_is_served_a_moment_later_is_waited_for():
    server = SigningServer(queries=3)
    changed = zone(server)
    changed.commit()
    assert (changed.sent, changed.serial_after, len(server.updated)) == (True, 2, 1)


def test_a_change_that_is_never_served_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dynamic, "SERVED_SECONDS", 0.3)
    with pytest.raises(ZoneError, match=r"accepted the updates of eng\.test\.? but serves other MX records"):
        zone(SigningServer(queries=10_000)).commit()
