# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of events covers all events that the code writes, and the documentation has it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mailgate
from mailgate.event_kinds import FIELDS, KINDS, problems_of
from mailgate.event_limiter import LIMITS

PACKAGE = Path(mailgate.__file__).parent
ROOT = Path(__file__).parents[3]


def written() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield place, kinds (several if a condition selects one) and fields of each event with a literal name."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            if node.func.attr not in ("emit", "_emit"):
                continue
            names = [each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
            if names:
                yield f"{path.name}:{node.lineno}", names, [word.arg for word in node.keywords if word.arg]


def test_every_event_in_the_code_is_declared_with_its_fields():
    found = list(written())
    assert len(found) > 30
    for place, names, fields in found:
        assert {*names} <= {*KINDS}, place
        assert {*fields} <= {each for name in names for each in (*KINDS[name].fields, *KINDS[name].optional)}, place


def test_no_declared_event_is_unused():
    indirect = {
        "list_loaded",
        "list_refused",
        "dns_failed",
        "state_failed",
        "state_restored",
        "early_talker",
        "pipelining",
        "limits_store_failed",
        "shared_state_failed",
    }
    assert {*KINDS} - {name for _place, names, _fields in written() for name in names} <= indirect


def test_every_field_and_limit_is_of_a_kind():
    used = {field for kind in KINDS.values() for field in (*kind.fields, *kind.optional)}
    assert used == {*FIELDS}
    assert {*LIMITS} <= {*KINDS}


def test_problems_are_found():
    assert problems_of({"event": "queue_down", "reason": "x", "v": 1, "time": 1.5}) == []
    assert problems_of({"event": "queue_down", "suppressed": 4}) == []
    assert problems_of({"event": "queue_down"}) == ["queue_down: reason is missing"]
    assert problems_of({"event": "queue_down", "reason": 4}) == ["queue_down: reason is 4"]
    assert problems_of({"event": "queue_down", "reason": "x", "size": 3}) == ["queue_down: size is not declared"]
    assert problems_of({"event": "reloaded", "routes": True}) == ["reloaded: routes is True"]
    assert problems_of({"event": "other"}) == ["unknown event 'other'"]


def test_the_documentation_is_generated_from_the_schema():
    done = subprocess.run(
        [sys.executable, ROOT / "tests/sanity/events", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
