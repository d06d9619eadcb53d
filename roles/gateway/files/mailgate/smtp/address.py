# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mailboxes and paths of MAIL and RCPT (RFC 5321 section 4.1.2), without relay syntax in recipients.

The domain of a recipient is strict: relaying depends on it. Other syntax is as tolerant as that of other servers.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mailgate.smtp.reply import Reply

# VERP, SRS and mailing lists exceed the 64 bytes of section 4.5.3.1.1.
MAX_LOCAL = 255
MAX_DOMAIN = 255
MAX_HELO = 255

# Includes all non-ASCII characters (RFC 6531 section 3.3); whether SMTPUTF8 permits them is checked separately.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"
# Addresses with leading, trailing and consecutive dots are in use.
_PLAIN_LOCAL = re.compile(rf"[.{_ATEXT[1:]}+")
_QTEXT = r"[ !#-\[\]-~\u0080-\U0010ffff]"
# Text, quoted strings, escaped characters, and comments (RFC 5322 section 4.4).
_LOCAL_PIECE = re.compile(
    rf'(?P<text>[.{_ATEXT[1:]}+)|"(?P<quoted>(?:{_QTEXT}|\\[ -~])*)"|\\(?P<escaped>[ -~])'
    r"|\([ -'*-\[\]-~]*\)|(?P<colon>:)"
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOOSE_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]*"
_SENDER_DOMAIN = re.compile(rf"{_LOOSE_LABEL}(?:\.{_LOOSE_LABEL})*")
# Nearly all paths; the others are parsed step by step, with the same result for these. Group 3 has the parameters.
_USUAL_PATH = rf"<([A-Za-z0-9#$&'*+/=?^_`{{|}}~.-]{{1,{MAX_LOCAL}}})@({_LABEL}(?:\.{_LABEL})*)>(?:[ \t](.*))?"
_USUAL_SENDER = re.compile(rf"[Ff][Rr][Oo][Mm]:{_USUAL_PATH}", re.DOTALL)
_USUAL_RECIPIENT = re.compile(rf"[Tt][Oo]:{_USUAL_PATH}", re.DOTALL)
_SOURCE_ROUTE = re.compile(r"@[A-Za-z0-9_.-]+(?:,@[A-Za-z0-9_.-]+)*:")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]*))?")
_REPEATABLE = ("SIZE", "BODY")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Characters that would change the structure of a trace field, in addition to those that are not printable ASCII.
_NOT_IN_HELO = re.compile(r'[^!-~]|[<>()\\";@,]')
_RELAY_CHARACTERS = frozenset("%!@")

RELAY_REFUSED = Reply.of(550, "5.7.1 Relaying denied")


class AddressError(ValueError):
    """A rejected address or path; `reply` has the reason, `relay` is set for an attempt to relay."""

    def __init__(self, reply: Reply, *, relay: bool = False) -> None:
        super().__init__(reply)
        self.reply = reply
        self.relay = relay


@dataclass(frozen=True)
class Mailbox:
    """Local part (unquoted) and domain: lower-case A-labels, a literal in brackets, or "" for a bare postmaster.

    The null reverse path is `Mailbox("", "")`.
    """

    local: str
    domain: str
    _text: ClassVar[str | None] = None

    def __str__(self) -> str:
        # In place of functools.cached_property, which takes a lock in Python 3.11.
        text = self._text
        if text is None:
            text = self.__dict__["_text"] = self._quoted()
        return text

    def _quoted(self) -> str:
        local = self.local
        if (local or self.domain) and not _PLAIN_LOCAL.fullmatch(local):
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


class Path(NamedTuple):
    """Argument of MAIL or RCPT: a mailbox and its parameters, keywords in upper case."""

    mailbox: Mailbox
    parameters: dict[str, str | None]


def parse_sender(argument: str | None) -> Path:
    """Parse the argument of MAIL; raise AddressError."""
    if usual := _usual(_USUAL_SENDER, argument):
        return usual
    inner, rest = _split(argument, "FROM", "MAIL FROM:<address>")
    parameters = _parse_parameters(rest)
    if not inner:
        return Path(Mailbox("", ""), parameters)
    # RFC 5321 appendix C: a source route is ignored.
    inner = inner[match.end() :] if (match := _SOURCE_ROUTE.match(inner)) else inner
    # Without SMTPUTF8, the next hop decides on a sender with other characters.
    return Path(parse_mailbox(inner, sender=True, utf8="SMTPUTF8" in parameters), parameters)


