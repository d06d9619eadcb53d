# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mailboxes and paths of MAIL and RCPT (RFC 5321 section 4.1.2), without source routes and other relay syntax."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property

from mailgate.smtp.reply import Reply

MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_PATH = 256

# Includes all non-ASCII characters (RFC 6531 section 3.3); whether SMTPUTF8 permits them is checked separately.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"
_ATOM = rf"{_ATEXT}+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# Mobile operators in Japan issued addresses with consecutive and trailing dots, which are still in use as senders.
_DOTTED_SENDER = re.compile(rf"{_ATEXT}[.{_ATEXT[1:]}*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"')
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RELAY_CHARACTERS = frozenset("%!@")

RELAY_REFUSED = Reply.of(550, "5.7.1 Relaying denied")


class AddressError(ValueError):
    """A rejected address or path; `reply` has the reason, `relay` is set for an attempt to relay."""

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
        """Whether a server without SMTPUTF8 accepts this mailbox; domains are always A-labels."""
        return self.local.isascii()

    @property
    def key(self) -> str:
        """Key of this mailbox in the verification cache; local parts may be case-sensitive (section 2.4)."""
        return str(self)


@dataclass(frozen=True)
class Path:
    """Argument of MAIL or RCPT: a mailbox and its parameters, keywords in upper case."""

    mailbox: Mailbox
    parameters: dict[str, str | None]


def parse_sender(argument: str | None) -> Path:
    """Parse the argument of MAIL; raise AddressError."""
    inner, rest = _split(argument, "FROM", "MAIL FROM:<address>")
    parameters = _parse_parameters(rest)
    if not inner:
        return Path(Mailbox("", ""), parameters)
    return Path(parse_mailbox(inner, dotted=True, utf8="SMTPUTF8" in parameters), parameters)


def parse_recipient(argument: str | None, *, utf8: bool = False) -> Path:
    """Parse the argument of RCPT; `utf8` is set if the transaction uses SMTPUTF8.

    Raises:
        AddressError: With `relay` set for each syntax that asks to relay the mail.
    """
    inner, rest = _split(argument, "TO", "RCPT TO:<address>")
    if inner.lower() == "postmaster":
        return Path(Mailbox("postmaster", ""), _parse_parameters(rest))
    if not inner:
        raise AddressError(Reply.of(501, "5.1.3 Bad recipient address syntax"))
    _check_characters(inner, utf8=utf8)
    # Before the syntax check, so that a malformed attempt to relay counts as an attempt to relay.
    if inner.startswith("@") or inner.count("@") > 1 or "%" in inner or "!" in inner:
        raise AddressError(RELAY_REFUSED, relay=True)
    mailbox = parse_mailbox(inner, utf8=utf8)
    if _RELAY_CHARACTERS & set(mailbox.local):
        raise AddressError(RELAY_REFUSED, relay=True)
    return Path(mailbox, _parse_parameters(rest))


def parse_mailbox(text: str, *, dotted: bool = False, utf8: bool = False) -> Mailbox:
    """Parse `local@domain` (section 4.1.2 Mailbox).

    Args:
        text: The address.
        dotted: Allow consecutive and trailing dots in the local part.
        utf8: Allow the characters of RFC 6531: a domain is converted to A-labels, the local part is unchanged.

    Raises:
        AddressError: The address is malformed.
    """
    _check_characters(text, utf8=utf8)
    if _size(text) > MAX_PATH:
        raise AddressError(Reply.of(553, "5.1.3 Address too long"))
    quoted = _QUOTED.match(text)
    if quoted:
        local_text, separator = quoted.group(), text[quoted.end() : quoted.end() + 1]
        domain = text[quoted.end() + 1 :]
        local = re.sub(r"\\(.)", r"\1", local_text[1:-1])
    else:
        local_text, separator, domain = text.partition("@")
        local = local_text
        if not (_DOTTED_SENDER if dotted else _DOT_STRING).fullmatch(local):
            raise AddressError(Reply.of(553, "5.1.3 Malformed local part"))
    if separator != "@" or not local:
        raise AddressError(Reply.of(553, "5.1.3 Malformed address: local@domain expected"))
    if _size(local_text) > MAX_LOCAL:
        raise AddressError(Reply.of(553, "5.1.3 Local part exceeds 64 bytes"))
    return Mailbox(local, _parse_domain(domain))


def is_domain(text: str) -> bool:
    """Return whether `text` is a domain of ASCII labels (section 4.1.2 Domain)."""
    return len(text) <= MAX_DOMAIN and _DOMAIN.fullmatch(text) is not None


def is_helo_name(text: str) -> bool:
    """Return whether a HELO or EHLO name is usable in a header; a bare host name and underscores are tolerated."""
    return re.fullmatch(r"[A-Za-z0-9_.:\[\]-]{1,255}", text) is not None


def _parse_domain(text: str) -> str:
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


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _check_characters(text: str, *, utf8: bool) -> None:
    if not text.isascii():
        if not utf8:
            raise AddressError(Reply.of(553, "5.6.7 Must declare SMTPUTF8 to send unicode address"))
        if not text.isprintable():
            raise AddressError(Reply.of(553, "5.1.3 Control character in address"))
    if _CONTROL.search(text):
        raise AddressError(Reply.of(553, "5.1.3 Control character in address"))


def _split(argument: str | None, keyword: str, syntax: str) -> tuple[str, str]:
    """Return the text between the angle brackets and the text after them."""
    head, colon, tail = (argument or "").partition(":")
    tail = tail.strip(" \t")
    if colon and head.strip().upper() == keyword and tail.startswith("<"):
        end = _closing_bracket(tail)
        rest = tail[end + 1 :]
        if end >= 0 and (not rest or rest[0] in " \t"):
            return tail[1:end], rest.strip(" \t")
    raise AddressError(Reply.of(501, f"5.5.4 Syntax: {syntax}"))


def _closing_bracket(text: str) -> int:
    """Return the index of the `>` that is not inside a quoted string, or -1."""
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


def _parse_parameters(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if not match:
            raise AddressError(Reply.of(501, "5.5.4 Bad parameter syntax"))
        name = match.group(1).upper()
        if name in found:
            raise AddressError(Reply.of(501, f"5.5.4 Duplicate parameter: {name}"))
        found[name] = match.group(2)
    return found
