# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What manages the firewall of a router, and the backend that lives beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .kernel import Find, Run

UNITS = ("firewalld", "nftables", "ufw", "netfilter-persistent", "ferm", "shorewall", "firewall", "docker", "fail2ban")
BACKENDS = ("iptables", "nft")
# Those whose rules are in nft: iptables rules beside them are flushed by a reload, or make the saved rules unloadable.
_NFT = ("firewalld", "nftables")


@dataclass(frozen=True)
class Choice:
    """The backend, the reason for it, and the firewall services that are enabled or active."""

    backend: str
    reason: str
    managers: tuple[str, ...]


def choose(wanted: str, managers: Iterable[str], own_nft_conf: bool) -> Choice:
    """Return the backend for an option `auto`, `iptables` or `nft`. Pure.

    Args:
        wanted: The option.
        managers: The enabled or active services among `UNITS`.
        own_nft_conf: Whether /etc/nftables.conf is not the one of the package.
    """
    found = tuple(managers)
    if wanted in BACKENDS:
        return Choice(wanted, "set in the inventory", found)
    for name in _NFT:
        if name in found:
            return Choice("nft", f"{name}.service is enabled or active", found)
    others = [name for name in found if name in {"ufw", "netfilter-persistent", "ferm", "shorewall", "firewall"}]
    if others:
        return Choice("iptables", f"{others[0]}.service is enabled or active", found)
    if own_nft_conf:
        return Choice("nft", "/etc/nftables.conf was written for this router", found)
    return Choice("iptables", "no other firewall is enabled", found)


def advice(choice: Choice, own_nft_conf: bool) -> list[str]:
    """Return a warning if the backend, as set in the inventory, does not suit the router."""
    if choice.backend == "iptables" and (
        any(name in choice.managers for name in _NFT) or (own_nft_conf and not choice.managers)
    ):
        return [
            "The backend is iptables on a router that nft manages: a reload of nftables or firewalld removes the "
            "port-25 rules, and `nft list ruleset` saves them in a form that nft cannot load. Set the backend to nft"
        ]
    return []


def find_managers(run: Run, root: Path = Path("/")) -> list[str]:
    """Return the services among `UNITS` that are enabled or active on this router."""
    units = [f"{name}.service" for name in UNITS]
    _status, out, _error = run(["systemctl", "show", "--property=Id,UnitFileState,ActiveState", *units])
    found = []
    for block in out.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if values.get("ActiveState") == "active" or values.get("UnitFileState", "").startswith("enabled"):
            found.append(values.get("Id", "").removesuffix(".service"))
    # The unit of ufw is enabled by its package; its own setting decides.
    if "ufw" in found and not re.search(r"^\s*ENABLED=[\"']?yes", _text(root / "etc/ufw/ufw.conf"), re.M | re.I):
        found.remove("ufw")
    return found


def has_own_nft_conf(run: Run, find: Find, root: Path = Path("/")) -> bool:
    """Return whether /etc/nftables.conf exists and is not the file of Debian's package."""
    path = root / "etc/nftables.conf"
    if not path.is_file():
        return False
    if not find("dpkg-query") or not find("md5sum"):
        return True
    _status, packaged, _error = run(["dpkg-query", "--show", "--showformat=${Conffiles}", "nftables"])
    _status, own, _error = run(["md5sum", str(path)])
    return not own.strip() or own.split()[0] not in packaged.split()


def _text(path: Path) -> str:
    """Return a file's text, "" without one."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
