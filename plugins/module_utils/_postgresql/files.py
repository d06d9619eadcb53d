# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our lines in pg_hba.conf, and our file of settings. Pure functions, no I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._keep import blocks

ABOUT = "event database of the mail gateways"
# What our file of settings has, apart from comments.
SETTINGS = ("listen_addresses", "ssl", "ssl_cert_file", "ssl_key_file")
# The certificate that Debian's package makes, which no client can verify.
_SNAKEOIL = "/etc/ssl/certs/ssl-cert-snakeoil.pem"
_HEAD = "# Written by the role event_database of campus.mailgate; a change is overwritten.\n"


@dataclass(frozen=True)
class Gateway:
    """A gateway: its host name in the inventory, its user in the database, its addresses and its password."""

    host: str
    user: str
    addresses: tuple[str, ...]
    password: str = ""


@dataclass(frozen=True)
class Line:
    """A line of the files of settings, as the view pg_file_settings has it, in the order in which they are read."""

    name: str
    value: str
    file: str


def quoted(name: str) -> str:
    """Return a name in quotes, as pg_hba.conf and SQL have it."""
    return '"' + name.replace('"', '""') + '"'


def access_lines(database: str, gateways: Iterable[Gateway]) -> list[str]:
    """Return the lines of pg_hba.conf that let each gateway in from its own addresses, with TLS and its password."""
    return [
        f"hostssl {quoted(database)} {quoted(each.user)} {ipaddress.ip_network(address)} scram-sha-256"
        for each in gateways
        for address in each.addresses
    ]


def with_access(text: str, lines: Sequence[str]) -> str:
    """Return pg_hba.conf with these lines before all others, as the first line that fits a connection decides.

    Raises:
        BlockError: The marks of our block are damaged.
    """
    present = [block for block in blocks.found(text) if block.about == ABOUT]
    if present and present[0].lines == tuple(lines):
        return text
    return blocks.put(text, lines, ABOUT, at=0)


def without_access(text: str) -> str:
    """Return pg_hba.conf without our lines; raise BlockError."""
    return blocks.without(text)


def own_lines(text: str) -> range:
    """Return the numbers of our lines in pg_hba.conf, from 1 on; raise BlockError."""
    for block in blocks.found(text):
        if block.about == ABOUT:
            first = text.count("\n", 0, block.start) + 1
            return range(first, first + text.count("\n", block.start, block.stop))
    return range(0)


def listens(value: str, address: str) -> bool:
    """Return whether a value of listen_addresses has an address."""
    every = ("*", "::" if ":" in address else "0.0.0.0")  # noqa: S104
    return any(each in every or each == address for each in (part.strip() for part in value.split(",")))


def settings_text(lines: Sequence[Line], own: str, address: str, certificate: str, key: str) -> str:
    """Return our file of settings.

    Args:
        lines: All lines of the files of settings.
        own: Path of our file.
        address: Address on which the gateways find the server.
        certificate: Path of its certificate.
        key: Path of the certificate's key.
    """
    others = [line for line in lines if line.file != own]
    present = next((line.value for line in reversed(others) if line.name == "listen_addresses"), "localhost")
    wanted = [] if listens(present, address) else [("listen_addresses", ",".join(filter(None, (present, address))))]
    wanted += [("ssl", "on"), ("ssl_cert_file", certificate), ("ssl_key_file", key)]
    return _HEAD + "".join(f"{name} = {_value(value)}\n" for name, value in wanted)


def _value(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def conflicts(lines: Sequence[Line], own: str, address: str) -> list[str]:
    """Return what the admin's settings have that ours would change, or that would override ours."""
    found = []
    others = [line for line in lines if line.file != own]
    certificate = next((line for line in reversed(others) if line.name == "ssl_cert_file"), None)
    if certificate and certificate.value != _SNAKEOIL:
        found.append(
            f"{certificate.file} has ssl_cert_file = '{certificate.value}': the server has a certificate already, which"
            " its clients may know, and the role would replace it"
        )
    names = [line.file for line in lines]
    # Before our file is there, it is taken for the last one of its directory that is not later by name.
    place = max((index for index, file in enumerate(names) if file == own), default=None)
    for index, line in enumerate(lines):
        later = index > place if place is not None else _is_later(line.file, own)
        if line.file == own or line.name not in SETTINGS or not later:
            continue
        if line.name == "ssl_cert_file" or (line.name == "ssl" and line.value.lower() in {"on", "true", "yes", "1"}):
            continue
        if line.name == "ssl_key_file" or (line.name == "listen_addresses" and listens(line.value, address)):
            continue
        found.append(
            f"{line.file} has {line.name} = '{line.value}', which comes after the role's {own}: remove it there"
        )
    return found


def _is_later(file: str, own: str) -> bool:
    """Return whether a file is read after ours, which is not there yet."""
    directory, _mark, _name = own.rpartition("/")
    return file.endswith("/postgresql.auto.conf") or (file.rpartition("/")[0] == directory and file > own)
