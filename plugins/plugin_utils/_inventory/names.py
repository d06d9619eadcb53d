# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Normalize names and addresses, and find the longest match among domain patterns."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# Most names are in this form already: checked in one step.
_USUAL = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL.pattern}\.)+(?=[^.]*[a-z-]){_LABEL.pattern}", re.ASCII)
_MAX_NAME = 253  # characters of the text form (RFC 1035, section 2.3.4: 255 bytes on the wire)


def host_name(value: object) -> str:
    """Return ``value`` as a full host name: lower case, A-labels (RFC 3490), no final dot.

    Raises:
        ValueError: it is not a valid host name; the text says why.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    if _USUAL.fullmatch(value):
        return value.lower()  # a plain str: Ansible's text carries tags
    name = value.removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ValueError(f"'{value}' cannot be converted to A-labels ({error})") from None
    name = name.lower()
    if len(name) > _MAX_NAME:
        raise ValueError(f"'{value}' is longer than {_MAX_NAME} characters")
    labels = name.split(".")
    for label in labels:
        if not label:
            raise ValueError(f"'{value}' has an empty label")
        if not _LABEL.fullmatch(label):
            raise ValueError(f"'{value}' has the invalid label '{label}'")
    if len(labels) == 1:
        raise ValueError(f"'{value}' has no dot")
    if labels[-1].isdigit():
        raise ValueError(f"'{value}' is an address, not a name")
    return name


def domain_pattern(value: object) -> str:
    """Return ``value`` as a mail domain, or as ``*.suffix`` for every name below the suffix; errors as `host_name`."""
    if isinstance(value, str) and value.startswith("*."):
        return f"*.{host_name(value[2:])}"
    if isinstance(value, str) and "*" in value:
        raise ValueError(f"'{value}' has a * that is not the first label")
    return host_name(value)


def ipv4(value: object) -> str:
    """Return an IPv4 host address in its usual text; raise ValueError if it is not one."""
    return _address(value, 4)


def ipv6(value: object) -> str:
    """Return an IPv6 host address in its shortest text (RFC 5952); raise ValueError if it is not one."""
    return _address(value, 6)


def _address(value: object, version: int) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"'{value}' is not a valid IPv{version} address") from None
    if address.version != version or "%" in value:
        raise ValueError(f"'{value}' is not a valid IPv{version} address")
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        raise ValueError(f"'{value}' is not reachable from other hosts")
    return str(address)


def network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network from CIDR text; raise ValueError if it is not one or has host bits set."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"'{value}' is not a valid network ({error})") from None


class Patterns(Generic[T]):
    """A table of domains and ``*.suffix`` patterns: the exact name first, then the longest suffix.

    ``*.x`` matches every name below ``x`` at any depth, as a DNS wildcard and sendmail's mailertable do, but not ``x``.
    """

    def __init__(self, entries: Iterable[tuple[str, T]] = ()) -> None:
        self._entries = dict(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> T | None:
        """Return the value for ``name`` (lower case, A-labels), or None when nothing matches."""
        entries = self._entries
        if name in entries:
            return entries[name]
        dot = name.find(".")
        while dot >= 0:
            pattern = "*" + name[dot:]
            if pattern in entries:
                return entries[pattern]
            dot = name.find(".", dot + 1)
        return None


def zone_of(domain: str, zones: Iterable[str] | frozenset[str]) -> str | None:
    """Return the longest of ``zones`` that the domain (or ``*.`` pattern) lies in, or None."""
    known = zones if isinstance(zones, frozenset) else frozenset(zones)
    name = domain
    while name not in known:
        _label, dot, name = name.partition(".")
        if not dot:
            return None
    return name
