# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings file: TOML in, one frozen object out, every problem reported at once. `example.toml` documents it."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from mailgate.address import AddressError, is_domain, parse_mailbox
from mailgate.content_policy import ACTIONS, ATTACHMENT_KINDS, Attachments, ContentPolicy, policy_for
from mailgate.notices import Notices, check_template
from mailgate.quarantine import Keep

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
# A sender waits ten minutes for the answer to its final dot (RFC 5321 section 4.5.3.2.6); be far below it.
MAX_ANSWER_SECONDS = 240

_T = TypeVar("_T")


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

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
    quarantine: Keep = field(default_factory=Keep)
    notices: Notices = field(default_factory=Notices)
    domains: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tls: Tls = field(default_factory=Tls)

    def content_policy(self, domains: Iterable[str]) -> ContentPolicy:
        """What becomes of content that is not plainly clean in a message to recipients in `domains`."""
        campus = ContentPolicy(
            infected=self.scan.infected,
            encrypted=self.scan.encrypted,
            over_limits=self.scan.over_limits,
            **{kind: getattr(self.attachments, kind) for kind in ATTACHMENT_KINDS},
        )
        return policy_for(campus, self.domains, domains)

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


LANGUAGES = ("en", "ja")
_CHOICES = {
    "scan.infected": ACTIONS["infected"],
    "scan.encrypted": ACTIONS["encrypted"],
    "scan.over_limits": ACTIONS["over_limits"],
    **{f"attachments.{kind}": ACTIONS[kind] for kind in ATTACHMENT_KINDS},
    "notices.to": ("nobody", "recipients", "postmaster", "both"),
    "scan.order": ("given", "load"),
    "scan.old_signatures": ("deliver", "defer"),
    "content.bare_newlines": ("refuse", "normalize"),
    "tls.outbound": ("opportunistic", "off"),
}
_MAY_BE_ZERO = {
    "scan.remembered",
    "scan.max_signature_days",
    "content.max_line_bytes",
    "timeouts.drain",
    "timeouts.session_idle",
    "cache.resend_hours",
}
_MAY_BE_EMPTY = {"scan.signature_dir", "notices.text", "tls.certificate", "tls.key"}
MAX_WORKERS = 64


class _Reader:
    """Takes typed values out of the parsed file, noting problems instead of stopping at the first."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []

    def wrong(self, key: str, text: str) -> None:
        self.problems.append(f"{self.source}: {key}: {text}")

    def items(
        self, table: dict[str, Any], key: str, parse: Callable[[str], _T], what: str, *, named: str = ""
    ) -> tuple[_T, ...]:
        value = table[key]
        key = named or key
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong(key, f"must be a list of strings, each {what}")
            return ()
        return tuple(found for item in value if (found := self.parsed(key, item, parse, what)) is not None)

    def parsed(self, key: str, value: object, parse: Callable[[str], _T], what: str) -> _T | None:
        if isinstance(value, str):
            try:
                return parse(value)
            except (ValueError, AddressError):
                pass
        self.wrong(key, f"{value!r} is not {what}")
        return None

    def section(self, table: dict[str, Any], name: str, kind: type[_T]) -> _T:
        """One table of numbers and words, by the field types and defaults of `kind`."""
        given = table.get(name, {})
        if not isinstance(given, dict):
            self.wrong(name, "must be a table")
            return kind()
        known = {item.name: item.default for item in fields(kind)}  # type: ignore[arg-type]
        values: dict[str, Any] = {}
        for key, value in given.items():
            full = f"{name}.{key}"
            if key not in known:
                self.wrong(full, f"unknown; known are {', '.join(known)}")
            elif isinstance(known[key], int):
                least = 0 if full in _MAY_BE_ZERO else 1
                if not isinstance(value, int) or isinstance(value, bool) or value < least:
                    self.wrong(full, f"{value!r} is not a whole number from {least}")
                else:
                    values[key] = value
            elif full in _CHOICES and value not in _CHOICES[full]:
                self.wrong(full, f"{value!r} is not one of {', '.join(_CHOICES[full])}")
            elif isinstance(known[key], tuple):
                values[key] = self.items(given, key, *_ITEMS[full], named=full)
            elif not isinstance(value, str) or not (value or full in _MAY_BE_EMPTY):
                self.wrong(full, "must be a string")
            else:
                values[key] = value
        return kind(**values)

    def domains(self, given: object) -> dict[str, dict[str, str]]:
        """The content policies of single domains."""
        if not isinstance(given, dict):
            self.wrong("domains", "must be a table")
            return {}
        found = {}
        for name, words in given.items():
            key = f'domains."{name}"'
            domain = self.parsed(key, name, _pattern, "a domain or *.domain")
            if not isinstance(words, dict):
                self.wrong(key, "must be a table")
                continue
            for kind, word in words.items():
                if kind not in ACTIONS:
                    self.wrong(f"{key}.{kind}", f"unknown; known are {', '.join(ACTIONS)}")
                elif word not in ACTIONS[kind]:
                    self.wrong(f"{key}.{kind}", f"{word!r} is not one of {', '.join(ACTIONS[kind])}")
            if domain:
                found[domain] = words
        return found


def parse_config(text: str, source: str = "mailgate.toml") -> Config:
    """Read the settings; raises ConfigError with every problem."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{source}: not TOML: {error}"]) from error
    reader = _Reader(source)
    known = {item.name for item in fields(Config)}
    for key in table:
        if key not in known:
            reader.wrong(key, f"unknown; known are {', '.join(sorted(known))}")
    for key in ("hostname", "routes_file"):
        if key not in table:
            reader.wrong(key, "is missing")
    values: dict[str, Any] = {}
    for key, (parse, what) in _WORDS.items():
        if key in table:
            values[key] = reader.parsed(key, table[key], parse, what)
    for key, (parse, what) in _LISTS.items():
        if key in table:
            values[key] = reader.items(table, key, parse, what)
    for key, kind in _SECTIONS.items():
        values[key] = reader.section(table, key, kind)
    workers = values["workers"] = table.get("workers", 0)
    if not isinstance(workers, int) or isinstance(workers, bool) or not 0 <= workers <= MAX_WORKERS:
        reader.wrong("workers", f"{workers!r} is not a whole number from 0 to {MAX_WORKERS}")
    values["domains"] = reader.domains(table.get("domains", {}))
    _check_together(reader, values)
    if reader.problems:
        raise ConfigError(reader.problems)
    return Config(**values)


