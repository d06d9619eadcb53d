# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a survey asks of each host, from its variables and the plan, if there is one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._inventory.findings import Unreadable, is_list, items, text, undecided

VARIABLES = (
    "mailgate_gateway",
    "mailgate_border",
    "mailgate_dns",
    "mailgate_domains",
    "mailgate_backup_domains",
    "mailgate_mta",
    "mailgate_address",
    "mailgate_address6",
    "ansible_host",
)
_FUNCTIONS = {
    "mailgate_gateway": "gateways",
    "mailgate_border": "borders",
    "mailgate_dns": "dns",
    "mailgate_domains": "servers",
    "mailgate_backup_domains": "servers",
}
NONE = "none"
_OTHERS = {"destinations": "servers", "handed_borders": "borders"}  # the plan's names of what others maintain


@dataclass(frozen=True)
class Asked:
    """A host to survey.

    Attributes:
        host: Its inventory name.
        functions: Its functions.
        said: Its kind of mail server in the inventory, "" without one.
        domains: Its mail domains in the inventory.
        faculty: Its faculty, "" if not known.
        addresses: The addresses at which the controller looks at port 25.
        arguments: The arguments of the module on the host.
        foreign: Whether others maintain it, so that it is not logged in to.
        refusal: Why else it is not logged in to, "" if it is.
    """

    host: str
    functions: tuple[str, ...]
    said: str
    domains: tuple[str, ...]
    faculty: str
    addresses: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    foreign: bool = False
    refusal: str = ""


def ask(host: str, values: Mapping[str, object], plan: Mapping[str, Any]) -> Asked:
    """Return what to ask of a host.

    Args:
        host: Its inventory name.
        values: Those of `VARIABLES` that it has.
        plan: The result of mail_plan; without `hosts` if there is no plan.
    """
    entry: Mapping[str, Any] = plan.get("hosts", {}).get(host, {})
    kinds = tuple(entry.get("kinds", ())) or tuple(
        dict.fromkeys(function for name, function in _FUNCTIONS.items() if name in values)
    )
    functions = tuple(_OTHERS.get(kind, kind) for kind in kinds)
    said = str(entry.get("mta") or _word(values.get("mailgate_mta")))
    handed = {_OTHERS[kind] for kind in kinds if kind in _OTHERS} | set(_handed(said, values))
    own = [function for function in functions if function not in handed]
    place = _word(values.get("ansible_host")) or host
    waiting = undecided(values.get("ansible_host")) if "ansible_host" in values else None
    set_ones = [_word(values.get(name)) for name in ("mailgate_address", "mailgate_address6")]
    addresses = tuple(dict.fromkeys(filter(None, [*set_ones, entry.get("address"), entry.get("address6")])))
    if not addresses and waiting is None:
        addresses = (place,)
    refusal = ""
    if waiting is not None or host.startswith("TODO"):
        refusal = f"its address is still to be decided{waiting and ': '}{waiting or ''}"
    return Asked(
        host=host,
        functions=functions,
        said=said,
        domains=_words(values.get("mailgate_domains")),
        faculty=str(entry.get("faculty", "")),
        addresses=addresses if {"servers", "gateways"} & set(functions) or not functions else (),
        arguments=_arguments(host, own, said, values, plan),
        foreign=bool(functions) and not own,
        refusal=refusal,
    )


def _handed(said: str, values: Mapping[str, object]) -> Iterator[str]:
    """Yield the functions of a host that others maintain, by its variables."""
    if said == NONE:
        yield "servers"
    border = values.get("mailgate_border")
    if isinstance(border, Mapping) and border.get("managed") is False:
        yield "borders"


def _without(table: Mapping[str, Any], kept: Collection[str]) -> dict[str, Any]:
    """Return a routing table without the domains for which the admin's own route stays."""
    found = {name: [each for each in table.get(name, ()) if each not in kept] for name in ("local", "relay")}
    return found | {"static": [each for each in table.get("static", ()) if each["domain"] not in kept]}


def _arguments(
    host: str, functions: Sequence[str], said: str, values: Mapping[str, object], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of the module on the host."""
    gateways = [
        address
        for gateway in plan.get("gateways", ())
        for address in (gateway.get("address"), gateway.get("address6"))
        if address
    ]
    entry: Mapping[str, Any] = plan.get("hosts", {}).get(host, {})
    families = {":" in str(entry.get(name)) for name in ("address", "address6") if entry.get(name)}
    senders = [each for each in gateways if (":" in each) in families] if "servers" in functions else []
    dns, border = values.get("mailgate_dns"), values.get("mailgate_border")
    found: dict[str, Any] = {"functions": list(functions), "mta": said, "senders": senders}
    table = plan.get("sendmail", {}).get(host)
    if isinstance(table, Mapping) and table:
        found["table"] = _without(table, set(entry.get("keep_route", ())))
        # As the role has it by default.
        own = {"address": "127.0.0.1", "port": 10025}
        everywhere = {"address": "::" if entry.get("address6") else "0.0.0.0", "port": 25}  # noqa: S104
        name = str(entry.get("mail_name") or (host if "." in host else ""))
        found |= {"name": name, "listen": [own if "gateways" in functions else everywhere]}
    if "dns" in functions and isinstance(dns, Mapping):
        found["zones"] = list(_words(dns.get("zones")))
        if named_conf := _word(dns.get("named_conf")):
            found["named_conf"] = named_conf
    if "borders" in functions and isinstance(border, Mapping):
        names = border.get("outside_interface", border.get("outside_interfaces"))
        found["outside_interfaces"] = list(_words(names) if is_list(names) else _words([names]))
        found["gateways"] = gateways
    return found


def _word(value: object) -> str:
    """Return a text, "" for what is undecided, unreadable or no text."""
    if not isinstance(value, str) or isinstance(value, Unreadable) or undecided(value) is not None:
        return ""
    return text(value).strip()


def _words(value: object) -> tuple[str, ...]:
    return tuple(word for each in items(value) if (word := _word(each)))
