# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that have no effect behind a front: a sendmail that accepts all mail and passes it on from loopback.

The service sees one client, this host, which no rule, limit or ban applies to. A setting that seems to protect and does
not is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import MISSING, fields

from mailgate.config import Config

# Settings about clients. Their defaults, and 0 for what is off, are no reason to refuse a file.
_OF_CLIENTS = {
    "authentication": ("evaluate",),
    "bans": ("unknown_recipients",),
    "bounces": ("unsent",),
    "greylist": ("delay",),
    "limits": ("greet_delay",),
    "rates": (
        "connections_per_client", "recipients_per_client", "recipients_per_network", "recipients_per_sender",
        "messages_per_recipient", "relayed_per_client", "relay_alarm",
    ),
    "refusal": ("greylist_score", "separate_choices"),
    "rspamd": ("socket",),
}  # fmt: skip
_HIDDEN = "has no effect with a front, which hides the addresses of clients; remove it, or the front"


def front_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield key and text of each setting that does not fit the front; none without a front."""
    if not config.front_listen:
        return
    for endpoint in config.listen:
        if not ipaddress.ip_address(endpoint.host).is_loopback:
            yield "listen", f"{endpoint} is not on loopback: with a front, others must not reach the service itself"
    if set(config.front_listen) & set(config.listen):
        yield "front_listen", "is an address that the service itself listens on; give each of them its own port"
    if config.relay_networks:
        yield "relay_networks", "the front relays for nobody; remove it, or the front"
    if config.proxy_protocol_from:
        yield "proxy_protocol_from", "the front does not understand PROXY headers; remove it, or the front"
    for number, rule in enumerate(config.rules, 1):
        yield f"rules[{number}] ({rule.name})", "has no effect with a front, as no rule applies to this host; remove it"
    if config.dkim:
        yield "dkim", "has no effect with a front, as no host may relay; remove it, or the front"
    yield from _without_effect(config)


def _without_effect(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the settings about clients that are not as by default."""
    for section, names in _OF_CLIENTS.items():
        settings = getattr(config, section)
        defaults = {item.name: item.default for item in fields(settings) if item.default is not MISSING}
        for name in names:
            if getattr(settings, name) not in {defaults[name], 0}:
                yield f"{section}.{name}", _HIDDEN
