# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reader of the settings file (TOML): returns one frozen `Config` or reports every problem at once."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, Field, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mailgate import tls
from mailgate.config import (
    DOMAIN_SETTINGS,
    MAX_ANSWER_SECONDS,
    Config,
    ConfigError,
    Endpoint,
    IPNetwork,
    clamd_address,
    dns_endpoint,
    split_server,
)
from mailgate.content.notices import check_template
from mailgate.event_settings import EventDatabase
from mailgate.front import front_problems
from mailgate.limit_settings import SharedState
from mailgate.routes import Routes, load_routes
from mailgate.rule_settings import ListSetting, RuleSetting
from mailgate.rules.check import list_file_problems, problems_of
from mailgate.rules.conditions import parse_code
from mailgate.rules.entries import EXPECTED, parse_address, parse_name, parse_network
from mailgate.rules.replies import check_text
from mailgate.secret_files import file_problems
from mailgate.setting import Setting, declarations
from mailgate.signing_settings import DkimKey
from mailgate.smtp.address import AddressError, is_domain, parse_mailbox
from mailgate.web_settings import Faculty

_RULE_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
# Labels of RFC 6376 section 3.1, and underscores, which are in use.
_SELECTOR = re.compile(
    r"(?!.{64})[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*"
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,60}")
# Receives one line for each deprecated name in the file.
Warn = Callable[[str], object]


def load_config(path: Path, *, warn: Warn | None = None, check_lists: bool = False) -> Config:
    """Read the settings file.

    Args:
        path: The file.
        warn: Called with a line for each deprecated setting.
        check_lists: Also read the files of lists, of the shared store and of the event database. The service does
            without them if they are invalid.

    Raises:
        ConfigError: The file cannot be read or has invalid settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return parse_config(text, str(path), warn=warn, check_lists=check_lists)


def parse_config(
    text: str, source: str = "mailgate.toml", *, warn: Warn | None = None, check_lists: bool = False
) -> Config:
    """Parse the text of a settings file as `load_config` does; `source` names it in messages."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{source}: not valid TOML: {error}"]) from error
    reader = _Reader(source)
    values = reader.table(table, Config)
    # Defaults replace invalid values, so that the remaining checks run too.
    config = Config(**{"hostname": "", "routes_file": Path(), **values})
    _check_combinations(reader, config)
    if check_lists:
        reader.problems += list_file_problems(config.lists)
        for key, problem in (
            *file_problems("shared_state", config.shared_state),
            *file_problems("event_database", config.event_database),
        ):
            reader.add_problem(key, problem)
    if reader.problems:
        raise ConfigError(reader.problems)
    if warn:
        for line in reader.deprecated:
            warn(line)
    return config


def load(
    config_path: Path, routes_path: Path | None = None, *, warn: Warn | None = None, check_lists: bool = False
) -> tuple[Config, Routes]:
    """Load settings and routes, and check that the certificate can be used.

    Args:
        config_path: The settings file.
        routes_path: Delivery table to load in place of the one that the settings name.
        warn: Called with a line for each deprecated setting.
        check_lists: Also read the files of lists, of the shared store and of the event database.

    Raises:
        ConfigError: The settings or the certificate are invalid.
        RoutesError: The delivery table is invalid.
    """
    config = load_config(config_path, warn=warn, check_lists=check_lists)
    routes = load_routes(routes_path or config.routes_file, own_addresses=config.own_addresses)
    tls.server_context(config)
    return config, routes


