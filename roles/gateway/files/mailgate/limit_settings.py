# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of bans, rates and greylisting, as written in the settings file; `mailgate.limits` gives them effect."""

from __future__ import annotations

from dataclasses import dataclass

from mailgate.setting import setting


@dataclass(frozen=True)
class BanSettings:
    """Section `[bans]`."""

    unknown_recipients: int = setting(
        300,
        "Unknown recipients of one client (an IPv4 address or an IPv6 /64) in ten minutes, with those deferred by"
        " `limits.max_unknown_recipients_per_client`, above which it is banned, if they are more than"
        " `limits.max_unknown_percent`; `0` for no bans by the gateway.",
        minimum=0,
    )
    minutes: int = setting(60, "How long a client is banned.", unit="minutes")
    max_clients: int = setting(
        50_000, "Maximum number of bans. Above it, those that end first are removed.", maximum=1_000_000
    )
    never: tuple[str, ...] = setting(
        (),
        "Addresses and networks of clients that are never banned, limited in their rate or greylisted, in addition to"
        " `refusal.exempt`, all gateways, this host, `relay_networks` and load balancers; `@NAME` for a list of kind"
        " `network`.",
        form="network_entry",
    )


@dataclass(frozen=True)
class Bounces:
    """Section `[bounces]`."""

    unsent: str = setting(
        "deliver",
        "Action on a message with the null sender for a recipient who has sent nothing; `deliver`, `log` (deliver, and"
        " write an event) or `refuse` (550). `log` and `refuse` remember senders; until the memory is `days` old,"
        " `refuse` acts as `log`.",
        choices=("deliver", "log", "refuse"),
    )
    domains: tuple[str, ...] = setting(
        (),
        "Domains, or `*.suffix`, whose mail leaves by the gateways only: each of their servers, services and providers"
        " relays through them.",
        form="domain",
    )
    days: int = setting(14, "How long a sender is remembered after its last message.", maximum=366, unit="days")
    max_senders: int = setting(
        1_000_000,
        "Maximum number of remembered senders, of about 50 bytes each. If there are more, the oldest are removed, and"
        " `refuse` acts as `log` for the next `days`.",
        maximum=10_000_000,
    )


@dataclass(frozen=True)
class Rates:
    """Section `[rates]`."""

    minutes: int = setting(
        10,
        "Time for which the numbers below are meant. A client may use all at once; then they return evenly.",
        maximum=1440,
        unit="minutes",
    )
    connections_per_client: int = setting(
        0, "Connections of one client; further ones are closed (421). `0` for no limit.", minimum=0
    )
    recipients_per_client: int = setting(
        0, "Recipients that one client names; further ones are deferred (450). `0` for no limit.", minimum=0
    )
    recipients_per_network: int = setting(
        0, "The same for all clients of an IPv4 /24 or an IPv6 /48; `0` for no limit.", minimum=0
    )
    recipients_per_sender: int = setting(
        0, "The same for one envelope sender, apart from the null sender; `0` for no limit.", minimum=0
    )
    messages_per_recipient: int = setting(
        0, "Messages for one recipient; further ones are deferred (450). `0` for no limit.", minimum=0
    )
    relayed_per_client: int = setting(
        0,
        "Recipients that one host in `relay_networks` names; further ones are deferred (450). `0` for no limit.",
        minimum=0,
    )
    relay_alarm: int = setting(
        1000,
        "Recipients that one host in `relay_networks` names, above which an alarm is given; `0` for none.",
        minimum=0,
    )
    alarm_to: str = setting(
        "", "Address that gets a message for each alarm, at most once an hour for each host. If empty, nobody.",
        form="mailbox",
    )  # fmt: skip
    relay_unlimited: tuple[str, ...] = setting(
        (),
        "Hosts in `relay_networks` without limit and alarm, such as servers of mailing lists; `@NAME` for a list of"
        " kind `network`.",
        form="network_entry",
    )


@dataclass(frozen=True)
class Greylist:
    """Section `[greylist]`."""

    delay: int = setting(300, "How long a new sender must wait before it tries again.", maximum=86_400, unit="seconds")
    window_hours: int = setting(48, "How long it may take until it tries again.", unit="hours")
    lifetime_days: int = setting(36, "How long a sender that has waited stays known after its last mail.", unit="days")
    network_successes: int = setting(
        5,
        "Senders that have waited, after which their network (an IPv4 /24 or an IPv6 /64) does not wait any more; `0`"
        " for never.",
        minimum=0,
    )
    max_entries: int = setting(
        500_000, "Maximum number of senders in the database, which is pruned every five minutes.", maximum=10_000_000
    )


@dataclass(frozen=True)
class SharedState:
    """Section `[shared_state]`."""

    server: str = setting(
        "",
        "Valkey or Redis server of all gateways, `HOST:PORT`. If empty, each gateway has its own memory.",
        form="server",
    )
    user: str = setting("", "User name at the server; if empty, the default user.", form="any_text")
    password_file: str = setting(
        "", "File with the password, readable by the user mailgate. If empty, no password.", form="path"
    )
    tls: bool = setting(True, "Whether the connection is encrypted, and the certificate verified.")
    ca_file: str = setting(
        "", "Certificate of the authority of the server's certificate; if empty, those of the system.", form="path"
    )
    timeout_ms: int = setting(
        50,
        "How long a client waits for the server. After a longer answer, the gateway uses its own memory for some"
        " seconds.",
        maximum=1000,
        unit="milliseconds",
    )
