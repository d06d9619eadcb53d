# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replies of rules: their own texts or built-in ones, in English, and in Japanese for clients that use SMTPUTF8."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from mailgate.rule_settings import RuleSetting
from mailgate.rules.model import Facts, Verdict
from mailgate.smtp.reply import Reply
from mailgate.translation import N_, Text, translator

FIELDS = ("client", "helo", "sender", "recipient", "from", "rule", "zone")
MAX_TEXT = 400
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= )")
_DNS_FAILED = N_("DNS lookup failed; try again later")
# Status and text by condition, in the order in which they are looked for.
_TEXTS: tuple[tuple[str, str, Text], ...] = (
    ("client_is", "5.1", N_("Client host {client} does not wait for replies")),
    ("dns_list", "7.1", N_("Client host {client} is listed in {zone}")),
    ("more_recipients_than", "5.3", N_("Too many recipients for this sender")),
    ("sender_is", "7.1", N_("Sender address {sender} refused")),
    ("sender", "7.1", N_("Sender address {sender} refused")),
    ("helo_is", "7.1", N_("HELO name {helo} refused")),
    ("helo", "7.1", N_("HELO name {helo} refused")),
    ("reverse_is", "7.25", N_("Client address {client} has no valid name in DNS")),
    ("client_name", "7.1", N_("Client host {client} refused")),
    ("reverse_name", "7.1", N_("Client host {client} refused")),
    ("client", "7.1", N_("Client host {client} refused")),
    ("recipient", "7.1", N_("Recipient address {recipient} refused")),
    # Status of RFC 7372, and of RFC 8617 section 10.
    ("dmarc", "7.26", N_("DMARC check of From address {from} failed")),
    ("spf", "7.23", N_("SPF check of sender {sender} failed")),
    ("dkim", "7.20", N_("DKIM check failed")),
    ("arc", "7.29", N_("ARC check failed")),
    ("from_header", "7.1", N_("From address {from} refused")),
    ("from_is", "7.1", N_("From address {from} refused")),
)
_NO_SERVER = ("1.8", N_("Domain of sender address {sender} does not exist or has no mail server"))
_DMARC = ("7.26", N_("DMARC check of From address {from} failed, and its policy is to reject"))
_NULL_MX = ("7.27", N_("Domain of sender address {sender} accepts no mail"))


@dataclass(frozen=True)
class Utf8Reply(Reply):
    """A reply to a client that uses SMTPUTF8 (RFC 6531 section 3.7.4.2)."""

    def wire(self) -> bytes:
        """Return the reply in wire format, with its final CRLF."""
        last = len(self.lines) - 1
        return b"".join(
            f"{self.code}{' ' if number == last else '-'}{line}\r\n".encode() for number, line in enumerate(self.lines)
        )


def check_text(text: str, *, ascii_only: bool) -> str:
    """Return a text of a reply; raise ValueError if it cannot be sent."""
    if len(text) > MAX_TEXT or not text.isprintable() or (ascii_only and not text.isascii()):
        raise ValueError(text)
    names = [name for _text, name, spec, conversion in string.Formatter().parse(text) if name is not None]
    if any(name not in FIELDS for name in names) or "{:" in text or "!" in "".join(re.findall(r"\{[^}]*\}", text)):
        raise ValueError(text)
    if (match := _STATUS.match(text)) and match[0].startswith("2."):
        raise ValueError(text)
    return text


def reply_to(verdict: Verdict, facts: Facts, *, utf8: bool = False) -> Reply | None:
    """Return the reply of a verdict that refuses or defers, else None.

    Args:
        verdict: What the rules decided.
        facts: What they decided on.
        utf8: Whether the client may get other characters than ASCII.
    """
    if verdict.action not in ("refuse", "defer") or not verdict.rule:
        return None
    code = 550 if verdict.action == "refuse" else 450
    return _reply(code, reply_text(verdict, facts, "en"), reply_text(verdict, facts, "ja"), utf8=utf8)


def dmarc_reply(facts: Facts, *, utf8: bool = False) -> Reply:
    """Return the reply to a message that fails DMARC and whose policy is to reject it; arguments as `reply_to`."""
    status, text = _DMARC
    english, japanese = (translator(language)(text).format(**_values(facts)) for language in ("en", "ja"))
    return _reply(550, f"5.{status} {english}", japanese, utf8=utf8)


def _reply(code: int, english: str, japanese: str, *, utf8: bool) -> Reply:
    if not utf8:
        return Reply.of(code, _printable(english, ascii_only=True))
    lines = [english]
    if japanese:
        lines.append(f"{english.partition(' ')[0]} {japanese}")
    return Utf8Reply(code, tuple(_printable(line, ascii_only=False) for line in lines))


def greylist_reply(seconds: int) -> Reply:
    """Return the reply to a new sender that must wait."""
    return Reply.of(450, f"4.7.1 New sender, please try again in {seconds} seconds (greylisting)")


def _values(facts: Facts) -> dict[str, str]:
    author = next((str(authors[0]) for authors in facts.authors if authors), "")
    return {
        "client": facts.client,
        "helo": facts.helo,
        "sender": f"<{facts.sender}>",
        "recipient": f"<{facts.recipient}>",
        "from": f"<{author}>",
    }


def reply_text(verdict: Verdict, facts: Facts, language: str) -> str:
    """Return the text of the reply in a language, in English with its status; empty if there is none."""
    rule = verdict.rule
    assert rule
    digit = "5" if verdict.action == "refuse" else "4"
    values = {**_values(facts), "rule": rule.name, "zone": rule.when.dns_list}
    if verdict.dns:
        status, text = "4.3", _DNS_FAILED
    else:
        status, text = _builtin(rule)
    own = rule.reply if language == "en" else rule.reply_ja
    if not verdict.dns and rule.reply and language != "en" and not own:
        return ""
    given = _STATUS.match(own)
    if not verdict.dns and own:
        status = given[0][2:] if given else status
        filled = own[given.end() + 1 if given else 0 :].format(**values)
    else:
        filled = translator(language)(text).format(**values)
    return f"{digit}.{status} {filled}" if language == "en" else filled


def _builtin(rule: RuleSetting) -> tuple[str, Text]:
    """Return status, without its first digit, and text of a rule without a text."""
    if "no_server" in rule.when.sender_is:
        return _NO_SERVER
    if rule.when.sender_is == ("null_mx",):
        return _NULL_MX
    return next((status, text) for name, status, text in _TEXTS if getattr(rule.when, name))


def _printable(text: str, *, ascii_only: bool) -> str:
    """Return a text with `?` for characters that cannot be sent: HELO names and addresses are the client's."""
    return "".join(each if each.isprintable() and (each.isascii() or not ascii_only) else "?" for each in text)[:500]
