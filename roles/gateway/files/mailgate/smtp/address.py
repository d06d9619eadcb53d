# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mailboxes and paths of MAIL and RCPT by RFC 5321 section 4.1.2, without anything that once meant "pass this on"."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property

from mailgate.smtp.reply import Reply

MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_PATH = 256

# With SMTPUTF8 also every character beyond ASCII (RFC 6531 section 3.3); who may use them is asked apart.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"
_ATOM = rf"{_ATEXT}+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# Mobile operators in Japan gave out addresses with doubled and final dots, which are still in use as senders.
_DOTTED_SENDER = re.compile(rf"{_ATEXT}[.{_ATEXT[1:]}*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"')
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RELAY_CHARACTERS = frozenset("%!@")

RELAY_REFUSED = Reply.of(550, "5.7.1 Relaying denied")


class AddressError(ValueError):
    """An address or path that is refused; `reply` says why, `relay` whether it is an attempt to relay."""

    def __init__(self, reply: Reply, *, relay: bool = False) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.relay = relay


@dataclass(frozen=True)
class Mailbox:
    """Local part (unquoted) and domain: lower-case A-labels, a literal in brackets, or "" for a bare postmaster.

    The null reverse path is `Mailbox("", "")`.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        local = self.local
        if local and not _DOTTED_SENDER.fullmatch(local):
            local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def null(self) -> bool:
        """Whether this is the null reverse path `<>`."""
        return not self.local and not self.domain

    @property
    def ascii(self) -> bool:
        """Whether a server without SMTPUTF8 can be told this mailbox; domains are A-labels in any case."""
        return self.local.isascii()

    @property
    def key(self) -> str:
        """Form under which answers about this mailbox are remembered; local parts may differ by case (section 2.4)."""
        return str(self)


@dataclass(frozen=True)
class Path:
    """What MAIL or RCPT named: a mailbox and its parameters, keywords in upper case."""

    mailbox: Mailbox
    parameters: dict[str, str | None]


def parse_sender(argument: str | None) -> Path:
    """Parse what follows `MAIL`; raises AddressError."""
    inner, rest = _split(argument, "FROM", "MAIL FROM:<address>")
    parameters = _parameters(rest)
    if not inner:
        return Path(Mailbox("", ""), parameters)
    return Path(parse_mailbox(inner, dotted=True, utf8="SMTPUTF8" in parameters), parameters)


def parse_recipient(argument: str | None, *, utf8: bool = False) -> Path:
    """Parse what follows `RCPT`; raises AddressError, with `relay` set for every way of asking us to pass mail on.

    `utf8`: the transaction has SMTPUTF8.
    """
    inner, rest = _split(argument, "TO", "RCPT TO:<address>")
    if inner.lower() == "postmaster":
        return Path(Mailbox("postmaster", ""), _parameters(rest))
    if not inner:
        raise AddressError(Reply.of(501, "5.1.3 A recipient is needed"))
    _no_controls(inner, utf8=utf8)
    # Before the grammar, so that a malformed attempt to relay is counted as what it is.
    if inner.startswith("@") or inner.count("@") > 1 or "%" in inner or "!" in inner:
        raise AddressError(RELAY_REFUSED, relay=True)
    mailbox = parse_mailbox(inner, utf8=utf8)
    if _RELAY_CHARACTERS & set(mailbox.local):
        raise AddressError(RELAY_REFUSED, relay=True)
    return Path(mailbox, _parameters(rest))


def parse_mailbox(text: str, *, dotted: bool = False, utf8: bool = False) -> Mailbox:
    """Parse `local@domain` (section 4.1.2 Mailbox); `dotted` allows doubled and final dots in the local part.

    `utf8` allows RFC 6531's characters: those of the domain become A-labels, the local part stays as it is.

    Raises AddressError.
    """
    _no_controls(text, utf8=utf8)
    if _octets(text) > MAX_PATH:
        raise AddressError(Reply.of(553, "5.1.3 Address too long"))
    quoted = _QUOTED.match(text)
    if quoted:
        local_text, found = quoted.group(), text[quoted.end() : quoted.end() + 1]
        domain = text[quoted.end() + 1 :]
        local = re.sub(r"\\(.)", r"\1", local_text[1:-1])
    else:
        local_text, found, domain = text.partition("@")
        local = local_text
        if not (_DOTTED_SENDER if dotted else _DOT_STRING).fullmatch(local):
            raise AddressError(Reply.of(553, "5.1.3 Malformed local part"))
    if found != "@" or not local:
        raise AddressError(Reply.of(553, "5.1.3 Malformed address: local@domain expected"))
    if _octets(local_text) > MAX_LOCAL:
        raise AddressError(Reply.of(553, "5.1.3 Local part longer than 64 octets"))
    return Mailbox(local, _domain(domain))


def is_domain(text: str) -> bool:
    """Whether `text` is a domain of ASCII labels (section 4.1.2 Domain)."""
    return len(text) <= MAX_DOMAIN and _DOMAIN.fullmatch(text) is not None


def is_helo_name(text: str) -> bool:
    """Whether a client's or server's own name can stand in a header: a bare host name and underscores are tolerated."""
    return re.fullmatch(r"[A-Za-z0-9_.:\[\]-]{1,255}", text) is not None


def _domain(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        literal = text[1:-1]
        try:
            if literal[:5].lower() == "ipv6:":
                return f"[IPv6:{ipaddress.IPv6Address(literal[5:]).compressed}]"
            return f"[{ipaddress.IPv4Address(literal)}]"
        except ValueError:
            raise AddressError(Reply.of(553, "5.1.3 Malformed address literal")) from None
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            text = ""
    if not is_domain(text):
        raise AddressError(Reply.of(553, "5.1.3 Malformed domain"))
    return text.lower()


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _no_controls(text: str, *, utf8: bool) -> None:
    if not text.isascii():
        if not utf8:
            raise AddressError(Reply.of(553, "5.6.7 Address with non-ASCII characters needs SMTPUTF8"))
        if not text.isprintable():
            raise AddressError(Reply.of(553, "5.1.3 Control character in address"))
    if _CONTROL.search(text):
        raise AddressError(Reply.of(553, "5.1.3 Control character in address"))


def _split(argument: str | None, keyword: str, syntax: str) -> tuple[str, str]:
    """The text between the angle brackets and what follows them."""
    head, colon, tail = (argument or "").partition(":")
    tail = tail.strip(" \t")
    if colon and head.strip().upper() == keyword and tail.startswith("<"):
        end = _closing_bracket(tail)
        rest = tail[end + 1 :]
        if end >= 0 and (not rest or rest[0] in " \t"):
            return tail[1:end], rest.strip(" \t")
    raise AddressError(Reply.of(501, f"5.5.4 Syntax: {syntax}"))


def _closing_bracket(text: str) -> int:
    """Index of the `>` that is not inside a quoted string, or -1."""
    if '"' not in text:
        return text.find(">")
    quoted = False
    skip = False
    for index, character in enumerate(text):
        if skip:
            skip = False
        elif quoted and character == "\\":
            skip = True
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            return index
    return -1


def _parameters(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if not match:
            raise AddressError(Reply.of(501, "5.5.4 Malformed parameter"))
        name = match.group(1).upper()
        if name in found:
            raise AddressError(Reply.of(501, f"5.5.4 Parameter {name} given twice"))
        found[name] = match.group(2)
    return found
