# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings file: TOML in, one frozen `Config` out, every problem reported at once."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mailgate import tls
from mailgate.config import (
    LANGUAGES,
    MAX_ANSWER_SECONDS,
    Config,
    ConfigError,
    Endpoint,
    IPNetwork,
    clamd_address,
)
from mailgate.content.notices import check_template
from mailgate.content.policy import ACTIONS, ATTACHMENT_KINDS
from mailgate.routes import Routes, load_routes
from mailgate.smtp.address import AddressError, is_domain, parse_mailbox

_T = TypeVar("_T")


def load_config(path: Path) -> Config:
    """Read the settings file; raises ConfigError, also for a file that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return parse_config(text, str(path))


def parse_config(text: str, source: str = "mailgate.toml") -> Config:
    """Read the settings; raises ConfigError with every problem."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{source}: not TOML: {error}"]) from error
    reader = _Reader(source)
    values = reader.table(table, Config)
    # Defaults stand in for what is wrong, so that the rest is checked too.
    config = Config(**{"hostname": "", "routes_file": Path(), **values})
    _check_together(reader, config)
    if reader.problems:
        raise ConfigError(reader.problems)
    return config


def load(config_path: Path, routes_path: Path | None = None) -> tuple[Config, Routes]:
    """Settings and routes, `routes_path` in place of the settings' own file; raises ConfigError or RoutesError."""
    config = load_config(config_path)
    routes = load_routes(routes_path or config.routes_file, own_addresses=config.own_addresses)
    tls.for_senders(config)
    return config, routes