def parse_recipient(argument: str | None, *, utf8: bool = False) -> Path:
    """Parse the argument of RCPT; `utf8` is set if the transaction uses SMTPUTF8.

    Raises:
        AddressError: With `relay` set for each syntax that asks to relay the mail.
    """
    if usual := _usual(_USUAL_RECIPIENT, argument):
        return usual
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


def _usual(form: re.Pattern[str], argument: str | None) -> Path | None:
    """Return a path in the usual form, None for any other; raise AddressError for its parameters."""
    match = form.fullmatch(argument or "")
    if match is None:
        return None
    local, domain, rest = match.groups()
    if len(domain) > MAX_DOMAIN:
        return None
    return Path(Mailbox(local, domain.lower()), _parse_parameters(rest) if rest else {})


def parse_mailbox(text: str, *, sender: bool = False, utf8: bool = False) -> Mailbox:
    """Parse `local@domain` (section 4.1.2 Mailbox).

    Args:
        text: The address.
        sender: Allow in addition what other servers accept of a sender: colons and UTF-8 in the local part;
            underscores, labels of any length and a trailing dot in the domain.
        utf8: Allow the characters of RFC 6531: a domain is converted to A-labels, the local part is unchanged.

    Raises:
        AddressError: The address is malformed.
    """
    _check_characters(text, utf8=utf8 or (sender and text.rpartition("@")[2].isascii()))
    local, end = _parse_local(text, colon=sender)
    if text[end : end + 1] != "@" or not end:
        raise AddressError(Reply.of(553, "5.1.3 Malformed address: local@domain expected"))
    if _size(local) > MAX_LOCAL:
        raise AddressError(Reply.of(553, f"5.1.3 Local part exceeds {MAX_LOCAL} bytes"))
    return Mailbox(local, _parse_domain(text[end + 1 :], sender=sender))


def _parse_local(text: str, *, colon: bool) -> tuple[str, int]:
    """Return the local part at the start of `text`, without quotes and comments, and where it ends."""
    local, end, explicit = "", 0, False
    while match := _LOCAL_PIECE.match(text, end):
        if match["colon"] and not colon:
            break
        quoted = match["quoted"]
        explicit = explicit or quoted is not None
        local += match["text"] or match["escaped"] or match["colon"] or re.sub(r"\\(.)", r"\1", quoted or "")
        end = match.end()
    if not (local or explicit) or text[end : end + 1] not in ("@", ""):
        raise AddressError(Reply.of(553, "5.1.3 Malformed local part"))
    return local, end


def is_domain(text: str) -> bool:
    """Return whether `text` is a domain of ASCII labels (section 4.1.2 Domain)."""
    return len(text) <= MAX_DOMAIN and _DOMAIN.fullmatch(text) is not None


def helo_name(text: str) -> str:
    """Return a HELO or EHLO name as it may stand in a trace field: without other characters, and not too long.

    Clients give names with spaces, `(null)`, or names in the character set of their system.
    """
    return _NOT_IN_HELO.sub("?", text[:MAX_HELO])


def _parse_domain(text: str, *, sender: bool) -> str:
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
    if sender:
        text = text.removesuffix(".")
        valid = len(text) <= MAX_DOMAIN and _SENDER_DOMAIN.fullmatch(text) is not None
    else:
        valid = is_domain(text)
    if not valid:
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
    """Return the address, without angle brackets if there are any, and the text after it."""
    head, colon, tail = (argument or "").partition(":")
    tail = tail.strip(" \t")
    if colon and head.strip().upper() == keyword and tail:
        if not tail.startswith("<"):
            inner, _space, rest = tail.partition(" ")
            if "<" not in inner and ">" not in inner:
                return inner, rest.strip(" \t")
        end = _closing_bracket(tail)
        rest = tail[end + 1 :]
        if tail.startswith("<") and end >= 0 and (not rest or rest[0] in " \t"):
            return tail[1:end].strip(" "), rest.strip(" \t")
    raise AddressError(Reply.of(501, f"5.5.4 Syntax: {syntax}"))


def _closing_bracket(text: str) -> int:
    """Return the index of the `>` that is neither escaped nor inside a quoted string, or -1."""
    if '"' not in text:
        return text.find(">")
    quoted = False
    skip = False
    for index, character in enumerate(text):
        if skip:
            skip = False
        elif character == "\\":
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
        if name in found and name not in _REPEATABLE:
            raise AddressError(Reply.of(501, f"5.5.4 Duplicate parameter: {name}"))
        found[name] = match.group(2)
    return found
