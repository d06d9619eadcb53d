# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a step of the rollout rests on, and whether they are ready. Pure: a plan and results in, problems out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STEPS = ("routes", "gateways", "dns", "border")
"""The steps of playbooks/site.yml in their order; each is also the tag of its play."""

_RISK = {
    "gateways": "Changing the next gateway now could leave the campus without a working gateway",
    "dns": "Senders would follow the new MX records to hosts that they cannot reach or that reject their mail",
    "border": "Senders that still use the old MX records could not deliver mail any more",
}
_UNCHANGED = {
    "gateways": "this gateway is unchanged",
    "dns": "the MX records are unchanged",
    "border": "the border is unchanged",
}


@dataclass(frozen=True)
class Run:
    """One run of the playbook.

    Attributes:
        hosts: The hosts in the run, without those that `--limit` excludes.
        done: For each step the hosts that finished it in this run.
        tags: The tags of the run, `all` without a selection.
        skip_tags: The tags that the run skips.
        answers: For each host that was asked the problems found, empty if it answers as planned.
        notes: For each host that was asked what it could not determine.
        accepted: The hosts whose problems are warnings.
    """

    hosts: Collection[str]
    done: Mapping[str, Collection[str]]
    tags: Collection[str] = ("all",)
    skip_tags: Collection[str] = ()
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    accepted: Collection[str] = ()

    def unfinished(self, host: str, step: str) -> bool:
        """Return whether the host is in a step of this run that it did not finish."""
        selected = bool({"all", "tagged", step} & set(self.tags)) and not {"all", "tagged", step} & set(self.skip_tags)
        return selected and host in self.hosts and host not in self.done.get(step, ())


@dataclass(frozen=True)
class Verdict:
    """The problems that stop a step, and warnings; one line for each host."""

    problems: Sequence[str]
    warnings: Sequence[str]


def rests_on(plan: Mapping[str, Any], step: str, host: str) -> dict[str, tuple[str, ...]]:
    """Return the hosts that must be ready before `host` takes `step`, each with the steps that it must have taken."""
    gateways = [str(gateway["host"]) for gateway in plan["gateways"]]
    if step == "gateways":
        later = gateways[gateways.index(host) + 1 :] if host in gateways else []
        return {host: ("routes",)} | dict.fromkeys(reversed(later), ("routes", "gateways"))
    needed: dict[str, tuple[str, ...]] = dict.fromkeys(gateways, ("routes", "gateways"))
    for hub in hubs(plan):
        needed.setdefault(hub, ("routes",))
    if step == "border":
        for server in plan["mx"]:
            needed[server] = (*needed.get(server, ()), "dns")
    return needed


def asked(plan: Mapping[str, Any], step: str, host: str) -> list[str]:
    """Return the hosts to ask before `host` takes a step, whether or not they are in the run."""
    gateways = [str(gateway["host"]) for gateway in plan["gateways"]]
    borders = [name for name, border in plan.get("border", {}).items() if border.get("managed", True)]
    found = {"dns": [*gateways, *borders], "border": [*gateways, *plan["mx"], host]}
    return list(dict.fromkeys(found.get(step, [])))


def hubs(plan: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the hosts that pass mail of gateways on to final servers, each with those domains."""
    found: dict[str, list[str]] = {}
    for route in plan["routes"]:
        hub = plan["hosts"][route["home"]]["hub"]
        if hub and hub != route["home"] and route["next_hops"][0] == plan["hosts"][hub]["address"]:
            found.setdefault(hub, []).append(route["domain"])
    return found


def questions(plan: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return what to ask on a host: a DNS server for MX records, a gateway for itself and for the hubs behind it.

    `border` is for the module border_check, and None for a host that is not a router; the rest is for mail_probe.
    """
    smtp = []
    if host in {gateway["host"] for gateway in plan["gateways"]}:
        address = plan["hosts"][host]["address"] or plan["hosts"][host]["address6"]
        domains = [route["domain"] for route in plan["routes"]]
        smtp = [{"host": host, "address": address, "domains": domains, "verifies": True}]
        smtp += [
            {"host": hub, "address": plan["hosts"][hub]["address"], "domains": behind, "verifies": False}
            for hub, behind in hubs(plan).items()
        ]
    outside = {zone["zone"]: _records(zone) for zone in plan["mx_outside"].get(host, [])}
    zones = [
        {
            "zone": zone["zone"],
            "owners": [
                {
                    "owner": owner,
                    "allowed": [mx, *([other] if (other := outside.get(zone["zone"], {}).get(owner)) else [])],
                }
                for owner, mx in _records(zone).items()
            ],
        }
        for zone in plan["mx"].get(host, [])
    ]
    return {"smtp": smtp, "zones": zones, "border": _border(plan.get("border", {}).get(host))}


def _border(router: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what to ask on a router about the ways to the gateways."""
    if router is None:
        return None
    return {"outside_interfaces": list(router["outside_interfaces"]), "gateways": list(router["gateways"])}


def _records(zone: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the planned MX records of each name in a zone as texts, `PREFERENCE EXCHANGE`."""
    return {owner["owner"]: [f"{mx['preference']} {mx['exchange']}" for mx in owner["mx"]] for owner in zone["owners"]}


def verify(plan: Mapping[str, Any], step: str, host: str, run: Run) -> Verdict:
    """Return what prevents a host from taking a step."""
    found: dict[str, list[str]] = {}
    needed = rests_on(plan, step, host)
    for name, steps in needed.items():
        unfinished = [each for each in steps if run.unfinished(name, each)]
        if unfinished:
            found.setdefault(name, []).append(f"did not finish the step {' and '.join(unfinished)} in this run")
        elif step == "border" and plan["mx_outside"].get(name) and name not in run.done.get("dns", ()):
            found.setdefault(name, []).append("its external zones can only be verified by the step dns in the same run")
    for name in asked(plan, step, host):
        found.setdefault(name, []).extend(run.answers.get(name, ["was not asked"]))
    lines = {name: f"{name}: {'; '.join(reasons)}" for name, reasons in found.items() if reasons}
    return Verdict(
        [line for name, line in lines.items() if name not in run.accepted],
        [line for name, line in lines.items() if name in run.accepted]
        + [f"{name}: {note}" for name in asked(plan, step, host) for note in run.notes.get(name, ())]
        + _others(plan, step, needed, run),
    )


def _others(plan: Mapping[str, Any], step: str, needed: Collection[str], run: Run) -> list[str]:
    """Return a warning about inner servers that did not get their routes, which concerns mail that starts inside."""
    if step != "dns":
        return []
    servers = [name for name, host in plan["hosts"].items() if "servers" in host["kinds"]]
    missing = [name for name in servers if name not in needed and run.unfinished(name, "routes")]
    if not missing:
        return []
    return [f"these inner servers did not get their routes in this run: {', '.join(missing)}. Run site again for them"]


def message(step: str, problems: Iterable[str]) -> str:
    """Return the error message: the problems, why they matter, and the ways on."""
    lines = list(problems)
    hosts = f"{len(lines)} {'host that it rests on is' if len(lines) == 1 else 'hosts that it rests on are'} not ready"
    numbered = [f"  {number}. {line}" for number, line in enumerate(lines, 1)]
    return "\n".join(
        [
            f"Step {step} stopped, {_UNCHANGED[step]}: {hosts}.",
            *numbered,
            f"{_RISK[step]}. Correct this and run site again, with these hosts and all steps before {step};",
            "or name hosts that you have verified yourself: -e mailgate_site_accept=HOST,HOST",
        ]
    )
