# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings and their defaults; `settings_file` reads and checks them, `example.toml` documents them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
# A sender waits ten minutes for the answer to its final dot (RFC 5321 section 4.5.3.2.6); be far below it.
MAX_ANSWER_SECONDS = 240
LANGUAGES = ("en", "ja")


class ConfigError(ValueError):
    """Settings that are refused; `problems` names each key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Endpoint:
    """Address and TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """From ADDRESS:PORT or [ADDRESS]:PORT; raises ValueError."""
        host, _colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        else:
            host = str(ipaddress.IPv4Address(host))
        number = int(port)
        if not 0 <= number < 65536:
            raise ValueError(text)
        return cls(host, number)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def clamd_address(text: str) -> str | tuple[str, int]:
    """Where a clamd listens: the path of its socket, or IP address and port; raises ValueError."""
    if text.startswith("/"):
        return text
    endpoint = Endpoint.parse(text)
    return endpoint.host, endpoint.port


@dataclass(frozen=True)
class Scan:
    """How messages are scanned and what becomes of those that do not pass."""

    socket: str = "/run/clamav/clamd.ctl"
    other_sockets: tuple[str, ...] = ()
    order: str = "given"
    infected: str = "strip"
    encrypted: str = "strip"
    over_limits: str = "defer"
    concurrency: int = 8
    file_size: int = 32_768
    max_parts: int = 100
    remembered: int = 10_000
    remembered_minutes: int = 60
    signature_dir: str = "/var/lib/clamav"
    max_signature_days: int = 7
    old_signatures: str = "deliver"


@dataclass(frozen=True)
class Content:
    """What form of message is taken."""

    bare_newlines: str = "refuse"
    max_line_bytes: int = 2048
    max_hops: int = 25


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients can make the service hold."""

    max_connections: int = 100
    max_connections_per_client: int = 20
    max_outbound_connections: int = 100
    max_connections_per_next_hop: int = 20
    max_call_aheads_per_next_hop: int = 10
    max_message_bytes: int = 26_214_400
    max_recipients: int = 100
    max_bytes_in_flight: int = 268_435_456
    max_errors: int = 20


@dataclass(frozen=True)
class Timeouts:
    """Deadlines in seconds."""

    command: int = 300
    data_idle: int = 180
    data_total: int = 1800
    connect: int = 10
    next_hop_command: int = 60
    next_hop_data: int = 110
    session_idle: int = 10
    session_age: int = 300
    scan: int = 60
    queue: int = 50
    drain: int = 30


@dataclass(frozen=True)
class Cache:
    """How long answers about recipients are kept, how many, and how long a message that may come again."""

    known_days: int = 30
    unknown_hours: int = 2
    max_recipients: int = 1_000_000
    resend_hours: int = 24


@dataclass(frozen=True)
class Attachments:
    """The policy on attachments apart from viruses."""

    extension: str = "allow"
    double_extension: str = "allow"
    real_type: str = "allow"
    macro: str = "allow"
    encrypted_archive: str = "allow"
    extensions: tuple[str, ...] = (
        "ade", "adp", "appx", "bat", "chm", "cmd", "com", "cpl", "dll", "exe", "hta", "inf", "ins", "iso", "isp", "jar",
        "js", "jse", "lib", "lnk", "mde", "msc", "msi", "msix", "msp", "mst", "nsh", "pif", "ps1", "scr", "sct", "shb",
        "sys", "url", "vb", "vbe", "vbs", "vhd", "vxd", "wsc", "wsf", "wsh", "xll",
    )  # fmt: skip
    real_types: tuple[str, ...] = (
        "application/java-archive", "application/vnd.ms-htmlhelp", "application/x-dosexec", "application/x-executable",
        "application/x-iso9660-image", "application/x-mach-binary", "application/x-ms-shortcut", "application/x-msi",
        "text/x-shellscript",
    )  # fmt: skip


@dataclass(frozen=True)
class QuarantineLimits:
    """Bounds on what is kept, all messages together."""

    max_bytes: int = 1_073_741_824
    max_days: int = 30


@dataclass(frozen=True)
class Notices:
    """Who is told of mail that is not delivered, and a text for removed parts in place of the built-in one."""

    text: str = ""
    to: str = "nobody"


@dataclass(frozen=True)
class Tls:
    """Certificate for senders (none: STARTTLS is not offered), and encryption towards next hops."""

    certificate: str = ""
    key: str = ""
    outbound: str = "opportunistic"
    required_for: tuple[str, ...] = ()

    def required(self, domain: str) -> bool:
        """Whether mail for `domain` (lower case) must not be sent on in the clear."""
        return any(domain.endswith(name[1:]) if name.startswith("*.") else domain == name for name in self.required_for)


@dataclass(frozen=True)
class Config:
    """All settings."""

    hostname: str
    routes_file: Path
    listen: tuple[Endpoint, ...] = (Endpoint("0.0.0.0", 25), Endpoint("::", 25))  # noqa: S104
    state_dir: Path = Path("/var/lib/mailgate")
    own_addresses: tuple[str, ...] = ()
    relay_networks: tuple[IPNetwork, ...] = ()
    queue: Endpoint = Endpoint("127.0.0.1", 10025)
    workers: int = 0
    proxy_protocol_from: tuple[IPNetwork, ...] = ()
    language: str = "en"
    postmaster: str = ""
    scan: Scan = field(default_factory=Scan)
    content: Content = field(default_factory=Content)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    cache: Cache = field(default_factory=Cache)
    attachments: Attachments = field(default_factory=Attachments)
    quarantine: QuarantineLimits = field(default_factory=QuarantineLimits)
    notices: Notices = field(default_factory=Notices)
    domains: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tls: Tls = field(default_factory=Tls)

    def may_relay(self, client: str) -> bool:
        """Whether `client`, an IP address, is in one of `relay_networks`."""
        return _among(client, self.relay_networks)

    def is_proxy(self, client: str) -> bool:
        """Whether `client`, an IP address, begins every connection with a PROXY header."""
        return _among(client, self.proxy_protocol_from)


def _among(client: str, networks: tuple[IPNetwork, ...]) -> bool:
    if not networks:
        return False
    address = ipaddress.ip_address(client.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
