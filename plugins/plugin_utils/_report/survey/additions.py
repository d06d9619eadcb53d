# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a survey adds to the inventory: values that were found, as a YAML file for the admin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .finding import Verdict
from .judge import Known, unknown_domains

_MANAGED = ("sendmail", "postfix")
_HEAD = """\
# Found by the survey; check each value. Only what the inventory does not have, or has otherwise, is listed.
---
"""


def additions(verdicts: Sequence[Verdict], known: Known) -> dict[str, dict[str, Any]]:
    """Return the proposed variables of each host; hosts without any are left out."""
    found = {verdict.host: dict(_host(verdict, known)) for verdict in verdicts if verdict.answer.get("facts")}
    return {host: values for host, values in found.items() if values}


def _host(verdict: Verdict, known: Known) -> Iterator[tuple[str, Any]]:
    answer = verdict.answer
    facts = answer["facts"]
    mta = facts.get("mta") or {}
    kind = mta.get("kind", "")
    if "servers" in verdict.functions and not answer.get("said") and kind:
        if kind in _MANAGED and not mta.get("problems"):
            yield "mailgate_mta", kind
        elif kind not in _MANAGED:
            yield "mailgate_mta", "none"
    if unknown := unknown_domains(answer, known):
        yield "mailgate_domains", [*answer.get("domains", ()), *unknown]
    router = facts.get("router") or {}
    if "borders" in verdict.functions and router.get("undecided") and router.get("default"):
        yield "mailgate_border", {"outside_interface": router["default"]}


def as_yaml(found: Mapping[str, Mapping[str, Any]], scalar: Any) -> str:
    """Return the additions as an inventory file.

    Args:
        found: The variables of each host, from `additions`.
        scalar: Returns a text as YAML.
    """
    if not found:
        return _HEAD + "all: {}\n"
    lines = ["all:", "  hosts:"]
    for host, values in found.items():
        lines.append(f"    {scalar(host)}:")
        for name, value in values.items():
            if isinstance(value, list):
                lines += [f"      {name}:", *(f"        - {scalar(each)}" for each in value)]
            elif isinstance(value, dict):
                inner = ", ".join(f"{key}: {scalar(each)}" for key, each in value.items())
                lines.append(f"      {name}: {{{inner}}}")
            else:
                lines.append(f"      {name}: {scalar(value)}")
    return _HEAD + "".join(f"{line}\n" for line in lines)
