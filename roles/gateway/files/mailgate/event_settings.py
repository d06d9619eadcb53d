# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sections `[events]` and `[event_database]`: files of events, their index, and personal data in them."""

from __future__ import annotations

from dataclasses import dataclass

from mailgate.setting import setting


@dataclass(frozen=True)
class EventSettings:
    """Section `[events]`."""

    days: int = setting(30, "Age at which events are removed from the files and the index.", maximum=3650, unit="days")
    max_bytes: int = setting(
        1_073_741_824,
        "Size of all files of events together; the oldest are removed. `0` writes no files: then there is no index, and"
        " the journal has no events about connections, accepted recipients and replies of servers.",
        minimum=0,
        unit="bytes",
    )
    index_max_bytes: int = setting(
        4_294_967_296, "Size of the index; its oldest days are removed.", minimum=16_777_216, unit="bytes"
    )
    journal: str = setting(
        "all",
        "Events in the journal; `all`, or `without_addresses` for those without addresses of persons. The journal has"
        " an age limit of its own, or none.",
        choices=("all", "without_addresses"),
    )
    subject: bool = setting(False, "Record the subjects of messages, so that `mailgate search` finds them.")
    hash_addresses: bool = setting(
        False,
        "Record a keyed hash in place of the local part of addresses. The same address has the same hash, and commands"
        " find it by the address.",
    )
    hash_key_file: str = setting(
        "",
        "File with the key of the hashes, a long random text, which only the service's user can read; the same on all"
        " gateways for the same hashes. If empty, each gateway makes its own key in the state directory.",
        form="path",
    )


@dataclass(frozen=True)
class EventDatabase:
    """Section `[event_database]`."""

    server: str = setting(
        "",
        "PostgreSQL server that has the index of all gateways, `HOST:PORT`. If empty, each gateway has its own index.",
        form="server",
    )
    name: str = setting("mailgate", "Name of the database.", form="any_text")
    user: str = setting("mailgate", "User name at the server.", form="any_text")
    password_file: str = setting(
        "", "File with the password, readable by the user mailgate. If empty, no password.", form="path"
    )
    tls: bool = setting(
        True,
        "Whether the connection is encrypted, and the certificate verified. Only a server on a loopback address can do"
        " without.",
    )
    ca_file: str = setting(
        "", "Certificate of the authority of the server's certificate; if empty, those of the system.", form="path"
    )
    timeout: int = setting(
        20,
        "How long commands and the page wait for an answer; the indexer waits at least 60 seconds.",
        maximum=600,
        unit="seconds",
    )
