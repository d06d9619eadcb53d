# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sees and does what on the web page; pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from mailgate.commands.mail_queue import QueuedMessage
from mailgate.config import Config, in_domains
from mailgate.event_index.terms import Event, recipients_of
from mailgate.event_kinds import FIELDS

POSTMASTER, VIEWER, FACULTY = "postmaster", "viewer", "faculty"
# Events without a recipient that are part of the way of a message.
_OF_A_MESSAGE = frozenset({"not_scanned", "next_hop_lost", "queue_down", "not_kept"})
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"]+@[^\s<>()\[\],;:\"]+")
_HIDDEN = "…"


@dataclass(frozen=True)
class Access:
    """What a user may see and do.

    Attributes:
        user: Name of the user.
        role: `postmaster`, `viewer` or `faculty`.
        domains: Domains, or `*.suffix`, whose mail the user sees; None for all.
    """

    user: str
    role: str
    domains: tuple[str, ...] | None = None

    @property
    def changes(self) -> bool:
        """Whether the user may release and delete quarantined messages."""
        return self.role == POSTMASTER

    def sees(self, address: str) -> bool:
        """Return whether the user sees mail for an address or a domain."""
        return self.domains is None or in_domains(address.lower().rpartition("@")[2], self.domains)

    def sees_pattern(self, pattern: str) -> bool:
        """Return whether the user sees the route of a domain or `*.suffix`."""
        if self.domains is None or pattern in self.domains:
            return True
        return in_domains(pattern.removeprefix("*."), self.domains)


def access_of(config: Config, user: str, groups: Collection[str] = ()) -> Access | None:
    """Return what a user may do, None for nothing.

    Args:
        config: Settings.
        user: Name of the user, as the web server in front of the page gives it.
        groups: Names of the user's groups.
    """
    names = {user, *(f"@{group}" for group in groups)} if user and not user.startswith("@") else set()
    if names.intersection(config.web.postmasters):
        return Access(user, POSTMASTER)
    if names.intersection(config.web.viewers):
        return Access(user, VIEWER)
    own = [faculty for faculty in config.web_faculties.values() if names.intersection(faculty.users)]
    domains = tuple(dict.fromkeys(domain.lower() for faculty in own for domain in faculty.domains))
    return Access(user, FACULTY, domains) if domains else None


def visible(event: Event, access: Access, may_relay: Callable[[str], bool]) -> Event | None:
    """Return what a user sees of an event, None for nothing.

    A faculty sees the recipients in its domains only, and of mail that its own hosts sent, all of them. A sender's
    address alone is no evidence: anybody can use it.
    """
    if access.domains is None:
        return event
    sender = str(event.get("sender", ""))
    if sender and access.sees(sender) and may_relay(str(event.get("client", ""))):
        return event
    named = [str(each) for each in _list(event.get("failed"))] + recipients_of(event)
    if not named:
        return _hide(event, access, sender) if event.get("event") in _OF_A_MESSAGE else None
    if not any(access.sees(each) for each in named):
        return None
    return _hide(event, access, sender)


def visible_events(events: Iterable[Event], access: Access, may_relay: Callable[[str], bool]) -> list[Event]:
    """Return what a user sees of the events of one mail; nothing if none of its recipients is the user's."""
    shown = [seen for event in events if (seen := visible(event, access, may_relay)) is not None]
    if all(event.get("event") in _OF_A_MESSAGE for event in shown):
        return []
    return shown


def visible_queue(found: Iterable[QueuedMessage], access: Access) -> list[QueuedMessage]:
    """Return what a user sees of the queue: a faculty, the messages that wait for its domains, without others."""
    if access.domains is None:
        return list(found)
    own = ((each, [name for name in each.recipients if access.sees(name)]) for each in found)
    return [
        replace(each, recipients=recipients, reason=_hide_in(each.reason, access, each.sender))
        for each, recipients in own
        if recipients
    ]


def _hide(event: Event, access: Access, sender: str) -> Event:
    """Return an event without the addresses of other recipients."""
    shown: dict[str, object] = {}
    for name, value in event.items():
        declared = FIELDS.get(name)
        if name == "sender" or declared is None or not (declared.address or declared.quotes):
            shown[name] = value
        elif declared.quotes:
            shown[name] = _hide_in(str(value), access, sender)
        elif isinstance(value, list):
            shown[name] = [each for each in value if access.sees(str(each))]
        elif access.sees(str(value)):
            shown[name] = value
    return shown


def _hide_in(text: str, access: Access, sender: str) -> str:
    def shown(match: re.Match[str]) -> str:
        return match[0] if match[0] == sender or access.sees(match[0].rstrip(".'")) else _HIDDEN

    return _ADDRESS.sub(shown, text)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def domain_terms(access: Access) -> tuple[tuple[str, str], ...]:
    """Return the terms of the index, one of which an event that the user sees has; none for all events."""
    names = dict.fromkeys(domain.removeprefix("*.") for domain in access.domains or ())
    return tuple((role, name) for name in names for role in ("to_domain", "from_domain"))


def visible_counts(counts: Mapping[str, int], access: Access) -> dict[str, int]:
    """Return counts by address or domain without those that the user does not see."""
    return {key: number for key, number in counts.items() if access.sees(key)}