class _Reader:
    """Converts the parsed file to typed values by the declarations; collects problems instead of raising."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []
        self.deprecated: list[str] = []

    def add_problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self.source}: {key}: {text}")

    def table(self, given: object, kind: type, name: str = "") -> dict[str, Any]:
        """Return the valid values of a table by field of the dataclass `kind`; `name` is empty for the file itself."""
        if not isinstance(given, dict):
            self.add_problem(name, "must be a table")
            return {}
        prefix = f"{name}." if name else ""
        declared = list(declarations(kind))
        names = [item.name for item, _declared in declared]
        formerly = [setting.formerly for _item, setting in declared if setting.formerly]
        for key in given:
            if key not in names and key not in formerly:
                self.add_problem(prefix + key, f"unknown setting; valid settings are {', '.join(names)}")
        values = {}
        for item, setting in declared:
            key = self._name_in(given, item.name, setting.formerly, prefix)
            if key in given:
                value = self.value(prefix + key, given[key], item, setting)
                if value is not None:
                    values[item.name] = value
            elif item.default is MISSING and item.default_factory is MISSING:
                self.add_problem(prefix + key, "required setting is missing")
        return values

    def _name_in(self, given: dict[str, object], name: str, formerly: str, prefix: str) -> str:
        """Return the name that the file uses for a setting; report a deprecated one."""
        if not formerly or formerly not in given:
            return name
        if name in given:
            self.add_problem(prefix + formerly, f"deprecated name of {prefix}{name}, which is also set; remove one")
            return name
        self.deprecated.append(f"{self.source}: {prefix}{formerly}: deprecated name; use {prefix}{name}")
        return formerly

    def value(self, key: str, given: object, item: Field[Any], setting: Setting) -> object:
        """Return the value of one setting or section, or None after reporting a problem."""
        tables = {
            "domain_table": self.domains,
            "faculty_tables": self.faculties,
            "key_tables": self.keys,
            "list_tables": self.lists,
            "rule_tables": self.rules,
        }
        if read := tables.get(setting.form):
            return read(key, given)
        if is_dataclass(section := item.default_factory):
            return section(**self.table(given, section, key))
        if isinstance(item.default, bool):
            return self.flag(key, given)
        if isinstance(item.default, int):
            return self.number(key, given, setting)
        form = _one_of(setting.choices) if setting.choices else FORMS[setting.form]
        return self.items(key, given, form) if isinstance(item.default, tuple) else self.word(key, given, form)

    def number(self, key: str, given: object, setting: Setting) -> int | None:
        minimum, maximum = setting.minimum, setting.maximum
        if isinstance(given, int) and not isinstance(given, bool) and minimum <= given <= (maximum or given):
            return given
        bounds = f"from {minimum} to {maximum}" if maximum else f"of at least {minimum}"
        self.add_problem(key, f"{given!r} is not valid; must be an integer {bounds}")
        return None

    def flag(self, key: str, given: object) -> bool | None:
        if isinstance(given, bool):
            return given
        self.add_problem(key, f"{given!r} is not valid; must be true or false")
        return None

    def word(self, key: str, given: object, form: Form) -> object:
        if not isinstance(given, str):
            self.add_problem(key, f"{given!r} is not valid; must be a string")
            return None
        try:
            return form.parse(given)
        except (ValueError, AddressError):
            self.add_problem(key, f"{given!r} is not {form.expected}")
            return None

    def items(self, key: str, given: object, form: Form) -> tuple[object, ...]:
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            self.add_problem(key, "must be a list of strings")
            return ()
        return tuple(found for item in given if (found := self.word(key, item, form)) is not None)

    def rules(self, name: str, given: object) -> tuple[RuleSetting, ...]:
        """Return the rules in order; one without a valid name or action gets one, so that the rest is checked."""
        if not isinstance(given, list) or not all(isinstance(rule, dict) for rule in given):
            self.add_problem(name, "must be tables [[rules]]")
            return ()
        found = []
        for number, rule in enumerate(given, 1):
            values = self.table(rule, RuleSetting, f"{name}[{number}]{_label(rule.get('name'))}")
            found.append(RuleSetting(**{"name": f"rule {number}", "action": "refuse", **values}))
        return tuple(found)

    def lists(self, name: str, given: object) -> dict[str, ListSetting]:
        """Return the lists by name."""
        if not isinstance(given, dict):
            self.add_problem(name, "must be a table")
            return {}
        found = {}
        for text, table in given.items():
            self.word(f"{name}.{text}", text, FORMS["rule_name"])
            values = self.table(table, ListSetting, f"{name}.{text}")
            found[text] = ListSetting(**{"kind": "name", **values})
        return found

    def faculties(self, name: str, given: object) -> dict[str, Faculty]:
        """Return the faculties of the web page by name."""
        if not isinstance(given, dict):
            self.add_problem(name, "must be a table")
            return {}
        return {text: Faculty(**self.table(table, Faculty, f'{name}."{text}"')) for text, table in given.items()}

    def keys(self, name: str, given: object) -> dict[str, DkimKey]:
        """Return the keys of DKIM by domain, in lower case."""
        if not isinstance(given, dict):
            self.add_problem(name, "must be a table")
            return {}
        found = {}
        for text, table in given.items():
            key = f'{name}."{text}"'
            domain = self.word(key, text, FORMS["zone"])
            values = self.table(table, DkimKey, key)
            if isinstance(domain, str):
                found[domain] = DkimKey(**{"selector": "", "key_file": Path(), **values})
        return found

    def domains(self, name: str, given: object) -> dict[str, dict[str, str]]:
        """Return the actions that single domains have chosen."""
        if not isinstance(given, dict):
            self.add_problem(name, "must be a table")
            return {}
        found = {}
        for text, actions in given.items():
            key = f'{name}."{text}"'
            domain = self.word(key, text, FORMS["domain"])
            if not isinstance(actions, dict):
                self.add_problem(key, "must be a table")
                continue
            for kind, action in actions.items():
                if kind not in DOMAIN_SETTINGS:
                    valid = ", ".join(DOMAIN_SETTINGS)
                    self.add_problem(f"{key}.{kind}", f"unknown setting; valid settings are {valid}")
                else:
                    self.word(f"{key}.{kind}", action, _one_of(DOMAIN_SETTINGS[kind]))
            if isinstance(domain, str):
                found[domain] = actions
        return found


def _check_combinations(reader: _Reader, config: Config) -> None:
    """Report settings that contradict each other, and bounds that a declaration cannot express."""
    timeouts, limits, encryption = config.timeouts, config.limits, config.tls
    answer = timeouts.scan + timeouts.next_hop_data + timeouts.queue
    # A rule that needs the received message waits for DNS then.
    dns = config.refusal.dns_seconds
    if answer < MAX_ANSWER_SECONDS <= answer + dns and _needs_message(config):
        reader.add_problem(
            "refusal.dns_seconds",
            f"with timeouts.scan + next_hop_data + queue it is {answer + dns} s; must be below {MAX_ANSWER_SECONDS} s",
        )
    if answer >= MAX_ANSWER_SECONDS:
        reader.add_problem(
            "timeouts",
            f"scan + next_hop_data + queue is {answer} s; must be below {MAX_ANSWER_SECONDS} s,"
            " or clients time out and send the message again",
        )
    if limits.max_bytes_in_flight < limits.max_message_bytes:
        reader.add_problem(
            "limits.max_bytes_in_flight", f"must be at least limits.max_message_bytes ({limits.max_message_bytes})"
        )
    try:
        check_template(config.notices.text)
    except ValueError as error:
        reader.add_problem("notices.text", str(error))
    if 0 < config.content.max_line_bytes < 1000:
        reader.add_problem("content.max_line_bytes", "must be 0 or at least 1000 (RFC 5321 section 4.5.3.1.6)")
    if config.listen == () and not reader.problems:
        reader.add_problem("listen", "must contain at least one address")
    if bool(encryption.certificate) != bool(encryption.key):
        reader.add_problem("tls", "certificate and key must be set together")
    if encryption.required_for and encryption.outbound == "off":
        reader.add_problem("tls.required_for", 'requires tls.outbound = "opportunistic"')
    _check_bounces(reader, config)
    _check_keys(reader, config)
    _check_web(reader, config)
    for key, text in (*problems_of(config), *front_problems(config)):
        reader.add_problem(key, text)
    if not config.shared_state.server and config.shared_state != SharedState():
        reader.add_problem("shared_state.server", "must be set if other settings of shared_state are")
    _check_event_database(reader, config)
    _check_metrics(reader, config)
    if any(_is_same(config.queue, endpoint) for endpoint in config.listen):
        reader.add_problem("queue", f"{config.queue} is an address that the service listens on: mail would loop")


def _check_event_database(reader: _Reader, config: Config) -> None:
    settings = config.event_database
    if not settings.server:
        if settings != EventDatabase():
            reader.add_problem("event_database.server", "must be set if other settings of event_database are")
        return
    if not config.events.max_bytes:
        reader.add_problem("event_database.server", "needs events in files, but events.max_bytes is 0")
    if not settings.tls and not _is_loopback(split_server(settings.server)[0]):
        reader.add_problem(
            "event_database.tls", "must be true: without TLS, the server must be on a loopback address as 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may have another address tomorrow.
        return False


def _check_metrics(reader: _Reader, config: Config) -> None:
    others = (*config.listen, *config.front_listen, config.queue)
    for endpoint in config.metrics.listen:
        if any(_is_same(endpoint, other) or _is_same(other, endpoint) for other in others):
            reader.add_problem("metrics.listen", f"{endpoint} is used for mail; give it an address and port of its own")


def _check_keys(reader: _Reader, config: Config) -> None:
    for domain, key in config.dkim.items():
        if bool(key.previous_selector) != bool(key.previous_key_file):
            reader.add_problem(f'dkim."{domain}"', "previous_selector and previous_key_file must be set together")
        elif key.previous_selector and key.previous_selector == key.selector:
            reader.add_problem(f'dkim."{domain}".previous_selector', "must differ from selector")


def _check_web(reader: _Reader, config: Config) -> None:
    listen = Endpoint.parse(config.web.listen)
    if not ipaddress.ip_address(listen.host).is_loopback and not config.web.proxies:
        reader.add_problem(
            "web.listen",
            f"{listen} is not on loopback; set web.proxies to the addresses of the web servers in front of the page,"
            " or listen on 127.0.0.1",
        )
    if (config.web.peers or config.web.peer_listen) and not config.web.peer_file:
        reader.add_problem("web.peer_file", "must be set for web.peers and web.peer_listen")
    users = [
        *config.web.postmasters,
        *config.web.viewers,
        *(u for each in config.web_faculties.values() for u in each.users),
    ]
    if not config.web.groups_header and (groups := [user for user in users if user.startswith("@")]):
        reader.add_problem("web.groups_header", f"must be set, as {groups[0]} is a group")
    for name, faculty in config.web_faculties.items():
        if faculty.users and not faculty.domains:
            reader.add_problem(f'web_faculties."{name}".domains', "must name the domains that its users see")


def _check_bounces(reader: _Reader, config: Config) -> None:
    if config.bounces.unsent == "deliver":
        return
    if not config.bounces.domains:
        reader.add_problem("bounces.domains", "must name the domains whose mail leaves by the gateways only")
    if not config.relay_networks:
        reader.add_problem("bounces.unsent", "requires relay_networks: no host could send through the gateway")
    if config.hostname not in config.own_names:
        reader.add_problem("own_names", "must list the names of all gateways, hostname among them, for bounces.unsent")


def _needs_message(config: Config) -> bool:
    """Return whether rules or mail authentication wait for DNS when a message has been received."""
    tables = (table for rule in config.rules for table in (rule.when, rule.unless))
    return config.authentication.evaluate or any(table.from_header or table.from_is for table in tables)


def _label(name: object) -> str:
    """Return the name of a rule in messages, if it has one."""
    return f" ({name})" if isinstance(name, str) and name else ""


def _is_same(queue: Endpoint, listen: Endpoint) -> bool:
    if queue.port != listen.port:
        return False
    return listen.host == queue.host or ipaddress.ip_address(listen.host).is_unspecified


def _hostname(text: str) -> str:
    if not is_domain(text):
        raise ValueError(text)
    return text.lower()


def _domain(text: str) -> str:
    return ("*." if text.startswith("*.") else "") + _hostname(text.removeprefix("*."))


def _absolute_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError(text)
    return path


def _identifier(text: str) -> str:
    return _hostname(text) if text else ""


def _clamd(text: str) -> str:
    clamd_address(text)
    return text


def _web_endpoint(text: str) -> str:
    return str(Endpoint.parse(text))


def _optional_endpoint(text: str) -> str:
    return _web_endpoint(text) if text else ""


def _peer(text: str) -> str:
    name, _equals, endpoint = text.partition("=")
    return f"{_hostname(name)}={_web_endpoint(endpoint)}"


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError(text)
    return text


def _optional_socket(text: str) -> str:
    return _clamd(text) if text else ""


def _subject_tag(text: str) -> str:
    if text and not (text.isascii() and text.isprintable() and text.strip() == text and len(text) <= 40):
        raise ValueError(text)
    return text


def _extension(text: str) -> str:
    return _text(text.lower().lstrip("."))


def _text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _ip_address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _network(text: str) -> IPNetwork:
    return ipaddress.ip_network(text)


def _mailbox(text: str) -> str:
    return str(parse_mailbox(text)) if text else ""


def _rule_name(text: str) -> str:
    if not _RULE_NAME.fullmatch(text):
        raise ValueError(text)
    return text


def _selector(text: str) -> str:
    if not _SELECTOR.fullmatch(text):
        raise ValueError(text)
    return text


def _entry(parse: Callable[[str], object]) -> Callable[[str], str]:
    def entry(text: str) -> str:
        if not text.startswith("@"):
            parse(text)
        return text

    return entry


def _zone(text: str) -> str:
    return _hostname(text.removesuffix("."))


def _dns_code(text: str) -> str:
    parse_code(text)
    return text


def _dns_server(text: str) -> str:
    dns_endpoint(text)
    return text


def _server(text: str) -> str:
    if text:
        host, _port = split_server(text)
        if host.replace(".", "").isdigit() or not is_domain(host):
            # An IPv6 address must have its brackets.
            Endpoint.parse(text)
    return text


def _reply(*, ascii_only: bool) -> Callable[[str], str]:
    return lambda text: check_text(text, ascii_only=ascii_only)


class Form(NamedTuple):
    """Syntax of a string: its parser, which raises ValueError or AddressError, and what it accepts."""

    parse: Callable[[str], object]
    expected: str


def _one_of(choices: tuple[str, ...]) -> Form:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    return Form(parse, f"one of {', '.join(choices)}")


FORMS = {
    "text": Form(_text, "a non-empty string"),
    "any_text": Form(str, "a string"),
    "path": Form(str, "a path"),
    "absolute_path": Form(_absolute_path, "a valid absolute path"),
    "header_name": Form(_header_name, "a valid name of a header, of letters, digits and -"),
    "hostname": Form(_hostname, "a valid host name"),
    "identifier": Form(_identifier, "a valid host name"),
    "domain": Form(_domain, "a valid domain or *.domain"),
    "endpoint": Form(Endpoint.parse, "a valid ADDRESS:PORT or [ADDRESS]:PORT"),
    "clamd": Form(_clamd, "a valid absolute path, ADDRESS:PORT or [ADDRESS]:PORT"),
    "optional_endpoint": Form(_optional_endpoint, "a valid ADDRESS:PORT or [ADDRESS]:PORT"),
    "optional_header_name": Form(
        lambda text: _header_name(text) if text else "", "a valid name of a header, of letters, digits and -"
    ),
    "optional_socket": Form(_optional_socket, "a valid absolute path, ADDRESS:PORT or [ADDRESS]:PORT"),
    "ip_address": Form(_ip_address, "a valid IP address"),
    "network": Form(_network, "a valid network ADDRESS/BITS (without host bits)"),
    "mailbox": Form(_mailbox, "a valid address local@domain"),
    "recipient": Form(lambda text: str(parse_mailbox(text)), "a valid address local@domain"),
    "subject_tag": Form(_subject_tag, "a valid text of up to 40 ASCII characters without spaces at its ends"),
    "extension": Form(_extension, "a valid file name extension such as exe"),
    "peer": Form(_peer, "a valid NAME=ADDRESS:PORT or NAME=[ADDRESS]:PORT"),
    "rule_name": Form(_rule_name, "a valid name of letters, digits, _ and -, up to 40 characters"),
    "any_selector": Form(
        lambda text: _selector(text) if text else "",
        "a valid selector of letters, digits, - and dots, up to 63 characters",
    ),
    "selector": Form(_selector, "a valid selector of letters, digits, - and dots, up to 63 characters"),
    "network_entry": Form(_entry(parse_network), f"{EXPECTED['network']}, or @list"),
    "name_entry": Form(_entry(parse_name), f"{EXPECTED['name']}, or @list"),
    "address_entry": Form(_entry(parse_address), f"{EXPECTED['address']}, or @list"),
    "web_endpoint": Form(_web_endpoint, "a valid ADDRESS:PORT or [ADDRESS]:PORT"),
    "zone": Form(_zone, "a valid domain"),
    "dns_code": Form(_dns_code, "a valid IPv4 address with numbers, ranges or *, and optionally =POINTS"),
    "dns_server": Form(_dns_server, "a valid IP address, ADDRESS:PORT or [ADDRESS]:PORT"),
    "server": Form(_server, "a valid HOST:PORT, ADDRESS:PORT or [ADDRESS]:PORT"),
    "reply": Form(_reply(ascii_only=True), "a valid line of ASCII text with known fields in braces"),
    "reply_utf8": Form(_reply(ascii_only=False), "a valid line of text with known fields in braces"),
    "mime_type": Form(_text, "a valid MIME type such as application/x-dosexec, or a pattern with *"),
}
