# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what port 25 of gateways and inner servers answers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ....module_utils._probe.answers import Outcome
from ....module_utils._probe.answers import judge as outcome
from ..._verify.questions import OUTSIDE, Plan, addresses, inner, permitted
from .dns import day
from .fault import Fault, some
from .limits import Limits

_OPEN = "open"
NO_ROUTE = "no_route"


def judge(
    plan: Plan, probes: Sequence[Mapping[str, Any]], limits: Limits, now: float, fronted: Collection[str] = ()
) -> Iterator[Fault]:
    """Yield the faults that all vantage points together find by SMTP.

    `fronted` are the gateways with a front, which accepts unknown users by design; the gateway behind it refuses them.
    """
    refusing = {
        each["domain"]
        for probe in probes
        for answer in _answers(plan, probe, "inner")
        for each in answer["unknown"]
        if 500 <= each["code"] < 600
    }
    yield from _families(probes)
    for probe in probes:
        for fault in _probed(plan, probe, refusing, limits, now, fronted):
            yield replace(fault, seen=(str(probe["host"]),))


def _probed(  # noqa: PLR0917
    plan: Plan,
    probe: Mapping[str, Any],
    refusing: set[str],
    limits: Limits,
    now: float,
    fronted: Collection[str],
) -> Iterator[Fault]:
    """Yield the faults that one vantage point finds."""
    gateways = list(_answers(plan, probe, "gateways"))
    offering = sorted({each["host"] for each in gateways if "STARTTLS" in each["extensions"]})
    for answer in gateways:
        yield from _gateway(plan, answer, offering, set() if answer["name"] in fronted else refusing)
        yield from _certificate(answer, limits, now)
    for answer in _answers(plan, probe, "inner"):
        yield from _inner(plan, answer, str(probe["side"]))


def _families(probes: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield a fault for a version of IP that no vantage point has."""
    families: dict[str, set[bool]] = {}
    for answer in (answer for probe in probes for answer in probe["smtp"]["servers"]):
        version = "IPv6" if ":" in answer["address"] else "IPv4"
        families.setdefault(version, set()).add(answer["state"] != NO_ROUTE)
    for version, routes in families.items():
        if routes == {False}:
            names = ", ".join(str(probe["host"]) for probe in probes)
            yield Fault("unread", names, {"text": f"{version}: no route from there"}, key=version)


def _answers(plan: Plan, probe: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """Yield the answers of gateways or of inner servers, with the inventory names of the hosts."""
    owners = {address: gateway["host"] for gateway in plan["gateways"] for address in addresses(gateway)}
    if kind == "inner":
        owners = {address: name for name, host in inner(plan) for address in addresses(host)}
    for answer in probe["smtp"]["servers"]:
        if answer["address"] in owners and answer["state"] != NO_ROUTE:
            yield answer | {"name": owners[answer["address"]]}


def _gateway(plan: Plan, answer: Mapping[str, Any], offering: Sequence[str], refusing: set[str]) -> Iterator[Fault]:
    host, address = answer["name"], answer["address"]
    if answer["state"] != _OPEN:
        yield Fault("closed", host, {"address": address, "state": _why(answer)}, key=address)
        return
    if answer["error"]:
        yield Fault("session", host, {"address": address, "text": _why(answer)}, key=address)
        return
    name = {each["host"]: each["exchange"] for each in plan["gateways"]}[host]
    greeted = [*answer["greeting"].split(), "", ""][1].lower()
    if greeted != name:
        yield Fault("banner", host, {"found": greeted or "-", "planned": name}, key=address)
    if offering and "STARTTLS" not in answer["extensions"]:
        yield Fault("no_tls", host, {"other": offering[0]}, key=address)
    size = answer["size"]
    if size and not 500 <= size["code"] < 600:
        values = {"declared": size["declared"], "text": f"{size['code']} {size['text']}"}
        yield Fault("size", host, values, key=address)
    yield from _domains(answer)
    yield from _relay(answer, refusing)
    known = [each["domain"] for each in answer["unknown"] if each["code"] == 250 and each["domain"] in refusing]
    if known:
        yield Fault("unverified", host, {"domains": some(known)}, key=known[0])


def _domains(answer: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield one fault for all domains with the same outcome."""
    kinds = {Outcome.REFUSED: "refused", Outcome.LATER: "deferred", Outcome.SILENT: "unanswered"}
    groups: dict[Outcome, list[Mapping[str, Any]]] = {}
    for each in answer["domains"]:
        groups.setdefault(outcome(each["code"], each["text"]), []).append(each)
    for found, kind in kinds.items():
        if failed := groups.get(found):
            text = f"{failed[0]['code'] or ''} {failed[0]['text']}".strip()
            values = {"domains": some([each["domain"] for each in failed]), "text": text}
            yield Fault(kind, answer["name"], values, key=failed[0]["domain"])


def _relay(answer: Mapping[str, Any], refusing: set[str]) -> Iterator[Fault]:
    """Yield the forms that relay; those at a domain of its own only if it refuses unknown users there."""
    relay = answer["relay"]
    if not relay:
        return
    refuses = any(each["domain"] in refusing or each["code"] >= 500 for each in answer["unknown"])
    passed = [each for each in relay["accepted"] if refuses or not each["local"]]
    if passed:
        values = {
            "count": len(passed),
            "tried": relay["tried"],
            "form": passed[0]["name"],
            "recipient": passed[0]["recipient"],
        }
        yield Fault("relay", answer["name"], values)


def _certificate(answer: Mapping[str, Any], limits: Limits, now: float) -> Iterator[Fault]:
    tls, host, address = answer["tls"], answer["name"], answer["address"]
    if not tls:
        return
    if tls["error"]:
        yield Fault("tls", host, {"text": tls["error"]}, key=address)
    elif tls["not_after"] <= now:
        yield Fault("certificate", host, {"text": f"expired on {day(tls['not_after'])}"}, key="expired")
    elif tls["not_before"] > now:
        yield Fault("certificate", host, {"text": f"is not valid before {day(tls['not_before'])}"}, key="early")
    elif not tls["matches"]:
        text = f"is for {', '.join(tls['names'][:3]) or '-'}, not for {answer['host']}"
        yield Fault("certificate", host, {"text": text}, key="name")
    elif tls["not_after"] <= now + limits.certificate_days * 86400:
        yield Fault("certificate_ends", host, {"until": day(tls["not_after"])})


def _inner(plan: Plan, answer: Mapping[str, Any], side: str) -> Iterator[Fault]:
    host, address, state = answer["name"], answer["address"], answer["state"]
    values = {"address": address, "state": _why(answer)}
    if side == OUTSIDE:
        if address in permitted(plan):
            if state != _OPEN:
                yield Fault("permit", host, values, key=address)
        elif state == _OPEN:
            yield Fault("open", host, values, key=address)
        return
    if state != _OPEN:
        yield Fault("silent", host, values, key=address)
    elif answer["error"]:
        yield Fault("session", host, values | {"text": _why(answer)}, key=address)
    else:
        yield from _domains(answer)
        yield from _relay(answer, set())


def _why(answer: Mapping[str, Any]) -> str:
    """Return what a connection met, with the greeting of a server that rejects it."""
    rejected = answer["greeting"] if answer["greeting"][:3] not in ("", "220") else ""
    return ", ".join(filter(None, (answer["state"] if answer["state"] != _OPEN else "", rejected, answer["error"])))