class _Reader:
    """Takes typed values out of the parsed file, noting problems instead of stopping at the first."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []

    def wrong(self, key: str, text: str) -> None:
        self.problems.append(f"{self.source}: {key}: {text}")

    def table(self, given: object, kind: type, name: str = "") -> dict[str, Any]:
        """What the table `name` (the file itself without one) gives for the fields of the dataclass `kind`."""
        if not isinstance(given, dict):
            self.wrong(name, "must be a table")
            return {}
        known = {item.name: item for item in fields(kind)}
        prefix = f"{name}." if name else ""
        for key in given:
            if key not in known:
                self.wrong(prefix + key, f"unknown; known are {', '.join(known)}")
        values = {}
        for key, item in known.items():
            if key in given:
                value = self.value(prefix + key, given[key], item)
                if value is not None:
                    values[key] = value
            elif item.default is MISSING and item.default_factory is MISSING:
                self.wrong(prefix + key, "is missing")
        return values

    def value(self, key: str, given: object, item: Field[Any]) -> object:
        """One setting, read by the type of its default and by what is noted below of its name; None if wrong."""
        if key == "domains":
            return self.domains(given)
        if is_dataclass(section := item.default_factory):
            return section(**self.table(given, section, key))
        if isinstance(item.default, int):
            return self.number(key, given)
        form = _FORMS.get(key, _TEXT)
        return self.items(key, given, form) if isinstance(item.default, tuple) else self.word(key, given, form)

    def number(self, key: str, given: object) -> int | None:
        least = 0 if key in _MAY_BE_ZERO else 1
        most = _MOST.get(key)
        if isinstance(given, int) and not isinstance(given, bool) and least <= given <= (most or given):
            return given
        self.wrong(key, f"{given!r} is not a whole number from {least}{f' to {most}' if most else ''}")
        return None

    def word(self, key: str, given: object, form: _Form) -> object:
        if isinstance(given, str):
            try:
                return form.parse(given)
            except (ValueError, AddressError):
                pass
        self.wrong(key, "must be a string" if form in (_TEXT, _MAY_BE_EMPTY) else f"{given!r} is not {form.what}")
        return None

    def items(self, key: str, given: object, form: _Form) -> tuple[object, ...]:
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            self.wrong(key, f"must be a list of strings, each {form.what}")
            return ()
        return tuple(found for item in given if (found := self.word(key, item, form)) is not None)

    def domains(self, given: object) -> dict[str, dict[str, str]]:
        """The content policies of single domains."""
        if not isinstance(given, dict):
            self.wrong("domains", "must be a table")
            return {}
        found = {}
        for name, words in given.items():
            key = f'domains."{name}"'
            domain = self.word(key, name, _DOMAIN)
            if not isinstance(words, dict):
                self.wrong(key, "must be a table")
                continue
            for kind, word in words.items():
                if kind not in ACTIONS:
                    self.wrong(f"{key}.{kind}", f"unknown; known are {', '.join(ACTIONS)}")
                else:
                    self.word(f"{key}.{kind}", word, _one_of(ACTIONS[kind]))
            if isinstance(domain, str):
                found[domain] = words
        return found


def _check_together(reader: _Reader, config: Config) -> None:
    timeouts, limits, tls = config.timeouts, config.limits, config.tls
    answer = timeouts.scan + timeouts.next_hop_data + timeouts.queue
    if answer >= MAX_ANSWER_SECONDS:
        reader.wrong(
            "timeouts",
            f"scan + next_hop_data + queue is {answer} s; it must stay below {MAX_ANSWER_SECONDS} s,"
            " or senders give up waiting and send again",
        )
    if limits.max_bytes_in_flight < limits.max_message_bytes:
        reader.wrong("limits.max_bytes_in_flight", "must be at least max_message_bytes, or no large message passes")
    try:
        check_template(config.notices.text)
    except ValueError as error:
        reader.wrong("notices.text", str(error))
    if 0 < config.content.max_line_bytes < 1000:
        reader.wrong("content.max_line_bytes", "must be 0 or at least 1000 (RFC 5321 section 4.5.3.1.6)")
    if config.listen == () and not reader.problems:
        reader.wrong("listen", "needs at least one address")
    if bool(tls.certificate) != bool(tls.key):
        reader.wrong("tls", "certificate and key go together: give both or neither")
    if tls.required_for and tls.outbound == "off":
        reader.wrong("tls.required_for", "needs outbound = opportunistic")
    if any(_same(config.queue, endpoint) for endpoint in config.listen):
        reader.wrong("queue", f"{config.queue} is where the service itself listens: mail would loop")


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


def _clamd(text: str) -> str:
    clamd_address(text)
    return text


def _extension(text: str) -> str:
    return _filled(text.lower().lstrip("."))


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _network(text: str) -> IPNetwork:
    return ipaddress.ip_network(text)


def _mailbox(text: str) -> str:
    return str(parse_mailbox(text)) if text else ""


class _Form(NamedTuple):
    """How a word, or each word of a list, is read, and what it should have been."""

    parse: Callable[[str], object]
    what: str


def _one_of(words: Iterable[str]) -> _Form:
    known = tuple(words)

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(text)
        return text

    return _Form(parse, f"one of {', '.join(known)}")


_TEXT = _Form(_filled, "a string")
_MAY_BE_EMPTY = _Form(str, "a string")
_DOMAIN = _Form(_pattern, "a domain or *.domain")
_ENDPOINT = _Form(Endpoint.parse, "ADDRESS:PORT or [ADDRESS]:PORT")
_CLAMD = _Form(_clamd, f"an absolute path or {_ENDPOINT.what}")
_NETWORK = _Form(_network, "a network as ADDRESS/BITS")
_FORMS = {
    "hostname": _Form(_hostname, "a host name"),
    "routes_file": _Form(_absolute, "an absolute path"),
    "state_dir": _Form(_absolute, "an absolute path"),
    "listen": _ENDPOINT,
    "own_addresses": _Form(_address, "an IP address"),
    "relay_networks": _NETWORK,
    "queue": _ENDPOINT,
    "proxy_protocol_from": _NETWORK,
    "language": _one_of(LANGUAGES),
    "postmaster": _Form(_mailbox, "local@domain"),
    "scan.socket": _CLAMD,
    "scan.other_sockets": _CLAMD,
    "scan.order": _one_of(("given", "load")),
    "scan.infected": _one_of(ACTIONS["infected"]),
    "scan.encrypted": _one_of(ACTIONS["encrypted"]),
    "scan.over_limits": _one_of(ACTIONS["over_limits"]),
    "scan.signature_dir": _MAY_BE_EMPTY,
    "scan.old_signatures": _one_of(("deliver", "defer")),
    "content.bare_newlines": _one_of(("refuse", "normalize")),
    **{f"attachments.{kind}": _one_of(ACTIONS[kind]) for kind in ATTACHMENT_KINDS},
    "attachments.extensions": _Form(_extension, "a file name's ending, as exe"),
    "attachments.real_types": _Form(_filled, "a MIME type, as application/x-dosexec, or a pattern with *"),
    "notices.to": _one_of(("nobody", "recipients", "postmaster", "both")),
    "notices.text": _MAY_BE_EMPTY,
    "tls.certificate": _MAY_BE_EMPTY,
    "tls.key": _MAY_BE_EMPTY,
    "tls.outbound": _one_of(("opportunistic", "off")),
    "tls.required_for": _DOMAIN,
}
_MAY_BE_ZERO = {
    "workers",
    "scan.file_size",
    "scan.remembered",
    "scan.max_signature_days",
    "content.max_line_bytes",
    "timeouts.drain",
    "timeouts.session_idle",
    "cache.resend_hours",
}
_MOST = {"workers": 64}
