# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of DKIM signatures, as written in the settings file; `mailgate.signing` gives them effect."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from mailgate.setting import describe, setting


@dataclass(frozen=True)
class Signing:
    """Section `[signing]`."""

    list_servers: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = setting(
        (),
        "Networks of hosts that check who posts, such as servers of mailing lists. Their messages are signed although"
        " they have passed a gateway before; others may be from outside and forwarded, and are not signed then.",
        form="network",
    )


@dataclass(frozen=True)
class DkimKey:
    """One of `[dkim.DOMAIN]`."""

    selector: str = field(
        metadata=describe(
            "Selector: the public key is the TXT record of `SELECTOR._domainkey.DOMAIN`. Use one of its own for each"
            " gateway and each key.",
            form="selector",
        )
    )
    key_file: Path = field(
        metadata=describe(
            "File with the private RSA key (PEM) of at least 1024 bits, which the user mailgate can read.",
            form="absolute_path",
        )
    )
    previous_selector: str = setting(
        "",
        "Selector by which the domain is signed until DNS has the record of `selector`. If empty, mail is not signed"
        " until then.",
        form="any_selector",
    )
    previous_key_file: str = setting("", "File with the key of `previous_selector`.", form="path")
