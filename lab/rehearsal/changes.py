# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of the campus after the rollout: a domain moves to another server, or a server gets another address."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lab.inventory import Host
from lab.rehearsal.prepare import concrete
from lab.rehearsal.steps import DOMAIN_MOVES, RENUMBERING, WAITING, Step
from lab.seed import ZONES, is_under
from lab.tools import LabError


@dataclass(frozen=True)
class Change:
    """Steps of a change and of the way back; further homes of domains meanwhile."""

    steps: tuple[Step, Step]
    homes: Mapping[str, str]


def inventory_file(directory: Path, name: str, hosts: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a file that is used after an inventory; return its path."""
    path = directory / f"{name}.yml"
    path.write_text(json.dumps({"all": {"hosts": hosts}}, indent=1))
    return path


def move(directory: Path, hosts: Sequence[Host], hubs: Sequence[str]) -> Change:
    """Return the move of one domain between two servers of a faculty that run sendmail and are not hubs."""
    plain = [
        host for host in hosts if host.domains and host.mta == "sendmail" and host.name not in hubs and not host.gateway
    ]
    pairs = [
        (old, new)
        for old in plain
        for new in plain
        if len(old.domains) > 1 and old is not new and old.faculty == new.faculty and old.suite == new.suite
    ]
    if not pairs:
        raise LabError(
            f"{DOMAIN_MOVES}: no faculty has two servers with sendmail that are not hubs, one of them with two domains"
        )
    old, new = min(pairs, key=lambda pair: pair[0].domains[-1].startswith("*."))
    domain = old.domains[-1]
    path = inventory_file(
        directory,
        "moved",
        {
            old.name: {"mailgate_domains": list(old.domains[:-1])},
            new.name: {"mailgate_domains": [*new.domains, domain]},
        },
    )
    # The lines of the admin of the previous server name the domain.
    take = ("-e", json.dumps({"sendmail_routes_take": sorted({domain, concrete(domain)})}))
    return Change(
        (
            Step(f"move {domain}", "playbooks/site.yml", (*WAITING, *take), changes=(str(path),)),
            Step(f"move {domain} back", "playbooks/site.yml", (*WAITING, *take)),
        ),
        {domain: new.short},
    )


def renumber(directory: Path, hosts: Sequence[Host], hubs: Sequence[str]) -> Change:
    """Return the change of a server's address; it has both addresses for the time of the run."""
    taken = {host.address for host in hosts}
    for host in hosts:
        if host.domains and host.address and host.name not in hubs:
            address = next((host.address + n for n in range(60, 200) if _free(host.address, n, taken)), None)
            if address:
                return _renumbered(directory, host, address, hosts)
    raise LabError(f"{RENUMBERING}: no server has a free address in its network")


def _free(address: IPv4Address, distance: int, taken: set[IPv4Address | None]) -> bool:
    other = address + distance
    return other not in taken and other.packed[:3] == address.packed[:3] and other.packed[3] < 255


def _renumbered(directory: Path, host: Host, address: IPv4Address, hosts: Sequence[Host]) -> Change:
    path = inventory_file(directory, "renumbered", {host.name: {"mailgate_address": str(address)}})
    device = f"$(ip -o -4 address show to {host.address} | awk '{{print $2}}')"
    servers = [server.short for server in hosts if any(is_under(host.full_name, zone) for zone in server.zones or ())]
    return Change(
        (
            Step(
                f"renumber {host.short}", "playbooks/site.yml", WAITING, changes=(str(path),),
                commands=((host.short, f"ip address add {address}/24 dev {device}"),
                          *((server, _readdress(str(host.address), str(address))) for server in servers)),
            ),
            Step(
                f"renumber {host.short} back", "playbooks/site.yml", WAITING,
                commands=tuple((server, _readdress(str(address), str(host.address))) for server in servers),
            ),
        ),
        {},
    )  # fmt: skip


def _readdress(old: str, new: str) -> str:
    """Return the shell command with which an admin changes an address in the zones of a server."""
    program = (
        "import pathlib, re, subprocess\n"
        f"for path in pathlib.Path({ZONES!r}).glob('*.zone'):\n"
        "    text = path.read_text()\n"
        rf"    changed = re.sub(r'(?m)(\s){re.escape(old)}$', r'\g<1>{new}', text)" + "\n"
        "    if changed != text:\n"
        r"        path.write_text(re.sub(r'(\d+)(\s*; serial)', lambda m: str(int(m[1]) + 1) + m[2], changed, count=1))"
        "\n"
        "subprocess.run(['rndc', 'reload'], check=True)\n"
    )
    return f"python3 - <<'END'\n{program}END\n"