def load_config(path: Path) -> Config:
    """Read the settings file; raises ConfigError, also for a file that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return parse_config(text, str(path))


def _check_together(reader: _Reader, values: dict[str, Any]) -> None:
    timeouts: Timeouts = values["timeouts"]
    if timeouts.scan + timeouts.next_hop_data + timeouts.queue >= MAX_ANSWER_SECONDS:
        reader.wrong(
            "timeouts",
            f"scan + next_hop_data + queue is {timeouts.scan + timeouts.next_hop_data + timeouts.queue} s;"
            f" it must stay below {MAX_ANSWER_SECONDS} s, or senders give up waiting and send again",
        )
    limits: Limits = values["limits"]
    if limits.max_bytes_in_flight < limits.max_message_bytes:
        reader.wrong("limits.max_bytes_in_flight", "must be at least max_message_bytes, or no large message passes")
    scan: Scan = values["scan"]
    for key, text in (("socket", scan.socket), *(("other_sockets", text) for text in scan.other_sockets)):
        reader.parsed(f"scan.{key}", text, clamd_address, f"an absolute path or {_ENDPOINT}")
    notices: Notices = values["notices"]
    try:
        check_template(notices.text)
    except ValueError as error:
        reader.wrong("notices.text", str(error))
    content: Content = values["content"]
    if 0 < content.max_line_bytes < 1000:
        reader.wrong("content.max_line_bytes", "must be 0 or at least 1000 (RFC 5321 section 4.5.3.1.6)")
    if values.get("listen") == () and not reader.problems:
        reader.wrong("listen", "needs at least one address")
    tls: Tls = values["tls"]
    if bool(tls.certificate) != bool(tls.key):
        reader.wrong("tls", "certificate and key go together: give both or neither")
    if tls.required_for and tls.outbound == "off":
        reader.wrong("tls.required_for", "needs outbound = opportunistic")
    queue = values.get("queue") or Config.queue
    if any(_same(queue, endpoint) for endpoint in values.get("listen", Config.listen)):
        reader.wrong("queue", f"{queue} is where the service itself listens: mail would loop")


def _same(queue: Endpoint, listen: Endpoint) -> bool:
    if queue.port != listen.port:
        return False
    return listen.host == queue.host or ipaddress.ip_address(listen.host).is_unspecified


def _hostname(text: str) -> str:
    if not is_domain(text):
        raise ValueError(text)
    return text.lower()


def _pattern(text: str) -> str:
    return ("*." if text.startswith("*.") else "") + _hostname(text.removeprefix("*."))


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError(text)
    return path


def _endpoint(text: str) -> Endpoint:
    host, _colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    else:
        host = str(ipaddress.IPv4Address(host))
    number = int(port)
    if not 0 <= number < 65536:
        raise ValueError(text)
    return Endpoint(host, number)


def clamd_address(text: str) -> str | tuple[str, int]:
    """Where a clamd listens: the path of its socket, or IP address and port; raises ValueError."""
    if text.startswith("/"):
        return text
    endpoint = _endpoint(text)
    return endpoint.host, endpoint.port


def _extension(text: str) -> str:
    return _word(text.lower().lstrip("."))


def _word(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _network(text: str) -> IPNetwork:
    return ipaddress.ip_network(text)


def _mailbox(text: str) -> str:
    return str(parse_mailbox(text)) if text else ""


def _language(text: str) -> str:
    if text not in LANGUAGES:
        raise ValueError(text)
    return text


_ENDPOINT = "ADDRESS:PORT or [ADDRESS]:PORT"
_WORDS: dict[str, tuple[Callable[[str], object], str]] = {
    "hostname": (_hostname, "a host name"),
    "routes_file": (_absolute, "an absolute path"),
    "state_dir": (_absolute, "an absolute path"),
    "queue": (_endpoint, _ENDPOINT),
    "language": (_language, f"one of {', '.join(LANGUAGES)}"),
    "postmaster": (_mailbox, "local@domain"),
}
_LISTS: dict[str, tuple[Callable[[str], object], str]] = {
    "listen": (_endpoint, _ENDPOINT),
    "own_addresses": (_address, "an IP address"),
    "relay_networks": (_network, "a network as ADDRESS/BITS"),
    "proxy_protocol_from": (_network, "a network as ADDRESS/BITS"),
}
_ITEMS: dict[str, tuple[Callable[[str], str], str]] = {
    "attachments.extensions": (_extension, "a file name's ending, as exe"),
    "attachments.real_types": (_word, "a MIME type, as application/x-dosexec, or a pattern with *"),
    "scan.other_sockets": (_word, "a path or ADDRESS:PORT"),
    "tls.required_for": (_pattern, "a domain or *.domain"),
}
_SECTIONS: dict[str, type] = {
    "attachments": Attachments,
    "notices": Notices,
    "quarantine": Keep,
    "scan": Scan,
    "content": Content,
    "limits": Limits,
    "timeouts": Timeouts,
    "cache": Cache,
    "tls": Tls,
}
