# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The outside interfaces of a router: whether packets can arrive on those that the rules name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

NETWORK = Path("/sys/class/net")


def read(directory: Path = NETWORK) -> dict[str, str]:
    """Return this router's interfaces, each with the bridge, VRF or bond that it is a port of, or ""."""
    masters = {}
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if path.is_dir():
            master = path / "master"
            masters[path.name] = master.resolve().name if master.exists() else ""
    return masters


def matches(pattern: str, name: str) -> bool:
    """Return whether a name of the rules, perhaps with a final `+`, matches an interface."""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def judge(patterns: Iterable[str], masters: Mapping[str, str], known: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return problems, which must stop a change, and warnings. Pure.

    Args:
        patterns: The names in the rules.
        masters: The interfaces of the router, from `read`.
        known: The names in the rules as loaded: their interface may be down at the moment.
    """
    listed, loaded = list(patterns), set(known)
    problems: list[str] = []
    missing: list[str] = []
    for pattern in listed:
        found = [name for name in masters if matches(pattern, name)]
        if not found:
            missing.append(pattern)
        ports = [name for name in found if masters[name]]
        if ports and len(ports) == len(found):
            problems.append(
                f"outside_interface: {pattern!r} matches only {ports[0]}, a port of {masters[ports[0]]}: forwarded "
                f"packets arrive on {masters[ports[0]]}; write that name"
            )
    present = ", ".join(name for name in masters if name != "lo" and not masters[name]) or "none"
    texts = [f"no interface {name!r} on this router (it has {present})" for name in missing]
    if missing and len(missing) == len(listed) and not loaded.issuperset(missing):
        problems.append(
            f"outside_interface: {'; '.join(texts)}. Port 25 would stay open. Correct the name, or bring the "
            "interface up and run this again"
        )
        return problems, []
    warning = "the rules apply to it as soon as it exists; check the name"
    return problems, [f"outside_interface: {text}: {warning}" for text in texts]
