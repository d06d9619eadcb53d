# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Compare what runs on a host with what the inventory says of it, before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass

from .programs import MANAGED, SEND_ONLY, SENDMAIL, SERVICE, UNKNOWN
from .system import Host

PACKAGES = {"sendmail": "sendmail-bin", "postfix": "postfix"}
"""The package of each kind that the roles configure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The kind of server that a host is, and the reasons to refuse it, each with the ways on; `kind` may be ""."""

    kind: str
    problems: tuple[str, ...] = ()


def judge(seen: Host, said: str, gateway: bool = False) -> Verdict:
    """Return the kind of a host, and what speaks against changing it.

    Args:
        seen: What runs and is installed.
        said: The mailgate_mta of the inventory, "" without one.
        gateway: Whether it is a gateway, whose queue is a sendmail.
    """
    kind = SENDMAIL if gateway else said or _running(seen)
    # Without a kind, what the roles configure is only stopped.
    expected = {kind, *([SERVICE] if gateway else ()), *(() if kind else MANAGED)}
    others = [each for each in seen.kinds if each not in expected]
    problems = [_other(seen, each, kind, said, gateway) for each in others]
    if not kind and not problems:
        problems = [_nothing(seen)]
    if kind and (stray := _without_package(seen, kind)):
        problems.append(stray)
    return Verdict(kind, tuple(problems))


def _running(seen: Host) -> str:
    """Return the kind that has port 25 if it is one of those that the roles configure, else ""."""
    return next((each.kind for each in seen.listening if each.kind in MANAGED), "")


def _other(seen: Host, other: str, kind: str, said: str, gateway: bool) -> str:
    """Return why an MTA of another kind prevents the change."""
    told = "; ".join(seen.evidence(other))
    installed = any(each.kind == other for each in seen.packages)
    name = "another program has port 25" if other == UNKNOWN else f"{other} is on this host"
    if other == SERVICE:
        name = "the service of a gateway is on this host, which is no gateway"
    if gateway:
        plan = "a gateway has sendmail as its queue"
    elif said:
        plan = f"mailgate_mta is {said}"
    else:
        plan = f"mailgate_mta is not set, and {kind} has port 25" if kind else "mailgate_mta is not set"
    harm = ""
    if kind and installed:
        harm = f". To install {kind}, the package manager would remove it"
        harm += ", and with it the host's own way to send mail" if other in SEND_ONLY else ""
    return f"{plan}, but {name}: {told}{harm}. {_ways(other, gateway)}"


def _ways(other: str, gateway: bool) -> str:
    """Return the two ways on."""
    stop = "stop and remove it yourself" if other != UNKNOWN else "stop it yourself"
    if gateway:
        return f"Choose another host as gateway, or {stop}"
    if other in MANAGED:
        return f"Set mailgate_mta to {other}, or to none if others maintain this server; or {stop}"
    return f"Set mailgate_mta to none if it is to stay; or {stop}"


def _nothing(seen: Host) -> str:
    """Return the problem of a host on which nothing has port 25."""
    stopped = [each for each in seen.kinds if each in MANAGED]
    why = f"; {'; '.join(seen.evidence(stopped[0]))}" if stopped else ""
    ways = "Set mailgate_mta to sendmail or postfix to have that installed, or to none if others maintain this server"
    if stopped:
        ways = f"Start it, or set mailgate_mta to {stopped[0]}, or to none if others maintain this server"
    return f"mailgate_mta is not set, and no MTA listens on port 25{why}. {ways}"


def _without_package(seen: Host, kind: str) -> str:
    """Return the problem of a program that runs but is not Debian's; "" if it is, or nothing of the kind runs."""
    running = [each for each in seen.processes if each.kind == kind]
    if not running or any(each.kind == kind for each in seen.packages):
        return ""
    return (
        f"{'; '.join(seen.evidence(kind))}, but the package {PACKAGES[kind]} is not installed: this {kind} is not the "
        "system's, and its configuration is elsewhere. Set mailgate_mta to none if it is to stay; or stop and remove "
        "it yourself"
    )
