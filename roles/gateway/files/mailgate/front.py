# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that have no effect behind a front: a sendmail that accepts all mail and passes it on from loopback.

The service sees one client, this host, which no rule, limit or ban applies to. A setting that seems to protect and does
not is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from mailgate.config import Config
from mailgate.limit_settings import BanSettings, Greylist, Rates

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
    if config.authentication.evaluate:
        yield "authentication.evaluate", _HIDDEN
    if config.limits.greet_delay:
        yield "limits.greet_delay", f"{_HIDDEN}. The front has a delay of its own"
    if config.bans.unknown_recipients not in {0, BanSettings().unknown_recipients}:
        yield "bans.unknown_recipients", _HIDDEN
    for name in ("connections_per_client", "recipients_per_client", "recipients_per_network", "recipients_per_sender",
                 "messages_per_recipient", "relayed_per_client"):  # fmt: skip
        if getattr(config.rates, name):
            yield f"rates.{name}", f"{_HIDDEN}. The front has limits of its own"
    if config.rates.relay_alarm != Rates().relay_alarm:
        yield "rates.relay_alarm", _HIDDEN
    if config.greylist.delay != Greylist().delay or config.refusal.greylist_score:
        yield "greylist", _HIDDEN
