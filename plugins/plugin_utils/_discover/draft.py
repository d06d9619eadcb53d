# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The draft as YAML files, with comments for the admin who completes them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import yaml

from .discover import TODO, UNDECIDED, Draft, DraftHost, readable

WIDTH = 120

_PLAIN = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)+|[0-9]+(\.[0-9]+){3}")  # most values: host names and IPv4 addresses

_CAMPUS = f"""\
Draft made from DNS. Values that DNS does not have are marked {TODO}; no plan is made from this inventory before each \
{TODO} is replaced. Edit this file freely.
"""
_FACULTY = """\
Draft made from DNS; edit it freely. DNS has no data on hubs and permits. If the faculty has a hub, add it as below. \
If external hosts must reach port 25 of a server, add to that server
mailgate_permit: {reason: ..., owner: ..., until: 2027-03-31}
"""
_UNDECIDED = """\
Servers whose faculty is not known from DNS. Move each one to the file of its faculty, then delete this file.
"""


def files(draft: Draft) -> dict[str, str]:
    """Return the draft's files: their texts by path, relative to the inventory's directory."""
    texts = {"campus.yml": _text(_campus(draft))}
    for group, hosts in sorted(draft.faculties.items()):
        texts[f"faculties/{group}.yml"] = _text(_faculty(group, hosts))
    return texts


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _campus(draft: Draft) -> Iterator[str]:
    settings = draft.settings
    networks = [str(network) for network in settings.networks] or [
        f"{TODO}: the networks of the campus, as 198.18.0.0/16"
    ]
    yield from _comment(_CAMPUS)
    yield "---"
    yield "all:"
    yield "  vars:"
    yield f"    mailgate_campus: {scalar(settings.name)}"
    yield from _sequence("    mailgate_networks:", networks)
    yield "    mailgate_method: gateway"
    yield "    mailgate_delivery: direct"
    yield "    mailgate_language: en"
    yield ""
    yield "gateways:"
    yield "  hosts:"
    gateways = draft.gateways or [_wanted("gateway", settings.domain, "name and address of a gateway", 0)]
    for host in gateways:
        yield from _host(host)
    yield ""
    yield from _comment("DNS has no data on border routers.")
    yield "borders:"
    yield "  hosts:"
    yield from _host(_wanted("border", settings.domain, "name and address of a border router"))
    yield f'      mailgate_border: {{outside_interface: "{TODO}: its external interface"}}'
    if draft.dns:
        yield ""
        yield "dns:"
        yield "  hosts:"
        for host in draft.dns:
            yield from _host(host)


def _wanted(kind: str, domain: str, what: str, preference: int | None = None) -> DraftHost:
    return DraftHost(f"{TODO}.{kind}.{domain}", f"{TODO}: {what}", preference=preference)


def _faculty(group: str, hosts: Sequence[DraftHost]) -> Iterator[str]:
    yield from _comment(_UNDECIDED if group == UNDECIDED else _FACULTY)
    yield "---"
    yield f"{scalar(group)}:"
    if group != UNDECIDED:
        yield "  # vars:"
        yield "  #   mailgate_hub: HOST"
    yield "  hosts:"
    for host in hosts:
        yield from _host(host)


def _host(host: DraftHost) -> Iterator[str]:
    for remark in host.remarks:
        yield from _comment(remark, "    ")
    yield f"    {scalar(host.name)}:"
    yield f"      ansible_host: {scalar(host.address)}"
    if host.address6:
        yield f"      mailgate_address6: {scalar(host.address6)}"
    if host.preference is not None:
        yield f"      mailgate_gateway: {{preference: {scalar(host.preference)}}}"
    if host.domains:
        yield from _sequence(
            "      mailgate_domains:", [readable(domain) for domain in sorted(host.domains, key=_below)]
        )
    if host.zones is not None:
        yield "      mailgate_dns:"
        if host.named_conf:
            yield f"        named_conf: {scalar(host.named_conf)}"
        yield from _sequence("        zones:", [readable(zone) for zone in host.zones])


def _below(domain: str) -> tuple[int, str]:
    """Sort domains by depth, and `*.x` after x."""
    return domain.count("."), domain.removeprefix("*.")


def _comment(text: str, indent: str = "") -> Iterator[str]:
    for paragraph in text.splitlines():
        for line in textwrap.wrap(paragraph, WIDTH - len(indent) - 2, break_on_hyphens=False):
            yield f"{indent}# {line}"


def _sequence(key: str, items: Sequence[str]) -> Iterator[str]:
    line = f"{key} [{', '.join(map(scalar, items))}]"
    if len(line) <= WIDTH or not items:
        yield line
        return
    yield key
    indent = " " * (len(key) - len(key.lstrip()) + 2)
    for item in items:
        yield f"{indent}- {scalar(item)}"


def scalar(value: str | int) -> str:
    """Return a value as YAML, valid as a key and in brackets too: plain where that is safe, else quoted."""
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value):
        return value
    try:
        if value.isprintable() and ":" not in value:
            read = yaml.safe_load(f"[{value}]"), yaml.safe_load(f"{value}: {value}")
            if read == ([value], {value: value}):
                return value
    except yaml.YAMLError:
        pass
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf")).strip()
