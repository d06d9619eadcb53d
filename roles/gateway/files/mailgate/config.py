# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All settings, each declared once: name, default, bounds and meaning.

`config_file` reads the settings file by these declarations. `tests/sanity/settings` generates example.toml, options of
the role's argument spec and the settings reference from them. In a help text, backquotes mark literals.
"""

# ruff: noqa: RUF009 (`setting` and `section` return dataclass fields)

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from mailgate.errors import Invalid
from mailgate.event_settings import EventDatabase, EventSettings
from mailgate.limit_settings import BanSettings, Bounces, Greylist, Rates, SharedState
from mailgate.metric_settings import MetricSettings
from mailgate.rule_settings import Authentication, ListSetting, Refusal, RuleSetting
from mailgate.setting import declarations, describe, section, setting
from mailgate.signing_settings import DkimKey, Signing
from mailgate.spam_settings import Rspamd
from mailgate.web_settings import Faculty, WebSettings

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
# A client waits ten minutes for the reply to its final dot (RFC 5321 section 4.5.3.2.6). Stay well below it.
MAX_ANSWER_SECONDS = 240
LANGUAGES = ("en", "ja")


class ConfigError(Invalid):
    """Invalid settings; `problems` lists every problem with its key."""


@dataclass(frozen=True)
class Endpoint:
    """IP address and TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse ADDRESS:PORT or [ADDRESS]:PORT; raise ValueError if it is neither."""
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
    """Return the socket path, or the IP address and port, of a clamd; raise ValueError if it is neither."""
    if text.startswith("/"):
        return text
    endpoint = Endpoint.parse(text)
    return endpoint.host, endpoint.port


def dns_endpoint(text: str) -> Endpoint:
    """Return address and port of a DNS server; raise ValueError if `text` is neither ADDRESS nor ADDRESS:PORT."""
    try:
        return Endpoint(str(ipaddress.ip_address(text)), 53)
    except ValueError:
        return Endpoint.parse(text)


def split_server(text: str) -> tuple[str, int]:
    """Return host (a name or IP address) and port of a server; raise ValueError if `text` is not HOST:PORT."""
    host, _colon, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(text)
    return host.removeprefix("[").removesuffix("]"), int(port)


def in_domains(domain: str, names: tuple[str, ...]) -> bool:
    """Return whether `domain` (lower case) is one of these domains, or below one that is given as `*.suffix`."""
    return any(domain.endswith(name[1:]) if name.startswith("*.") else domain == name for name in names)


_ON_VIRUS = ("strip", "refuse", "quarantine", "discard")
_ON_ATTACHMENT = ("allow", "strip", "refuse", "quarantine")


@dataclass(frozen=True)
class Scan:
    """Section `[scan]`."""

    socket: str = setting("/run/clamav/clamd.ctl", "Socket of clamd; an absolute path or `ADDRESS:PORT`.", form="clamd")
    other_sockets: tuple[str, ...] = setting(
        (), "More clamds, by path or `ADDRESS:PORT`, used when the first gives no verdict.", form="clamd"
    )
    order: str = setting(
        "given",
        "Which clamd is asked first; `given` for the configured order, `load` for the one with fewest running scans.",
        choices=("given", "load"),
    )
    infected: str = setting(
        "strip",
        "Action on an infected message; `strip` (remove the infected attachment and deliver the rest), `refuse` (554),"
        " `quarantine` (keep the message, then strip) or `discard`. If nothing can be removed, `strip` and `quarantine`"
        " refuse.",
        choices=_ON_VIRUS,
        per_domain=True,
    )
    encrypted: str = setting(
        "strip",
        "Action on an encrypted archive or document, which cannot be scanned; as for `infected`, or `deliver`.",
        choices=("deliver", *_ON_VIRUS),
        per_domain=True,
    )
    unchecked: str = setting(
        "quarantine",
        "Action on an archive that could not be opened whole and is not known to be encrypted (damaged, of an unknown"
        " kind, too large); as for `encrypted`.",
        choices=("deliver", *_ON_VIRUS),
        per_domain=True,
    )
    over_limits: str = setting(
        "quarantine",
        "Action on a message that exceeds clamd's limits and is not scanned whole; `quarantine` and `strip` as for"
        " `infected`, `refuse` (554) or `defer` (451, until the sender gives up).",
        choices=("quarantine", "strip", "refuse", "defer"),
        per_domain=True,
    )
    unpacker: str = setting(
        "",
        "Socket of the unpacker, which opens archives in processes without network and rights. If empty, each worker"
        " starts its own, with the service's rights.",
        form="path",
    )
    concurrency: int = setting(
        8, "Simultaneous scans by each clamd. Keep it below clamd's `MaxThreads` (`clamav_max_threads`)."
    )
    file_size: int = setting(
        2_097_152,
        "Largest message that clamd gets as an open file (`FILDES`), which costs it less than a stream. Keep it below"
        " clamd's `MaxFileSize`. Use `0` for a clamd that does not accept open files. Over TCP, messages are always"
        " streamed.",
        minimum=0,
        unit="bytes",
    )
    max_parts: int = setting(
        100, "Parts of an infected message that are scanned one by one; a message with more parts is refused."
    )
    remembered: int = setting(
        10_000, "Verdicts cached by content until the signatures change; `0` disables the cache.", minimum=0
    )
    remembered_minutes: int = setting(60, "Maximum lifetime of a cached verdict.", unit="minutes")
    signature_dir: str = setting(
        "/var/lib/clamav",
        "Signature directory of clamd, watched because clamd's `VERSION` does not show every change. Leave it empty if"
        " clamd is on another host.",
        form="path",
    )
    max_signature_days: int = setting(
        7,
        "Age of the ClamAV project's signatures from which they are reported as too old; `0` for never.",
        minimum=0,
        unit="days",
    )
    old_signatures: str = setting(
        "deliver",
        "Action on mail while the signatures are too old; `deliver` (if clamd finds nothing) or `defer` (451).",
        choices=("deliver", "defer"),
    )


@dataclass(frozen=True)
class MessageFormat:
    """Section `[content]`."""

    bare_newlines: str = setting(
        "refuse",
        "Action on a bare CR or LF; `refuse` (554) or `normalize` (LF to CRLF, CR to a space). NUL is always refused.",
        choices=("refuse", "normalize"),
    )
    max_line_bytes: int = setting(
        2048,
        "Maximum line length including CRLF, at least 1000; `0` for no limit. A message with a longer line is refused"
        " (554).",
        minimum=0,
        unit="bytes",
    )
    max_hops: int = setting(25, "Maximum number of Received headers; a message with more is looping and refused (554).")


@dataclass(frozen=True)
class Limits:
    """Section `[limits]`."""

    max_connections: int = setting(
        5000,
        "Simultaneous client connections, which cost about 10 KB of memory and one open file each. When three quarters"
        " are used, clients without a message get `timeouts.stress`; when all are used, the idlest of them is closed"
        " (421).",
    )
    max_connections_per_client: int = setting(
        20, "Simultaneous connections from one client, which is an IPv4 address or an IPv6 /64 network."
    )
    max_transactions: int = setting(
        500,
        "Simultaneous transactions with a recipient, which may use connections to next hops. When three quarters are"
        " used, `timeouts.stress` applies to slow clients; when all are used, recipients are deferred (451).",
    )
    min_data_rate: int = setting(
        500,
        "Minimum rate at which a client sends a message, once `timeouts.data_idle` has passed, or `timeouts.stress`"
        " when places are short; `0` for no minimum.",
        minimum=0,
        unit="bytes per second",
    )
    max_outbound_connections: int = setting(100, "Simultaneous connections to next hops.")
    max_connections_per_next_hop: int = setting(
        20, "Simultaneous connections to one next hop. A slow server does not delay mail for other servers."
    )
    max_verifications_per_next_hop: int = setting(
        10, "Simultaneous recipient verification probes to one server.", formerly="max_call_aheads_per_next_hop"
    )
    max_message_bytes: int = setting(
        26_214_400, "Maximum message size. Keep it at or below clamd's `StreamMaxLength`.", unit="bytes"
    )
    max_recipients: int = setting(100, "Maximum number of recipients of one message.")
    max_bytes_in_flight: int = setting(
        268_435_456,
        "Total size of the messages that all sessions hold in memory; at least `max_message_bytes`. Above it, messages"
        " are deferred (452).",
        unit="bytes",
    )
    greet_delay: int = setting(
        0,
        "How long the greeting waits for clients whose network has not delivered a message since the start, to find"
        " those that do not wait for it; `0` for no delay.",
        minimum=0,
        maximum=30,
        unit="seconds",
    )
    max_errors: int = setting(20, "Bad commands and relay attempts before the session is closed (421).")
    max_unknown_recipients: int = setting(
        20,
        "Unknown recipients after which a session is closed (421), if they are more than `max_unknown_percent` of the"
        " recipients; `0` for no limit.",
        minimum=0,
    )
    max_unknown_recipients_per_client: int = setting(
        50,
        "Unknown recipients of one client (an IPv4 address or an IPv6 /64) in ten minutes. Above it, if they are more"
        " than `max_unknown_percent`, recipients that were never seen are deferred (450) and their servers are not"
        " asked; `0` for no limit.",
        minimum=0,
    )
    max_unknown_recipients_per_domain: int = setting(
        500,
        "Unknown recipients of one domain in ten minutes, of all clients, or of those without history. Above it, if"
        " they are more than `max_unknown_percent`, refusals are not cached and are logged as a number; `0` for no"
        " limit.",
        minimum=0,
    )
    max_probes_under_attack: int = setting(
        10,
        "Recipients never seen of one domain above that limit that are verified in a second for clients whose network"
        " has not delivered a message since the start; others are deferred (450). `0` for no limit.",
        minimum=0,
    )
    max_unknown_percent: int = setting(
        80,
        "Share of unknown recipients, among those that are unknown or accepted, up to which the limits above on unknown"
        " recipients do not apply.",
        minimum=0,
        maximum=100,
        unit="percent",
    )


@dataclass(frozen=True)
class Timeouts:
    """Section `[timeouts]`."""

    command: int = setting(300, "Waiting for a command from a client.", unit="seconds")
    stress: int = setting(
        10,
        "The same when places are short, for clients without an accepted message. See `limits.max_connections`.",
        unit="seconds",
    )
    data_idle: int = setting(180, "Waiting for the next bytes of a message.", unit="seconds")
    data_total: int = setting(1800, "Receiving one whole message.", unit="seconds")
    connect: int = setting(10, "Connecting to a next hop.", unit="seconds")
    next_hop_command: int = setting(60, "Waiting for a next hop's greeting, or its reply to a command.", unit="seconds")
    next_hop_data: int = setting(110, "Waiting for a next hop's reply to the end of a message.", unit="seconds")
    session_idle: int = setting(
        10,
        "How long an idle connection to a next hop is kept for the next message; `0` closes it at once.",
        minimum=0,
        unit="seconds",
    )
    session_age: int = setting(300, "Maximum lifetime of a connection to a next hop.", unit="seconds")
    scan: int = setting(
        60,
        f"All scans of one message. `scan`, `next_hop_data` and `queue` together must stay below {MAX_ANSWER_SECONDS}.",
        unit="seconds",
    )
    queue: int = setting(50, "Delivering one message to the queue.", unit="seconds")
    drain: int = setting(30, "Finishing the running transactions when the service stops.", minimum=0, unit="seconds")


@dataclass(frozen=True)
class Cache:
    """Section `[cache]`."""

    known_days: int = setting(30, "Lifetime of the result for a recipient that exists.", unit="days")
    unknown_hours: int = setting(2, "Lifetime of the result for a recipient that does not exist.", unit="hours")
    max_recipients: int = setting(1_000_000, "Maximum number of cached results.")
    resend_hours: int = setting(
        1,
        "How long a message whose client certainly did not receive the reply is recognized when that client sends it"
        " again, and is not delivered twice (RFC 1047); `0` disables this.",
        minimum=0,
        unit="hours",
    )
    removed_route_hours: int = setting(
        120,
        "How long mail for a domain that left the delivery table is deferred (450) before it is refused as a relay"
        " attempt; `0` refuses it at once. A domain that left by mistake loses no mail for as long as senders retry,"
        " usually five days.",
        minimum=0,
        unit="hours",
    )


@dataclass(frozen=True)
class Attachments:
    """Section `[attachments]`."""

    extension: str = setting(
        "allow", "Files whose name ends in one of `extensions`.", choices=_ON_ATTACHMENT, per_domain=True
    )
    extensions: tuple[str, ...] = setting(
        (
            "ade", "adp", "appx", "bat", "chm", "cmd", "com", "cpl", "dll", "exe", "hta", "inf", "ins", "iso", "isp",
            "jar", "js", "jse", "lib", "lnk", "mde", "msc", "msi", "msix", "msp", "mst", "nsh", "pif", "ps1", "scr",
            "sct", "shb", "sys", "url", "vb", "vbe", "vbs", "vhd", "vxd", "wsc", "wsf", "wsh", "xll",
        ),
        "File name extensions for `extension` and `double_extension`.",
        form="extension",
    )  # fmt: skip
    double_extension: str = setting(
        "allow",
        "Such files with another extension before it (`bill.pdf.exe`), or with a name that is displayed in reverse.",
        choices=_ON_ATTACHMENT,
        per_domain=True,
    )
    real_type: str = setting(
        "allow",
        "Files whose content is of one of `real_types`, regardless of their name.",
        choices=_ON_ATTACHMENT,
        per_domain=True,
    )
    real_types: tuple[str, ...] = setting(
        (
            "application/java-archive", "application/vnd.ms-htmlhelp", "application/x-dosexec",
            "application/x-executable", "application/x-iso9660-image", "application/x-mach-binary",
            "application/x-ms-shortcut", "application/x-msi", "text/x-shellscript",
        ),
        "MIME types, detected by the first bytes of a file, for `real_type`; `*` matches any characters.",
        form="mime_type",
    )  # fmt: skip
    macro: str = setting("allow", "Office documents with macros.", choices=_ON_ATTACHMENT, per_domain=True)
    encrypted_archive: str = setting(
        "allow",
        "Archives (zip, tar, gzip, bzip2, xz, rar, 7z, cab, iso, lha, winmail.dat) and Office documents that are"
        " encrypted or cannot be opened.",
        choices=_ON_ATTACHMENT,
        per_domain=True,
    )


@dataclass(frozen=True)
class QuarantineLimits:
    """Section `[quarantine]`."""

    max_bytes: int = setting(
        1_073_741_824, "Total size of the kept messages; the oldest are deleted first.", unit="bytes"
    )
    max_days: int = setting(30, "How long a message is kept.", unit="days")


@dataclass(frozen=True)
class Notices:
    """Section `[notices]`."""

    text: str = setting(
        "",
        "Text in place of a removed attachment. It may contain `{file}`, `{reason}`, `{host}` and `{id}` (the number in"
        " the quarantine). If empty, a built-in text in English and Japanese.",
        form="any_text",
    )
    to: str = setting(
        "nobody",
        "Who is notified of a message that was refused or discarded because of its content; `nobody`, `recipients`,"
        " `postmaster` or `both`. The sender gets no notice, only the SMTP reply.",
        choices=("nobody", "recipients", "postmaster", "both"),
    )


@dataclass(frozen=True)
class Tls:
    """Section `[tls]`."""

    certificate: str = setting(
        "",
        "File with the certificate for clients, followed by its intermediate certificates; readable by the user"
        " mailgate. If empty, STARTTLS is not offered.",
        form="path",
    )
    key: str = setting("", "File with the private key of `certificate`.", form="path")
    outbound: str = setting(
        "opportunistic",
        "Encryption to next hops; `opportunistic` (when the server offers STARTTLS, with any certificate) or `off`.",
        choices=("opportunistic", "off"),
    )
    required_for: tuple[str, ...] = setting(
        (), "Domains, or `*.suffix`, whose mail is deferred rather than sent without encryption.", form="domain"
    )

    def required(self, domain: str) -> bool:
        """Return whether mail for `domain` (lower case) must be encrypted to its next hop."""
        return in_domains(domain, self.required_for)


# Actions by kind of content that a domain may choose for itself.
ACTIONS: Mapping[str, tuple[str, ...]] = {
    item.name: declared.choices
    for kind in (Scan, Attachments)
    for item, declared in declarations(kind)
    if declared.per_domain
}
# All settings that a domain may choose for itself.
DOMAIN_SETTINGS: Mapping[str, tuple[str, ...]] = {
    **ACTIONS,
    **{
        item.name: declared.choices
        for kind in (Refusal, Authentication, Rspamd)
        for item, declared in declarations(kind)
        if declared.per_domain
    },
}
ATTACHMENT_KINDS = tuple(item.name for item, declared in declarations(Attachments) if declared.per_domain)


@dataclass(frozen=True)
class Config:
    """The settings file: its settings outside of sections, and its sections."""

    hostname: str = field(
        metadata=describe(
            "Host name in the greeting, in EHLO and in Received headers.", form="hostname", example="gw1.univ.example"
        )
    )
    routes_file: Path = field(
        metadata=describe(
            "Delivery table. One line per domain (`*.suffix` for every name below suffix), in columns separated by"
            " tabs. The second column lists the next hops, separated by commas; an optional third column lists the"
            " servers that verify recipients in place of the next hops.",
            form="absolute_path",
            example="/etc/mailgate/routes",
        )
    )
    listen: tuple[Endpoint, ...] = setting(
        (Endpoint("0.0.0.0", 25), Endpoint("::", 25)),  # noqa: S104
        "Addresses and ports to listen on, IPv6 in brackets. `[::]` is IPv6 only, so give both.",
        form="endpoint",
    )
    front_listen: tuple[Endpoint, ...] = setting(
        (),
        "Addresses and ports on which a sendmail accepts all mail in place of this service, which listens on loopback"
        " only and does not see the addresses of clients.",
        form="endpoint",
    )
    state_dir: Path = setting(
        Path("/var/lib/mailgate"),
        "Directory for the state of the service (counters, verification cache, duplicate-delivery log, quarantine),"
        " writable by it.",
        form="absolute_path",
    )
    own_addresses: tuple[str, ...] = setting(
        (),
        "All addresses of all gateways. A next hop or verification server among them would be a loop and is refused.",
        form="ip_address",
        example=("198.18.0.10", "2001:db8::10"),
    )
    own_names: tuple[str, ...] = setting(
        (),
        "Host names of all gateways, as in their Received fields: by these, a message that has passed a gateway before"
        " is recognized.",
        form="hostname",
    )
    relay_networks: tuple[IPNetwork, ...] = setting(
        (), "Networks whose hosts may relay to any domain, through the queue.", form="network"
    )
    queue: Endpoint = setting(Endpoint("127.0.0.1", 10025), "The queue, a sendmail on loopback.", form="endpoint")
    workers: int = setting(
        0,
        "Worker processes, which share the listening sockets and all limits; `0` for one per processor, at most 8.",
        minimum=0,
        maximum=64,
    )
    event_loop: str = setting(
        "auto",
        "Event loop of the workers; `uvloop` needs less processor time, `auto` is uvloop where it is installed"
        " (Debian's python3-uvloop), and `asyncio` is Python's own, which is also used if uvloop is missing.",
        choices=("auto", "uvloop", "asyncio"),
    )
    proxy_protocol_from: tuple[IPNetwork, ...] = setting(
        (),
        "Networks of load balancers, which must begin every connection with a PROXY header (version 1 or 2).",
        form="network",
    )
    language: str = setting("en", "Language of reports and of the first half of notices.", choices=LANGUAGES)
    postmaster: str = setting(
        "", "Address that gets mail for a bare `postmaster`. If empty, the queue's own postmaster.", form="mailbox"
    )
    report_countries: str = setting(
        "",
        "CSV file of first address, last address and country (two letters), sorted by address, such as DB-IP's lite"
        " file: reports then have the countries of clients. If empty, they have none.",
        form="path",
    )
    report_mail_to: tuple[str, ...] = setting(
        (), "Addresses that get the report of each month, which `mailgate report --mail` sends.", form="recipient"
    )
    scan: Scan = section(Scan, "Virus scan, and actions on messages that do not pass it.")
    content: MessageFormat = section(MessageFormat, "Format of accepted messages.")
    limits: Limits = section(Limits, "Limits on connections, commands and messages, shared by all workers.")
    timeouts: Timeouts = section(Timeouts, "Timeouts of sessions, scans and deliveries.")
    cache: Cache = section(
        Cache, "Cached results of recipient verification, recognition of repeated messages, and removed domains."
    )
    tls: Tls = section(Tls, "STARTTLS, from clients and to next hops.")
    attachments: Attachments = section(
        Attachments,
        "Attachment policy apart from viruses, inside archives and winmail.dat too. Actions are `allow`, `strip`,"
        " `refuse` and `quarantine` (keep the message, then strip).",
    )
    quarantine: QuarantineLimits = section(
        QuarantineLimits, "Limits of the quarantine, all messages together; see `mailgate quarantine --help`."
    )
    notices: Notices = section(Notices, "Notices about mail that was stopped or changed.")
    events: EventSettings = section(
        EventSettings, "Events in files and their index, for `mailgate search`, `trace`, `tail` and `report`."
    )
    event_database: EventDatabase = section(
        EventDatabase, "PostgreSQL with the events of all gateways; without it, each gateway has an index of its own."
    )
    metrics: MetricSettings = section(
        MetricSettings, "Metrics for Prometheus, and pages that say whether this gateway works."
    )
    bans: BanSettings = section(BanSettings, "Bans of clients that guess addresses; see `mailgate ban --help`.")
    bounces: Bounces = section(
        Bounces, "Bounces of mail that the campus has not sent (backscatter), where its mail leaves by the gateways."
    )
    rates: Rates = section(Rates, "Rates of clients, networks, senders and recipients, and of hosts that may relay.")
    greylist: Greylist = section(Greylist, "Greylisting of senders, for rules and scores that ask for it.")
    shared_state: SharedState = section(
        SharedState,
        "Bans, rates, greylist and verified recipients that all gateways share; without it, each has its own.",
    )
    refusal: Refusal = section(Refusal, "Refusal rules: where they apply, scores, and DNS for them.")
    authentication: Authentication = section(Authentication, "Mail authentication: SPF, DKIM, DMARC and ARC.")
    rspamd: Rspamd = section(Rspamd, "Spam scan with rspamd, and what is done with spam.")
    signing: Signing = section(
        Signing, "DKIM signatures of mail from hosts in `relay_networks`, by the keys of `dkim`."
    )
    web: WebSettings = section(WebSettings, "Web page for postmaster and faculties, `mailgate web`.")
    dkim: Mapping[str, DkimKey] = field(
        default_factory=dict,
        metadata=describe(
            "Keys by which outgoing mail is signed (DKIM), a table for each domain. It is for addresses in the domain"
            " and below it, apart from domains with a key of their own.",
            form="key_tables",
        ),
    )
    rules: tuple[RuleSetting, ...] = field(
        default_factory=tuple,
        metadata=describe(
            "Refusal rules, evaluated in this order for each recipient. The first that allows, refuses or defers"
            " decides; otherwise the score does.",
            form="rule_tables",
        ),
    )
    lists: Mapping[str, ListSetting] = field(
        default_factory=dict, metadata=describe("Lists that rules name by `@NAME`, a table each.", form="list_tables")
    )
    domains: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict,
        metadata=describe(
            "Actions that single domains, or `*.suffix`, choose for themselves, in a table for each. Each recipient of"
            " a message gets what the recipient's own domain chose; a message whose content one of them refuses is"
            " refused for all.",
            form="domain_table",
        ),
    )

    web_faculties: Mapping[str, Faculty] = field(
        default_factory=dict,
        metadata=describe(
            "Faculties whose users see the mail for their own domains on the web page, a table each.",
            form="faculty_tables",
        ),
    )

    def may_relay(self, client: str) -> bool:
        """Return whether `client`, an IP address, is in one of `relay_networks`."""
        return bool(self.relay_networks) and among(client, self.relay_networks)

    def choice(self, domain: str, name: str, default: str) -> str:
        """Return what a domain has chosen for the setting `name`, which is `default` for all domains."""
        chosen = find_domain(self.domains, domain) if self.domains else None
        return (chosen or {}).get(name, default)

    def is_proxy(self, client: str) -> bool:
        """Return whether `client`, an IP address, must begin every connection with a PROXY header."""
        return bool(self.proxy_protocol_from) and among(client, self.proxy_protocol_from)


def find_domain(domains: Mapping[str, Mapping[str, str]], domain: str) -> Mapping[str, str] | None:
    """Return what a domain, or the longest `*.suffix` of it, has chosen."""
    chosen = domains.get(domain)
    while chosen is None and "." in domain:
        domain = domain.partition(".")[2]
        chosen = domains.get(f"*.{domain}")
    return chosen


def among(client: str, networks: tuple[IPNetwork, ...]) -> bool:
    """Return whether `client`, an IP address, is in one of these networks."""
    if not networks:
        return False
    address = _parsed(client)
    return any(address in network for network in networks)


@lru_cache(maxsize=1024)
def _parsed(client: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return a client's address without zone, and as IPv4 if it is a mapped one; it is needed for each recipient."""
    address = ipaddress.ip_address(client.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
